"""The text of a list filter as tokens.

The lexical rules are those of the MySQL dialect that Temporal's server reads: strings in single or double
quotes with backslashes and doubled quotes, names in backticks, comments. Where a text goes wrong is said
as the server says it: as a position in the statement that it makes of the filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from perdure.stores.visibility.query import QueryError


class Kind(Enum):
    NAME = "name"
    """Quoted in backticks, or a plain word that is not reserved."""
    WORD = "word"
    """A reserved word; its value is in capitals."""
    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    SIGN = "sign"
    END = "end"


@dataclass(slots=True, frozen=True)
class Token:
    kind: Kind
    value: str
    end: int
    """Where the token ends, as the server counts."""

    def unexpected(self) -> QueryError:
        """A syntax error at this token."""
        near = "" if self.kind in (Kind.SIGN, Kind.END) else f" near '{self._shown}'"
        return QueryError(f"malformed SQL query: syntax error at position {self.end + 1}{near}")

    @property
    def _shown(self) -> str:
        return self.value.lower() if self.kind is Kind.WORD else self.value


_RESERVED = """
    AND ASC BETWEEN BY CASE DELETE DESC DROP EXISTS FALSE FROM GROUP HAVING IN INSERT INTO IS JOIN LIKE LIMIT NOT NULL
    OR ORDER REGEXP RLIKE SELECT STARTS_WITH TABLE TRUE UNION UPDATE WHERE XOR
"""
RESERVED = frozenset(_RESERVED.split())

_PREFIX, _SHORT_PREFIX = len("select * from table1 where "), len("select * from table1 ")
_BEGINS_WITH_CLAUSE = re.compile(r"\s*(group|order)\s+by\b", re.IGNORECASE)

_TOKEN = re.compile(
    r"""(?P<space>(?:\s+|--[^\n]*)+)
    |(?P<name>[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)*)
    |`(?P<quoted>[^`]+)`
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<sign><=>|<=|>=|<>|!=|&&|\|\||[=<>!(),;+\-*/%.])
    |(?P<quote>['"])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


def scan(text: str) -> Iterator[Token]:
    """The tokens of a filter, the last one an END, in time that grows as the text does; each is made when it is wanted,
    for what follows a fault need not be read. Raises QueryError."""
    base = _SHORT_PREFIX if _BEGINS_WITH_CLAUSE.match(text) else _PREFIX
    place = 0
    while place < len(text):
        if text.startswith("/*", place):
            place = _behind_comment(text, place, base)
            continue
        match = _TOKEN.match(text, place)
        if match is None:
            raise Token(Kind.NAME, text[place], base + place + 1).unexpected()
        group = match.lastgroup
        place = match.end()
        if group == "space":
            continue
        if group == "quote":
            value, place = _string(text, place, match["quote"], base)
            yield Token(Kind.STRING, value, base + place)
        else:
            yield _token(match, base)
    yield Token(Kind.END, "", base + len(text))


def _behind_comment(text: str, begin: int, base: int) -> int:
    """The place behind a comment. Raises QueryError when it has no end: looked for once, not at each `/*` in it."""
    end = text.find("*/", begin + 2)
    if end < 0:
        raise Token(Kind.NAME, text[begin:].rstrip(), base + len(text.rstrip())).unexpected()
    return end + 2


def _token(match: re.Match[str], base: int) -> Token:
    group, end = match.lastgroup, base + match.end()
    if group == "quoted":
        return Token(Kind.NAME, match["quoted"], end)
    if group == "sign":
        return Token(Kind.SIGN, match["sign"], end)
    if group == "number":
        number = match["number"]
        if number[:2].lower() == "0x":
            raise QueryError(f'invalid expression: unable to parse value "{number}"')
        return Token(Kind.INTEGER if number.isdigit() else Kind.DECIMAL, number, end)
    name = match["name"]
    if name.upper() in RESERVED:
        return Token(Kind.WORD, name.upper(), end)
    return Token(Kind.NAME, name, end)


def _string(text: str, begin: int, quote: str, base: int) -> tuple[str, int]:
    """A string's value and the place behind its closing quote. Raises QueryError when there is none."""
    parts: list[str] = []
    place = begin
    while place < len(text):
        character = text[place]
        place += 1
        if character == "\\" and place < len(text):
            parts.append(_ESCAPES.get(text[place], text[place]))
            place += 1
        elif character != quote:
            parts.append(character)
        elif text[place : place + 1] == quote:
            parts.append(quote)
            place += 1
        else:
            return "".join(parts), place
    raise Token(Kind.STRING, "".join(parts), base + len(text)).unexpected()

"""A list filter's tokens as syntax: a recursive descent over a grammar of ten rules.

    filter     := [ either ] [ GROUP BY names ] [ ORDER BY ordered names ] [ ; ]
    either     := both { OR both }            both   := negated { AND negated }
    negated    := NOT negated | primary       primary := ( either ) | comparison
    comparison := operand [ sign operand | [NOT] IN (operands) | [NOT] BETWEEN operand AND operand
                          | [NOT] STARTS_WITH operand | IS [NOT] NULL ]
    operand    := name | string | number | TRUE | FALSE | NULL

Nothing is looked up here: whether a name exists and a value fits is `binding`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perdure.stores.visibility.query import QueryError
from perdure.stores.visibility.scanner import Kind, Token, scan

DEPTH_MAX = 64
"""Of parentheses and NOTs within one another."""
CONDITIONS_MAX = 250
"""In one filter, with the values of IN counted: what a database takes for one statement, with room."""


@dataclass(slots=True, frozen=True)
class Name:
    text: str


@dataclass(slots=True, frozen=True)
class Literal:
    value: str | int | float | bool | None


Operand = Name | Literal


@dataclass(slots=True, frozen=True)
class Comparison:
    left: Operand
    operator: str
    """Empty: the operand stands alone."""
    right: tuple[Operand, ...] = ()


@dataclass(slots=True, frozen=True)
class Not:
    term: Node


@dataclass(slots=True, frozen=True)
class Both:
    terms: tuple[Node, ...]


@dataclass(slots=True, frozen=True)
class Either:
    terms: tuple[Node, ...]


Node = Comparison | Not | Both | Either


@dataclass(slots=True, frozen=True)
class Syntax:
    """A filter as written; `where` None: it has no condition."""

    where: Node | None
    group_by: tuple[Operand, ...] = ()
    order_by: tuple[tuple[Operand, bool], ...] = ()
    """With True for DESC."""


_SIGNS = frozenset(("=", "!=", "<>", "<", "<=", ">", ">=", "<=>"))
_WORDS = frozenset(("LIKE", "REGEXP", "RLIKE", "STARTS_WITH"))


def parse(text: str) -> Syntax:
    """Raises QueryError, in Temporal's words, for what is not a filter."""
    return _Parser(scan(text)).filter()


class _Parser:
    """Stands at one token, and looks no further."""

    def __init__(self, tokens: Iterator[Token]) -> None:
        self._tokens = tokens
        self._token = next(tokens)
        self._depth = 0
        self._conditions = 0

    def _next(self) -> Token:
        token = self._token
        if token.kind is not Kind.END:
            self._token = next(self._tokens)
        return token

    def _is(self, *values: str) -> bool:
        """Whether this token is one of those words or signs."""
        return self._token.kind in (Kind.WORD, Kind.SIGN) and self._token.value in values

    def _accept(self, *values: str) -> bool:
        if self._is(*values):
            self._next()
            return True
        return False

    def _expect(self, value: str) -> None:
        if not self._accept(value):
            raise self._token.unexpected()

    def filter(self) -> Syntax:
        """The whole text."""
        where = None
        if self._token.kind is not Kind.END and not self._is("GROUP", "ORDER"):
            where = self._either()
        group_by: list[Operand] = []
        order_by: list[tuple[Operand, bool]] = []
        if self._accept("GROUP"):
            self._expect("BY")
            group_by.append(self._operand())
            while self._accept(","):
                group_by.append(self._operand())
        if self._accept("ORDER"):
            self._expect("BY")
            order_by.append(self._ordered())
            while self._accept(","):
                order_by.append(self._ordered())
        if where is not None and self._is("LIMIT"):
            raise QueryError("operation is not supported: 'LIMIT' clause")
        self._accept(";")
        if self._token.kind is not Kind.END:
            raise self._token.unexpected()
        return Syntax(where, tuple(group_by), tuple(order_by))

    def _ordered(self) -> tuple[Operand, bool]:
        operand = self._operand()
        if self._accept("DESC"):
            return operand, True
        self._accept("ASC")
        return operand, False

    def _either(self) -> Node:
        terms = [self._both()]
        while self._accept("OR", "||"):
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else Either(tuple(terms))

    def _both(self) -> Node:
        terms = [self._negated()]
        while self._accept("AND", "&&"):
            terms.append(self._negated())
        return terms[0] if len(terms) == 1 else Both(tuple(terms))

    def _negated(self) -> Node:
        if not self._is("NOT", "("):
            return self._comparison()
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise QueryError(f"operation is not supported: more than {DEPTH_MAX} levels of parentheses and NOT")
        if self._accept("NOT"):
            node: Node = Not(self._negated())
        else:
            self._next()
            node = self._either()
            self._expect(")")
        self._depth -= 1
        return node

    def _comparison(self) -> Comparison:
        if self._is("!"):
            raise QueryError("operation is not supported: expression of type *sqlparser.UnaryExpr")
        left = self._operand()
        token = self._token
        if token.kind is Kind.SIGN and token.value in _SIGNS:
            self._next()
            return Comparison(left, "!=" if token.value == "<>" else token.value, (self._operand(),))
        if self._accept("IS"):
            return Comparison(left, self._is_what())
        negation = "NOT " if self._accept("NOT") else ""
        token = self._token
        if self._accept("IN"):
            return Comparison(left, f"{negation}IN", self._operands())
        if self._accept("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return Comparison(left, f"{negation}BETWEEN", (low, self._operand()))
        if self._accept(*_WORDS):
            return Comparison(left, f"{negation}{token.value}", (self._operand(),))
        if negation:
            raise token.unexpected()
        return Comparison(left, "")

    def _is_what(self) -> str:
        negation = "NOT " if self._accept("NOT") else ""
        if self._accept("TRUE", "FALSE"):
            raise QueryError("invalid expression: 'IS' operator can only be used as 'IS NULL' or 'IS NOT NULL'")
        self._expect("NULL")
        return f"IS {negation}NULL"

    def _operands(self) -> tuple[Operand, ...]:
        self._expect("(")
        operands = [self._operand()]
        while self._accept(","):
            operands.append(self._operand())
        self._expect(")")
        return tuple(operands)

    def _operand(self) -> Operand:
        self._conditions += 1
        if self._conditions > 2 * CONDITIONS_MAX:
            raise QueryError(f"operation is not supported: more than {CONDITIONS_MAX} conditions in one query")
        sign = self._next().value if self._is("+", "-") else ""
        token = self._next()
        if token.kind in (Kind.INTEGER, Kind.DECIMAL):
            return Literal(_number(token, sign))
        if sign:
            raise token.unexpected()
        if token.kind is Kind.STRING:
            return Literal(token.value)
        if token.kind is Kind.NAME:
            if self._is("("):
                raise QueryError("operation is not supported: nested func")
            return Name(token.value)
        if token.kind is Kind.WORD and token.value in ("TRUE", "FALSE", "NULL"):
            return Literal({"TRUE": True, "FALSE": False, "NULL": None}[token.value])
        raise token.unexpected()


def _number(token: Token, sign: str) -> int | float:
    """What does not fit into 64 bits is a float, as in Temporal's server."""
    if token.kind is Kind.INTEGER:
        whole = int(f"{sign}{token.value}") if len(token.value) < 20 else 1 << 64
        if -(1 << 63) <= whole < 1 << 63:
            return whole
    return float(f"{sign}{token.value}")

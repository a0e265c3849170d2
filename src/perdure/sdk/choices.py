"""How a user names one of a few fixed values, the same way everywhere.

`IdReusePolicy.ALLOW_DUPLICATE`, "ALLOW_DUPLICATE", "allow_duplicate", "allow-duplicate" and "AllowDuplicate" are one
choice: case, underscores and hyphens do not count. The member of another enumeration, as Temporal's SDKs have them,
counts by its name, and the wire's long name (WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE) without what all of them begin
with. A number is no name: nobody who reads it knows what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum, StrEnum
from typing import Any, Self, TypeVar

E = TypeVar("E", bound=StrEnum)

_BETWEEN = re.compile(r"[\s_-]+")


class Numbered(StrEnum):
    """Fixed values that Temporal's API has too: each is a text, and knows its number there."""

    number: int

    def __new__(cls, value: str, number: int) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.number = number
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """The member of a number: `WorkflowStatus(1)`."""
        if type(value) is not int:
            return None
        return next((member for member in cls if member.number == value), None)


def member_of(
    kind: type[E],
    value: Any,
    argument: str,
    *,
    aliases: Mapping[str, str] | None = None,
    wire: str = "",
    error: type[ValueError] = ValueError,
) -> E:
    """The member of an enumeration that a user means.

    Args:
        kind: the enumeration.
        value: a member, or a name of one.
        argument: what the error calls it.
        aliases: other names of the same things, each with the value of its member.
        wire: what the wire's names of the members begin with, e.g. "PARENT_CLOSE_POLICY_".
        error: what is raised.

    Raises ValueError, or `error`, which lists the names.
    """
    if isinstance(value, kind):
        return value
    words = [member.value for member in kind]
    return kind(word_of(words, value, argument, aliases=aliases, wire=wire, error=error))


def word_of(
    words: Sequence[str],
    value: Any,
    argument: str,
    *,
    aliases: Mapping[str, str] | None = None,
    wire: str = "",
    error: type[ValueError] = ValueError,
) -> Any:
    """The one of `words` that a user means.

    Args:
        words: the names.
        value: a name, or the member of an enumeration with such a name.
        argument: what the error calls it.
        aliases: other names of the same things, each with its word.
        wire: what the wire's names begin with.
        error: what is raised.

    Raises ValueError, or `error`, which lists the words.
    """
    if type(value) is str and value in words:
        return value
    spelled = _folded(value.name if isinstance(value, Enum) else value) if isinstance(value, (str, Enum)) else ""
    known = {_folded(word): word for word in words}
    for name in (spelled, spelled.removeprefix(_folded(wire))):
        if name in known:
            return known[name]
        for alias, word in (aliases or {}).items():
            if name == _folded(alias):
                return word
    near = nearest(spelled, known)
    meant = f"; did you mean {_shown(known[near])}?" if near else ""
    raise error(f"{argument} must be one of {', '.join(map(_shown, words))}, not {value!r}{meant}")


def nearest(name: str, names: Iterable[str], alike: float = 0.6) -> str | None:
    """The one of `names` that somebody who wrote `name` meant, None when none is much like it.

    Args:
        alike: how much, from 0 (not at all) to 1 (the same).
    """
    found = get_close_matches(name, list(names), n=1, cutoff=alike)
    return found[0] if found else None


def _shown(word: str) -> str:
    """As the documents spell it: names of an enumeration in lower case."""
    return repr(word.lower() if word.isupper() else word)


def _folded(name: str) -> str:
    return _BETWEEN.sub("", name).casefold()

"""What an error may be made of, checked where the user writes it.

An error that history cannot hold would fail the attempt with something else than was meant, long after the line
that made it was gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Self, cast, overload

from perdure.sdk.texts import class_name, repr_of, text_of


def text(value: Any, what: str) -> str:
    """The text; raises TypeError, as all of these, for what is none."""
    if isinstance(value, str):
        return str.__str__(value)  # of a str-Enum its value
    raise TypeError(f"{what} must be a str, not {class_name(value)}: {repr_of(value, 100)}")


def message_text(value: Any, what: str) -> str:
    """The text. An exception stands for its own, as in any exception of Python's."""
    if isinstance(value, BaseException):
        return text_of(value) or class_name(value)
    return text(value, what)


def member(value: Any, kind: type[Enum], what: str) -> Any:
    """The member of an enum."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"{what} must be a member of {kind.__name__}, not {class_name(value)}: {repr_of(value, 100)}")


def flag(value: Any, what: str) -> bool:
    """True or False, and not what only counts as one: `non_retryable="no"` would be True."""
    if isinstance(value, bool):
        return value
    raise TypeError(f"{what} must be True or False, not {class_name(value)}: {repr_of(value, 100)}")


def number(value: Any, what: str) -> int:
    """The int."""
    if type(value) is int:
        return value
    raise TypeError(f"{what} must be an int, not {class_name(value)}: {repr_of(value, 100)}")


def sequence(values: Any, what: str) -> tuple[Any, ...]:
    """The values of a list or tuple.

    A text is a sequence of letters, too, and a dict one of keys: what the user meant would be lost without a word.
    """
    if isinstance(values, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(values, Sequence):
        kind, example = class_name(cast(object, values)), repr_of(cast(object, values), 100)
        raise TypeError(f"{what} must be a list or tuple of values, not {kind}: write {what}=[{example}]")
    return tuple(cast("Sequence[Any]", values))


class Unread:
    """Details that could not be read when their failure was. Reading is tried again whenever they are asked for.

    Args:
        read: returns them, or raises PayloadError.
    """

    def __init__(self, read: Callable[[], tuple[Any, ...]]) -> None:
        self.read = read


class Details:
    """An attribute: the values that a failure carries, as a tuple. Raises PayloadError where they cannot be read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._place = "_" + name

    @overload
    def __get__(self, error: None, owner: type) -> Self: ...
    @overload
    def __get__(self, error: Any, owner: type) -> tuple[Any, ...]: ...
    def __get__(self, error: Any, owner: type) -> Self | tuple[Any, ...]:
        if error is None:
            return self
        fields = cast("dict[str, Any]", error.__dict__)
        values = fields.get(self._place, ())
        if isinstance(values, Unread):
            values = fields[self._place] = values.read()
        return values

    def __set__(self, error: Any, values: Sequence[Any] | Unread) -> None:
        error.__dict__[self._place] = values if isinstance(values, Unread) else sequence(values, self._name)

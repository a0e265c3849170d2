"""Whatever somebody hands over as a text, as one that can be sent. Nothing here raises.

The wire's texts are UTF-8, and Python's need not be: a file name that is no UTF-8 comes from the
operating system with lone surrogates. And what is not a text has its own code for becoming one.
That code may raise, return something else, or make a gigabyte; an error must be told all the same.
"""

from __future__ import annotations

from typing import Any, cast

TEXT_MAX = 10_000
"""Characters of a text that somebody else's code made."""
NAME_MAX = 1_000
"""Characters of the name of a type."""
NOTES_MAX = 20
"""Notes of one exception."""

_name_of_class = type.__dict__["__name__"].__get__
"""The true name: a metaclass may say something else, or raise."""


def is_sendable(text: str) -> bool:
    """Whether UTF-8 can hold the text."""
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return False
    return True


def sendable(text: str) -> str:
    """The text as an exact `str` that UTF-8 can hold: a replacement character stands for each lone surrogate."""
    text = str.__str__(text)
    if is_sendable(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def check_text(text: str | None, what: str) -> None:
    """Raises ValueError when a text cannot be sent, TypeError when it is none. `what` is the argument's name."""
    if text is not None and not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users make it
        raise no_text(what, text)
    if text is not None and not is_sendable(text):
        raise unsendable(what, text)


def no_text(what: str, value: object) -> TypeError:
    """What is said to a number, or anything else, where a text belongs."""
    meant = getattr(value, "__name__", None) if callable(value) else None
    return TypeError(f"{what} must be a str, not {class_name(value)}: write {what}={str(meant or value)!r}")


def unsendable(what: str, text: str) -> ValueError:
    """What is said to a text that cannot be sent."""
    shown = ascii(text if len(text) <= 100 else text[:100] + "…")
    return ValueError(
        f"{what} cannot be sent: {shown} holds half a surrogate pair, as file names that are no UTF-8 do, and no UTF-8 "
        "can; text.encode('utf-8', 'replace').decode() is a text without it"
    )


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and how long it is."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def class_name(value: object) -> str:
    """The name of a value's class, as it can be sent."""
    name = shortened(sendable(_name_of_class(type(value))), NAME_MAX)
    return name if name.strip() else "a class without a name"


def text_of(value: Any, limit: int = TEXT_MAX) -> str:
    """What `str` says of a value, as it can be sent, of bounded length; if `str` fails, what failed."""
    try:
        return sendable(shortened(str.__str__(value if issubclass(type(value), str) else str(value)), limit))
    except BaseException as problem:  # whatever a user's __str__ raises must not hide what is being told
        return f"{class_name(value)} (its text could not be made: {class_name(problem)})"


def repr_of(value: Any, limit: int = NAME_MAX) -> str:
    """What `repr` says of a value, else as `text_of`."""
    try:
        return sendable(shortened(str.__str__(repr(value)), limit))
    except BaseException as problem:  # as above
        return f"<{class_name(value)}, whose repr() raises {class_name(problem)}>"


def field_of(value: object, name: str) -> Any:
    """An attribute; None if there is none, or if asking for it raises."""
    try:
        return object.__getattribute__(value, name)  # not by what the class has made of asking
    except BaseException:  # a property's own code, that of a user
        return None


def notes_of(error: BaseException, limit: int = TEXT_MAX) -> str:
    """What `add_note` added, each on a new line; "" without notes. At most `limit` characters."""
    try:
        notes = getattr(error, "__notes__", None)
        if not notes:
            return ""
        kept: list[Any] = cast("list[Any]", notes)[:NOTES_MAX] if isinstance(notes, (list, tuple)) else [notes]
        return shortened("".join("\n" + text_of(note, limit) for note in kept), limit)
    except BaseException as problem:  # an attribute like any other: a user's property perhaps
        return f"\n(its notes could not be read: {class_name(problem)})"

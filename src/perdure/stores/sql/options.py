"""Options of a store's URL that mean the same for every database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from perdure.stores.api import StoreError

Value = TypeVar("Value")


def read_option(
    options: Mapping[str, str], option: str, default: str, shown: str, read: Callable[[str], Value]
) -> Value:
    """The value of an option, which `read` reads or refuses by ValueError.

    Args:
        options: those of the URL.
        default: what it is if the URL does not say.
        shown: the URL as it may be read by anybody.

    Raises:
        StoreError: it is refused.
    """
    try:
        return read(options.get(option, default))
    except ValueError as error:
        raise StoreError(f"The store URL {shown!r} says {option}={options[option]}: {error}.") from error


def boolean(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        raise ValueError("write true or false")
    return text == "true"


def positive(text: str) -> int:
    """How many connections."""
    if not text.isdecimal() or not 0 < int(text) <= 100:
        raise ValueError("write a number from 1 to 100")
    return int(text)


def seconds(text: str) -> float:
    """A time-out."""
    try:
        parsed = float(text)
    except ValueError:
        parsed = 0.0
    if not 0.0 < parsed <= 3600.0:
        raise ValueError("write seconds, 3600 at most")
    return parsed

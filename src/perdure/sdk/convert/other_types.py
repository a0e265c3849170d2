"""Types that msgspec does not know and people use: what they are in JSON, and how an annotation finds them again.

Subclasses of `str`, `int`, `float` and `bytes` are their base's value, ip addresses a text, and the containers of
`collections` lists and objects. An abstract annotation such as `Iterable[int]` gets a list. What has no way back,
or more than one, is refused with its name, and not guessed at.
"""

from __future__ import annotations

import collections
import collections.abc as abc
import ipaddress
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec

IP_TYPES: tuple[type, ...] = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
_LISTS = frozenset((abc.Iterable, abc.Reversible, abc.Container))
"""Abstract annotations that a list satisfies, beyond those that msgspec knows."""

NOTHING: Any = object()
"""No value: the type is none of these."""


def encoded(value: Any) -> Any:
    """What a value of such a type is in JSON; NOTHING for other types."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):  # True as a key would be "1"
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, IP_TYPES):
        return str(value)
    if isinstance(value, (collections.deque, collections.UserList)):
        return list(cast("collections.deque[Any]", value))
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    return NOTHING


def decoded(kind: Any, value: Any, hook: Any) -> Any:
    """The value of an annotation of such a type, from what JSON had; NOTHING for other annotations.

    Args:
        hook: msgspec's, for what is inside.

    Raises whatever msgspec and the type itself raise.
    """
    origin: Any = get_origin(kind) or kind
    args = get_args(kind)

    def convert(wanted: Any) -> Any:
        return msgspec.convert(value, wanted, str_keys=True, dec_hook=hook)

    if origin in _LISTS:
        return convert(_of(list, args or (Any,)))
    if origin is abc.Iterator:
        return iter(convert(_of(list, args or (Any,))))
    if not isinstance(origin, type):
        return NOTHING
    if issubclass(origin, collections.defaultdict):
        return _defaultdict(origin, args, convert)
    if issubclass(origin, collections.Counter):
        return _made(origin, convert(_of(dict, (args[0] if args else str, int))))
    if issubclass(origin, (dict, collections.UserDict)):
        return _made(origin, convert(_of(dict, args) if len(args) == 2 else _base(origin, dict)))
    if issubclass(origin, (list, set, frozenset, collections.deque, collections.UserList)):
        return _made(origin, convert(_of(list, args) if args else _base(origin, list)))
    return NOTHING if args else _plain(origin, convert)


def _of(container: Any, args: tuple[Any, ...]) -> Any:
    return container[args]


def _made(kind: Any, value: Any) -> Any:
    return kind(value)


def _plain(kind: Any, convert: Any) -> Any:
    """A subclass of a plain type, or an ip address."""
    if issubclass(kind, IP_TYPES):
        return kind(convert(str))
    for base in (str, int, float, bytes, bytearray):
        if issubclass(kind, base):
            return kind(convert(base))
    return NOTHING


def _defaultdict(kind: Any, args: tuple[Any, ...], convert: Any) -> Any:
    """The factory of a defaultdict cannot be written; the annotation of its values says it, as pydantic has it."""
    if not args:
        raise TypeError("a defaultdict's factory is not in JSON: annotate it as defaultdict[str, int], or as a dict")
    factory: Any = get_origin(args[1]) or args[1]
    if factory not in (int, float, str, bool, list, dict, set, frozenset, tuple):
        raise TypeError(f"a defaultdict's factory is not in JSON, and {factory} says of none: annotate it as a dict")
    return kind(factory, convert(_of(dict, args)))


def _base(kind: Any, container: Any) -> Any:
    """`list[int]` of a `class Tags(list[int])`; the bare container where nothing is said."""
    for base in getattr(kind, "__orig_bases__", ()):
        inner = get_args(base)
        if inner and not any(isinstance(arg, TypeVar) for arg in inner):
            return _of(container, inner)
    return container

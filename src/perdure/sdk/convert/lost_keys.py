"""Dicts two of whose keys are one in JSON, such as `{1: "a", "1": "b"}`: one value would be lost without a word.

Every value that is encoded is asked, so asking is cheap. What cannot hold such a dict (a text, a number, a dataclass
of nothing else, by its annotations) is known by its type. Of the rest the JSON is read and written once more, in C:
where a key was lost it comes out shorter. Only then is the value itself searched.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

LISTS = (list, tuple, set, frozenset, collections.deque, collections.UserList)
"""What becomes a list in JSON."""

_PLAIN: frozenset[Any] = frozenset(
    (str, int, float, bool, NoneType, bytes, bytearray, Decimal, UUID, datetime, date, time, timedelta)
)
_safe: dict[Any, bool] = dict.fromkeys(_PLAIN, True)
"""Whether a type can hold no such dict; grows by the classes that are met."""

_TEXT: frozenset[Any] = frozenset((str,))
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


def lost_key(value: Any, data: bytes) -> str:
    """Two keys in the value that are one in JSON, as a person would write them; "": there are none.

    Args:
        data: its JSON.
    """
    kind: Any = value.__class__
    if kind in _PLAIN or b"{" not in data or _is_shallow(kind, value) or _is_safe_kind(kind) or _comes_back(data):
        return ""
    return _search(value)


def _is_safe_kind(kind: Any) -> bool:
    safe = _safe.get(kind)
    if safe is None:
        safe = _safe[kind] = _is_safe(kind, ())
    return safe


def _is_shallow(kind: Any, value: Any) -> bool:
    """Whether it is a list of safe values, or a dict of them by texts."""
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return False
    return _PLAIN.issuperset(map(type, value)) or all(map(_is_safe_kind, set(map(type, value))))


def _comes_back(data: bytes) -> bool:
    try:
        return len(_encode(_decode(data))) == len(data)
    except msgspec.MsgspecError:  # a number that is not read without being asked for: look at the value itself
        return False


def _search(value: Any) -> str:
    open_ = [value]
    while open_:
        part = open_.pop()
        if isinstance(part, Mapping):
            lost = _lost_in(cast("Mapping[Any, Any]", part))
            if lost:
                return lost
        open_.extend(_parts(part))
    return ""


def _lost_in(mapping: Mapping[Any, Any]) -> str:
    seen: dict[bytes, Any] = {}
    for key in mapping:
        text = _encode({key: None})
        if text in seen:
            return f"{seen[text]!r} and {key!r}"
        seen[text] = key
    return ""


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).values()
    if isinstance(value, LISTS):
        return cast("list[Any]", value)
    return [getattr(value, name, None) for name in field_names(type(value))]


def field_names(kind: Any) -> list[str]:
    """The fields of a dataclass, a Struct or a pydantic model; of other classes none."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    return list(cast("dict[str, Any]", getattr(kind, "model_fields", {})))


def _is_safe(hint: Any, within: tuple[Any, ...]) -> bool:
    """Whether a value of that annotation can hold no dict of keys of several types. `within`: classes being asked."""
    if _safe.get(hint) or hint in within or get_origin(hint) is Literal:
        return True
    origin, args = get_origin(hint), get_args(hint)
    if origin in (list, set, frozenset, tuple, Union, UnionType):
        return all(arg is Ellipsis or _is_safe(arg, within) for arg in args)
    if origin is dict:
        return args[0] is str and _is_safe(args[1], within)
    if not isinstance(hint, type) or not (dataclasses.is_dataclass(hint) or issubclass(hint, (msgspec.Struct, Enum))):
        return False
    if issubclass(hint, Enum):
        return True
    try:
        hints = get_type_hints(hint)
    except Exception:  # a name that is not there any more: it is looked at, then, each time
        return False
    return all(_is_safe(hints.get(name, Any), (*within, hint)) for name in field_names(hint))

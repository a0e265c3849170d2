"""Which Python types become which JSON, and how an annotation finds its decoder.

msgspec does nearly all of it in C: dataclasses, Structs, TypedDict, NamedTuple, enums, datetime,
UUID, Decimal, sets, bytes. What it does not know comes through two hooks: pydantic models (by
their methods, so that pydantic is never imported here unless its user did), paths, and what
`other_types.py` knows.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, cast, get_origin

import msgspec

from perdure.sdk.convert import other_types
from perdure.sdk.convert.lost_keys import LISTS, field_names, lost_key
from perdure.sdk.convert.other_types import NOTHING
from perdure.sdk.errors import PayloadError
from perdure.sdk.texts import repr_of, text_of

JsonDecoder = Callable[[bytes], Any]


def _is_model(kind: Any) -> bool:
    """Whether a class is a pydantic model (v2), told by what it can do."""
    return isinstance(kind, type) and hasattr(kind, "model_validate_json") and hasattr(kind, "model_dump_json")


def _encode_hook(value: Any) -> Any:
    if _is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, PurePath):
        return str(value)
    plain = other_types.encoded(value)
    if plain is not NOTHING:
        return plain
    raise NotImplementedError(f"values of type {type_name(type(value))} have no JSON form")


def _decode_hook(kind: Any, value: Any) -> Any:
    if _is_model(kind):
        return kind.model_validate_json(msgspec.json.encode(value))
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return kind(value)
    found = other_types.decoded(kind, value, _decode_hook)
    if found is not NOTHING:
        return found
    if isinstance(value, get_origin(kind) or kind):
        return value
    raise NotImplementedError(f"{type_name(kind)} has no JSON form")


def type_name(kind: Any) -> str:
    """As a person would write it in an annotation."""
    if isinstance(kind, type):
        return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return text_of(kind, 1_000)


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)
_decode_untyped = msgspec.json.Decoder().decode


_BUILT_IN = frozenset((dict, list, tuple, str, int, float, bool))
"""What most values are."""


def encode_json(value: Any) -> bytes:
    """Raises whatever msgspec or a model's own code raises; `find_unserialisable` then says where.

    A float that JSON cannot write would silently become null, and of two keys that are one in JSON one would be lost:
    both are refused instead.
    """
    kind: Any = value.__class__
    is_model = kind not in _BUILT_IN and _is_model(kind)
    data = value.model_dump_json(by_alias=True).encode() if is_model else _encoder.encode(value)
    if b"null" in data and _has_odd_float(value):
        raise ValueError("JSON has no nan and no infinity")
    lost = lost_key(value, data)
    if lost:
        raise ValueError(f"its keys {lost} are one and the same in JSON")
    return data


def _has_odd_float(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if value is None or isinstance(value, (str, int)):
        return False
    if isinstance(value, Mapping):
        return any(map(_has_odd_float, cast("Mapping[Any, Any]", value).values()))
    if isinstance(value, LISTS):
        return any(map(_has_odd_float, cast("list[Any]", value)))
    return any(_has_odd_float(getattr(value, name)) for name in field_names(type(value)))


_decoders: dict[Any, JsonDecoder] = {Any: _decode_untyped, object: _decode_untyped}


def decoder_for(kind: Any) -> JsonDecoder:
    """The decoder of an annotation, built once per type.

    Raises PayloadError when the annotation cannot be decoded to.
    """
    try:
        found = _decoders.get(kind)
    except TypeError:  # an unhashable annotation, e.g. Annotated with a dict: build it each time
        return _build(kind)
    if found is None:
        found = _decoders[kind] = _build(kind)
    return found


def _build(kind: Any) -> JsonDecoder:
    if _is_model(kind):
        return kind.model_validate_json
    try:
        return msgspec.json.Decoder(kind, dec_hook=_decode_hook).decode
    except (TypeError, NameError) as error:
        adapter = _pydantic_adapter(kind)
        if adapter is not None:
            return adapter
        raise PayloadError(f"cannot decode to the annotation {type_name(kind)}: {text_of(error)}") from error


def _pydantic_adapter(kind: Any) -> JsonDecoder | None:
    """For what msgspec refuses (a union of two dataclasses): pydantic, where the process has it loaded already."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return None
    try:
        return pydantic.TypeAdapter(kind).validate_json
    except Exception:  # its schema errors have no common base; the caller then reports msgspec's reason
        return None


def find_unserialisable(value: Any, path: str = "value", depth: int = 0) -> tuple[str, Any]:
    """The path to, and the value of, the first part that has no JSON form; the whole when no part alone is it."""
    for key in _keys(value):
        if not _encodes({key: None}):
            return f"{path} (its key {repr_of(key, 100)})", key
    if depth < 50:
        for name, part in _parts(value):
            if not _encodes(part):
                return find_unserialisable(part, path + name, depth + 1)
    return path, value


def _keys(value: Any) -> list[Any]:
    return list(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else []


def _encodes(value: Any) -> bool:
    try:
        encode_json(value)
    except Exception:  # asking "does it encode?" of foreign code: any error is the answer no
        return False
    return True


def _parts(value: Any) -> list[tuple[str, Any]]:
    """The members of a value, each with what leads to it."""
    if isinstance(value, Mapping):
        return [(f"[{repr_of(key, 100)}]", part) for key, part in cast("Mapping[Any, Any]", value).items()]
    if isinstance(value, LISTS):
        return [(f"[{index}]", part) for index, part in enumerate(cast("list[Any]", value))]
    return [(f".{name}", getattr(value, name, None)) for name in field_names(type(value))]

"""Search attributes: values of a run by which runs are listed and counted. Typed, small, and never encrypted.

    engine.start(fulfil, order, id=order.id, search_attributes={"CustomerId": order.customer, "Amount": 42.5})
    workflow.upsert_search_attributes({"Stage": "shipped"})

A name has one type, which the server knows it by. It follows from the value: text is a Keyword, an int an Int, a
float a Double, a bool a Bool, a datetime a Datetime, a list of texts a KeywordList. What does not follow (a Text,
which is searched by its words, or a whole number that is a Double) is said by a key: `SearchAttribute.text("Note")`.

On the wire a value is plain JSON with its type beside it, as Temporal's SDKs write it; a codec does not touch it, for
the server must read it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

import msgspec
from temporalio.api.common.v1 import Payload

from perdure.sdk.errors import PayloadError
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import YEARS, shown
from perdure.sdk.texts import unsendable


class SearchAttributeType(StrEnum):
    """What the values of a search attribute are."""

    TEXT = "Text"
    """Text, found by any of its words."""
    KEYWORD = "Keyword"
    """Text, found as a whole."""
    INT = "Int"
    """Whole numbers of 64 bits."""
    DOUBLE = "Double"
    """Numbers."""
    BOOL = "Bool"
    """True or False."""
    DATETIME = "Datetime"
    """Times that know their zone."""
    KEYWORD_LIST = "KeywordList"
    """Several texts, each found as a whole."""


K = SearchAttributeType

_TYPE = "type"
_JSON = {"encoding": b"json/plain"}
_NULL = {"encoding": b"binary/null"}


@lists_options
@dataclass(frozen=True, slots=True)
class SearchAttribute:
    """A name and its type. Making one raises nothing: what cannot be is refused where it is registered or set."""

    name: str
    type: SearchAttributeType

    @staticmethod
    def keyword(name: str) -> SearchAttribute:
        """A text that is compared as a whole."""
        return SearchAttribute(name, K.KEYWORD)

    @staticmethod
    def text(name: str) -> SearchAttribute:
        """A text that is searched by its words."""
        return SearchAttribute(name, K.TEXT)

    @staticmethod
    def int(name: str) -> SearchAttribute:
        """A whole number."""
        return SearchAttribute(name, K.INT)

    @staticmethod
    def double(name: str) -> SearchAttribute:
        """A number."""
        return SearchAttribute(name, K.DOUBLE)

    @staticmethod
    def bool(name: str) -> SearchAttribute:
        """Yes or no."""
        return SearchAttribute(name, K.BOOL)

    @staticmethod
    def datetime(name: str) -> SearchAttribute:
        """A moment; a datetime with its time zone."""
        return SearchAttribute(name, K.DATETIME)

    @staticmethod
    def keyword_list(name: str) -> SearchAttribute:
        """Several texts, each compared as a whole."""
        return SearchAttribute(name, K.KEYWORD_LIST)


SearchAttributes = Mapping[str | SearchAttribute, Any] | Mapping[str, Any] | Mapping[SearchAttribute, Any]
"""Values by name, or by typed key."""


def payloads_of(values: SearchAttributes, *, removing: bool = False) -> dict[str, Payload]:
    """As they are sent. `removing`: None takes a value away; else it is no value.

    Raises:
        PayloadError: a value of no type that there is, or not of its key's; names the attribute.
    """
    return {_name(key): _payload(key, value, removing=removing) for key, value in values.items()}


def value_of(payload: Payload) -> Any:
    """What a payload says; a datetime for a Datetime, by the type that stands beside the value."""
    if payload.metadata.get("encoding", b"") == b"binary/null" or not payload.data:
        return None
    value = msgspec.json.decode(payload.data)
    kind = payload.metadata.get(_TYPE, b"").decode()
    if kind == "Datetime" and isinstance(value, str):
        return datetime.fromisoformat(value)
    if kind == "Double" and isinstance(value, int):
        return float(value)
    if kind == "KeywordList" and isinstance(value, str):
        return [value]
    return value


def values_of(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """All of them, by name, in the order of their names."""
    return {name: value_of(fields[name]) for name in sorted(fields)}


def _name(key: str | SearchAttribute) -> str:
    name = key.name if isinstance(key, SearchAttribute) else key
    if not name:
        raise PayloadError("a search attribute needs a name")
    return name


def _payload(key: str | SearchAttribute, value: Any, *, removing: bool) -> Payload:
    name = _name(key)
    given = key.type if isinstance(key, SearchAttribute) else None
    if value is None:
        if not removing:
            raise PayloadError(f"the search attribute {name!r} has no value; leave it out")
        return Payload(metadata=_NULL if given is None else {**_NULL, _TYPE: given.encode()})
    kind = given or _type_of(name, value)
    if not _fits(value, kind):
        raise PayloadError(f"the search attribute {name!r} is a {kind}, and {shown(value)} is none")
    try:
        data = msgspec.json.encode(_plain(name, value))
    except UnicodeEncodeError as error:
        raise PayloadError(str(unsendable(f"the search attribute {name!a}", error.object))) from None
    return Payload(metadata={**_JSON, _TYPE: kind.encode()}, data=data)


def _type_of(name: str, value: Any) -> SearchAttributeType:
    for kind in (K.KEYWORD, K.BOOL, K.INT, K.DOUBLE, K.DATETIME, K.KEYWORD_LIST):
        if _fits(value, kind) and not (kind == "Double" and isinstance(value, int)):
            return kind
    raise PayloadError(
        f"the search attribute {name!r} cannot be {shown(value)}: text, int of 64 bits, float, bool, datetime of the "
        f"years {YEARS[0]} to {YEARS[-1]}, or a list of texts"
    )


def _fits(value: Any, kind: SearchAttributeType) -> bool:
    match kind:
        case K.KEYWORD | K.TEXT:
            return isinstance(value, str)
        case K.BOOL:
            return isinstance(value, bool)
        case K.INT:
            return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        case K.DOUBLE:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        case K.DATETIME:
            return isinstance(value, datetime) and value.year in YEARS
        case K.KEYWORD_LIST:
            return isinstance(value, (list, tuple, set, frozenset)) and all(
                isinstance(item, str) for item in cast("Sequence[Any]", value)
            )


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise PayloadError(f"the search attribute {name!r} needs a datetime with a time zone, not {value!r}")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(cast("set[str]", value))
    return value

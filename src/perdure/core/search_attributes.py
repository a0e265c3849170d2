"""Search attributes: what a run may say of itself so that it can be found, and of which type it must be.

System attributes are facts of the run and nobody sets them. Predefined ones are set by SDKs and by the
server itself. Custom ones are registered by a namespace. A value comes as a payload of JSON; the server
writes the type beside it, and by that type it is indexed. Wording is that of Temporal's server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, cast

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload

from perdure.api.times import LONG_MAX, LONG_MIN, timestamp_ns


class IndexedType(IntEnum):
    """`temporal.api.enums.v1.IndexedValueType`."""

    TEXT = 1
    KEYWORD = 2
    INT = 3
    DOUBLE = 4
    BOOL = 5
    DATETIME = 6
    KEYWORD_LIST = 7


TYPE_NAMES: Mapping[int, str] = {
    IndexedType.TEXT: "Text",
    IndexedType.KEYWORD: "Keyword",
    IndexedType.INT: "Int",
    IndexedType.DOUBLE: "Double",
    IndexedType.BOOL: "Bool",
    IndexedType.DATETIME: "Datetime",
    IndexedType.KEYWORD_LIST: "KeywordList",
}
"""As payloads and messages spell them."""
_TYPES = {name: IndexedType(number) for number, name in TYPE_NAMES.items()}

SYSTEM: Mapping[str, IndexedType] = {
    "CloseTime": IndexedType.DATETIME,
    "ExecutionDuration": IndexedType.INT,
    "ExecutionStatus": IndexedType.KEYWORD,
    "ExecutionTime": IndexedType.DATETIME,
    "HistoryLength": IndexedType.INT,
    "HistorySizeBytes": IndexedType.INT,
    "ParentRunId": IndexedType.KEYWORD,
    "ParentWorkflowId": IndexedType.KEYWORD,
    "PerdureMemoKeys": IndexedType.KEYWORD_LIST,
    "RootRunId": IndexedType.KEYWORD,
    "RootWorkflowId": IndexedType.KEYWORD,
    "RunId": IndexedType.KEYWORD,
    "StartTime": IndexedType.DATETIME,
    "StateTransitionCount": IndexedType.INT,
    "TaskQueue": IndexedType.KEYWORD,
    "WorkflowId": IndexedType.KEYWORD,
    "WorkflowType": IndexedType.KEYWORD,
}
"""Facts of a run, which nobody sets. `PerdureMemoKeys`, the names in its memo, is ours; the others are Temporal's."""

PREDEFINED: Mapping[str, IndexedType] = {
    "BatcherNamespace": IndexedType.KEYWORD,
    "BatcherUser": IndexedType.KEYWORD,
    "BinaryChecksums": IndexedType.KEYWORD_LIST,
    "BuildIds": IndexedType.KEYWORD_LIST,
    "TemporalChangeVersion": IndexedType.KEYWORD_LIST,
    "TemporalExternalPayloadCount": IndexedType.INT,
    "TemporalExternalPayloadSizeBytes": IndexedType.INT,
    "TemporalNamespaceDivision": IndexedType.KEYWORD,
    "TemporalPauseInfo": IndexedType.KEYWORD_LIST,
    "TemporalReportedProblems": IndexedType.KEYWORD_LIST,
    "TemporalSchedulePaused": IndexedType.BOOL,
    "TemporalScheduledById": IndexedType.KEYWORD,
    "TemporalScheduledStartTime": IndexedType.DATETIME,
    "TemporalUsedWorkerDeploymentVersions": IndexedType.KEYWORD_LIST,
    "TemporalWorkerDeployment": IndexedType.KEYWORD,
    "TemporalWorkerDeploymentVersion": IndexedType.KEYWORD,
    "TemporalWorkflowVersioningBehavior": IndexedType.KEYWORD,
}
"""Known to every namespace, and set by SDKs and the server."""

VALUE_BYTES_MAX = 2 * 1024
TOTAL_BYTES_MAX = 40 * 1024
COUNT_MAX = 100

Value = str | int | float | bool
Row = tuple[str, int, Value]
"""What an index holds: name, type, value; times in nanoseconds, a list as several rows, a text as its words."""


def is_reserved(name: str) -> bool:
    """Whether nobody may register that name."""
    return name in SYSTEM or name in PREDEFINED or name.startswith("Temporal")


class BadSearchAttribute(Exception):
    """An attribute that cannot be set: unknown, of another type, or too large; the message says which."""


def check(fields: Mapping[str, Payload], namespace: str, type_of: Callable[[str, str, int], int]) -> None:
    """Judge attributes that are to be set, and write beside each value its type.

    `type_of` knows what the namespace registered, as `Context.attribute_type`. Raises BadSearchAttribute.
    """
    if len(fields) > COUNT_MAX:
        raise BadSearchAttribute(f"number of search attributes {len(fields)} exceeds limit {COUNT_MAX}")
    total = 0
    # In order, so that of several faults the same one is told each time.
    for name in sorted(fields):
        payload = fields[name]
        if name in SYSTEM:
            raise BadSearchAttribute(f"{name} attribute can't be set in SearchAttributes")
        indexed_as = PREDEFINED.get(name) or type_of(namespace, name, _declared(payload))
        if not indexed_as:
            raise BadSearchAttribute(f"Namespace {namespace} has no mapping defined for search attribute {name}")
        size = len(payload.data)
        if size > VALUE_BYTES_MAX:  # before it is decoded, which takes its time
            raise BadSearchAttribute(f"search attribute {name} value size {size} exceeds size limit {VALUE_BYTES_MAX}")
        _check_value(name, payload, indexed_as)
        total += size + len(name)
        payload.metadata["type"] = TYPE_NAMES[indexed_as].encode()
    if total > TOTAL_BYTES_MAX:
        raise BadSearchAttribute(f"total size of search attributes {total} exceeds size limit {TOTAL_BYTES_MAX}")


_DOUBLE_MAX = float.fromhex("0x1.fffffffffffffp+1023")
"""JSON's integers have no bound; those beyond this are no double."""


def _declared(payload: Payload) -> int:
    """The type that a value says it has, 0 when it says none."""
    return _TYPES.get(payload.metadata.get("type", b"").decode(errors="replace"), 0)


def _check_value(name: str, payload: Payload, indexed_as: int) -> None:
    """Raises BadSearchAttribute when the payload is no value of that type."""
    type_name = TYPE_NAMES[indexed_as]
    try:
        value = _decoded(payload)
    except ValueError as error:
        shown = f"{{{' '.join(str(payload).split())}}}"
        raise BadSearchAttribute(
            f"invalid value for search attribute {name} of type {type_name}: value from {shown}"
        ) from error
    if value is not None and _typed(value, indexed_as) is None:
        raise BadSearchAttribute(f"invalid value for search attribute {name} of type {type_name}: {_shown(value)}")


def _decoded(payload: Payload) -> Any:
    """The JSON value of a payload; None for a null and an empty list. Raises ValueError."""
    encoding = payload.metadata.get("encoding", b"")
    if encoding == b"binary/null":
        return None
    if encoding == b"binary/plain":
        return list(payload.data)
    if encoding != b"json/plain":
        raise ValueError(f"a search attribute is JSON, not {encoding!r}")
    try:
        value = msgspec.json.decode(payload.data)
    except RecursionError as error:
        raise ValueError("JSON that is nested without end") from error
    return None if value == [] else value


def _typed(value: Any, indexed_as: int) -> list[Value] | None:
    """The values that an index holds of this one: none, one, several of a list; None when it is of another type."""
    if indexed_as == IndexedType.KEYWORD_LIST:
        if not isinstance(value, list):
            return None
        texts = cast(list[Any], value)
        # The one type of which several are one value.
        return texts if all(isinstance(text, str) for text in texts) else None
    if isinstance(value, list):
        # A single value may come in a list, as Temporal's SDKs send it.
        several = cast(list[Any], value)
        if len(several) != 1:
            return None
        value = several[0]
    # Python's booleans are integers too, so they are asked for first and refused behind.
    if indexed_as == IndexedType.BOOL:
        return [value] if isinstance(value, bool) else None
    if indexed_as == IndexedType.DATETIME:
        moment = parse_time(value) if isinstance(value, str) else None
        # At an index's own bounds a time is not told apart from one beyond them.
        return None if moment in (None, LONG_MIN, LONG_MAX) else [moment]
    if isinstance(value, bool):
        return None
    if indexed_as == IndexedType.INT:
        return [value] if isinstance(value, int) and LONG_MIN <= value <= LONG_MAX else None
    if indexed_as == IndexedType.DOUBLE:
        return [float(value)] if isinstance(value, int | float) and abs(value) <= _DOUBLE_MAX else None
    if not isinstance(value, str):
        return None
    # A text is found by its words. One without any is set all the same, so it holds one empty word.
    return [value] if indexed_as == IndexedType.KEYWORD else list[Value](words(value)) or [""]


def parse_time(text: str) -> int | None:
    """RFC 3339 as nanoseconds since the epoch, the nearest that an index can hold; None when it is no time."""
    moment = Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError:
        return None
    return timestamp_ns(moment)


_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """What a text is searched by: its words, each once, in small letters."""
    return sorted(set(_WORD.findall(text.lower())))


def _shown(value: Any) -> str:
    """A value as Temporal's server shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        # No deeper: it may be nested a thousand times.
        inner = ["[...]" if isinstance(one, list) else _shown(one) for one in cast(list[Any], value)]
        return f"[{' '.join(inner)}]"
    if isinstance(value, dict):
        return "map[...]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def index_rows(attributes: Mapping[str, bytes]) -> list[Row]:
    """What an index holds of a run's attributes (serialised payloads by name); one without a type is in no index."""
    rows: dict[Row, None] = {}
    for name, data in attributes.items():
        payload = Payload.FromString(data)
        indexed_as = _declared(payload)
        if indexed_as:
            rows.update(dict.fromkeys((name, int(indexed_as), value) for value in _values(payload, indexed_as)))
    return list(rows)


def _values(payload: Payload, indexed_as: int) -> Iterable[Value]:
    try:
        value = _decoded(payload)
    except ValueError:
        return ()  # it was never checked: an import from elsewhere
    return () if value is None else _typed(value, indexed_as) or ()

"""Histories as bytes: a batch of events is stored once and served as it was stored.

A serialised `temporal.api.history.v1.History` is its events, each behind the tag of field 1 and
its length; so serialised histories concatenate into a valid one, and a stored batch is never
parsed to be put into a response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import History, HistoryEvent

from perdure.api.depth import decode
from perdure.api.failures import bounded

_EVENTS_TAG = b"\x0a"
"""Field 1 (`events`), wire type 2 (length-delimited)."""


def encode_batch(events: Sequence[bytes]) -> bytes:
    """Serialised events as one serialised `History`, without copying them into one first."""
    parts: list[bytes] = []
    for data in events:
        parts += (_HEADS[len(data)], data)
    return b"".join(parts)


def split_batch(data: bytes) -> list[bytes]:
    """The serialised events of one batch, or of several concatenated: what `encode_batch` was given.

    Raises ValueError when the bytes are not such a History.
    """
    events: list[bytes] = []
    at = 0
    while at < len(data):
        if data[at] != _EVENTS_TAG[0]:
            raise ValueError(f"no event begins at byte {at} of a batch")
        size, shift, byte = 0, 0, 0x80
        while byte >= 0x80:
            at += 1
            byte = data[at] if at < len(data) else 0
            size |= (byte & 0x7F) << shift
            shift += 7
        begin, at = at + 1, at + 1 + size
        if at > len(data):
            raise ValueError("the last event of a batch is cut short")
        events.append(data[begin:at])
    return events


def decode_batch(data: bytes) -> Sequence[HistoryEvent]:
    """The events of one batch, or of several concatenated. Raises DecodeError when the bytes are not a History.

    Failures deeper than they are kept today were stored by an older perdure: they are shortened.
    """
    events = decode(History, data).events
    for event in events:
        if event.event_type in _FAILING:
            _shorten(event)
    return events


def decode_event(data: bytes) -> HistoryEvent:
    """One event, as `decode_batch` reads it. Raises DecodeError."""
    event = decode(HistoryEvent, data)
    if event.event_type in _FAILING:
        _shorten(event)
    return event


def _shorten(event: HistoryEvent) -> None:
    holder: Any = getattr(event, _FAILING[event.event_type])
    if holder.DESCRIPTOR.name == _UPDATE_COMPLETED:
        holder = holder.outcome
    for name in _FAILURE_FIELDS:
        if name in holder.DESCRIPTOR.fields_by_name and holder.HasField(name):
            failure: Failure = getattr(holder, name)
            kept = bounded(failure)
            if kept is not failure:
                failure.CopyFrom(kept)


_FAILURE_FIELDS = ("failure", "last_failure", "continued_failure")
_UPDATE_COMPLETED = "WorkflowExecutionUpdateCompletedEventAttributes"
_FAILING = {
    getattr(EventType, f"EVENT_TYPE_{name.removesuffix('_event_attributes').upper()}"): name
    for name, field in HistoryEvent.DESCRIPTOR.fields_by_name.items()
    if field.message_type is not None
    and (
        field.message_type.name == _UPDATE_COMPLETED
        or any(inner in field.message_type.fields_by_name for inner in _FAILURE_FIELDS)
    )
}
"""Types of the events that may hold a failure -> the name of their attributes."""


class _Heads(dict[int, bytes]):
    """What stands before an event, by its size in bytes: at hand for the usual ones."""

    def __missing__(self, size: int) -> bytes:
        return _EVENTS_TAG + _varint(size)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_HEADS = _Heads((size, _EVENTS_TAG + _varint(size)) for size in range(1024))

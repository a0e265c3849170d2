"""Histories as bytes: a batch of events is stored once and served as it was stored.

A serialised `temporal.api.history.v1.History` is its events, each behind the tag of field 1 and
its length; so serialised histories concatenate into a valid one, and a stored batch is never
parsed to be put into a response.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.history.v1 import History, HistoryEvent

_EVENTS_TAG = b"\x0a"
"""Field 1 (`events`), wire type 2 (length-delimited)."""


def encode_batch(events: Sequence[bytes]) -> bytes:
    """Serialised events as one serialised `History`, without copying them into one first."""
    parts: list[bytes] = []
    for data in events:
        size = len(data)
        parts += (_HEADS[size] if size < _USUAL_SIZES else _head(size), data)
    return b"".join(parts)


def decode_batch(data: bytes) -> list[HistoryEvent]:
    """The events of one batch, or of several concatenated. Raises DecodeError when the bytes are not a History."""
    return list(History.FromString(data).events)


def _head(size: int) -> bytes:
    """What stands before an event of so many bytes."""
    return _EVENTS_TAG + _varint(size)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_USUAL_SIZES = 1024
_HEADS = [_head(size) for size in range(_USUAL_SIZES)]

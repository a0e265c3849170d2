"""Page tokens: where a list or a history goes on. Opaque to clients, who send back what they were given.

Each kind has its type here, and is read by it (`perdure.core.tokens.read`): a client may send anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from google.protobuf.message import DecodeError
from temporalio.api.history.v1 import History

from perdure.core.tokens import Number, read
from perdure.frontend.edge import invalid

REFUSAL = "Invalid NextPageToken."


class HistoryToken(msgspec.Struct, frozen=True, array_like=True):
    """`next_page_token` of histories: which run, and where to go on."""

    run_id: str
    next_event_id: Number
    last_event_id: Number = 0
    """Of a worker's history: the workflow task's Started event is the last it may see. 0: no such bound."""
    transient_events: bytes = b""
    """Serialised `History` that follows the last page: events of an attempt > 1, which are not stored."""


Cell = str | int | float | bool | None
"""One value of a list's order."""

_encode = msgspec.msgpack.Encoder().encode
_history = msgspec.msgpack.Decoder(HistoryToken).decode
_cells = msgspec.msgpack.Decoder(list[Cell]).decode


def encode_history(token: HistoryToken) -> bytes:
    """The bytes a client is given."""
    return _encode(token)


def decode_history(data: bytes) -> HistoryToken:
    """Raises Rejected INVALID_ARGUMENT when the bytes are not a token of ours."""
    return read(_history, data, REFUSAL)


def transient_events(token: HistoryToken) -> History:
    """What the token carries itself. Raises Rejected INVALID_ARGUMENT when it is no history."""
    try:
        return History.FromString(token.transient_events)
    except DecodeError as error:
        raise invalid(REFUSAL) from error


def encode_cells(cells: Sequence[Cell]) -> bytes:
    """Of a list of executions: the values by which it is ordered, of the last one told."""
    return _encode(cells)


def decode_cells(data: bytes) -> list[Cell]:
    """Raises Rejected INVALID_ARGUMENT when the bytes are not a token of ours."""
    return read(_cells, data, REFUSAL)


def encode_name(name: str) -> bytes:
    """Of a list in the order of names: the last one told."""
    return name.encode()


def decode_name(data: bytes) -> str:
    """Empty at the beginning. Raises Rejected INVALID_ARGUMENT when the bytes are not a token of ours."""
    return read(bytes.decode, data, REFUSAL)

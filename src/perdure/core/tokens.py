"""The task token: what a worker sends back to say which attempt of which task it means."""

from __future__ import annotations

import msgspec

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commit import ExecutionKey, TaskKind


class TaskToken(msgspec.Struct, frozen=True, array_like=True):
    """Opaque to workers. `attempt` makes an answer of an earlier attempt recognisably stale."""

    key: ExecutionKey
    kind: TaskKind
    scheduled_event_id: int
    attempt: int
    activity_id: str = ""
    """Of an activity that is answered by its id: then the two numbers are 0, and the run may be "", the current one."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TaskToken)


def encode_token(token: TaskToken) -> bytes:
    """The bytes a worker is given."""
    return _encoder.encode(token)


def decode_token(data: bytes) -> TaskToken:
    """Raises Rejected INVALID_ARGUMENT when the bytes are not a token of ours."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise Rejected(StatusCode.INVALID_ARGUMENT, "Error deserializing task token.") from error

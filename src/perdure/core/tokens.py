"""Tokens: what somebody is given and sends back, to say which task is meant or where a list goes on.

Whoever has one may have made it up, so it is read in one place, by a type, and what is no such token is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from perdure.api.times import LONG_MAX
from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.refusals import invalid

T = TypeVar("T")

Number = Annotated[int, msgspec.Meta(ge=0, le=LONG_MAX)]
"""An event id or the like: no token of ours has one that a store's column cannot hold."""


def read(decode: Callable[[bytes], T], data: bytes, refusal: str) -> T:
    """What the bytes of a token say. Raises Rejected INVALID_ARGUMENT, in these words, when it is none."""
    try:
        return decode(data)
    # msgspec leaves text that is no UTF-8, and nesting that has no end, to Python's own errors.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(refusal) from error


BAD_TASK_TOKEN = "Error deserializing task token."


class TaskToken(msgspec.Struct, frozen=True, array_like=True):
    """Opaque to workers. `attempt` makes an answer of an earlier attempt recognisably stale, `started` one to a start
    that was never stored: another may have its event ids."""

    key: ExecutionKey
    kind: TaskKind
    scheduled_event_id: Number
    attempt: Number
    activity_id: str = ""
    """Of an activity that is answered by its id: then the two numbers are 0, and the run may be "", the current one."""
    started: str = ""
    """Of a workflow task: the end of the id that its start was given. Empty: not told, by an older perdure."""


_encoder = msgspec.msgpack.Encoder()
_decode = msgspec.msgpack.Decoder(TaskToken).decode


def encode_token(token: TaskToken) -> bytes:
    """The bytes a worker is given."""
    return _encoder.encode(token)


def decode_token(data: bytes) -> TaskToken:
    """Raises Rejected INVALID_ARGUMENT when the bytes are not a token of ours."""
    return read(_decode, data, BAD_TASK_TOKEN)

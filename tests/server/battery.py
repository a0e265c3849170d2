"""Cases of what a client may do to HTTP/2 and gRPC, and how they are written down.

The bytes are written by hand, and no header is put into a table, so that every case says all that it means.
The cases are in `battery_frames` and `battery_requests`; the sections named there are RFC 9113's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from perdure.api.errors import StatusCode
from perdure.frontend.grpc import frames
from perdure.frontend.grpc.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    frame,
    literal,
)
from perdure.frontend.rpcs import WORKFLOW_SERVICE
from tests.engine.world import workflow_poll
from tests.server.wire import Heard, grpc_message

Fields = list[tuple[bytes, bytes]]

INFO = f"/{WORKFLOW_SERVICE}/GetSystemInfo".encode()
POLL = f"/{WORKFLOW_SERVICE}/PollWorkflowTaskQueue".encode()
EMPTY = grpc_message(b"")
CANCEL = 8


# --- what is expected -----------------------------------------------------------------------------


class Reset(NamedTuple):
    """The stream is reset with this code, and its neighbours go on."""

    code: int


class Ended(NamedTuple):
    """The connection ends with a GOAWAY of this code; None: without one."""

    code: int | None


class Answered(NamedTuple):
    """The call is answered, with this status of gRPC."""

    status: StatusCode = StatusCode.OK


class Plain(NamedTuple):
    """The request is answered, with this status of HTTP, a line of text, and nothing of gRPC."""

    status: int
    has_body: bool = True


class Open(NamedTuple):
    """Nothing happens to the stream."""


FINE = Answered()

Expected = Reset | Ended | Answered | Plain | Open


@dataclass(frozen=True)
class Case:
    """`send` is given the stream's number. `then` is sent when the stream has ended."""

    name: str
    send: Callable[[int], bytes]
    expected: Expected
    then: Callable[[int], bytes] | None = None


def verify(expected: Expected, stream: int, heard: Heard) -> None:
    """What was heard of the stream is what is expected."""
    headers, code = heard.headers.get(stream, {}), heard.resets.get(stream)
    match expected:
        case Reset(reset_by):
            assert code == reset_by
        case Answered(status):
            assert headers["grpc-status"] == str(int(status))
            assert headers[":status"] == "200"
            assert code in (None, frames.NO_ERROR)
        case Plain(http, has_body):
            assert headers[":status"] == str(http)
            assert headers.get("allow") == ("POST" if http == 405 else None)
            text = heard.bodies.get(stream, b"")
            assert bool(text) is has_body
            assert headers.get("content-length", "0") == str(len(text))
            assert "grpc-status" not in headers
            assert code in (None, frames.NO_ERROR)
        case _:
            assert (headers, code) == ({}, None)


# --- what is sent ---------------------------------------------------------------------------------


def pseudo(path: bytes = INFO, method: bytes = b"POST") -> Fields:
    return [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]


GRPC: Fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def head(stream: int, fields: Iterable[tuple[bytes, bytes]], flags: int = 0) -> bytes:
    """HEADERS, and as many CONTINUATION as it takes."""
    return frames.header_frames(stream, block(fields), flags, frames.FRAME_BYTES_MAX)


def body(stream: int, data: bytes = EMPTY, flags: int = END_STREAM) -> bytes:
    """DATA frames, the last one with these flags."""
    parts = [data[at : at + frames.FRAME_BYTES_MAX] for at in range(0, len(data), frames.FRAME_BYTES_MAX)] or [b""]
    return b"".join(frame(DATA, 0, stream, part) for part in parts[:-1]) + frame(DATA, flags, stream, parts[-1])


def opening(stream: int) -> bytes:
    """A call whose body is still to come."""
    return head(stream, pseudo() + GRPC)


def call(stream: int, more: Fields | None = None, data: bytes = EMPTY) -> bytes:
    """A whole call of GetSystemInfo, with these headers beside its own."""
    return head(stream, pseudo() + GRPC + (more or [])) + body(stream, data)


def poll(stream: int) -> bytes:
    """A call that waits: its stream is half closed."""
    return head(stream, pseudo(POLL) + GRPC) + body(stream, grpc_message(workflow_poll()))


def raw(stream: int, data: bytes) -> bytes:
    """A header block as it is, which is all of a request."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, data)


def asked(fields: Fields) -> Callable[[int], bytes]:
    """A call with exactly these headers."""
    return lambda stream: head(stream, fields) + body(stream)


def with_header(name: bytes, value: bytes) -> Callable[[int], bytes]:
    return lambda stream: call(stream, [(name, value)])


def with_pseudo(name: bytes, value: bytes) -> Callable[[int], bytes]:
    """A call in which one pseudo-header has another value."""
    return asked([(key, value if key == name else old) for key, old in pseudo()] + GRPC)


def without(name: bytes) -> Callable[[int], bytes]:
    return asked([field for field in pseudo() + GRPC if field[0] != name])


def typed(content_type: bytes) -> Callable[[int], bytes]:
    return asked([*pseudo(), (b"content-type", content_type)])


def with_length(length: bytes, data: bytes = EMPTY) -> Callable[[int], bytes]:
    return lambda stream: call(stream, [(b"content-length", length)], data)


def before_call(data: bytes) -> Callable[[int], bytes]:
    """Bytes of the connection, and then a call."""
    return lambda stream: data + call(stream)


def only(data: bytes) -> Callable[[int], bytes]:
    return lambda stream: data


def trailed(fields: Fields, flags: int = END_STREAM) -> Callable[[int], bytes]:
    """A call that ends with trailers."""
    return lambda stream: opening(stream) + body(stream, flags=0) + head(stream, fields, flags)

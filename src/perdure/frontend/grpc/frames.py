"""HTTP/2's frames, and the header blocks that a gRPC server sends (RFC 9113, RFC 7541).

What is sent is nearly always the same, so it is laid out once, as bytes: a response's headers, the
trailers of a success. No header that is sent is ever put into the client's table, so there is no
encoder and no state.
"""

from __future__ import annotations

import base64
from struct import Struct
from urllib.parse import quote

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD = 9
FRAME_BYTES_MAX = 16_384
"""Of a frame that is received: the protocol's default, which we never change. Nobody may ask for less."""
FRAME_BYTES_HIGHEST = (1 << 24) - 1
"""Of a frame at all: nobody may ask for more."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
FLOW_CONTROL_ERROR = 0x3
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
COMPRESSION_ERROR = 0x9
ENHANCE_YOUR_CALM = 0xB

SETTING_ENABLE_PUSH = 0x2
SETTING_MAX_CONCURRENT_STREAMS = 0x3
SETTING_INITIAL_WINDOW_SIZE = 0x4
SETTING_MAX_FRAME_SIZE = 0x5
SETTING_MAX_HEADER_LIST_SIZE = 0x6

WINDOW_START = 65_535
"""What either side may send before it was told anything."""
WINDOW_MAX = 0x7FFF_FFFF


PRIORITY_BYTES = 5


class Broken(Exception):
    """The client broke the protocol for all its streams: the connection ends with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def window_update(stream_id: int, increment: int) -> bytes:
    """The peer may send so many bytes more."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def reset(stream_id: int, code: int) -> bytes:
    """The stream ends here."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def goaway(last_stream_id: int, code: int, why: bytes = b"") -> bytes:
    """No stream after `last_stream_id` is or will be worked on."""
    return frame(GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + why)


def unpadded(flags: int, payload: bytes) -> bytes:
    """Of DATA and HEADERS, without padding and priority, which nobody reads (RFC 9113, 5.3). Raises Broken."""
    before = (PRIORITY_BYTES if flags & HAS_PRIORITY else 0) + (1 if flags & PADDED else 0)
    if len(payload) < before:
        raise Broken(FRAME_SIZE_ERROR, "a frame that is too short")
    padding = payload[0] if flags & PADDED else 0
    if padding > len(payload) - before:
        raise Broken(PROTOCOL_ERROR, "more padding than there is")
    return payload[before : len(payload) - padding]


# --- header blocks --------------------------------------------------------------------------------


def _length(size: int) -> bytes:
    """An integer with a prefix of seven bits."""
    if size < 127:
        return bytes((size,))
    size -= 127
    encoded = [127]
    while size >= 128:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def literal(name: bytes, value: bytes) -> bytes:
    """A header that is put into no table."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


_STATUS_200 = b"\x88"
_OK = _STATUS_200 + literal(b"content-type", b"application/grpc") + literal(b"grpc-accept-encoding", b"identity,gzip")
_SUCCESS = literal(b"grpc-status", b"0")

RESPONSE_BLOCK = _OK
TRAILERS_BLOCK = _SUCCESS
_RESPONSE_HEAD = len(_OK).to_bytes(3, "big") + bytes((HEADERS, END_HEADERS))
_TRAILERS_HEAD = len(_SUCCESS).to_bytes(3, "big") + bytes((HEADERS, END_HEADERS | END_STREAM))
_pack_data_head = Struct(">IBI").pack
_pack_response = Struct(f">5sI{len(_OK)}sIBIBI").pack
_pack_headers = Struct(f">5sI{len(_OK)}s").pack
_pack_trailers = Struct(f">5sI{len(_SUCCESS)}s").pack


def response_headers(stream_id: int) -> bytes:
    """The frame that begins an answer."""
    return _pack_headers(_RESPONSE_HEAD, stream_id, _OK)


def response(stream_id: int, message: bytes) -> bytes:
    """A whole answer of one message in one frame, if all went well."""
    size = len(message)
    head = _pack_response(_RESPONSE_HEAD, stream_id, _OK, size + 5 << 8 | DATA, 0, stream_id, 0, size)
    return head + message + _pack_trailers(_TRAILERS_HEAD, stream_id, _SUCCESS)


def data_head(stream_id: int, size: int) -> bytes:
    """What comes before the bytes of a DATA frame."""
    return _pack_data_head(size << 8 | DATA, 0, stream_id)


def trailers(stream_id: int) -> bytes:
    """The frame that ends an answer, if all went well."""
    return _pack_trailers(_TRAILERS_HEAD, stream_id, _SUCCESS)


DETAILS_BYTES_MAX = 7_000
"""Clients read some 8 KiB of headers: larger details would cost the whole answer."""
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def refusal_block(code: int, message: str, details: bytes | None, *, alone: bool) -> bytes:
    """The headers that end a call which failed; `alone` when nothing was sent before them."""
    block = (_OK if alone else b"") + literal(b"grpc-status", str(code).encode())
    if message:
        block += literal(b"grpc-message", quote(message, safe=_PLAIN).encode())
    if details is not None and len(details) <= DETAILS_BYTES_MAX:
        block += literal(b"grpc-status-details-bin", base64.b64encode(details).rstrip(b"="))
    return block


_SPEAKS_GRPC = b"This port speaks gRPC: POST, with the content type application/grpc.\n"
NO_CALL = {405: _SPEAKS_GRPC, 415: _SPEAKS_GRPC, 431: b"The headers of the request are too large.\n"}
"""The body of an answer to what is no call, by its status in HTTP."""


def no_grpc_block(status: int, body: bytes) -> bytes:
    """The headers for somebody who speaks HTTP/2 but not gRPC."""
    block = literal(b":status", str(status).encode()) + literal(b"content-type", b"text/plain; charset=utf-8")
    if status == 405:
        block += literal(b"allow", b"POST")
    return block + literal(b"content-length", str(len(body)).encode()) if body else block


def header_frames(stream_id: int, block: bytes, flags: int, frame_bytes_max: int) -> bytes:
    """A header block in one frame, or as many as it takes."""
    if len(block) <= frame_bytes_max:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [block[at : at + frame_bytes_max] for at in range(0, len(block), frame_bytes_max)]
    frames = [frame(HEADERS, flags, stream_id, parts[0])]
    frames += [frame(CONTINUATION, 0, stream_id, part) for part in parts[1:-1]]
    frames.append(frame(CONTINUATION, END_HEADERS, stream_id, parts[-1]))
    return b"".join(frames)

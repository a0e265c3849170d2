"""One call on a connection: the bytes of its request as they come, the bytes of its response that still wait."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from struct import Struct

import msgspec

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend.grpc.bounds import MESSAGE_BYTES_MAX, STREAM_WINDOW
from perdure.frontend.grpc.headers import Head

MESSAGE_HEAD = 5
_read_head = Struct(">BI").unpack_from
"""Of a message: whether it is compressed, and its size."""
_GZIP = 16 + zlib.MAX_WBITS


Message = tuple[int, bytes]
"""Whether it is compressed, and its bytes."""


class Stream(msgspec.Struct, eq=False):
    """See the module's text. `window`: how many bytes of response the client still takes."""

    stream_id: int
    head: Head
    is_open: bool
    """The client may still send."""
    window: int = 0
    # what comes
    data: bytearray = bytearray()
    """What of the request is here, and is needed."""
    kept_bytes: int = 0
    """In `data` and in `inbox`."""
    added: int = 0
    """How many bytes of it came last."""
    padding: int = 0
    """How many more its windows count."""
    body_bytes: int = 0
    """Of the request, that came."""
    room: int = STREAM_WINDOW
    """How many bytes the client may still send."""
    is_too_long: bool = False
    """There is more than one message: the call is refused when all of it was said."""
    inbox: asyncio.Queue[Message | None] | None = None
    """Of a call that sends more than one message."""
    # what is done
    is_admitted: bool = False
    """It is served, or is being refused."""
    is_cancelled: bool = False
    task: asyncio.Task[None] | None = None
    """What works on it."""
    undelivered: Callable[[], None] | None = None
    """Told when the response did not leave this process."""
    # what goes
    out: list[memoryview] = []
    out_bytes: int = 0
    sent_headers: bool = False
    trailers: bytes | None = None
    """Frames that end it, once `out` is sent."""
    is_parked: bool = False
    """It has something to send, and the client does not take it."""

    def message(self) -> bytes:
        """The one message of a unary call. Raises Rejected."""
        data = self.data
        if self.is_too_long:
            raise Rejected(StatusCode.INTERNAL, "The request is not exactly one message.")
        size = len(data) - MESSAGE_HEAD
        if size < 0:
            raise Rejected(StatusCode.INTERNAL, "The request holds no message.")
        is_packed, said = _read_head(data)
        if said > MESSAGE_BYTES_MAX:
            raise too_large(said)
        if said != size:
            raise Rejected(StatusCode.INTERNAL, "The request is not exactly one message.")
        return self.unpacked(is_packed, bytes(data[MESSAGE_HEAD:]))

    def messages(self) -> list[Message]:
        """Take the complete messages of a streaming call. Raises Rejected."""
        data, whole = self.data, list[Message]()
        while len(data) >= MESSAGE_HEAD:
            size = int.from_bytes(data[1:MESSAGE_HEAD], "big")
            if size > MESSAGE_BYTES_MAX:
                raise too_large(size)
            end = MESSAGE_HEAD + size
            if len(data) < end:
                break
            whole.append((data[0], bytes(data[MESSAGE_HEAD:end])))
            del data[:end]
        return whole

    def unpacked(self, is_packed: int, message: bytes) -> bytes:
        """The message as it was before it was compressed. Raises Rejected."""
        if not is_packed:
            return message
        if is_packed != 1:
            raise Rejected(StatusCode.INTERNAL, f"A message begins with 0 or 1, not with {is_packed}.")
        encoding = self.head.encoding
        if encoding != "gzip":
            if encoding == "identity":
                raise Rejected(StatusCode.INTERNAL, "A message is compressed, and the call does not say how.")
            text = f"Compression {encoding!r} is not supported: use gzip or identity."
            raise Rejected(StatusCode.UNIMPLEMENTED, text)
        unpacker = zlib.decompressobj(_GZIP)
        try:
            plain = unpacker.decompress(message, MESSAGE_BYTES_MAX + 1)
        except zlib.error as error:
            raise Rejected(StatusCode.INTERNAL, f"The request cannot be unpacked: {error}.") from error
        if len(plain) > MESSAGE_BYTES_MAX:
            raise too_large(len(plain))
        if not unpacker.eof or unpacker.unused_data:
            # Its checksum stands at the end: what has none may be half of what was meant.
            raise Rejected(StatusCode.INTERNAL, "The request cannot be unpacked: it is not exactly one gzip file.")
        return plain


def too_large(size: int) -> Rejected:
    """Worded as gRPC for Go does it, which clients of Temporal know."""
    return Rejected(
        StatusCode.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {MESSAGE_BYTES_MAX})"
    )

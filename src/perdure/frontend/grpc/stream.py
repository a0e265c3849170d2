"""One call on a connection: the bytes of its request as they come, the bytes of its response that still wait."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend.grpc.bounds import MESSAGE_BYTES_MAX, STREAM_WINDOW
from perdure.frontend.grpc.headers import Head

MESSAGE_HEAD = 5
_GZIP = 16 + zlib.MAX_WBITS


Message = tuple[int, bytes]
"""Whether it is compressed, and its bytes."""


class Stream:
    """See the module's text. `window`: how many bytes of response the client still takes."""

    __slots__ = (
        "added", "body_bytes", "data", "head", "id4", "inbox", "is_admitted", "is_cancelled", "is_open", "is_parked",
        "is_too_long", "kept_bytes", "out", "out_bytes", "padding", "room", "sent_headers", "stream_id", "task",
        "trailers", "undelivered", "window",
    )  # fmt: skip

    def __init__(self, stream_id: int, head: Head) -> None:
        self.stream_id = stream_id
        self.id4 = stream_id.to_bytes(4, "big")
        self.head = head
        self.window = 0
        # what comes
        self.data = bytearray()
        """What of the request is here, and is needed."""
        self.kept_bytes = 0
        """In `data` and in `inbox`."""
        self.added = self.padding = 0
        """How many bytes of it came last, and how many more its windows count."""
        self.body_bytes = 0
        """Of the request, that came."""
        self.room = STREAM_WINDOW
        """How many bytes the client may still send."""
        self.is_open = True
        """The client may still send."""
        self.is_too_long = False
        """There is more than one message: the call is refused when all of it was said."""
        self.inbox: asyncio.Queue[Message | None] | None = None
        """Of a call that sends more than one message."""
        # what is done
        self.is_admitted = False
        """It is served, or is being refused."""
        self.is_cancelled = False
        self.task: asyncio.Task[None] | None = None
        """What works on it."""
        self.undelivered: Callable[[], None] | None = None
        """Told when the response did not leave this process."""
        # what goes
        self.out: deque[memoryview] = deque()
        self.out_bytes = 0
        self.sent_headers = False
        self.trailers: bytes | None = None
        """Frames that end it, once `out` is sent."""
        self.is_parked = False
        """It has something to send, and the client does not take it."""

    def message(self) -> bytes:
        """The one message of a unary call. Raises Rejected."""
        data = self.data
        if self.is_too_long:
            raise Rejected(StatusCode.INTERNAL, "The request is not exactly one message.")
        if len(data) < MESSAGE_HEAD:
            raise Rejected(StatusCode.INTERNAL, "The request holds no message.")
        size = int.from_bytes(data[1:MESSAGE_HEAD], "big")
        if size > MESSAGE_BYTES_MAX:
            raise too_large(size)
        if len(data) != MESSAGE_HEAD + size:
            raise Rejected(StatusCode.INTERNAL, "The request is not exactly one message.")
        return self.unpacked(data[0], bytes(data[MESSAGE_HEAD:]))

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
        if self.head.encoding == "identity":
            raise Rejected(StatusCode.INTERNAL, "A message is compressed, and the call does not say how.")
        if self.head.encoding != "gzip":
            text = f"Compression {self.head.encoding!r} is not supported: use gzip or identity."
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

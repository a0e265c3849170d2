"""The half of HTTP/2 that answers: what is to be said, when the client's windows and its socket take it.

Frames are gathered, and written once for each turn of the event loop. What the client's windows do not let
through waits: streams that may go on are in `_waiting`, one frame each in turn; those whose own window is used up
are *parked* until it is widened. An answer that was written may still be in this process, if the
socket is behind: until it has left, it is *in transit*, and its call can be told that it did not arrive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.frames import Broken, response
from perdure.frontend.grpc.stream import MESSAGE_HEAD, Stream


class Total(Protocol):
    """Of all connections."""

    unsent: int
    """Bytes of answers that are made, and not written."""


class Sender:
    """Of one connection. `over` is told when all was said on a stream, `went_on` when some of it was."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        total: Total,
        over: Callable[[Stream], None],
        went_on: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._total = total
        self._over = over
        self._went_on = went_on
        self.unsent = 0
        self._window = self.stream_window = frames.WINDOW_START
        """What the client takes: of all streams together, and of a new one."""
        self._frame_max = frames.FRAME_BYTES_MAX
        self.window_changes = 0
        """Of all streams at once, since the last check."""
        self._waiting: deque[Stream] = deque()
        self._pieces: list[bytes | memoryview] = []
        self.is_full = False
        """The socket takes no more for now."""
        self._in_transit: list[Stream] = []
        self.progress_at = loop.time()

    # --- answers --------------------------------------------------------------------------------

    def respond(self, stream: Stream, message: bytes) -> None:
        """The one answer of a call, and its end."""
        size = len(message) + MESSAGE_HEAD
        if self.is_full or size > self._window or size > stream.window or size > self._frame_max:
            stream.trailers = frames.trailers(stream.stream_id)
            self.send(stream, b"\0" + len(message).to_bytes(4, "big") + message)
            return
        self._window -= size
        self.write(response(stream.stream_id, message))
        if stream.undelivered is not None:
            self._in_transit.append(stream)
        self._over(stream)

    def send(self, stream: Stream, data: bytes) -> None:
        """Part of an answer, when the client takes it."""
        stream.out.append(memoryview(data))
        stream.out_bytes += len(data)
        self.expect(len(data))
        if len(stream.out) == 1:
            if not self._waiting:
                self.progress_at = self._loop.time()
            self._waiting.append(stream)
        self.pump()

    def finish(self, stream: Stream, block: bytes) -> None:
        """The answer ends with these headers, behind what was sent."""
        self._finish(stream, frames.header_frames(stream.stream_id, block, frames.END_STREAM, self._frame_max))

    def answer_plainly(self, stream: Stream, block: bytes, body: bytes) -> None:
        """An answer of HTTP, that is none of gRPC."""
        if not body:
            self.finish(stream, block)
            return
        self.write(frames.header_frames(stream.stream_id, block, 0, self._frame_max))
        stream.sent_headers = True
        stream.trailers = frames.frame(frames.DATA, frames.END_STREAM, stream.stream_id)
        self.send(stream, body)

    def _finish(self, stream: Stream, last: bytes) -> None:
        if stream.out:
            stream.trailers = last
            return
        self.write(last)
        self._end(stream)

    def _end(self, stream: Stream) -> None:
        if stream.undelivered is not None:
            self._in_transit.append(stream)
        self._over(stream)

    def drop(self, stream: Stream) -> bool:
        """Say no more on it. Returns whether there was something to say."""
        if not stream.out_bytes:
            return False
        self._sent(stream, stream.out_bytes)
        stream.out.clear()
        return True

    def expect(self, size: int) -> None:
        """An answer of about so many bytes is being made; a negative size: it is made."""
        self.unsent += size
        self._total.unsent += size

    def _sent(self, stream: Stream, size: int) -> None:
        stream.out_bytes -= size
        self.expect(-size)

    # --- windows --------------------------------------------------------------------------------

    def widen(self, stream: Stream | None, increment: int) -> bool:
        """The client takes more, of one stream or of all. False: more than a stream's window can be. Raises Broken."""
        if stream is None:
            self._window += increment
            if self._window > frames.WINDOW_MAX:
                raise Broken(frames.FLOW_CONTROL_ERROR, "the connection's window is too large")
        else:
            stream.window += increment
            if stream.window > frames.WINDOW_MAX:
                return False
            self._unpark(stream)
        if self._waiting:
            self.pump()
        return True

    def change(self, streams: Iterable[Stream], stream_window: int | None, frame_bytes_max: int | None) -> None:
        """Follow the client's settings. `streams`: those that are open. Raises Broken."""
        if frame_bytes_max is not None:
            self._frame_max = min(frame_bytes_max, bounds.FRAME_SENT_MAX)
        if stream_window is not None and stream_window != self.stream_window:
            self.window_changes += 1
            if self.window_changes > bounds.WINDOW_CHANGES_MAX:
                raise Broken(frames.ENHANCE_YOUR_CALM, "too many changes of the windows")
            grown = stream_window - self.stream_window
            self.stream_window = stream_window
            for stream in streams:
                stream.window += grown
                if stream.window > frames.WINDOW_MAX:
                    raise Broken(frames.FLOW_CONTROL_ERROR, "a stream's window is too large")
                self._unpark(stream)
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        if self._waiting:
            self.pump()

    def _unpark(self, stream: Stream) -> None:
        if stream.is_parked and stream.window > 0:
            stream.is_parked = False
            self._waiting.append(stream)

    # --- the way out ----------------------------------------------------------------------------

    def pump(self) -> None:
        """Send what may be sent, a frame of each stream in turn."""
        waiting, written = self._waiting, 0
        while waiting and not self.is_full and self._window > 0:
            stream = waiting.popleft()
            if stream.is_cancelled:
                continue
            if stream.window <= 0:
                stream.is_parked = True
                continue
            written += self._send_frame(stream)
            if stream.out:
                waiting.append(stream)
            elif stream.trailers is not None:
                self.write(stream.trailers)
                self._end(stream)
            if written >= bounds.PIECE_BYTES:
                written = 0
                self.flush()
        self._went_on()

    def _send_frame(self, stream: Stream) -> int:
        """The next part of its answer. Returns its size."""
        if not stream.sent_headers:
            stream.sent_headers = True
            self.write(frames.response_headers(stream.stream_id))
        first = stream.out[0]
        size = min(len(first), self._window, stream.window, self._frame_max)
        self.write(frames.data_head(stream.stream_id, size))
        self._pieces.append(first[:size])
        if size == len(first):
            del stream.out[0]
        else:
            stream.out[0] = first[size:]
        self._window -= size
        stream.window -= size
        self._sent(stream, size)
        self.progress_at = self._loop.time()
        return size

    def write(self, data: bytes) -> None:
        """With everything else of this moment in one go."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)

    def flush(self) -> None:
        """Now."""
        pieces = self._pieces
        if not pieces:
            return
        transport = self._transport
        data = b"".join(pieces)
        pieces.clear()
        if transport.is_closing():
            return
        if not transport.get_write_buffer_size():
            self.progress_at = self._loop.time()
        transport.write(data)
        if transport.get_write_buffer_size() > bounds.WRITTEN_BYTES_MAX:
            transport.abort()
        elif self._in_transit:
            self._loop.call_soon(self.settle)  # some event loops write when everybody had their turn

    def resume(self) -> None:
        """The socket has caught up."""
        self.is_full = False
        self.progress_at = self._loop.time()
        self.pump()

    def settle(self) -> None:
        """What was written has left this process: from here on it may have arrived."""
        if self._in_transit and not self._pieces and not self._transport.get_write_buffer_size():
            self._in_transit.clear()

    def lose(self) -> None:
        """The connection is gone, and with it what was in transit."""
        in_transit, self._in_transit = self._in_transit, []
        for stream in in_transit:
            undelivered(stream)

    def owes(self, streams: Iterable[Stream]) -> bool:
        """Whether something waits for the client to take it."""
        return bool(
            self._waiting or self._transport.get_write_buffer_size() or any(stream.is_parked for stream in streams)
        )


def undelivered(stream: Stream) -> None:
    """Tell its call that the answer did not leave this process."""
    tell, stream.undelivered = stream.undelivered, None
    if tell is not None:
        tell()

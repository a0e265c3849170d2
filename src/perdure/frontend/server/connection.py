"""One client's HTTP/2 connection: frames in, calls out; responses in, frames out (RFC 9113).

It protects the process from its client. Whatever a client can make us keep has a bound, and whoever goes
beyond it is cut off alone: requests that are not complete, answers that nobody reads, streams,
headers. A connection that takes its answers slowly gets no further call started until it has; one that
takes nothing for half a minute is closed.

Calls that are complete wait in `ready`. The host starts them, one connection after another in turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend.server import bounds, frames
from perdure.frontend.server.frames import Broken
from perdure.frontend.server.headers import BadHeaders, Headers
from perdure.frontend.server.status import short_message, status_details
from perdure.frontend.server.stream import MESSAGE_HEAD, Stream, too_large

_HELLO = frames.settings(
    {
        frames.SETTING_MAX_CONCURRENT_STREAMS: bounds.STREAMS_MAX,
        frames.SETTING_INITIAL_WINDOW_SIZE: bounds.STREAM_WINDOW,
        frames.SETTING_MAX_HEADER_LIST_SIZE: bounds.HEADER_LIST_BYTES_MAX,
    }
) + frames.window_update(0, bounds.CONNECTION_WINDOW - frames.WINDOW_START)


class Host(Protocol):
    """What a connection needs of the server."""

    unsent: int
    """Bytes of answers, over all connections."""
    buffered: int
    """Bytes of requests that are not worked on."""

    def came(self, connection: Connection) -> bool:
        """A connection begins. False: there are too many."""
        ...

    def went(self, connection: Connection) -> None: ...

    def ready(self, connection: Connection) -> None:
        """It has a call to start, and may."""
        ...

    def opened(self, connection: Connection, stream: Stream) -> None:
        """The headers of a call are here: whoever sends more than one message is served from now on."""
        ...


class Connection(asyncio.Protocol):
    """See the module's text."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._headers = Headers()
        self.streams: dict[int, Stream] = {}
        self.ready: deque[Stream] = deque()
        self._given_up = 0
        """How many in `ready`, at most, were reset since."""
        self.is_in_turn = False
        """The host's own mark: it will be asked for a call."""
        self.running = 0
        """Its calls that are being worked on, those that only wait not among them."""
        self._rest = b""
        self._has_preface = False
        self._block: tuple[int, int, bytearray] | None = None
        """A header block that is not complete: stream, flags, what is here."""
        self._last_stream_id = self._taken_stream_id = 0
        """The last one that was opened, and the last one that was not told to go elsewhere."""
        self._is_leaving = False
        self._received = 0
        self._buffered = 0
        self._window = self._stream_window = frames.WINDOW_START
        self._window_changes = 0
        self._frame_max = frames.FRAME_BYTES_MAX
        self._waiting: deque[Stream] = deque()
        self._held_back: list[asyncio.Future[None]] = []
        """Conversations that go on when the client has taken what was said."""
        self.unsent = 0
        self._pieces: list[bytes | memoryview] = []
        self._is_full = False
        self._in_transit: list[Stream] = []
        """Polls whose answers may still be in this process."""
        self.heard_at = self.progress_at = self._loop.time()
        self._was_pinged = False

    # --- the socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we can take."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if not self._host.came(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(bounds.WRITE_HIGH)
        self._transport.write(_HELLO)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for any of its calls."""
        self._host.went(self)
        self._is_leaving = True
        for stream in list(self.streams.values()):
            self._drop(stream)
        self.ready.clear()
        for stream in self._in_transit:
            _undelivered(stream)
        self._in_transit.clear()

    def pause_writing(self) -> None:
        """The socket is behind."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self.progress_at = self._loop.time()
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete; keep the beginning of the next."""
        self.heard_at = self._loop.time()
        self._was_pinged = False
        if self._in_transit:
            self._settle()
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        try:
            if not self._has_preface:
                at = self._read_preface(data)
            while end - at >= frames.FRAME_HEAD:
                size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
                if size > frames.FRAME_BYTES_MAX:
                    raise Broken(frames.FRAME_SIZE_ERROR, "frame too large")
                following = at + frames.FRAME_HEAD + size
                if following > end:
                    break
                stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFF_FFFF
                self._take(data[at + 3], data[at + 4], stream_id, data[at + frames.FRAME_HEAD : following])
                at = following
        except Broken as error:
            self.end(error.code, str(error).encode())
            return
        self._rest = data[at:]

    def _read_preface(self, data: bytes) -> int:
        preface = frames.PREFACE
        if not preface.startswith(data[: len(preface)]):
            raise Broken(frames.PROTOCOL_ERROR, "no HTTP/2 preface")
        if len(data) < len(preface):
            return 0
        self._has_preface = True
        return len(preface)

    # --- frames ---------------------------------------------------------------------------------

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._block is not None and kind != frames.CONTINUATION:
            raise Broken(frames.PROTOCOL_ERROR, "a header block was interrupted")
        if kind == frames.DATA:
            self._take_data(flags, stream_id, payload)
        elif kind == frames.HEADERS:
            self._take_headers(flags, stream_id, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._take_window(stream_id, payload)
        elif kind == frames.RST_STREAM:
            self._take_reset(stream_id, payload)
        elif kind == frames.PING:
            if len(payload) != 8 or stream_id:
                raise Broken(frames.FRAME_SIZE_ERROR, "bad PING")
            if not flags & frames.ACK:
                self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.SETTINGS:
            self._take_settings(flags, stream_id, payload)
        elif kind == frames.CONTINUATION:
            self._take_continuation(flags, stream_id, payload)
        elif kind == frames.PUSH_PROMISE:
            raise Broken(frames.PROTOCOL_ERROR, "clients do not push")

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(flags, payload)
            if flags & frames.HAS_PRIORITY:
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._take_block(flags, stream_id, payload)
        else:
            self._block = stream_id, flags, bytearray(payload)

    def _take_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self._block
        block += payload
        if len(block) > bounds.BLOCK_BYTES_MAX:
            raise Broken(frames.ENHANCE_YOUR_CALM, "headers too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._take_block(first_flags, stream_id, bytes(block))

    def _take_block(self, flags: int, stream_id: int, block: bytes) -> None:
        try:
            call = self._headers.read(block)
        except BadHeaders as error:
            raise Broken(frames.COMPRESSION_ERROR, str(error)) from error
        if stream_id <= self._last_stream_id:
            stream = self.streams.get(stream_id)
            if stream is not None and flags & frames.END_STREAM:
                self._complete(stream)
            return
        if not stream_id & 1:
            raise Broken(frames.PROTOCOL_ERROR, "a client's streams are odd")
        self._last_stream_id = stream_id
        if self._is_leaving:
            return  # it was told: its client tries elsewhere
        self._taken_stream_id = stream_id
        if len(self.streams) >= bounds.STREAMS_MAX:
            self.write(frames.reset(stream_id, frames.REFUSED_STREAM))
            return
        stream = self.streams[stream_id] = Stream(stream_id, call, self._stream_window)
        if not call.is_grpc:
            self._finish_with(stream, frames.no_grpc_block(415))
            return
        self._host.opened(self, stream)
        if flags & frames.END_STREAM:
            self._complete(stream)

    def _take_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received >= bounds.CREDIT_BYTES:
            self.write(frames.window_update(0, self._received))
            self._received = 0
        stream = self.streams.get(stream_id)
        if stream is None or not stream.is_open:
            if stream_id > self._last_stream_id or not stream_id:
                raise Broken(frames.PROTOCOL_ERROR, "data before headers")
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(flags, payload)
        data = stream.data
        data += payload
        self._buffer(len(payload))
        is_too_much = self._host.buffered > bounds.BUFFERED_ALL_BYTES_MAX and self._buffered > bounds.STREAM_WINDOW
        if is_too_much or self._buffered > bounds.BUFFERED_BYTES_MAX:
            raise Broken(frames.ENHANCE_YOUR_CALM, "too many requests that are not complete")
        if stream.inbox is not None:
            self._take_messages(stream, stream.inbox, len(payload))
        elif len(data) >= MESSAGE_HEAD:
            size = int.from_bytes(data[1:MESSAGE_HEAD], "big")
            if size > bounds.MESSAGE_BYTES_MAX:
                self.refuse(stream, too_large(size))
                return
            if len(data) > MESSAGE_HEAD + size:
                self.refuse(stream, Rejected(StatusCode.INTERNAL, "The request is not exactly one message."))
                return
        if flags & frames.END_STREAM:
            self._complete(stream)

    def _buffer(self, size: int) -> None:
        self._buffered += size
        self._host.buffered += size

    def _take_messages(self, stream: Stream, inbox: asyncio.Queue[bytes | None], received: int) -> None:
        before = len(stream.data)
        try:
            for message in stream.messages():
                if inbox.qsize() >= bounds.INBOX_MAX:
                    raise Rejected(StatusCode.RESOURCE_EXHAUSTED, "Too many messages that are not answered.")
                inbox.put_nowait(message)
        except Rejected as error:
            self.refuse(stream, error)
            self._cancel(stream)
            return
        self._buffer(len(stream.data) - before)
        if received:
            self.write(frames.window_update(stream.stream_id, received))

    def _complete(self, stream: Stream) -> None:
        """The client has said all."""
        if not stream.is_open:
            return
        stream.is_open = False
        if stream.inbox is not None:
            stream.inbox.put_nowait(None)
        elif stream.trailers is None:
            self.ready.append(stream)
            self._host.ready(self)

    def _take_reset(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4 or not stream_id or stream_id > self._last_stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "bad RST_STREAM")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._drop(stream)

    def _take_window(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(frames.FRAME_SIZE_ERROR, "bad WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & frames.WINDOW_MAX
        if not increment:
            raise Broken(frames.PROTOCOL_ERROR, "a window grows by nothing")
        if stream_id == 0:
            self._window += increment
            if self._window > frames.WINDOW_MAX:
                raise Broken(frames.FLOW_CONTROL_ERROR, "the connection's window is too large")
        else:
            stream = self.streams.get(stream_id)
            if stream is None:
                return
            stream.window += increment
            if stream.window > frames.WINDOW_MAX:
                raise Broken(frames.FLOW_CONTROL_ERROR, "a stream's window is too large")
            self._unpark(stream)
        if self._waiting:
            self._pump()

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) % 6 or (flags & frames.ACK and payload):
            raise Broken(frames.FRAME_SIZE_ERROR, "bad SETTINGS")
        if flags & frames.ACK:
            return
        stream_window = self._stream_window
        for at in range(0, len(payload), 6):
            name = int.from_bytes(payload[at : at + 2], "big")
            value = int.from_bytes(payload[at + 2 : at + 6], "big")
            if name == frames.SETTING_INITIAL_WINDOW_SIZE:
                stream_window = value
            elif name == frames.SETTING_MAX_FRAME_SIZE:
                if value < frames.FRAME_BYTES_MAX:
                    raise Broken(frames.PROTOCOL_ERROR, "frames too small")
                self._frame_max = min(value, bounds.FRAME_SENT_MAX)
        if stream_window != self._stream_window:
            self._set_stream_window(stream_window)
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        if self._waiting:
            self._pump()

    def _set_stream_window(self, value: int) -> None:
        if value > frames.WINDOW_MAX:
            raise Broken(frames.FLOW_CONTROL_ERROR, "windows too large")
        self._window_changes += 1
        if self._window_changes > bounds.WINDOW_CHANGES_MAX:
            raise Broken(frames.ENHANCE_YOUR_CALM, "too many changes of the windows")
        grown = value - self._stream_window
        self._stream_window = value
        for stream in self.streams.values():
            stream.window += grown
            self._unpark(stream)

    # --- answers --------------------------------------------------------------------------------

    @property
    def is_clogged(self) -> bool:
        """Its client does not take its answers: start no further call."""
        return self.unsent > bounds.UNSENT_BYTES_MAX

    def respond(self, stream: Stream, message: bytes) -> None:
        """The one answer of a call, and its end."""
        if stream.is_cancelled:
            _undelivered(stream)
            return
        size = len(message) + MESSAGE_HEAD
        if not self._waiting and not self._is_full and size <= min(self._window, stream.window, self._frame_max):
            id4 = stream.id4
            self._window -= size
            head = frames.RESPONSE_HEAD + id4 + frames.RESPONSE_BLOCK + size.to_bytes(3, "big") + frames.DATA_HEAD + id4
            prefix = b"\0" + len(message).to_bytes(4, "big")
            self.write(head + prefix + message + frames.TRAILERS_HEAD + id4 + frames.TRAILERS_BLOCK)
            if stream.undelivered is not None:
                self._in_transit.append(stream)
            self._forget(stream)
        else:
            stream.trailers = frames.TRAILERS_HEAD + stream.id4 + frames.TRAILERS_BLOCK
            self.send(stream, message)

    def send(self, stream: Stream, message: bytes) -> None:
        """One message of an answer, when the client takes it."""
        if stream.is_cancelled:
            return
        framed = memoryview(b"\0" + len(message).to_bytes(4, "big") + message)
        stream.out.append(framed)
        stream.out_bytes += len(framed)
        self.unsent += len(framed)
        self._host.unsent += len(framed)
        if len(stream.out) == 1 and not stream.is_parked:
            if not self._waiting:
                self.progress_at = self._loop.time()
            self._waiting.append(stream)
        self._pump()

    def finish(self, stream: Stream) -> None:
        """The call ended well, behind what was sent."""
        is_alone = not stream.sent_headers and not stream.out
        self._finish_with(stream, frames.RESPONSE_BLOCK * is_alone + frames.TRAILERS_BLOCK)

    def refuse(self, stream: Stream, error: Rejected) -> None:
        """The call failed."""
        details = None if error.detail is None else status_details(error, error.detail)
        is_alone = not stream.sent_headers and not stream.out
        self._finish_with(stream, frames.refusal_block(int(error.code), short_message(error), details, alone=is_alone))

    def _finish_with(self, stream: Stream, block: bytes) -> None:
        if stream.is_cancelled:
            return
        last = frames.header_frames(stream.stream_id, block, frames.END_STREAM, self._frame_max)
        if stream.out:
            stream.trailers = last
            return
        self.write(last)
        self._forget(stream)

    def _pump(self) -> None:
        """Send what may be sent, a frame of each stream in turn."""
        waiting, written = self._waiting, 0
        while waiting and not self._is_full and self._window > 0:
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
                if stream.undelivered is not None:
                    self._in_transit.append(stream)
                self._forget(stream)
            if written >= bounds.PIECE_BYTES:
                written = 0
                self._flush()
        self._go_on()

    def _go_on(self) -> None:
        """Perhaps the client has taken enough for more to be made."""
        if self.is_clogged:
            return
        if self.ready:
            self._host.ready(self)
        for held in self._held_back:
            if not held.done():
                held.set_result(None)
        self._held_back.clear()

    async def room(self) -> None:
        """Wait until the client has taken enough of its answers."""
        while self.is_clogged:
            self._held_back.append(held := self._loop.create_future())
            await held

    def _send_frame(self, stream: Stream) -> int:
        """The next part of its answer. Returns its size."""
        if not stream.sent_headers:
            stream.sent_headers = True
            self.write(frames.RESPONSE_HEAD + stream.id4 + frames.RESPONSE_BLOCK)
        first = stream.out[0]
        size = min(len(first), self._window, stream.window, self._frame_max)
        self.write(size.to_bytes(3, "big") + frames.DATA_HEAD + stream.id4)
        self._pieces.append(first[:size])
        if size == len(first):
            stream.out.popleft()
        else:
            stream.out[0] = first[size:]
        self._window -= size
        stream.window -= size
        self._sent(stream, size)
        self.progress_at = self._loop.time()
        return size

    def _sent(self, stream: Stream, size: int) -> None:
        stream.out_bytes -= size
        self.unsent -= size
        self._host.unsent -= size

    def expect(self, size: int) -> None:
        """An answer of about so many bytes is being made; a negative size: it is made."""
        self.unsent += size
        self._host.unsent += size

    def _unpark(self, stream: Stream) -> None:
        if stream.is_parked and stream.window > 0:
            stream.is_parked = False
            self._waiting.append(stream)

    def write(self, data: bytes) -> None:
        """With everything else of this moment in one go."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def _flush(self) -> None:
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
            self._loop.call_soon(self._settle)  # some event loops write when everybody had their turn

    def _settle(self) -> None:
        """What was written has left this process: from here on it may have arrived."""
        if not self._pieces and not self._transport.get_write_buffer_size():
            self._in_transit.clear()

    # --- ends -----------------------------------------------------------------------------------

    def _forget(self, stream: Stream) -> None:
        """The stream is over."""
        if self.streams.pop(stream.stream_id, None) is None:
            return
        self.release(stream)
        if stream.is_open:  # the client still sends: it need not
            stream.is_open = False
            self.write(frames.reset(stream.stream_id, frames.NO_ERROR))
        if self._is_leaving and not self.streams:
            self._flush()
            self._transport.close()

    def release(self, stream: Stream) -> None:
        """The bytes of its request are not needed any more."""
        self._buffer(-len(stream.data))
        stream.data = bytearray()

    def _drop(self, stream: Stream) -> None:
        """Nobody waits for this call any more."""
        self.streams.pop(stream.stream_id, None)
        self.release(stream)
        if stream.out_bytes:
            self._sent(stream, stream.out_bytes)
            stream.out.clear()
            _undelivered(stream)
        self._cancel(stream)
        self._go_on()

    def _cancel(self, stream: Stream) -> None:
        """Nobody works on it any more. Those that only waited for their turn are swept when they are the half."""
        stream.is_cancelled = True
        if stream.task is not None:
            stream.task.cancel()
        elif not stream.is_open and stream.inbox is None:
            self._given_up += 1
            if self._given_up > bounds.GIVEN_UP_MAX and 2 * self._given_up > len(self.ready):
                self.ready = deque(stream for stream in self.ready if not stream.is_cancelled)
                self._given_up = 0

    def leave(self) -> None:
        """Take no further call; the connection closes behind the last one that is here."""
        self._is_leaving = True
        self.write(frames.goaway(self._taken_stream_id, frames.NO_ERROR))
        if not self.streams:
            self._flush()
            self._transport.close()

    def end(self, code: int, why: bytes = b"") -> None:
        """Close now, saying why."""
        self._is_leaving = True
        if self._has_preface:
            self.write(frames.goaway(self._taken_stream_id, code, why))
            self._flush()
        self._transport.close()

    def check(self, now: float, silent_s: float, stuck_s: float, greeting_s: float) -> None:
        """Close it when its client is gone, or takes nothing; ask a silent one whether it is there."""
        transport = self._transport
        self._window_changes = 0
        owes = self._waiting or transport.get_write_buffer_size() or any(s.is_parked for s in self.streams.values())
        is_mute = not self._has_preface and now - self.heard_at > greeting_s
        is_stuck = owes and now - self.progress_at > stuck_s
        is_silent = now - self.heard_at > silent_s
        if is_mute or is_stuck or (is_silent and self._was_pinged):
            transport.abort()
        elif is_silent:
            self._was_pinged = True
            self.heard_at = now
            self.write(frames.frame(frames.PING, 0, 0, b"perdure?"))


def _undelivered(stream: Stream) -> None:
    tell, stream.undelivered = stream.undelivered, None
    if tell is not None:
        tell()

"""One client's connection: joins what it says (`receiving`) and what it is told (`sending`) to its calls.

It protects the process from its client, and the client's streams from each other. Whatever a client can make
us keep has a bound, and whoever goes beyond it is cut off alone: requests that are not complete, answers
that nobody reads, streams, headers. A stream that is faulty is reset, and its neighbours go on: they may be
other clients' of the same proxy. A connection that takes its answers slowly gets no further call started
until it has; one that takes nothing for half a minute is closed.

Calls that are complete wait in `ready`. The host starts them, one connection after another in turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol, cast

from perdure.api.errors import Rejected, StatusCode
from perdure.core.principal import ANONYMOUS, Principal
from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.frames import Broken
from perdure.frontend.grpc.peer import address_of, agrees, subject_of
from perdure.frontend.grpc.receiving import (
    Cancelled,
    Faulty,
    Other,
    Receiver,
    Reply,
    SettingsChanged,
    Widened,
)
from perdure.frontend.grpc.sending import Sender, undelivered
from perdure.frontend.grpc.status import short_message, status_details
from perdure.frontend.grpc.stream import MESSAGE_HEAD, Message, Stream, too_large

_log = logging.getLogger(__name__)

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
        """A connection has a call to start, and may."""
        ...

    def heard(self, connection: Connection) -> None:
        """As `ready`, of a connection whose client has said what it had to say for now."""
        ...

    def opened(self, connection: Connection, stream: Stream) -> None:
        """The headers of a call are here: whoever sends more than one message is served from now on."""
        ...


class Connection(asyncio.Protocol):
    """See the module's text."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._receiver = Receiver()
        self.streams = self._receiver.streams
        self.ready: deque[Stream] = deque()
        self._given_up = 0
        """How many in `ready`, at most, were reset since."""
        self.principal = ANONYMOUS
        """Of its calls, until an authenticator says who it is: where it comes from."""
        self.subject = ""
        """Of the certificate that it showed; see `Call.subject`."""
        self.is_in_turn = False
        """The host's own mark: it will be asked for a call."""
        self.running = 0
        """Its calls that are being worked on, those that only wait not among them."""
        self._taken_stream_id = 0
        """The last one that was not told to go elsewhere."""
        self._is_leaving = False
        self._buffered = 0
        self._held_back: list[asyncio.Future[None]] = []
        """Conversations that go on when the client has taken what was said."""
        self._heard_at = self._loop.time()
        self._was_pinged = False

    # --- the socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we can take."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.principal = Principal(address=address_of(transport))
        self.subject = subject_of(transport)
        self._sender = Sender(self._loop, self._transport, self._host, self._forget, self._go_on)
        if not agrees(transport) or not self._host.came(self):
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
        self._sender.lose()

    def pause_writing(self) -> None:
        """The socket is behind."""
        self._sender.is_full = True

    def resume_writing(self) -> None:
        """The socket has caught up."""
        self._sender.resume()

    def data_received(self, data: bytes) -> None:
        """Act on every frame that is complete."""
        self._heard_at = self._loop.time()
        self._was_pinged = False
        self._sender.settle()
        try:
            for event in self._receiver.receive(data):
                if isinstance(event, Stream):
                    self._hear(event)
                else:
                    self._take(event)
                if self._transport.is_closing():
                    return
        except Broken as error:
            self.end(error.code, str(error).encode())
        else:
            if self.ready:
                self._host.heard(self)

    # --- requests -------------------------------------------------------------------------------

    def _take(self, event: Other) -> None:
        """Raises Broken."""
        match event:
            case Widened():
                if not self._sender.widen(event.stream, event.increment) and event.stream is not None:
                    self._reset(event.stream.stream_id, frames.FLOW_CONTROL_ERROR)
            case Reply():
                self._sender.write(event.data)
            case Cancelled():
                self._drop(event.stream)
            case Faulty():
                _log.debug("stream %d is reset: %s", event.stream_id, event.why)
                self._reset(event.stream_id, event.code)
            case SettingsChanged():
                self._sender.change(self.streams.values(), event.stream_window, event.frame_bytes_max)

    def _hear(self, stream: Stream) -> None:
        """A call is here, or more of it. Raises Broken."""
        if not stream.is_admitted:
            if not self._admit(stream):
                return
        elif stream.trailers is not None or stream.head.refusal:
            self._pass_over(stream)
            return
        if stream.added:
            self._keep(stream, stream.added)
            if self._buffered > bounds.STREAM_WINDOW:
                self._check_buffered()
        if stream.inbox is not None:
            self._take_messages(stream, stream.inbox)
        elif stream.is_open:
            self._measure(stream)
        else:
            self.ready.append(stream)

    def _admit(self, stream: Stream) -> bool:
        """Whether the call is served."""
        if self._is_leaving:
            del self.streams[stream.stream_id]  # it was told: its client tries elsewhere
            return False
        self._taken_stream_id = stream.stream_id
        if len(self.streams) > bounds.STREAMS_MAX:
            self._reset(stream.stream_id, frames.REFUSED_STREAM)
            return False
        stream.is_admitted = True
        stream.window = self._sender.stream_window
        if not stream.head.refusal:
            self._host.opened(self, stream)
            return True
        if stream.head.is_awaited:
            self._pass_over(stream)
        else:
            self._refuse_unread(stream)
        return False

    def _pass_over(self, stream: Stream) -> None:
        """More of what is refused."""
        stream.data.clear()
        if stream.trailers is not None:
            return  # it is refused already, and that waits for the client's window
        if not stream.is_open or stream.body_bytes > bounds.UNREAD_BYTES_MAX:
            self._refuse_unread(stream)

    def _refuse_unread(self, stream: Stream) -> None:
        """Answer what is no call, whatever its body says."""
        call = stream.head
        if call.is_grpc:
            text = f"The headers of a call are larger than max ({bounds.HEADER_LIST_BYTES_MAX})."
            self.refuse(stream, Rejected(StatusCode.RESOURCE_EXHAUSTED, text))
        else:
            body = frames.NO_CALL[call.refusal] if call.has_body else b""
            self._sender.answer_plainly(stream, frames.no_grpc_block(call.refusal, body), body)

    def _check_buffered(self) -> None:
        """Raises Broken."""
        is_too_much = self._host.buffered > bounds.BUFFERED_ALL_BYTES_MAX
        if is_too_much or self._buffered > bounds.BUFFERED_BYTES_MAX:
            raise Broken(frames.ENHANCE_YOUR_CALM, "too many requests that are not complete")

    def _measure(self, stream: Stream) -> None:
        """A call of one message keeps no more than that, until it is complete."""
        data = stream.data
        if stream.is_too_long:
            self.release(stream)
        elif len(data) >= MESSAGE_HEAD:
            size = int.from_bytes(data[1:MESSAGE_HEAD], "big")
            if size > bounds.MESSAGE_BYTES_MAX:
                self.refuse(stream, too_large(size))
            elif len(data) > MESSAGE_HEAD + size:
                stream.is_too_long = True
                self.release(stream)

    def _take_messages(self, stream: Stream, inbox: asyncio.Queue[Message | None]) -> None:
        self._grant(stream, stream.padding)
        try:
            for message in stream.messages():
                if inbox.qsize() >= bounds.INBOX_MAX:
                    raise Rejected(StatusCode.RESOURCE_EXHAUSTED, "Too many messages that are not answered.")
                inbox.put_nowait(message)
            if not stream.is_open and stream.data:
                raise Rejected(StatusCode.INTERNAL, "The last message is not complete.")
        except Rejected as error:
            self._refuse_further(stream, error)
        else:
            if not stream.is_open:
                inbox.put_nowait(None)

    def _refuse_further(self, stream: Stream, error: Rejected) -> None:
        """End a conversation behind what was said in it."""
        self.refuse(stream, error)
        if stream.task is not None:
            stream.task.cancel()

    def taken(self, stream: Stream, message: Message) -> bytes:
        """A conversation goes on with this message of its inbox: its client may send so much more. Raises Rejected."""
        size = MESSAGE_HEAD + len(message[1])
        if stream.stream_id in self.streams:
            self._keep(stream, -size)
            self._grant(stream, size)
        return stream.unpacked(*message)

    def _grant(self, stream: Stream, size: int) -> None:
        if size and stream.is_open:
            stream.room += size
            self._sender.write(frames.window_update(stream.stream_id, size))

    def _keep(self, stream: Stream, size: int) -> None:
        stream.kept_bytes += size
        self._buffered += size
        self._host.buffered += size

    def release(self, stream: Stream) -> None:
        """The bytes of its request are not needed any more."""
        kept = stream.kept_bytes
        if kept:
            self._keep(stream, -kept)
            stream.data = bytearray()

    # --- answers --------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes of answers that are made, and not written."""
        return self._sender.unsent

    @property
    def is_clogged(self) -> bool:
        """The client does not take its answers: start no further call."""
        return self._sender.unsent > bounds.UNSENT_BYTES_MAX

    def expect(self, size: int) -> None:
        """An answer of about so many bytes is being made; a negative size: it is made."""
        self._sender.expect(size)

    def respond(self, stream: Stream, message: bytes) -> None:
        """The one answer of a call, and its end."""
        if stream.is_cancelled:
            undelivered(stream)
        else:
            self._sender.respond(stream, message)

    def send(self, stream: Stream, message: bytes) -> None:
        """One message of an answer, when the client takes it."""
        if not stream.is_cancelled:
            self._sender.send(stream, b"\0" + len(message).to_bytes(4, "big") + message)

    def finish(self, stream: Stream) -> None:
        """The call ended well, behind what was sent."""
        if not stream.is_cancelled:
            is_alone = not stream.sent_headers and not stream.out
            self._sender.finish(stream, frames.RESPONSE_BLOCK * is_alone + frames.TRAILERS_BLOCK)

    def refuse(self, stream: Stream, error: Rejected) -> None:
        """The call failed."""
        if not stream.is_cancelled:
            details = None if error.detail is None else status_details(error, error.detail)
            is_alone = not stream.sent_headers and not stream.out
            block = frames.refusal_block(int(error.code), short_message(error), details, alone=is_alone)
            self._sender.finish(stream, block)

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

    # --- ends -----------------------------------------------------------------------------------

    def _forget(self, stream: Stream) -> None:
        """All was said on the stream."""
        self._receiver.close(stream)
        if stream.kept_bytes:
            self.release(stream)
        if stream.is_open:  # the client still sends: it need not
            stream.is_open = False
            self._sender.write(frames.reset(stream.stream_id, frames.NO_ERROR))
        if self._is_leaving:
            self._close_if_left()

    def _reset(self, stream_id: int, code: int) -> None:
        """The stream ends here, and with it its call."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._drop(stream)
        self._sender.write(frames.reset(stream_id, code))

    def _drop(self, stream: Stream) -> None:
        """Nobody waits for this call any more."""
        self.streams.pop(stream.stream_id, None)
        self.release(stream)
        if self._sender.drop(stream):
            undelivered(stream)
        self._cancel(stream)
        self._go_on()
        self._close_if_left()

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
        self._sender.write(frames.goaway(self._taken_stream_id, frames.NO_ERROR))
        self._close_if_left()

    def _close_if_left(self) -> None:
        if self._is_leaving and not self.streams:
            self._sender.flush()
            self._transport.close()

    def end(self, code: int, why: bytes = b"") -> None:
        """Close now, saying why."""
        self._is_leaving = True
        if self._receiver.has_preface:
            self._sender.write(frames.goaway(self._taken_stream_id, code, why))
            self._sender.flush()
        self._transport.close()

    def check(self, now: float, silent_s: float, stuck_s: float, greeting_s: float) -> None:
        """Close it when its client is gone, or takes nothing; ask a silent one whether it is there."""
        sender = self._sender
        sender.window_changes = 0
        is_mute = not self._receiver.has_preface and now - self._heard_at > greeting_s
        is_stuck = sender.owes(self.streams.values()) and now - sender.progress_at > stuck_s
        is_silent = now - self._heard_at > silent_s
        if is_mute or is_stuck or (is_silent and self._was_pinged):
            self._transport.abort()
        elif is_silent:
            self._was_pinged = True
            self._heard_at = now
            sender.write(frames.frame(frames.PING, 0, 0, b"perdure?"))

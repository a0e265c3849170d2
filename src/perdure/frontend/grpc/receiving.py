"""The half of HTTP/2 that listens: bytes in, events out, and no socket (RFC 9113).

It knows what a client may say when, and does nothing about it: whoever iterates over `receive` acts on
an event before the next frame is looked at. Three things can come of a frame that is wrong. The connection
is `Broken`, if what both sides know in common is lost, or the RFC says so. One stream is `Faulty`, if
the fault is its own: a proxy's other clients go on. Or nothing, if it was sent before its client could
know that its stream is over (5.1).

A stream's life, as far as it is known here:

    idle          its number is higher than any before
    open          in `streams`, and its client may still send
    half closed   in `streams`, and its client has said all: more is a fault of the stream
    closed        what its client ended or gave up itself, it knows: more is a fault. What was closed from here, or so
                  long ago that it is forgotten, may still be met by frames that were on their way
    skipped       its number was passed over, and is closed: it may never be used
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADERS,
    SETTINGS,
    Broken,
)
from perdure.frontend.grpc.headers import Headers, Malformed
from perdure.frontend.grpc.stream import Stream


class Cancelled(NamedTuple):
    """The client does not want its call any more."""

    stream: Stream


class Faulty(NamedTuple):
    """A stream, whose client broke the protocol within it: it is to be reset."""

    stream_id: int
    code: int
    why: str


class Widened(NamedTuple):
    """The client takes so much more: of one stream, or of all together when that is None."""

    stream: Stream | None
    increment: int


class SettingsChanged(NamedTuple):
    """The client's settings, to be acknowledged when they are followed. None: as before."""

    stream_window: int | None
    frame_bytes_max: int | None


class Reply(NamedTuple):
    """Frames that the protocol itself owes the client."""

    data: bytes


Other = Cancelled | Faulty | Widened | SettingsChanged | Reply
Event = Stream | Other
"""A stream itself, when more of its request is here: the headers when it is new, and `stream.added` bytes."""

_HEAD_BYTES = frames.FRAME_HEAD
_read_head = Struct(">HBHI").unpack_from
"""Of a frame: its size (of three bytes), kind and flags in one number, and stream."""
_HEADERS_ALONE = HEADERS << 8 | END_HEADERS
"""Kind and flags of the frame with which nearly every call begins."""
_DATA_ALONE = DATA << 8 | END_STREAM
"""The highest kind with flags of a frame of data that says nothing else than, perhaps, that they are all."""
_CLOSED_KNOWN = 64
_SKIPPED_KNOWN = 64


class Receiver:
    """Of one connection."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        """Those that are open or half closed."""
        self.has_preface = False
        self._due: int | None = SETTINGS
        """The kind that the next frame must have. None: any that may begin something."""
        self._headers = Headers()
        self._rest: bytes = b""
        self._block: tuple[int, int, bytearray] | None = None
        """A header block that is not complete: stream, flags, what is here."""
        self._last_stream_id = -1
        """The highest so far. The first may be 1."""
        self._unrenewed = 0
        """Of the connection's window."""
        self._closed = [0] * _CLOSED_KNOWN
        """Streams that the client ended, and, below 0, those that it gave up: the newest, each at its own place."""
        self._skipped: deque[range] = deque(maxlen=_SKIPPED_KNOWN)

    def receive(self, data: bytes) -> Iterator[Event]:
        """What these bytes say. Raises Broken."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end = 0, len(data)
        if not self.has_preface:
            if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                raise Broken(frames.PROTOCOL_ERROR, "no HTTP/2 preface")
            if end < len(frames.PREFACE):
                self._rest = data
                return
            self.has_preface = True
            at = len(frames.PREFACE)
        last = end - _HEAD_BYTES
        while at <= last:
            size, size_low, kind, stream_id = _read_head(data, at)
            size = size << 8 | size_low
            if size > FRAME_BYTES_MAX:
                raise Broken(frames.FRAME_SIZE_ERROR, "frame too large")
            begin = at + _HEAD_BYTES
            following = begin + size
            if following > end:
                break
            stream_id &= 0x7FFF_FFFF
            if kind == _HEADERS_ALONE and stream_id & 1 and self._due is None:
                event = self._take_block(0, stream_id, data[begin:following])
            else:
                event = self._take(kind >> 8, kind & 0xFF, stream_id, data[begin:following])
            at = following
            if event is not None:
                if type(event) is Stream and event.is_open:
                    at = self._take_along(event, data, at)
                yield event
        self._rest = data[at:]
        if self._unrenewed >= bounds.CREDIT_BYTES:
            yield Reply(frames.window_update(0, self._unrenewed))
            self._unrenewed = 0

    def close(self, stream: Stream) -> None:
        """Nothing more will be said on this stream from here."""
        if self.streams.pop(stream.stream_id, None) is not None and not stream.is_open:
            self._closed[(stream.stream_id >> 1) % _CLOSED_KNOWN] = stream.stream_id

    # --- frames ---------------------------------------------------------------------------------

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Event | None:
        if self._due is not None:
            self._check_due(kind, flags)
        if kind == HEADERS:
            return self._header_frame(flags, stream_id, payload)
        if kind == DATA:
            return self._data(flags, stream_id, payload)
        if kind == frames.WINDOW_UPDATE:
            return self._window_update(stream_id, payload)
        if kind == frames.RST_STREAM:
            return self._reset(stream_id, payload)
        if kind == CONTINUATION:
            return self._continuation(flags, stream_id, payload)
        if kind == frames.PRIORITY:
            return self._priority(stream_id, payload)
        return self._of_the_connection(kind, flags, stream_id, payload)

    def _check_due(self, kind: int, flags: int) -> None:
        """Raises Broken for a frame that may not come now."""
        if self._due == CONTINUATION:
            if kind != CONTINUATION:
                raise Broken(frames.PROTOCOL_ERROR, "a header block was interrupted")
        elif kind != SETTINGS or flags & frames.ACK:
            raise Broken(frames.PROTOCOL_ERROR, "a connection begins with SETTINGS")
        else:
            self._due = None

    def _take_along(self, stream: Stream, data: bytes, at: int) -> int:
        """The frames just behind that are more of the same request and nothing else: most calls come whole, in three
        frames, and are one event. Whatever is not ordinary is left. Returns where the next frame begins."""
        if stream.head.content_length is not None:
            return at
        this, added, room = stream.stream_id, 0, stream.room
        last = len(data) - _HEAD_BYTES
        while at <= last:
            size, size_low, kind, stream_id = _read_head(data, at)
            size = size << 8 | size_low
            if kind > _DATA_ALONE or stream_id != this or at + size > last:
                break
            if size:
                if size > FRAME_BYTES_MAX or added + size > room:
                    break
                added += size
                stream.data += data[at + _HEAD_BYTES : at + _HEAD_BYTES + size]
            at += _HEAD_BYTES + size
            if kind:
                stream.is_open = False
                break
        if added:
            stream.added += added
            stream.body_bytes += added
            stream.room -= added
            self._unrenewed += added
        return at

    def _of_the_connection(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Event | None:
        if kind == frames.PUSH_PROMISE:
            raise Broken(frames.PROTOCOL_ERROR, "clients do not push")
        if kind not in (frames.SETTINGS, frames.PING, frames.GOAWAY):
            return None  # a kind that we do not know (5.5)
        if stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a frame of the connection on a stream")
        if kind == frames.SETTINGS:
            return self._settings(flags, payload)
        if kind == frames.PING:
            if len(payload) != 8:
                raise Broken(frames.FRAME_SIZE_ERROR, "bad PING")
            return None if flags & frames.ACK else Reply(frames.frame(frames.PING, frames.ACK, 0, payload))
        if len(payload) < 8:
            raise Broken(frames.FRAME_SIZE_ERROR, "bad GOAWAY")
        return None  # it leaves when it has its answers

    def _fault(self, stream_id: int, code: int, why: str) -> Faulty:
        """A stream that is idle cannot be reset (6.4): then it is the connection that ends."""
        if stream_id > self._last_stream_id or not stream_id & 1:
            raise Broken(code, why)
        return Faulty(stream_id, code, why)

    # --- requests -------------------------------------------------------------------------------

    def _header_frame(self, flags: int, stream_id: int, payload: bytes) -> Event | None:
        if not stream_id & 1:
            raise Broken(frames.PROTOCOL_ERROR, "a client's streams are odd")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(flags, payload)
        if flags & END_HEADERS:
            return self._take_block(flags, stream_id, payload)
        self._block, self._due = (stream_id, flags, bytearray(payload)), CONTINUATION
        return None

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> Event | None:
        if self._block is None or self._block[0] != stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self._block
        block += payload
        if len(block) > bounds.BLOCK_BYTES_MAX:
            raise Broken(frames.ENHANCE_YOUR_CALM, "headers too large")
        if not flags & END_HEADERS:
            return None
        self._block = self._due = None
        return self._take_block(first_flags, stream_id, bytes(block))

    def _take_block(self, flags: int, stream_id: int, block: bytes) -> Event | None:
        is_end = flags & END_STREAM != 0
        if stream_id <= self._last_stream_id:
            return self._trailers(stream_id, block, is_end)
        if stream_id > self._last_stream_id + 2:
            self._skipped.append(range(self._last_stream_id + 2, stream_id, 2))
        self._last_stream_id = stream_id
        try:
            call = self._headers.read(block)
        except Malformed as error:
            return Faulty(stream_id, frames.PROTOCOL_ERROR, str(error))
        if is_end and call.content_length:
            return Faulty(stream_id, frames.PROTOCOL_ERROR, "content-length is not that of the body")
        stream = self.streams[stream_id] = Stream(stream_id, call, not is_end)
        return stream

    def _trailers(self, stream_id: int, block: bytes, is_end: bool) -> Event | None:
        try:
            self._headers.check_trailers(block)  # first, so that the tables stay in step
        except Malformed as error:
            fault = str(error)
        else:
            fault = "" if is_end else "trailers that do not end the stream"
        stream = self.streams.get(stream_id)
        if stream is None:
            return self._headers_of_closed(stream_id)
        if not stream.is_open:
            return Faulty(stream_id, frames.STREAM_CLOSED, "headers behind the end")
        if fault:
            return Faulty(stream_id, frames.PROTOCOL_ERROR, fault)
        return self._said(stream, 0, 0, is_end)

    def _headers_of_closed(self, stream_id: int) -> Faulty | None:
        known = self._closed[(stream_id >> 1) % _CLOSED_KNOWN]
        if known == stream_id:
            raise Broken(frames.STREAM_CLOSED, "headers on a stream that has ended")
        if any(stream_id in skipped for skipped in self._skipped):
            raise Broken(frames.PROTOCOL_ERROR, "the numbers of streams grow")
        return self._on_given_up(stream_id)

    def _on_given_up(self, stream_id: int) -> Faulty | None:
        """A frame on a closed stream is told once that it is closed, if its client had closed it itself."""
        at = (stream_id >> 1) % _CLOSED_KNOWN
        if abs(self._closed[at]) != stream_id:
            return None
        self._closed[at] = 0
        return Faulty(stream_id, frames.STREAM_CLOSED, "the stream is closed")

    def _data(self, flags: int, stream_id: int, payload: bytes) -> Event | None:
        size = len(payload)
        self._unrenewed += size
        if flags & frames.PADDED:
            payload = frames.unpadded(flags & frames.PADDED, payload)
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_stream_id or not stream_id & 1:
                raise Broken(frames.PROTOCOL_ERROR, "data before headers")
            return self._on_given_up(stream_id)
        if not stream.is_open:
            return Faulty(stream_id, frames.STREAM_CLOSED, "data behind the end")
        if size:
            stream.room -= size
            if stream.room < 0:
                return Faulty(stream_id, frames.FLOW_CONTROL_ERROR, "more than its window holds")
            stream.data += payload
        return self._said(stream, len(payload), size, flags & END_STREAM != 0)

    def _said(self, stream: Stream, added: int, size: int, is_end: bool) -> Stream | Faulty:
        stream.added = added
        stream.padding = size - added
        stream.body_bytes += added
        expected = stream.head.content_length
        if expected is not None and (stream.body_bytes > expected or (is_end and stream.body_bytes != expected)):
            return Faulty(stream.stream_id, frames.PROTOCOL_ERROR, "content-length is not that of the body")
        if is_end:
            stream.is_open = False
        return stream

    # --- the rest -------------------------------------------------------------------------------

    def _reset(self, stream_id: int, payload: bytes) -> Cancelled | None:
        if len(payload) != 4:
            raise Broken(frames.FRAME_SIZE_ERROR, "bad RST_STREAM")
        if not stream_id & 1 or stream_id > self._last_stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a stream is reset that was not opened")
        stream = self.streams.pop(stream_id, None)
        if stream is None:
            return None
        self._closed[(stream_id >> 1) % _CLOSED_KNOWN] = -stream_id
        return Cancelled(stream)

    def _priority(self, stream_id: int, payload: bytes) -> Faulty | None:
        """Nobody's order is changed by it (5.3.2)."""
        if not stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a priority of nothing")
        if len(payload) != frames.PRIORITY_BYTES:
            return self._fault(stream_id, frames.FRAME_SIZE_ERROR, "bad PRIORITY")
        return None

    def _window_update(self, stream_id: int, payload: bytes) -> Event | None:
        if len(payload) != 4:
            raise Broken(frames.FRAME_SIZE_ERROR, "bad WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & frames.WINDOW_MAX
        if not stream_id:
            if not increment:
                raise Broken(frames.PROTOCOL_ERROR, "a window grows by nothing")
            return Widened(None, increment)
        if not stream_id & 1 or stream_id > self._last_stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a window of no stream")
        stream = self.streams.get(stream_id)
        if stream is None:
            return None  # it may not know yet that the stream is closed
        if not increment:
            return Faulty(stream_id, frames.PROTOCOL_ERROR, "a window grows by nothing")
        return Widened(stream, increment)

    def _settings(self, flags: int, payload: bytes) -> SettingsChanged | None:
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise Broken(frames.FRAME_SIZE_ERROR, "bad SETTINGS")
        if flags & frames.ACK:
            return None
        stream_window = frame_bytes_max = None
        for at in range(0, len(payload), 6):
            name = int.from_bytes(payload[at : at + 2], "big")
            value = int.from_bytes(payload[at + 2 : at + 6], "big")
            if name == frames.SETTING_INITIAL_WINDOW_SIZE:
                if value > frames.WINDOW_MAX:
                    raise Broken(frames.FLOW_CONTROL_ERROR, "windows too large")
                stream_window = value
            elif name == frames.SETTING_MAX_FRAME_SIZE:
                if not frames.FRAME_BYTES_MAX <= value <= frames.FRAME_BYTES_HIGHEST:
                    raise Broken(frames.PROTOCOL_ERROR, "frames too small, or too large")
                frame_bytes_max = value
            elif name == frames.SETTING_ENABLE_PUSH and value > 1:
                raise Broken(frames.PROTOCOL_ERROR, "push is enabled or it is not")
        return SettingsChanged(stream_window, frame_bytes_max)

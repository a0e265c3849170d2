"""A client that writes HTTP/2 frames by hand, so that it can do what no library would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import Message
from hpack import Decoder, Encoder

from perdure.frontend.grpc import frames
from perdure.frontend.grpc.address import split_address
from perdure.frontend.rpcs import WORKFLOW_SERVICE

WAIT_S = 20.0
"""For one frame, at most: a test that hangs fails instead."""


class Frame(NamedTuple):
    """One frame that the server sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


@dataclass
class Heard:
    """What came, by stream."""

    headers: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])
    """With trailers."""
    resets: dict[int, int] = field(default_factory=dict[int, int])
    bodies: dict[int, bytes] = field(default_factory=dict[int, bytes])
    ended: set[int] = field(default_factory=set[int])


def grpc_message(message: Message | bytes, *, packed: bool = False) -> bytes:
    """A message as gRPC frames it."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bytes((packed,)) + len(data).to_bytes(4, "big") + data


class Wire:
    """One connection; `World.wire` opens them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.encoder, self._decoder = Encoder(), Decoder()
        self._next_id = 1

    @classmethod
    async def open(cls, address: str, settings: dict[int, int] | None = None) -> Wire:
        """Connected, with the preface sent."""
        reader, writer = await asyncio.open_connection(*split_address(address))
        wire = cls(reader, writer)
        wire.send(frames.PREFACE, frames.settings(settings or {frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 24}))
        if settings is None:
            wire.send(frames.window_update(0, 1 << 24))
        return wire

    def send(self, *data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(b"".join(data))

    def headers(self, name: str, more: Iterable[tuple[str, str]] = ()) -> bytes:
        """The header block of a call."""
        path = name if name.startswith("/") else f"/{WORKFLOW_SERVICE}/{name}"
        pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
        return self.encoder.encode([*pseudo, ("content-type", "application/grpc"), ("te", "trailers"), *more])

    def stream_id(self) -> int:
        """Of the next call."""
        self._next_id += 2
        return self._next_id - 2

    def call(
        self, name: str, message: Message | bytes, more: Iterable[tuple[str, str]] = (), *, packed: bool = False
    ) -> int:
        """Send a whole unary call. Returns its stream."""
        stream_id = self.stream_id()
        body = grpc_message(message, packed=packed)
        self.send(frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, self.headers(name, more)))
        for at in range(0, len(body), frames.FRAME_BYTES_MAX):
            part = body[at : at + frames.FRAME_BYTES_MAX]
            last = frames.END_STREAM if at + len(part) == len(body) else 0
            self.send(frames.frame(frames.DATA, last, stream_id, part))
        return stream_id

    async def frame(self) -> Frame:
        """The next one. Raises asyncio.IncompleteReadError at the connection's end, TimeoutError when nothing comes."""
        async with asyncio.timeout(WAIT_S):
            head = await self._reader.readexactly(frames.FRAME_HEAD)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big"), payload)

    async def frame_of(self, kind: int) -> Frame:
        """The next one of a kind; header blocks before it are read."""
        while True:
            frame = await self.frame()
            if frame.kind == kind:
                return frame
            if frame.kind == frames.HEADERS:
                self._decoder.decode(frame.payload)

    async def answer(self, stream_id: int) -> tuple[dict[str, str], bytes]:
        """All headers and trailers of a call's answer, and its message."""
        headers: dict[str, str] = {}
        body = b""
        while True:
            frame = await self.frame()
            if frame.kind == frames.HEADERS:
                decoded = {str(name): str(value) for name, value in self._decoder.decode(frame.payload)}
                if frame.stream_id == stream_id:
                    headers |= decoded
            elif frame.kind == frames.DATA and frame.stream_id == stream_id:
                body += frame.payload
            if frame.stream_id == stream_id and frame.flags & frames.END_STREAM and frame.kind != frames.RST_STREAM:
                return headers, body[5:]

    async def listen(self, ends: set[int], heard: Heard) -> Heard:
        """Hear until these streams have ended."""
        while not ends <= heard.ended:
            frame = await self.frame()
            stream_id = frame.stream_id
            if frame.kind == frames.HEADERS:
                decoded = {str(name): str(value) for name, value in self._decoder.decode(frame.payload)}
                heard.headers.setdefault(stream_id, {}).update(decoded)
            elif frame.kind == frames.DATA:
                heard.bodies[stream_id] = heard.bodies.get(stream_id, b"") + frame.payload
            elif frame.kind == frames.RST_STREAM:
                assert stream_id not in heard.resets, "a stream is reset once"
                heard.resets[stream_id] = int.from_bytes(frame.payload, "big")
                heard.ended.add(stream_id)
            if frame.kind in (frames.HEADERS, frames.DATA) and frame.flags & frames.END_STREAM:
                heard.ended.add(stream_id)
        return heard

    async def code(self, stream_id: int) -> int:
        """The gRPC status of a call."""
        headers, _ = await self.answer(stream_id)
        return int(headers["grpc-status"])

    async def end(self) -> int | None:
        """Wait until the server closes. Returns the code of its GOAWAY, None without one."""
        code = None
        try:
            while True:
                frame = await self.frame()
                if frame.kind == frames.GOAWAY:
                    code = int.from_bytes(frame.payload[4:8], "big")
        except (asyncio.IncompleteReadError, ConnectionError):
            return code

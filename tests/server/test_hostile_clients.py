"""What a client can do to us within the protocol: whatever it makes us keep is bounded, and is given back."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from hpack import Encoder
from temporalio.api.workflowservice import v1 as service

from perdure.frontend.server import bounds, frames
from perdure.frontend.server.connection import Connection
from perdure.frontend.server.rpcs import WORKFLOW_SERVICE
from perdure.frontend.server.stream import MESSAGE_BYTES_MAX
from tests.engine.world import history_request, workflow_poll
from tests.server.given import World, served
from tests.server.wire import grpc_message

INFO = service.GetSystemInfoRequest()
CANCEL = 8


class Socket(asyncio.Transport):
    """A socket without end: what is written is kept, and nothing of it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def sent(self, kind: int) -> list[bytes]:
        """Payloads of the frames of a kind."""
        found, at = list[bytes](), 0
        while at < len(self.written):
            end = at + frames.FRAME_HEAD + int.from_bytes(self.written[at : at + 3], "big")
            if self.written[at + 3] == kind:
                found.append(self.written[at + frames.FRAME_HEAD : end])
            at = end
        return found


class Hostile:
    """A connection whose client decides at which step of the event loop its bytes arrive."""

    def __init__(self, world: World) -> None:
        self.socket = Socket()
        self.connection = Connection(world.transport)
        self.connection.connection_made(self.socket)
        self._encoder = Encoder()
        self._next_id = 1
        self.send(frames.PREFACE, frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 0}))

    def send(self, *data: bytes) -> None:
        """These bytes are here now."""
        self.connection.data_received(b"".join(data))

    def opening(self, path: str) -> tuple[int, bytes]:
        """A call's stream, and its headers."""
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc")]
        stream_id, self._next_id = self._next_id, self._next_id + 2
        return stream_id, frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, self._encoder.encode(fields))

    def call(self, name: str, message: Any) -> tuple[int, bytes]:
        """A whole call."""
        stream_id, headers = self.opening(f"/{WORKFLOW_SERVICE}/{name}")
        return stream_id, headers + frames.frame(frames.DATA, frames.END_STREAM, stream_id, grpc_message(message))


@served
async def test_a_call_that_is_reset_before_its_first_step_gives_its_place_back(world: World) -> None:
    client, loop = Hostile(world), asyncio.get_running_loop()
    for _ in range(10):
        stream_id, call = client.call("GetWorkflowExecutionHistory", history_request())
        for _ in range(5):  # nobody's turn comes now
            await asyncio.sleep(0)
        client.send(call)
        started = loop.create_future()
        loop.call_soon(client.send, frames.reset(stream_id, CANCEL))  # right behind the start of the call
        loop.call_soon(started.set_result, None)
        await started
    await asyncio.sleep(0)
    assert world.transport.counts.calls["GetWorkflowExecutionHistory"] == 10, "they were all started"
    assert (client.connection.running, client.connection.unsent, world.transport.unsent) == (0, 0, 0)


@served
async def test_calls_that_are_reset_while_they_wait_for_their_turn_are_not_kept(world: World) -> None:
    client = Hostile(world)
    for _ in range(5_000):
        stream_id, call = client.call("GetSystemInfo", INFO)
        client.send(call, frames.reset(stream_id, CANCEL))
    kept, call = client.call("GetSystemInfo", INFO)
    client.send(call)
    assert len(client.connection.ready) < 200
    assert client.connection.ready[-1].stream_id == kept


@served
async def test_a_conversation_waits_until_its_answers_are_taken(world: World) -> None:
    client = Hostile(world)
    stream_id, headers = client.opening("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    question = grpc_message(ServerReflectionRequest(file_containing_symbol=WORKFLOW_SERVICE))
    client.send(headers)
    for _ in range(90):
        client.send(frames.frame(frames.DATA, 0, stream_id, question))
        await asyncio.sleep(0)
    answer = client.connection.streams[stream_id].out[0]
    assert world.transport.unsent <= bounds.UNSENT_BYTES_MAX + len(answer)
    waiting = len(client.connection.streams[stream_id].out)
    client.send(frames.window_update(0, 1 << 30), frames.window_update(stream_id, 1 << 30))
    for _ in range(200):
        await asyncio.sleep(0)
    assert client.connection.unsent == 0
    assert len(client.socket.sent(frames.DATA)) > waiting, "the rest was said then"
    client.connection.connection_lost(None)


@served
async def test_a_conversation_that_is_refused_is_over(world: World) -> None:
    client = Hostile(world)
    stream_id, headers = client.opening("/grpc.health.v1.Health/Watch")
    client.send(headers, frames.frame(frames.DATA, 0, stream_id, grpc_message(health_pb2.HealthCheckRequest())))
    client.send(frames.window_update(stream_id, 1_000))
    task = client.connection.streams[stream_id].task
    assert task is not None
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.socket.sent(frames.DATA)
    too_large = b"\0" + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big")
    client.send(frames.frame(frames.DATA, 0, stream_id, too_large))
    for _ in range(10):
        await asyncio.sleep(0)
    assert task.done(), "nobody would ever end it"
    assert not client.connection.streams


@served
async def test_whoever_changes_the_windows_again_and_again_is_cut_off(world: World) -> None:
    client = Hostile(world)
    for size in range(bounds.WINDOW_CHANGES_MAX + 1):
        client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: size}))
    (goaway,) = client.socket.sent(frames.GOAWAY)
    assert int.from_bytes(goaway[4:8], "big") == frames.ENHANCE_YOUR_CALM
    assert client.socket.is_closed


@served
async def test_one_who_is_told_to_leave_is_never_told_of_a_later_stream(world: World) -> None:
    client = Hostile(world)
    first, call = client.call("PollWorkflowTaskQueue", workflow_poll())
    client.send(call)
    client.connection.leave()
    _, late = client.call("PollWorkflowTaskQueue", workflow_poll())
    client.send(late)
    client.connection.end(frames.NO_ERROR)
    told = [int.from_bytes(goaway[:4], "big") for goaway in client.socket.sent(frames.GOAWAY)]
    assert told == [first, first]

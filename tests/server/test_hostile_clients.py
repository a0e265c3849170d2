"""What a client can do to us within the protocol: whatever it makes us keep is bounded, and is given back."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from hpack import Encoder
from temporalio.api.workflowservice import v1 as service

from perdure.frontend.calls import Call
from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.connection import Connection
from perdure.frontend.grpc.transport import Transport
from perdure.frontend.rpcs import WORKFLOW_SERVICE
from tests.engine.world import history_request, start_request, workflow_poll
from tests.server.battery import body
from tests.server.given import FREE, World, served
from tests.server.wire import grpc_message

INFO = service.GetSystemInfoRequest()
CANCEL = 8


class Socket(asyncio.Transport):
    """A socket without end: what is written is kept, and nothing of it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.behind = 0
        """Bytes that have not left the process."""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.behind

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
                found.append(bytes(self.written[at + frames.FRAME_HEAD : end]))
            at = end
        return found


class Hostile:
    """A connection whose client decides at which step of the event loop its bytes arrive."""

    def __init__(self, transport: Transport) -> None:
        self.socket = Socket()
        self.connection = Connection(transport)
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


async def turns(count: int) -> None:
    """Let everybody have so many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


class Slow:
    """A service that answers when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_answer = asyncio.Event()

    async def get_system_info(self, request: service.GetSystemInfoRequest, call: Call) -> service.GetSystemInfoResponse:
        self.begun += 1
        await self.may_answer.wait()
        return service.GetSystemInfoResponse()


def test_one_connection_has_a_bounded_number_of_calls_worked_on_and_another_its_own() -> None:
    async def scenario() -> None:
        slow = Slow()
        transport = Transport({WORKFLOW_SERVICE: slow})
        await transport.start(FREE)
        greedy, modest = Hostile(transport), Hostile(transport)
        greedy.send(*(greedy.call("GetSystemInfo", INFO)[1] for _ in range(bounds.RUNNING_MAX + 50)))
        await turns(bounds.RUNNING_MAX)
        assert slow.begun == greedy.connection.running == bounds.RUNNING_MAX
        modest.send(modest.call("GetSystemInfo", INFO)[1])
        await turns(5)
        assert slow.begun == bounds.RUNNING_MAX + 1, "the bound is each connection's own"
        slow.may_answer.set()
        await turns(bounds.RUNNING_MAX)
        assert slow.begun == bounds.RUNNING_MAX + 51, "the others had their turn then"
        await transport.stop(0, _nobody_waits)

    asyncio.run(scenario())


async def _nobody_waits() -> None:
    """Nobody has to be sent away."""


class Lists:
    """Serves lists of so many bytes each, when it may."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.may_answer = asyncio.Event()
        self.begun = 0

    async def list_workflow_executions(
        self, request: service.ListWorkflowExecutionsRequest, call: Call
    ) -> service.ListWorkflowExecutionsResponse:
        self.begun += 1
        await self.may_answer.wait()
        return service.ListWorkflowExecutionsResponse(next_page_token=b"x" * self.size)


def test_answers_that_are_being_made_are_counted_by_what_they_are_likely_to_weigh() -> None:
    async def scenario() -> None:
        request = service.ListWorkflowExecutionsRequest()
        large, small = Lists(2 << 20), Lists(100)
        for lists, begun in ((large, 2), (small, 20)):
            transport = Transport({WORKFLOW_SERVICE: lists})
            await transport.start(FREE)
            client = Hostile(transport)
            client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 30}))
            client.send(frames.window_update(0, 1 << 30))
            client.send(*(client.call("ListWorkflowExecutions", request)[1] for _ in range(50)))
            await turns(60)
            first = lists.begun
            assert first * bounds.READ_BYTES <= bounds.UNSENT_BYTES_MAX + 2 * bounds.READ_BYTES, "nobody knows yet"
            lists.may_answer.set()
            await turns(400)
            assert lists.begun == 50, "all of them are taken in the end"
            lists.may_answer.clear()
            lists.begun = 0
            client.send(*(client.call("ListWorkflowExecutions", request)[1] for _ in range(20)))
            await turns(60)
            assert lists.begun == begun, "it is known what they weigh"
            client.connection.connection_lost(None)
            await turns(5)
            assert transport.unsent == 0
            await transport.stop(0, _nobody_waits)

    asyncio.run(scenario())


@served
async def test_a_task_that_was_written_and_did_not_leave_the_process_goes_to_the_next_poller(world: World) -> None:
    client = Hostile(world.transport)
    client.socket.behind = 1  # it takes what is written, and nothing of it goes out
    client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}))
    client.send(client.call("PollWorkflowTaskQueue", workflow_poll())[1])
    await world.engine.matching.polls.reached(1)
    (poller,) = world.polls()
    await world.client.call("StartWorkflowExecution", start_request())
    await asyncio.wait([poller.answer])
    await turns(5)
    assert client.socket.sent(frames.DATA), "the task is in the socket's buffer"
    client.connection.connection_lost(None)
    task = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=10)
    assert (task.started_event_id, task.attempt) == (3, 1)


@served
async def test_a_task_that_left_the_process_is_not_handed_out_again_when_its_connection_ends(world: World) -> None:
    client = Hostile(world.transport)
    client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}))
    client.send(client.call("PollWorkflowTaskQueue", workflow_poll())[1])
    await world.engine.matching.polls.reached(1)
    (poller,) = world.polls()
    await world.client.call("StartWorkflowExecution", start_request())
    await asyncio.wait([poller.answer])
    await turns(5)
    client.connection.connection_lost(None)
    empty = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=2.1)
    assert not empty.task_token


@served
async def test_a_call_that_is_reset_before_its_first_step_gives_its_place_back(world: World) -> None:
    client = Hostile(world.transport)
    for _ in range(10):
        stream_id, call = client.call("GetWorkflowExecutionHistory", history_request())
        for _ in range(5):  # nobody's turn comes now
            await asyncio.sleep(0)
        client.send(call)  # so it is started at once
        client.send(frames.reset(stream_id, CANCEL))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.transport.counts.calls["GetWorkflowExecutionHistory"] == 10, "they were all started"
    assert (client.connection.running, client.connection.unsent, world.transport.unsent) == (0, 0, 0)


@served
async def test_calls_that_are_reset_while_they_wait_for_their_turn_are_not_kept(world: World) -> None:
    client = Hostile(world.transport)
    for _ in range(5_000):
        stream_id, call = client.call("GetSystemInfo", INFO)
        client.send(call, frames.reset(stream_id, CANCEL))
    kept, call = client.call("GetSystemInfo", INFO)
    client.send(call)
    assert len(client.connection.ready) < 200
    assert client.connection.ready[-1].stream_id == kept


@served
async def test_a_conversation_waits_until_its_answers_are_taken(world: World) -> None:
    client = Hostile(world.transport)
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
    client = Hostile(world.transport)
    stream_id, headers = client.opening("/grpc.health.v1.Health/Watch")
    client.send(headers, frames.frame(frames.DATA, 0, stream_id, grpc_message(health_pb2.HealthCheckRequest())))
    client.send(frames.window_update(stream_id, 1_000))
    task = client.connection.streams[stream_id].task
    assert task is not None
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.socket.sent(frames.DATA)
    too_large = b"\0" + (bounds.MESSAGE_BYTES_MAX + 1).to_bytes(4, "big")
    client.send(frames.frame(frames.DATA, 0, stream_id, too_large))
    for _ in range(10):
        await asyncio.sleep(0)
    assert task.done(), "nobody would ever end it"
    assert not client.connection.streams


@served
async def test_whoever_changes_the_windows_again_and_again_is_cut_off(world: World) -> None:
    client = Hostile(world.transport)
    for size in range(bounds.WINDOW_CHANGES_MAX + 1):
        client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: size}))
    (goaway,) = client.socket.sent(frames.GOAWAY)
    assert int.from_bytes(goaway[4:8], "big") == frames.ENHANCE_YOUR_CALM
    assert client.socket.is_closed


@served
async def test_whoever_changes_the_windows_now_and_then_is_followed(world: World) -> None:
    client = Hostile(world.transport)
    for size in range(3 * bounds.WINDOW_CHANGES_MAX):
        client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: size + 1}))
        if size % 50 == 0:
            client.connection.check(0.0, bounds.SILENT_S, bounds.STUCK_S, bounds.GREETING_S)
    assert not client.socket.sent(frames.GOAWAY)


@served
async def test_a_call_beyond_the_number_that_one_connection_may_have_is_refused_alone(world: World) -> None:
    client = Hostile(world.transport)
    with mock.patch.object(bounds, "STREAMS_MAX", 3):
        polls = [client.call("PollWorkflowTaskQueue", workflow_poll()) for _ in range(5)]
        client.send(*(call for _, call in polls))
        await turns(5)
        assert list(client.connection.streams) == [stream_id for stream_id, _ in polls[:3]]
        assert client.socket.sent(frames.RST_STREAM) == [frames.REFUSED_STREAM.to_bytes(4, "big")] * 2
        client.send(frames.reset(polls[0][0], CANCEL), client.call("PollWorkflowTaskQueue", workflow_poll())[1])
        assert len(client.connection.streams) == 3, "there was room again"
    client.connection.connection_lost(None)


@served
async def test_beyond_what_all_may_keep_whoever_has_more_than_a_request_is_cut_off(world: World) -> None:
    greedy, modest = Hostile(world.transport), Hostile(world.transport)
    half = b"\0" + (3 << 20).to_bytes(4, "big") + bytes(2 << 20)
    with mock.patch.object(bounds, "BUFFERED_ALL_BYTES_MAX", 6 << 20):
        for client in (modest, greedy, greedy, greedy):
            stream_id, headers = client.opening(f"/{WORKFLOW_SERVICE}/GetSystemInfo")
            client.send(headers, body(stream_id, half, 0))
    assert (greedy.socket.is_closed, modest.socket.is_closed) == (True, False)
    greedy.connection.connection_lost(None)
    assert world.transport.buffered == len(half)
    modest.connection.connection_lost(None)
    assert world.transport.buffered == 0


@served
async def test_a_request_of_more_than_one_message_is_not_kept(world: World) -> None:
    client = Hostile(world.transport)
    stream_id, headers = client.opening(f"/{WORKFLOW_SERVICE}/GetSystemInfo")
    client.send(headers)
    for _ in range(20):
        client.send(body(stream_id, grpc_message(bytes(1_000)), 0))
    assert world.transport.buffered == 0
    client.connection.connection_lost(None)


@served
async def test_what_a_client_says_shows_that_an_answer_before_has_left(world: World) -> None:
    client = Hostile(world.transport)
    client.socket.behind = 1
    client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}))
    client.send(client.call("PollWorkflowTaskQueue", workflow_poll())[1])
    await world.engine.matching.polls.reached(1)
    (poller,) = world.polls()
    await world.client.call("StartWorkflowExecution", start_request())
    await asyncio.wait([poller.answer])
    await turns(5)
    client.socket.behind = 0
    client.send(frames.window_update(0, 1))
    client.connection.connection_lost(None)
    empty = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=2.1)
    assert not empty.task_token


@served
async def test_a_connection_that_is_told_to_leave_ends_with_its_last_call(world: World) -> None:
    answered, given_up = Hostile(world.transport), Hostile(world.transport)
    for client in (answered, given_up):
        client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}))
        client.send(client.call("PollWorkflowTaskQueue", workflow_poll())[1])
        client.connection.leave()
        client.send(client.call("GetSystemInfo", INFO)[1])
        assert list(client.connection.streams) == [1], "what comes later goes elsewhere"
        assert not client.socket.is_closed
    given_up.send(frames.reset(1, CANCEL))
    assert given_up.socket.is_closed
    await world.engine.matching.polls.reached(1)
    await world.client.call("StartWorkflowExecution", start_request())
    await turns(20)
    assert answered.socket.sent(frames.DATA)
    assert answered.socket.is_closed


@served
async def test_nothing_is_written_to_a_socket_that_is_behind(world: World) -> None:
    client = Hostile(world.transport)
    client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}))
    client.connection.pause_writing()
    client.send(*(client.call("GetSystemInfo", INFO)[1] for _ in range(3)))
    await turns(20)
    assert not client.socket.sent(frames.DATA)
    assert client.connection.unsent, "it is made, and waits"
    client.connection.resume_writing()
    await turns(2)
    assert len(client.socket.sent(frames.DATA)) == 3
    assert client.connection.unsent == 0


@served
async def test_whoever_lets_its_socket_fall_far_behind_is_cut_off(world: World) -> None:
    client = Hostile(world.transport)
    client.socket.behind = bounds.WRITTEN_BYTES_MAX
    client.send(frames.frame(frames.PING, 0, 0, bytes(8)))
    await turns(2)
    assert not client.socket.is_closed
    client.socket.behind += 1
    client.send(frames.frame(frames.PING, 0, 0, bytes(8)))
    await turns(2)
    assert client.socket.is_closed


@served
async def test_frames_are_as_large_as_the_client_lets_them_be(world: World) -> None:
    request = start_request()
    request.input.payloads.add(data=bytes(300_000))
    await world.client.call("StartWorkflowExecution", request)
    for allowed, largest in ((0, 16_384), (20_000, 20_000), (1 << 20, bounds.FRAME_SENT_MAX)):
        client = Hostile(world.transport)
        client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}), frames.window_update(0, 1 << 20))
        if allowed:
            client.send(frames.settings({frames.SETTING_MAX_FRAME_SIZE: allowed}))
        client.send(client.call("GetWorkflowExecutionHistory", history_request())[1])
        await turns(50)
        assert max(len(payload) for payload in client.socket.sent(frames.DATA)) == largest
        client.connection.connection_lost(None)


@served
async def test_whoever_is_answered_early_is_told_to_send_no_more(world: World) -> None:
    client = Hostile(world.transport)
    stream_id, headers = client.opening(f"/{WORKFLOW_SERVICE}/GetSystemInfo")
    client.send(headers, body(stream_id, b"\0\xff\xff\xff\xff", 0))
    await turns(2)
    assert client.socket.sent(frames.RST_STREAM) == [frames.NO_ERROR.to_bytes(4, "big")]
    client.connection.connection_lost(None)


@served
async def test_an_answer_that_comes_after_its_call_was_reset_is_told_that_it_did_not_arrive(world: World) -> None:
    client = Hostile(world.transport)
    client.send(client.call("PollWorkflowTaskQueue", workflow_poll())[1])
    stream, told = client.connection.streams[1], list[str]()
    stream.undelivered = lambda: told.append("undelivered")
    client.send(frames.reset(1, CANCEL))
    client.connection.respond(stream, b"a task")
    assert told == ["undelivered"]
    client.connection.connection_lost(None)


@served
async def test_one_who_is_told_to_leave_is_never_told_of_a_later_stream(world: World) -> None:
    client = Hostile(world.transport)
    first, call = client.call("PollWorkflowTaskQueue", workflow_poll())
    client.send(call)
    client.connection.leave()
    _, late = client.call("PollWorkflowTaskQueue", workflow_poll())
    client.send(late)
    client.connection.end(frames.NO_ERROR)
    told = [int.from_bytes(goaway[:4], "big") for goaway in client.socket.sent(frames.GOAWAY)]
    assert told == [first, first]

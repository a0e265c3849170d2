"""HTTP/2 as clients write it, well and badly: nobody but the one who breaks the protocol notices."""

from __future__ import annotations

import asyncio
import gzip
import random

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import StatusCode
from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.headers import timeout_s
from perdure.frontend.rpcs import WORKFLOW_SERVICE
from tests.engine.world import history_request, start_request, workflow_poll
from tests.server.given import World, served
from tests.server.wire import grpc_message

INFO = service.GetSystemInfoRequest()


@served
async def test_a_call_in_one_write_is_answered_with_headers_message_and_trailers(world: World) -> None:
    wire = await world.wire()
    headers, body = await wire.answer(wire.call("GetSystemInfo", INFO))
    assert (headers[":status"], headers["content-type"], headers["grpc-status"]) == ("200", "application/grpc", "0")
    assert service.GetSystemInfoResponse.FromString(body).server_version


@served
async def test_a_call_byte_by_byte_padded_with_priority_and_continued_is_the_same_call(world: World) -> None:
    wire = await world.wire()
    stream_id, block = wire.stream_id(), wire.headers("GetSystemInfo")
    flags = frames.PADDED | frames.HAS_PRIORITY
    data = (
        frames.frame(frames.HEADERS, flags, stream_id, b"\x03" + bytes(5) + block[:7] + bytes(3))
        + frames.frame(frames.CONTINUATION, 0, stream_id, block[7:9])
        + frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream_id, block[9:])
        + frames.frame(frames.DATA, frames.PADDED, stream_id, b"\x04" + grpc_message(INFO)[:2] + bytes(4))
        + frames.frame(frames.DATA, frames.END_STREAM, stream_id, grpc_message(INFO)[2:])
    )
    for at in range(len(data)):
        wire.send(data[at : at + 1])
        await wire.writer.drain()
    assert await wire.code(stream_id) == StatusCode.OK


@served
async def test_a_client_that_compresses_is_understood(world: World) -> None:
    wire = await world.wire()
    packed = gzip.compress(service.DescribeNamespaceRequest(namespace="default").SerializeToString())
    _, body = await wire.answer(wire.call("DescribeNamespace", packed, [("grpc-encoding", "gzip")], packed=True))
    assert service.DescribeNamespaceResponse.FromString(body).namespace_info.name == "default"
    bomb = gzip.compress(bytes(64 << 20))
    refused = wire.call("DescribeNamespace", bomb, [("grpc-encoding", "gzip")], packed=True)
    assert await wire.code(refused) == StatusCode.RESOURCE_EXHAUSTED
    unknown = wire.call("DescribeNamespace", packed, [("grpc-encoding", "br")], packed=True)
    assert await wire.code(unknown) == StatusCode.UNIMPLEMENTED
    broken = wire.call("DescribeNamespace", b"no gzip", [("grpc-encoding", "gzip")], packed=True)
    assert await wire.code(broken) == StatusCode.INTERNAL


@served
async def test_an_answer_keeps_to_the_windows_that_its_client_opens(world: World) -> None:
    request = start_request()
    request.input.payloads.add(data=bytes(100_000))
    await world.client.call("StartWorkflowExecution", request)
    wire = await world.wire({frames.SETTING_INITIAL_WINDOW_SIZE: 10})
    stream_id = wire.call("GetWorkflowExecutionHistory", history_request())
    first = await wire.frame_of(frames.DATA)
    assert len(first.payload) == 10
    wire.send(frames.window_update(stream_id, 1_000_000))
    received = 10
    while received < 65_535:
        received += len((await wire.frame_of(frames.DATA)).payload)
    assert received == 65_535, "the connection's own window"
    wire.send(frames.window_update(0, 1_000_000))
    headers, _ = await wire.answer(stream_id)
    assert headers["grpc-status"] == "0"


@served
async def test_a_change_of_the_first_window_reaches_the_streams_that_are_open(world: World) -> None:
    request = start_request()
    request.input.payloads.add(data=bytes(100_000))
    await world.client.call("StartWorkflowExecution", request)
    wire = await world.wire({frames.SETTING_INITIAL_WINDOW_SIZE: 10})
    stream_id = wire.call("GetWorkflowExecutionHistory", history_request())
    assert len((await wire.frame_of(frames.DATA)).payload) == 10
    wire.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 5_010}))
    assert len((await wire.frame_of(frames.DATA)).payload) == 5_000, "what was used stays used"
    wire.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 10}))
    wire.send(frames.window_update(stream_id, 5_000), frames.frame(frames.PING, 0, 0, bytes(8)))
    assert (await wire.frame_of(frames.PING)).flags, "nothing was sent: the window was 5,000 below nothing, and is 0"
    wire.send(frames.window_update(stream_id, 7))
    assert len((await wire.frame_of(frames.DATA)).payload) == 7


@served
async def test_a_connection_that_takes_no_answers_gets_no_further_call_started(world: World) -> None:
    request = start_request()
    request.input.payloads.add(data=bytes(1 << 20))
    await world.client.call("StartWorkflowExecution", request)
    wire = await world.wire({frames.SETTING_INITIAL_WINDOW_SIZE: 0})
    asked = [wire.call("GetWorkflowExecutionHistory", history_request()) for _ in range(200)]
    assert await world.client.call("GetSystemInfo", INFO)
    first = wire.call("GetSystemInfo", INFO)
    wire.send(frames.window_update(first, 1_000_000))
    for _ in range(50):
        assert await world.client.call("GetSystemInfo", INFO), "others go on"
    assert world.transport.unsent < 3 * bounds.UNSENT_BYTES_MAX, "not two hundred mebibytes"
    for stream_id in asked:
        wire.send(frames.reset(stream_id, 8))
    assert await wire.code(first) == StatusCode.OK, "what it gives up makes room"
    assert world.transport.unsent == 0


@served
async def test_a_flood_on_one_connection_waits_its_turn(world: World) -> None:
    greedy, modest = await world.wire(), await world.wire()
    flood = [greedy.call("GetSystemInfo", INFO) for _ in range(1_000)]
    assert await modest.code(modest.call("GetSystemInfo", INFO)) == StatusCode.OK
    assert world.transport.counts.calls["GetSystemInfo"] < 500, "it did not wait for the flood to pass"
    assert await greedy.code(flood[-1]) == StatusCode.OK, "which is served as well"


@served
async def test_a_poll_that_is_reset_is_over_and_its_connection_goes_on(world: World) -> None:
    wire = await world.wire()
    stream_id = wire.call("PollWorkflowTaskQueue", workflow_poll())
    await world.engine.matching.polls.reached(1)
    (poller,) = world.polls()
    wire.send(frames.reset(stream_id, 8))
    await asyncio.wait([poller.answer])
    assert await wire.code(wire.call("GetSystemInfo", INFO)) == StatusCode.OK


@served
async def test_a_task_whose_poller_takes_no_answer_goes_to_the_next_when_it_leaves(world: World) -> None:
    wire = await world.wire({frames.SETTING_INITIAL_WINDOW_SIZE: 0})
    wire.call("PollWorkflowTaskQueue", workflow_poll())
    await world.engine.matching.polls.reached(1)
    (poller,) = world.polls()
    await world.client.call("StartWorkflowExecution", start_request())
    await asyncio.wait([poller.answer])
    await world.client.call("GetSystemInfo", INFO)
    wire.writer.close()
    task = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=10)
    assert (task.started_event_id, task.attempt) == (3, 1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.frame(frames.DATA, 0, 1, b"x"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 2, b"\x82"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), frames.COMPRESSION_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\x09x"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"") + frames.frame(frames.PING, 0, 0, bytes(8)), frames.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0, 1) + frames.frame(9, 0, 1, bytes(16_000)) * 5, frames.ENHANCE_YOUR_CALM),
        (frames.frame(frames.CONTINUATION, 0, 1, b"x"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.RST_STREAM, 0, 1, bytes(4)), frames.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, b"short"), frames.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, b"short"), frames.FRAME_SIZE_ERROR),
        (frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 31}), frames.FLOW_CONTROL_ERROR),
        (frames.settings({frames.SETTING_MAX_FRAME_SIZE: 1}), frames.PROTOCOL_ERROR),
        (frames.window_update(0, 0), frames.PROTOCOL_ERROR),
        (frames.window_update(0, frames.WINDOW_MAX), frames.FLOW_CONTROL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 0, 1), frames.PROTOCOL_ERROR),
        (b"\xff\xff\xff" + bytes(6), frames.FRAME_SIZE_ERROR),
    ],
)
def test_whoever_breaks_the_protocol_is_told_and_cut_off_alone(data: bytes, code: int) -> None:
    @served
    async def scenario(world: World) -> None:
        wire = await world.wire()
        wire.send(data)
        assert await wire.end() == code
        assert await world.client.call("GetSystemInfo", INFO)

    scenario()


@served
async def test_requests_that_are_never_finished_are_bounded(world: World) -> None:
    wire = await world.wire()
    for _ in range(10):
        stream_id = wire.stream_id()
        wire.send(frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, wire.headers("StartWorkflowExecution")))
        wire.send(frames.frame(frames.DATA, 0, stream_id, b"\0" + (4 << 20).to_bytes(4, "big")))
        wire.send(*[frames.frame(frames.DATA, 0, stream_id, bytes(16_000))] * 250)
    assert await wire.end() == frames.ENHANCE_YOUR_CALM
    assert world.transport.buffered == 0
    assert await world.client.call("GetSystemInfo", INFO)


@served
async def test_what_is_not_http2_at_all_is_closed(world: World) -> None:
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00 TLS"):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(world.server.address.rpartition(":")[2]))
        writer.write(text)
        assert frames.GOAWAY not in await reader.read(), "it would not understand"
        writer.close()
    assert await world.client.call("GetSystemInfo", INFO)


@served
async def test_noise_harms_nobody(world: World) -> None:
    chance = random.Random(7)
    for _ in range(200):
        wire = await world.wire()
        kind, size = chance.randrange(12), chance.randrange(64)
        payload = chance.randbytes(size)
        wire.send(frames.frame(kind, chance.randrange(256), chance.randrange(4), payload), chance.randbytes(20))
        wire.writer.write_eof()
        await wire.end()
    assert await world.client.call("GetSystemInfo", INFO)


@served
async def test_a_request_that_is_no_grpc_message_is_refused(world: World) -> None:
    wire = await world.wire()
    stream_id = wire.stream_id()
    wire.send(
        frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, wire.headers("GetSystemInfo"))
    )
    assert await wire.code(stream_id) == StatusCode.INTERNAL
    stream_id = wire.stream_id()
    wire.send(frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, wire.headers("GetSystemInfo")))
    wire.send(frames.frame(frames.DATA, frames.END_STREAM, stream_id, grpc_message(INFO) + b"and more"))
    assert await wire.code(stream_id) == StatusCode.INTERNAL
    assert await wire.code(wire.call("/no.such.Service/Method", b"")) == StatusCode.UNIMPLEMENTED


@served
async def test_an_unknown_service_has_no_health(world: World) -> None:
    wire = await world.wire()
    request = health_pb2.HealthCheckRequest(service="no.such.Service")
    assert await wire.code(wire.call("/grpc.health.v1.Health/Check", request)) == StatusCode.NOT_FOUND


@served
async def test_reflection_tells_services_and_their_messages(world: World) -> None:
    wire = await world.wire()
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    _, body = await wire.answer(wire.call(path, ServerReflectionRequest(list_services="")))
    answer = ServerReflectionResponse.FromString(body)
    assert WORKFLOW_SERVICE in {one.name for one in answer.list_services_response.service}
    _, body = await wire.answer(wire.call(path, ServerReflectionRequest(file_containing_symbol=WORKFLOW_SERVICE)))
    files = ServerReflectionResponse.FromString(body).file_descriptor_response.file_descriptor_proto
    assert len(files) > 20, "with all that it imports"
    _, body = await wire.answer(wire.call(path, ServerReflectionRequest(file_by_filename="nowhere.proto")))
    assert ServerReflectionResponse.FromString(body).error_response.error_code == StatusCode.NOT_FOUND


def test_timeouts_are_read_in_all_their_units() -> None:
    assert [timeout_s(text) for text in ("70000m", "70S", "2M", "1H", "5000000u")] == [70, 70, 120, 3600, 5]
    assert [timeout_s(text) for text in ("", "S", "7x", "123456789S", "-1S")] == [None] * 5

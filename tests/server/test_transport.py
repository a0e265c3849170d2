"""What holds for every RPC: names, codes, details, health, and what is not understood."""

from __future__ import annotations

import asyncio
from unittest import mock

from grpc_health.v1 import health_pb2
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, WorkflowExecutionAlreadyStartedFailure
from temporalio.api.operatorservice import v1 as operator_service
from temporalio.api.workflowservice import v1 as service

from perdure.frontend.grpc import bounds
from perdure.frontend.grpc.address import split_address
from perdure.frontend.rpcs import OPERATOR_SERVICE, WORKFLOW_SERVICE, method_name, rpcs
from tests.engine.world import start_request
from tests.server.given import CODE, World, detail, served


@served
async def test_connecting_asks_for_system_info(world: World) -> None:
    info = await world.client.call("GetSystemInfo", service.GetSystemInfoRequest())
    assert info.server_version
    assert info.capabilities.sdk_metadata


@served
async def test_a_refusal_carries_code_message_and_detail(world: World) -> None:
    error = await world.client.refusal("DescribeNamespace", service.DescribeNamespaceRequest(namespace="nowhere"))
    assert error.code() is CODE.NOT_FOUND
    assert error.details() == "Namespace nowhere is not found."
    assert detail(error, NamespaceNotFoundFailure).namespace == "nowhere"


@served
async def test_a_second_start_is_told_which_run_is_there(world: World) -> None:
    started = await world.client.call("StartWorkflowExecution", start_request())
    again = start_request(request_id="another")
    error = await world.client.refusal("StartWorkflowExecution", again)
    assert error.code() is CODE.ALREADY_EXISTS
    assert detail(error, WorkflowExecutionAlreadyStartedFailure).run_id == started.run_id


@served
async def test_an_rpc_that_nobody_serves_is_refused_by_its_name(world: World) -> None:
    error = await world.client.refusal(
        "AddOrUpdateRemoteCluster", operator_service.AddOrUpdateRemoteClusterRequest(), service=OPERATOR_SERVICE
    )
    assert error.code() is CODE.UNIMPLEMENTED
    assert "AddOrUpdateRemoteCluster" in (error.details() or "")


@served
async def test_bytes_that_are_no_message_are_refused_as_internal_and_the_connection_lives(world: World) -> None:
    error = await world.client.refusal("StartWorkflowExecution", b"\xff\xff\xff garbage")
    assert error.code() is CODE.INTERNAL
    assert "error unmarshalling request" in (error.details() or "")
    assert await world.client.call("GetSystemInfo", service.GetSystemInfoRequest())


@served
async def test_a_message_beyond_four_mebibytes_is_refused(world: World) -> None:
    request = start_request()
    request.input.payloads.add(data=bytes(5 << 20))
    error = await world.client.refusal("StartWorkflowExecution", request)
    assert error.code() is CODE.RESOURCE_EXHAUSTED
    assert await world.client.call("GetSystemInfo", service.GetSystemInfoRequest())


@served
async def test_health_is_known_for_the_service_and_not_for_others(world: World) -> None:
    check = world.client.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", WORKFLOW_SERVICE):
        answer = await check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_methods_are_found_by_the_names_of_their_rpcs() -> None:
    assert method_name("PollWorkflowTaskQueue") == "poll_workflow_task_queue"
    assert method_name("RespondActivityTaskCompletedById") == "respond_activity_task_completed_by_id"
    paths = [rpc.path for rpc in rpcs({})]
    assert len(set(paths)) == len(paths) > 100


@served
async def test_the_side_door_tells_health_and_metrics_and_nothing_else(world: World) -> None:
    await world.client.call("GetSystemInfo", service.GetSystemInfoRequest())
    await world.client.refusal("DescribeNamespace", service.DescribeNamespaceRequest(namespace="nowhere"))
    assert await fetch(world, "GET /healthz HTTP/1.1") == ("HTTP/1.1 200 OK", "serving\n")
    assert await fetch(world, "GET /readyz HTTP/1.1") == ("HTTP/1.1 200 OK", "ready\n")
    _, metrics = await fetch(world, "GET /metrics HTTP/1.1")
    assert 'perdure_rpc_calls_total{rpc="GetSystemInfo"} 1\n' in metrics
    assert 'perdure_rpc_refusals_total{rpc="DescribeNamespace",code="NOT_FOUND"} 1\n' in metrics
    assert "perdure_commits_total 0\n" in metrics
    assert (await fetch(world, "GET /etc/passwd HTTP/1.1"))[0] == "HTTP/1.1 404 Not Found"
    assert (await fetch(world, "POST /healthz HTTP/1.1"))[0] == "HTTP/1.1 405 Method Not Allowed"
    assert await fetch(world, "x" * 20_000) == ("", ""), "too much is not answered"


@served
async def test_a_crowd_that_says_nothing_does_not_keep_a_probe_from_its_answer(world: World) -> None:
    host, port = split_address(world.server.http_address)
    with mock.patch.object(bounds, "HTTP_REQUEST_S_MAX", 3_600):  # nobody leaves by being slow
        crowd = [await asyncio.open_connection(host, port) for _ in range(bounds.HTTP_CONNECTIONS_MAX + 10)]
        for _ in range(3):
            assert await fetch(world, "GET /healthz HTTP/1.1") == ("HTTP/1.1 200 OK", "serving\n")
        async with asyncio.timeout(10):
            await asyncio.gather(crowd[0][0].read(), return_exceptions=True)  # the first to come was put out
        for _, writer in crowd:
            writer.close()


async def fetch(world: World, request: str) -> tuple[str, str]:
    """The first line and the body of what the side door answers."""
    host, port = split_address(world.server.http_address)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"{request}\r\nHost: x\r\n\r\n".encode())
    try:
        answer = (await reader.read()).decode()
    except ConnectionError:
        answer = ""
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.partition("\r\n")[0], body

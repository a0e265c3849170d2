"""Requests with very many entries are refused before they are decoded, wherever in them the entries are."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend.grpc import transport
from perdure.frontend.grpc.entries import ENTRIES_MAX, LARGE_BYTES, check_entries
from perdure.frontend.rpcs import Rpc, rpcs
from tests.server.given import CODE, World, served

MANY = 100_000


def start(**fields: Any) -> service.StartWorkflowExecutionRequest:
    return service.StartWorkflowExecutionRequest(namespace="default", workflow_id="w", **fields)


def in_header(count: int = MANY) -> Message:
    request = start()
    for number in range(count):
        request.header.fields[f"key-{number}"].data = b""
    return request


def in_metadata() -> Message:
    request = start()
    payload = request.input.payloads.add()
    for number in range(MANY):
        payload.metadata[f"key-{number}"] = b""
    return request


def in_an_entry() -> Message:
    request = start()
    for number in range(MANY):
        request.memo.fields["note"].metadata[f"key-{number}"] = b""
    return request


def in_a_command() -> Message:
    marker = Command()
    for number in range(MANY):
        marker.record_marker_command_attributes.header.fields[f"key-{number}"].data = b""
    return service.RespondWorkflowTaskCompletedRequest(commands=[Command(), marker])


def in_a_cause() -> Message:
    request = service.RespondActivityTaskFailedRequest()
    details = request.failure.cause.cause.application_failure_info.details.payloads.add()
    for number in range(MANY):
        details.metadata[f"key-{number}"] = b""
    return request


def in_lists() -> list[tuple[Message, str]]:
    links, callbacks, beats, patch = (
        start(), start(), service.RecordWorkerHeartbeatRequest(), service.PatchScheduleRequest(),
    )  # fmt: skip
    for _ in range(MANY):
        links.links.add()
        callbacks.completion_callbacks.add()
        beats.worker_heartbeat.add()
        patch.patch.backfill_request.add()
    return [
        (links, "links"),
        (callbacks, "completion_callbacks"),
        (beats, "worker_heartbeat"),
        (patch, "patch.backfill_request"),
    ]


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        *in_lists(),
        (in_header(), "header.fields"),
        (in_metadata(), "input.payloads.metadata"),
        (in_an_entry(), "memo.fields.value.metadata"),
        (in_a_command(), "commands.record_marker_command_attributes.header.fields"),
        (in_a_cause(), "failure.cause.cause.application_failure_info.details.payloads.metadata"),
    ],
)
def test_a_map_or_list_of_very_many_entries_is_found(request_: Message, where: str) -> None:
    data = request_.SerializeToString()
    begin = time.process_time()
    with pytest.raises(Rejected) as refused:
        check_entries(type(request_), data)
    assert time.process_time() - begin < 1
    assert (refused.value.code, refused.value.message) == (
        StatusCode.INVALID_ARGUMENT, f"{where}: has too many entries: {MANY}",
    )  # fmt: skip


def test_what_is_large_for_another_reason_passes() -> None:
    large = start()
    large.input.payloads.add(data=bytes(2 << 20))
    many = service.RespondWorkflowTaskCompletedRequest(commands=[Command()] * MANY)
    keys = in_header(ENTRIES_MAX)
    assert len(keys.SerializeToString()) > LARGE_BYTES
    for request in (large, many, keys):
        check_entries(type(request), request.SerializeToString())


_UNKNOWN_FIELD = b"\xfa\xff\x7f"
"""The tag of a field of bytes that no message has: number 262,143."""


@pytest.mark.parametrize("rpc", list(rpcs({})), ids=lambda rpc: rpc.path)
def test_a_large_request_of_every_rpc_is_looked_through(rpc: Rpc) -> None:
    size = LARGE_BYTES
    varint = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    data = _UNKNOWN_FIELD + varint + bytes(size)
    rpc.request.FromString(data)
    check_entries(rpc.request, data)


@served
async def test_a_bug_of_ours_in_a_request_harms_that_request_alone(world: World) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    large = start()
    large.input.payloads.add(data=bytes(LARGE_BYTES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "check_entries", broken)
        error = await world.client.refusal("StartWorkflowExecution", large, timeout=30)
    assert (error.code(), error.details()) == (CODE.INTERNAL, "The request failed; the server's log says why.")
    await world.client.call("ListNamespaces", service.ListNamespacesRequest(), timeout=30)


def test_bytes_that_are_no_message_are_left_to_whoever_decodes_them() -> None:
    check_entries(service.StartWorkflowExecutionRequest, b"\xff" * LARGE_BYTES)
    check_entries(service.GetSystemInfoRequest, b"\xff" * LARGE_BYTES)


@served
async def test_a_client_is_told_which_map_it_is(world: World) -> None:
    error = await world.client.refusal("StartWorkflowExecution", in_header())
    assert error.code() == CODE.INVALID_ARGUMENT
    assert error.details() == f"header.fields: has too many entries: {MANY}"

"""Lists and counts at the edge: filters, pages, and what is told of an execution."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import timestamp_ns
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    activity_poll,
    complete,
    completion,
    describe_request,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)


async def listed(connection: WorkflowService, query: str = "", page_size: int = 2) -> list[str]:
    """The workflow ids of a whole list, fetched in pages."""
    found: list[str] = []
    request = service.ListWorkflowExecutionsRequest(namespace="default", query=query, page_size=page_size)
    while True:
        page = await connection.list_workflow_executions(request)
        found += [info.execution.workflow_id for info in page.executions]
        request.next_page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def counted(connection: WorkflowService, query: str = "") -> service.CountWorkflowExecutionsResponse:
    return await connection.count_workflow_executions(
        service.CountWorkflowExecutionsRequest(namespace="default", query=query)
    )


async def refusal(call: Any) -> Rejected:
    with pytest.raises(Rejected) as refused:
        await call
    return refused.value


async def start_five(connection: WorkflowService) -> None:
    """order-0 to order-4, a second apart; 1 and 3 are terminated."""
    for number in range(5):
        await connection.start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(1)
    for number in (1, 3):
        request = service.TerminateWorkflowExecutionRequest(namespace="default")
        request.workflow_execution.workflow_id = f"order-{number}"
        await connection.terminate_workflow_execution(request)
        await asyncio.sleep(1)


@virtual
async def test_open_ones_come_first_and_the_newest_of_each(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await start_five(connection)
        everybody = ["order-4", "order-2", "order-0", "order-3", "order-1"]
        for page_size in (0, 1, 2, 5, 6):
            assert await listed(connection, page_size=page_size) == everybody
        assert await listed(connection, "ExecutionStatus = 'Running'") == ["order-4", "order-2", "order-0"]
        assert await listed(connection, "CloseTime IS NOT NULL AND WorkflowType = 'fulfil'") == ["order-3", "order-1"]
        assert await listed(connection, "WorkflowId BETWEEN 'order-1' AND 'order-2'") == ["order-2", "order-1"]
        assert await listed(connection, "ORDER BY StartTime") == [f"order-{number}" for number in range(5)]
        assert await listed(connection, "WorkflowType = 'other'") == []


@virtual
async def test_scan_is_the_same_list(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await start_five(connection)
        request = service.ScanWorkflowExecutionsRequest(namespace="default", page_size=4)
        first = await connection.scan_workflow_executions(request)
        request.next_page_token = first.next_page_token
        second = await connection.scan_workflow_executions(request)
        assert (len(first.executions), len(second.executions), second.next_page_token) == (4, 1, b"")


@virtual
async def test_counts_by_status(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await start_five(connection)
        assert (await counted(connection)).count == 5
        assert (await counted(connection, "ExecutionStatus = 'Terminated'")).count == 2
        grouped = await counted(connection, "WorkflowId != 'order-0' GROUP BY ExecutionStatus")
        assert grouped.count == 4
        assert [(group.group_values[0].data, group.count) for group in grouped.groups] == [
            (b'"Running"', 2),
            (b'"Terminated"', 2),
        ]
        assert grouped.groups[0].group_values[0].metadata == {"encoding": b"json/plain", "type": b"Keyword"}
        whole = await counted(connection, "GROUP BY TemporalNamespaceDivision")
        assert [(group.group_values[0].data, group.count) for group in whole.groups] == [(b'""', 5)]
        refused = await refusal(counted(connection, "ORDER BY StartTime"))
        assert refused.message == "invalid query: operation is not supported: 'ORDER BY' clause"


@virtual
async def test_the_older_lists_of_open_and_closed_ones(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await start_five(connection)
        of_open = service.ListOpenWorkflowExecutionsRequest(namespace="default")
        found = await connection.list_open_workflow_executions(of_open)
        assert [info.execution.workflow_id for info in found.executions] == ["order-4", "order-2", "order-0"]
        third = found.executions[1].start_time
        of_open.start_time_filter.earliest_time.CopyFrom(third)
        of_open.type_filter.name = "fulfil"
        found = await connection.list_open_workflow_executions(of_open)
        assert [info.execution.workflow_id for info in found.executions] == ["order-4", "order-2"]
        of_open.start_time_filter.latest_time.seconds = 1
        refused = await refusal(connection.list_open_workflow_executions(of_open))
        assert refused.message == "EarliestTime in StartTimeFilter should not be larger than LatestTime."

        of_closed = service.ListClosedWorkflowExecutionsRequest(namespace="default", maximum_page_size=1)
        first = await connection.list_closed_workflow_executions(of_closed)
        of_closed.next_page_token = first.next_page_token
        second = await connection.list_closed_workflow_executions(of_closed)
        pages = [first.executions[0].execution.workflow_id, second.executions[0].execution.workflow_id]
        assert pages == ["order-3", "order-1"]
        of_closed = service.ListClosedWorkflowExecutionsRequest(namespace="default")
        of_closed.execution_filter.workflow_id = "order-1"
        assert len((await connection.list_closed_workflow_executions(of_closed)).executions) == 1
        of_closed.status_filter.status = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED
        assert not (await connection.list_closed_workflow_executions(of_closed)).executions
        of_closed.status_filter.status = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
        refused = await refusal(connection.list_closed_workflow_executions(of_closed))
        assert refused.message == "StatusFilter must be specified and must be not Running."


@virtual
async def test_there_is_no_archive(world: World) -> None:
    async with world.engine() as engine:
        request = service.ListArchivedWorkflowExecutionsRequest(namespace="default")
        refused = await refusal(WorkflowService(engine).list_archived_workflow_executions(request))
        assert (refused.code, refused.message) == (
            StatusCode.INVALID_ARGUMENT,
            "Cluster is not configured for visibility archival.",
        )


@virtual
async def test_a_list_tells_what_describe_tells(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = start_request()
        request.memo.fields["note"].data = b'"fragile"'
        await connection.start_workflow_execution(request)
        [info] = (
            await connection.list_workflow_executions(service.ListWorkflowExecutionsRequest(namespace="default"))
        ).executions
        assert info.memo.fields["note"].data == b'"fragile"'
        assert info.root_execution == info.execution
        assert info.HasField("search_attributes")
        assert (info.history_length, info.HasField("close_time")) == (0, False), "its size is told when it is closed"
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        [info] = (
            await connection.list_workflow_executions(service.ListWorkflowExecutionsRequest(namespace="default"))
        ).executions
        described = await connection.describe_workflow_execution(
            service.DescribeWorkflowExecutionRequest(namespace="default", execution=info.execution)
        )
        whole = described.workflow_execution_info
        whole.ClearField("first_run_id")
        assert info == whole
        assert info.history_length == 5
        assert timestamp_ns(info.close_time) >= timestamp_ns(info.start_time)


@virtual
async def test_what_is_no_query_and_no_page_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)

        async def asked(**fields: Any) -> Rejected:
            request = service.ListWorkflowExecutionsRequest(**{"namespace": "default", **fields})
            return await refusal(connection.list_workflow_executions(request))

        for query, why in (
            ("Colour = 'red'", "invalid query: invalid search attribute: Colour"),
            ("WorkflowId = ", "invalid query: malformed SQL query: syntax error at position 41"),
            ("WorkflowId = 'a' LIMIT 5", "invalid query: operation is not supported: 'LIMIT' clause"),
            ("x" * 70_000, "invalid query: it is longer than 65536 characters"),
        ):
            refused = await asked(query=query)
            assert (refused.code, refused.message) == (StatusCode.INVALID_ARGUMENT, why)
        for token in (
            b"junk",
            b"\x93\x01\x02\xa1x",
            b"\x92\x01\x02",
            b"\x93\x01\xc0\x02",
            b"\x93\xcf" + b"\xff" * 8 + b"\x01\x02",
        ):
            refused = await asked(next_page_token=token)
            assert (refused.code, refused.message) == (StatusCode.INVALID_ARGUMENT, "Invalid NextPageToken.")
        assert (await asked(namespace="")).message == "Namespace is empty."
        assert (await asked(namespace="nowhere")).code is StatusCode.NOT_FOUND


@virtual
async def test_a_page_ends_with_its_bytes(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for number in range(5):
            request = start_request(f"order-{number}")
            request.memo.fields["note"].data = b"x" * 900_000
            await connection.start_workflow_execution(request)
        calls: list[Any] = [
            connection.list_workflow_executions(service.ListWorkflowExecutionsRequest(namespace="default")),
            connection.list_open_workflow_executions(service.ListOpenWorkflowExecutionsRequest(namespace="default")),
        ]
        for call in calls:
            first = await call
            assert len(first.executions) == 2
            assert first.ByteSize() < 4 << 20
            assert first.next_page_token
        assert await listed(connection, page_size=0) == [f"order-{number}" for number in (4, 3, 2, 1, 0)]


@virtual
async def test_a_description_leaves_out_what_no_client_would_take(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, *map(schedule, "123")))
        for _ in range(3):
            activity = await connection.poll_activity_task_queue(activity_poll())
            beat = service.RecordActivityTaskHeartbeatRequest(task_token=activity.task_token)
            beat.details.payloads.add(data=b"x" * 900_000)
            await connection.record_activity_task_heartbeat(beat)
        described = await connection.describe_workflow_execution(describe_request())
        assert [one.HasField("heartbeat_details") for one in described.pending_activities] == [True, True, False]

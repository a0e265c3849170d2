"""DeleteWorkflowExecution, and what is told of task queues."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import BuildIdTaskReachability, DescribeTaskQueueMode
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    activity_poll,
    complete,
    completion,
    describe_request,
    history_request,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)
from tests.frontend.test_visibility import listed, refusal


def delete_request(workflow_id: str = "order-1", run_id: str = "") -> service.DeleteWorkflowExecutionRequest:
    request = service.DeleteWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id, request.workflow_execution.run_id = workflow_id, run_id
    return request


@virtual
async def test_a_closed_execution_is_gone(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        await connection.delete_workflow_execution(delete_request())
        for call in (
            connection.describe_workflow_execution(describe_request()),
            connection.get_workflow_execution_history(history_request()),
            connection.delete_workflow_execution(delete_request()),
        ):
            assert (await refusal(call)).code is StatusCode.NOT_FOUND
        assert await listed(connection) == []
        assert (await connection.start_workflow_execution(start_request())).started


@virtual
async def test_an_open_one_is_terminated_first(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        started = await connection.start_workflow_execution(start_request())
        waiting = asyncio.ensure_future(
            connection.get_workflow_execution_history(history_request(wait_new_event=True, run_id=started.run_id))
        )
        await waiting
        await connection.delete_workflow_execution(delete_request(run_id=started.run_id))
        assert (await refusal(connection.describe_workflow_execution(describe_request()))).code is StatusCode.NOT_FOUND
        poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll()))
        assert not (await poll).task_token, "its task went with it"


@virtual
async def test_what_names_no_execution_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        refused = await refusal(connection.delete_workflow_execution(delete_request("nobody")))
        assert refused.message == "workflow not found for ID: nobody"
        nothing = service.DeleteWorkflowExecutionRequest(namespace="default")
        refused = await refusal(connection.delete_workflow_execution(nothing))
        assert refused.message == "Execution is not set on request."
        refused = await refusal(connection.delete_workflow_execution(delete_request("order-1", "x")))
        assert refused.message == "Invalid RunId."


def queue_request(kind: int = 1, **fields: Any) -> service.DescribeTaskQueueRequest:
    request = service.DescribeTaskQueueRequest(namespace="default", **fields)
    request.task_queue.name = "orders"
    request.task_queue_type = kind  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
    return request


@virtual
async def test_a_task_queue_tells_its_pollers_and_its_backlog(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        empty = await connection.describe_task_queue(queue_request(report_stats=True))
        assert (len(empty.pollers), empty.stats.approximate_backlog_count) == (0, 0)
        for number in range(3):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(10)
        full = await connection.describe_task_queue(queue_request(report_stats=True))
        assert full.stats.approximate_backlog_count == 3
        assert full.stats.approximate_backlog_age.seconds == 10
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("a")))
        await asyncio.sleep(20)
        of_activities = await connection.describe_task_queue(queue_request(2, report_stats=True))
        assert of_activities.stats.approximate_backlog_count == 1
        assert of_activities.stats.approximate_backlog_age.seconds == 20
        assert not of_activities.pollers
        waiting = asyncio.ensure_future(connection.poll_activity_task_queue(activity_poll()))
        await waiting
        [poller] = (await connection.describe_task_queue(queue_request(2))).pollers
        assert poller.identity == "worker"
        [poller] = (await connection.describe_task_queue(queue_request(1))).pollers
        await asyncio.sleep(301)
        assert not (await connection.describe_task_queue(queue_request(1))).pollers, "that was long ago"
        assert not (await connection.describe_task_queue(queue_request(3))).pollers
        nameless = service.DescribeTaskQueueRequest(namespace="default")
        assert (await refusal(connection.describe_task_queue(nameless))).message == "taskQueue is not set"


@virtual
async def test_the_command_line_is_told_by_type(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        request = queue_request(0, report_stats=True, report_pollers=True, report_task_reachability=True)
        request.api_mode = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED
        request.task_queue_types.extend([1, 2, 3])  # pyright: ignore[reportArgumentType] - the enum's numbers
        version = (await connection.describe_task_queue(request)).versions_info[""]
        counts = {type: info.stats.approximate_backlog_count for type, info in version.types_info.items()}
        assert counts == {1: 1, 2: 0, 3: 0}
        usual = queue_request(0, report_stats=True)
        usual.api_mode = request.api_mode
        assert sorted((await connection.describe_task_queue(usual)).versions_info[""].types_info) == [1, 2]
        assert version.task_reachability == BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_REACHABLE
        await connection.poll_workflow_task_queue(workflow_poll())
        version = (await connection.describe_task_queue(request)).versions_info[""]
        assert [poller.identity for poller in version.types_info[1].pollers] == ["worker"]


@virtual
async def test_a_task_queue_is_whole(world: World) -> None:
    async with world.engine() as engine:
        request = service.ListTaskQueuePartitionsRequest(namespace="default")
        request.task_queue.name = "orders"
        response = await WorkflowService(engine).list_task_queue_partitions(request)
        assert [one.key for one in response.workflow_task_queue_partitions] == ["orders"]
        assert [one.key for one in response.activity_task_queue_partitions] == ["orders"]

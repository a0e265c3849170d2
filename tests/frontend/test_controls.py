"""Pauses and activity controls at the edge: what is described, and what workers are given."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.workflowservice import v1 as service

from perdure.frontend import WorkflowService
from tests.engine.world import World, activity_poll, complete, completion, describe_request, virtual, workflow_poll
from tests.frontend.test_activities_by_id import scheduled

WHICH: dict[str, Any] = {"namespace": "default", "workflow_id": "order-1", "identity": "operator", "reason": "why"}
PAUSED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED


def about(request: Any, **fields: Any) -> Any:
    """A control of activity 1."""
    built = request(namespace="default", identity="operator", id="1", **fields)
    built.execution.workflow_id = "order-1"
    return built


@virtual
async def test_a_paused_workflow_asks_nobody(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        await connection.pause_workflow_execution(service.PauseWorkflowExecutionRequest(**WHICH))
        info = (await connection.describe_workflow_execution(describe_request())).workflow_execution_info
        assert info.status == PAUSED
        counted = await connection.count_workflow_executions(
            service.CountWorkflowExecutionsRequest(namespace="default", query="GROUP BY ExecutionStatus")
        )
        assert [group.group_values[0].data for group in counted.groups] == [b'"Paused"']
        polled = asyncio.ensure_future(connection.poll_activity_task_queue(activity_poll()))
        await asyncio.sleep(10)
        assert not polled.done()
        await connection.unpause_workflow_execution(service.UnpauseWorkflowExecutionRequest(**WHICH))
        assert (await polled).activity_id == "1"
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))


@virtual
async def test_a_row_in_the_engines_memory_is_not_started_under_a_pause(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        first = asyncio.ensure_future(connection.poll_activity_task_queue(activity_poll()))
        await scheduled(connection)
        assert (await first).activity_id == "1"
        await connection.pause_workflow_execution(service.PauseWorkflowExecutionRequest(**WHICH))
        beat = await connection.record_activity_task_heartbeat(
            service.RecordActivityTaskHeartbeatRequest(task_token=(await first).task_token)
        )
        assert not beat.activity_paused


@virtual
async def test_an_activity_is_paused_and_described(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        task = await connection.poll_activity_task_queue(activity_poll())
        await connection.pause_activity(about(service.PauseActivityRequest, reason="why"))
        beat = await connection.record_activity_task_heartbeat(
            service.RecordActivityTaskHeartbeatRequest(task_token=task.task_token)
        )
        assert (beat.activity_paused, beat.activity_reset) == (True, False)
        [pending] = (await connection.describe_workflow_execution(describe_request())).pending_activities
        assert pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
        assert (pending.paused, pending.pause_info.manual.reason) == (True, "why")
        await connection.reset_activity(about(service.ResetActivityRequest))
        [pending] = (await connection.describe_workflow_execution(describe_request())).pending_activities
        assert not pending.paused


@virtual
async def test_a_worker_is_given_the_options_that_hold(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        await connection.pause_activity(about(service.PauseActivityRequest))
        request = about(service.UpdateActivityOptionsRequest)
        request.activity_options.start_to_close_timeout.seconds = 77
        request.update_mask.paths.append("start_to_close_timeout")
        answer = await connection.update_activity_options(request)
        assert answer.activity_options.start_to_close_timeout.seconds == 77
        await connection.unpause_activity(about(service.UnpauseActivityRequest))
        task = await connection.poll_activity_task_queue(activity_poll())
        assert task.start_to_close_timeout.seconds == 77

"""Blobs beyond the limit fail what they belong to, with a message, and nothing else."""

from __future__ import annotations

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    activity_poll,
    completion,
    describe_request,
    history,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

BIG = b"x" * (3 << 20)


async def started_activity(connection: WorkflowService) -> service.PollActivityTaskQueueResponse:
    await connection.start_workflow_execution(start_request())
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))
    return await connection.poll_activity_task_queue(activity_poll())


async def failure_message(connection: WorkflowService) -> str:
    event = next(
        event for event in await history(connection) if event.HasField("activity_task_failed_event_attributes")
    )
    return event.activity_task_failed_event_attributes.failure.message


@virtual
async def test_an_input_that_is_too_large_is_refused(world: World) -> None:
    async with world.engine() as engine:
        request = start_request()
        request.input.payloads.add(data=BIG)
        with pytest.raises(Rejected) as refused:
            await WorkflowService(engine).start_workflow_execution(request)
        assert refused.value.code is StatusCode.INVALID_ARGUMENT


@virtual
async def test_a_result_that_is_too_large_fails_the_activity_for_good(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        activity = await started_activity(connection)
        answer = service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
        answer.result.payloads.add(data=BIG)
        await connection.respond_activity_task_completed(answer)
        assert await failure_message(connection) == "Complete result exceeds size limit."


@virtual
async def test_heartbeat_details_that_are_too_large_fail_the_activity(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        activity = await started_activity(connection)
        beat = service.RecordActivityTaskHeartbeatRequest(task_token=activity.task_token)
        beat.details.payloads.add(data=BIG)
        assert (await connection.record_activity_task_heartbeat(beat)).cancel_requested
        assert await failure_message(connection) == "Heartbeat details exceed size limit."


@virtual
async def test_cancel_details_that_are_too_large_fail_the_activity(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        activity = await started_activity(connection)
        answer = service.RespondActivityTaskCanceledRequest(task_token=activity.task_token)
        answer.details.payloads.add(data=BIG)
        await connection.respond_activity_task_canceled(answer)
        assert await failure_message(connection) == "Cancel details exceed size limit."


@virtual
async def test_a_failure_that_is_too_large_is_replaced_and_tried_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        activity = await started_activity(connection)
        answer = service.RespondActivityTaskFailedRequest(task_token=activity.task_token)
        answer.failure.application_failure_info.type = "Big"
        answer.failure.message = BIG.decode()
        await connection.respond_activity_task_failed(answer)
        pending = (await connection.describe_workflow_execution(describe_request())).pending_activities[0]
        assert pending.last_failure.message == "Failure exceeds size limit."
        assert pending.attempt == 2

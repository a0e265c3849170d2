"""Activities that are answered by their id."""

from __future__ import annotations

from typing import Any

from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    activity_poll,
    completion,
    history,
    names,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

WHICH: dict[str, Any] = {"namespace": "default", "workflow_id": "order-1", "activity_id": "1", "identity": "operator"}


async def scheduled(connection: WorkflowService) -> None:
    """A run with activity 1 on the queue."""
    await connection.start_workflow_execution(start_request())
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))


async def refusal(call: Any) -> Rejected:
    try:
        await call
    except Rejected as rejected:
        return rejected
    raise AssertionError("was not refused")


@virtual
async def test_an_activity_is_completed_from_outside(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        await connection.poll_activity_task_queue(activity_poll())
        beat = await connection.record_activity_task_heartbeat_by_id(
            service.RecordActivityTaskHeartbeatByIdRequest(**WHICH)
        )
        assert not beat.cancel_requested
        answer = service.RespondActivityTaskCompletedByIdRequest(**WHICH)
        answer.result.payloads.add(data=b'"paid"')
        await connection.respond_activity_task_completed_by_id(answer)
        events = await history(connection)
        assert names(events)[-3:] == ["ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED", "WORKFLOW_TASK_SCHEDULED"]
        assert events[-3].activity_task_started_event_attributes.identity == "worker"
        completed = events[-2].activity_task_completed_event_attributes
        assert (completed.identity, completed.result.payloads[0].data) == ("operator", b'"paid"')
        again = await refusal(connection.respond_activity_task_completed_by_id(answer))
        assert again.code == StatusCode.NOT_FOUND
        assert again.message.startswith("cannot find pending activity with ActivityID 1")


@virtual
async def test_an_activity_is_completed_before_a_worker_has_it(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        for other in (
            connection.respond_activity_task_failed_by_id(service.RespondActivityTaskFailedByIdRequest(**WHICH)),
            connection.respond_activity_task_canceled_by_id(service.RespondActivityTaskCanceledByIdRequest(**WHICH)),
            connection.record_activity_task_heartbeat_by_id(service.RecordActivityTaskHeartbeatByIdRequest(**WHICH)),
        ):
            assert (await refusal(other)).code == StatusCode.NOT_FOUND
        await connection.respond_activity_task_completed_by_id(service.RespondActivityTaskCompletedByIdRequest(**WHICH))
        events = await history(connection)
        assert events[-3].activity_task_started_event_attributes.identity == "operator"


@virtual
async def test_an_attempt_fails_and_the_next_is_completed_in_its_back_off(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        await connection.poll_activity_task_queue(activity_poll())
        failure = Failure(message="no", application_failure_info=ApplicationFailureInfo(type="No"))
        await connection.respond_activity_task_failed_by_id(
            service.RespondActivityTaskFailedByIdRequest(**WHICH, failure=failure)
        )
        await connection.respond_activity_task_completed_by_id(service.RespondActivityTaskCompletedByIdRequest(**WHICH))
        started = (await history(connection))[-3].activity_task_started_event_attributes
        assert (started.attempt, started.last_failure.message) == (2, "no")


@virtual
async def test_what_names_no_activity_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await scheduled(connection)
        for change, code in (
            ({"activity_id": ""}, StatusCode.INVALID_ARGUMENT),
            ({"workflow_id": ""}, StatusCode.INVALID_ARGUMENT),
            ({"run_id": "seven"}, StatusCode.INVALID_ARGUMENT),
            ({"activity_id": "9"}, StatusCode.NOT_FOUND),
            ({"workflow_id": "order-2"}, StatusCode.NOT_FOUND),
        ):
            request = service.RespondActivityTaskCompletedByIdRequest()
            for name, value in (WHICH | change).items():
                setattr(request, name, value)
            assert (await refusal(connection.respond_activity_task_completed_by_id(request))).code == code

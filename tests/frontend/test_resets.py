"""Reset: the expected histories are what the real server wrote for the same requests."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import ResetReapplyExcludeType, ResetReapplyType, WorkflowTaskFailedCause
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    activity_poll,
    complete,
    completion,
    describe_request,
    history,
    names,
    schedule,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)
from tests.frontend.test_signals import signal_request
from tests.frontend.test_updates import accepted, answered, responded, update_request

BEGINNING = ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"]


def reset_request(finish: int, run_id: str = "", **fields: Any) -> service.ResetWorkflowExecutionRequest:
    request = service.ResetWorkflowExecutionRequest(
        **{"namespace": "default", "reason": "because", "request_id": f"reset {finish} {run_id}", **fields},
        workflow_task_finish_event_id=finish,
    )
    request.workflow_execution.workflow_id = "order-1"
    request.workflow_execution.run_id = run_id
    return request


async def refusal(call: Any) -> Rejected:
    try:
        await call
    except Rejected as rejected:
        return rejected
    raise AssertionError("was not refused")


async def workflow_task(connection: WorkflowService, *commands: Any) -> None:
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token, *commands))


async def long_run(connection: WorkflowService) -> str:
    """Activity 1 done, a timer pending, a signal received, activity 2 on the queue: 13 events. Returns the run id."""
    run_id = (await connection.start_workflow_execution(start_request())).run_id
    await workflow_task(connection, schedule("1"), sleep("a", 60))
    await connection.signal_workflow_execution(signal_request())
    activity = await connection.poll_activity_task_queue(activity_poll())
    await connection.respond_activity_task_completed(
        service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
    )
    await workflow_task(connection, schedule("2"))
    return run_id


@virtual
async def test_a_run_begins_again_from_an_early_task(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        old = await long_run(connection)
        new = (await connection.reset_workflow_execution(reset_request(4))).run_id
        terminated = (await history(connection, run_id=old))[-1].workflow_execution_terminated_event_attributes
        assert (terminated.reason, terminated.identity) == ("because", "history-resetter")
        events = await history(connection)
        assert names(events) == [
            *BEGINNING,
            *["WORKFLOW_TASK_FAILED", "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_TASK_SCHEDULED"],
        ]
        failed = events[3].workflow_task_failed_event_attributes
        assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
        assert (failed.failure.message, failed.base_run_id, failed.new_run_id) == ("because", old, new)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert (task.workflow_execution.run_id, task.attempt, task.previous_started_event_id) == (new, 1, 0)
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        described = await connection.describe_workflow_execution(describe_request())
        assert described.workflow_execution_info.execution.run_id == new


@virtual
async def test_what_was_pending_at_that_point_is_pending_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        old = await long_run(connection)
        before = await history(connection, run_id=old)
        await connection.reset_workflow_execution(reset_request(12))
        events = await history(connection)
        assert [event.SerializeToString() for event in events[:11]] == [e.SerializeToString() for e in before[:11]]
        assert names(events)[11:] == ["WORKFLOW_TASK_FAILED", "WORKFLOW_TASK_SCHEDULED"]
        await workflow_task(connection)
        await asyncio.sleep(61)
        assert "TIMER_FIRED" in names(await history(connection))


@virtual
async def test_an_activity_that_ran_is_given_out_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await workflow_task(connection, schedule("1"))
        first = await connection.poll_activity_task_queue(activity_poll())
        await connection.signal_workflow_execution(signal_request())
        await workflow_task(connection)
        await connection.reset_workflow_execution(reset_request(9))
        again = await connection.poll_activity_task_queue(activity_poll())
        assert (again.activity_id, again.attempt) == ("1", 1)
        stale = await refusal(
            connection.respond_activity_task_completed(
                service.RespondActivityTaskCompletedRequest(task_token=first.task_token)
            )
        )
        assert stale.code == StatusCode.NOT_FOUND
        await connection.respond_activity_task_completed(
            service.RespondActivityTaskCompletedRequest(task_token=again.task_token)
        )


@virtual
async def test_an_activity_that_is_given_out_again_has_its_whole_time(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        limited = schedule("1")
        limited.schedule_activity_task_command_attributes.schedule_to_close_timeout.seconds = 10
        await workflow_task(connection, limited)
        await connection.signal_workflow_execution(signal_request())
        await workflow_task(connection)
        await asyncio.sleep(9)
        await connection.reset_workflow_execution(reset_request(8))
        await asyncio.sleep(9)
        assert (await connection.poll_activity_task_queue(activity_poll())).activity_id == "1"
        await asyncio.sleep(2)
        assert "ACTIVITY_TASK_TIMED_OUT" in names(await history(connection))


@virtual
async def test_signals_that_wait_behind_a_task_are_told_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await workflow_task(connection)
        await connection.signal_workflow_execution(signal_request(request_id="one"))
        await connection.poll_workflow_task_queue(workflow_poll())
        await connection.signal_workflow_execution(signal_request(request_id="two"))
        await connection.reset_workflow_execution(reset_request(4))
        assert names(await history(connection))[3:] == [
            *["WORKFLOW_TASK_FAILED", "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_SIGNALED"],
            "WORKFLOW_TASK_SCHEDULED",
        ]
        await connection.signal_workflow_execution(signal_request(request_id="two"))
        assert names(await history(connection)).count("WORKFLOW_EXECUTION_SIGNALED") == 2


@virtual
async def test_signals_are_left_out_if_asked(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await long_run(connection)
        without = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL
        await connection.reset_workflow_execution(reset_request(4, reset_reapply_exclude_types=[without]))
        expected = [*BEGINNING, "WORKFLOW_TASK_FAILED", "WORKFLOW_TASK_SCHEDULED"]
        assert names(await history(connection)) == expected
        nothing = ResetReapplyType.RESET_REAPPLY_TYPE_NONE
        await connection.reset_workflow_execution(reset_request(4, reset_reapply_type=nothing))
        assert names(await history(connection)) == expected


@virtual
async def test_updates_are_told_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await workflow_task(connection)
        asked = asyncio.ensure_future(connection.update_workflow_execution(update_request()))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        [message] = task.messages
        await connection.respond_workflow_task_completed(answered(task.task_token, accepted(message), responded("u1")))
        await asked
        await connection.reset_workflow_execution(reset_request(4))
        assert names(await history(connection))[3:] == [
            *["WORKFLOW_TASK_FAILED", "WORKFLOW_EXECUTION_UPDATE_ADMITTED", "WORKFLOW_TASK_SCHEDULED"],
        ]
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert not task.messages, "the event tells the worker"
        await connection.respond_workflow_task_completed(
            answered(task.task_token, accepted(message), responded("u1", b'"again"'))
        )
        again = await connection.update_workflow_execution(update_request())
        assert again.outcome.success.payloads[0].data == b'"again"'


@virtual
async def test_a_closed_run_and_one_that_is_not_the_current_are_reset(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        old = await long_run(connection)
        one = (await connection.reset_workflow_execution(reset_request(4))).run_id
        two = (await connection.reset_workflow_execution(reset_request(12, old))).run_id
        assert names(await history(connection, run_id=one))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
        assert len(await history(connection, run_id=two)) == 13
        await workflow_task(connection, complete())
        three = await connection.reset_workflow_execution(reset_request(4))
        assert names(await history(connection, run_id=three.run_id))[-1] == "WORKFLOW_TASK_SCHEDULED"


@virtual
async def test_a_reset_is_done_once(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await long_run(connection)
        one = await connection.reset_workflow_execution(reset_request(4, request_id="same"))
        assert await connection.reset_workflow_execution(reset_request(4, request_id="same")) == one


@virtual
async def test_a_scheduled_task_is_started_to_be_failed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await long_run(connection)
        await connection.reset_workflow_execution(reset_request(3))
        assert names(await history(connection))[:4] == [*BEGINNING, "WORKFLOW_TASK_FAILED"]


@virtual
async def test_a_point_that_is_none_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await long_run(connection)
        for finish in (0, 1, 2, 5, 99):
            refused = await refusal(connection.reset_workflow_execution(reset_request(finish)))
            assert refused.code == StatusCode.INVALID_ARGUMENT
        request = reset_request(4)
        request.workflow_execution.workflow_id = "order-2"
        assert (await refusal(connection.reset_workflow_execution(request))).code == StatusCode.NOT_FOUND
        request = reset_request(4)
        request.post_reset_operations.add().signal_workflow.signal_name = "go"
        assert (await refusal(connection.reset_workflow_execution(request))).code == StatusCode.INVALID_ARGUMENT

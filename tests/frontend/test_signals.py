"""Signals at the edge: acknowledged once durable, told once, buffered behind a running task."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import QUEUE, World, complete, completion, history, names, start_request, virtual, workflow_poll


def signal_request(workflow_id: str = "order-1", **fields: Any) -> service.SignalWorkflowExecutionRequest:
    request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="go", **fields)
    request.workflow_execution.workflow_id = workflow_id
    request.input.payloads.add(data=b'"now"')
    return request


def with_start_request(**fields: Any) -> service.SignalWithStartWorkflowExecutionRequest:
    request = service.SignalWithStartWorkflowExecutionRequest(
        namespace="default", workflow_id="order-1", signal_name="go", request_id="request", **fields
    )
    request.workflow_type.name = "fulfil"
    request.task_queue.name = QUEUE
    request.signal_input.payloads.add(data=b'"now"')
    return request


async def refusal(call: Any) -> Rejected:
    try:
        await call
    except Rejected as rejected:
        return rejected
    raise AssertionError("was not refused")


@virtual
async def test_a_signal_is_told_once_and_its_repetition_is_answered(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        for _ in range(3):
            await connection.signal_workflow_execution(signal_request(request_id="same"))
        await connection.signal_workflow_execution(signal_request())
        events = await history(connection)
        assert names(events)[1:] == ["WORKFLOW_TASK_SCHEDULED", *["WORKFLOW_EXECUTION_SIGNALED"] * 2]
        said = events[2].workflow_execution_signaled_event_attributes
        assert (said.signal_name, said.input.payloads[0].data, said.request_id) == ("go", b'"now"', "same")


@virtual
async def test_a_repetition_is_recognised_after_a_restart(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await connection.signal_workflow_execution(signal_request(request_id="same"))
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.signal_workflow_execution(signal_request(request_id="same"))
        assert names(await history(connection)).count("WORKFLOW_EXECUTION_SIGNALED") == 1


@virtual
async def test_a_signal_waits_behind_the_task_that_runs_and_brings_a_new_one(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.signal_workflow_execution(signal_request())
        assert "WORKFLOW_EXECUTION_SIGNALED" not in names(await history(connection))
        rejected = await refusal(connection.respond_workflow_task_completed(completion(task.task_token, complete())))
        assert rejected.message == "UnhandledCommand"
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert names(task.history.events)[-3:] == [
            "WORKFLOW_EXECUTION_SIGNALED",
            "WORKFLOW_TASK_SCHEDULED",
            "WORKFLOW_TASK_STARTED",
        ]


@virtual
async def test_nobody_to_signal_and_nothing_to_say(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        nobody = await refusal(connection.signal_workflow_execution(signal_request()))
        assert (nobody.code, nobody.message) == (StatusCode.NOT_FOUND, "workflow not found for ID: order-1")
        await connection.start_workflow_execution(start_request())
        nameless = signal_request()
        nameless.signal_name = ""
        assert (await refusal(connection.signal_workflow_execution(nameless))).code is StatusCode.INVALID_ARGUMENT
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        closed = await refusal(connection.signal_workflow_execution(signal_request()))
        assert (closed.code, closed.message) == (StatusCode.NOT_FOUND, "workflow execution already completed")


@virtual
async def test_signal_with_start_starts_once_and_signals_the_run_that_is_there(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        first, again = await asyncio.gather(
            connection.signal_with_start_workflow_execution(with_start_request()),
            connection.signal_with_start_workflow_execution(with_start_request()),
        )
        other = with_start_request()
        other.request_id = "other"
        third = await connection.signal_with_start_workflow_execution(other)
        assert (first.started, again.started, third.started) == (True, False, False)
        assert first.run_id == again.run_id == third.run_id == first.first_execution_run_id
        assert names(await history(connection)) == [
            "WORKFLOW_EXECUTION_STARTED",
            "WORKFLOW_EXECUTION_SIGNALED",
            "WORKFLOW_TASK_SCHEDULED",
            "WORKFLOW_EXECUTION_SIGNALED",
        ]


@virtual
async def test_signal_with_start_after_the_end_starts_anew_but_not_for_the_same_request(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        first = await connection.signal_with_start_workflow_execution(with_start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        again = await connection.signal_with_start_workflow_execution(with_start_request())
        assert (again.run_id, again.started) == (first.run_id, False)
        other = with_start_request()
        other.request_id = "other"
        assert (await connection.signal_with_start_workflow_execution(other)).started


@virtual
async def test_signal_with_start_may_replace_the_run_and_may_not_fail_on_it(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        old = await connection.start_workflow_execution(start_request())
        new = await connection.signal_with_start_workflow_execution(
            with_start_request(workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING")
        )
        assert new.started
        assert names(await history(connection, run_id=old.run_id))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
        fail = with_start_request(workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_FAIL")
        rejected = await refusal(connection.signal_with_start_workflow_execution(fail))
        assert rejected.code is StatusCode.INVALID_ARGUMENT


@virtual
async def test_a_signal_with_start_ends_a_start_delay_and_a_plain_signal_does_not(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        delayed = start_request()
        delayed.workflow_start_delay.seconds = 60
        await connection.start_workflow_execution(delayed)
        await connection.signal_workflow_execution(signal_request())
        assert names(await history(connection))[1:] == ["WORKFLOW_EXECUTION_SIGNALED"]
        await connection.signal_with_start_workflow_execution(with_start_request())
        assert names(await history(connection))[2:] == ["WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_TASK_SCHEDULED"]

"""Answers of tens of thousands of commands, and the histories that they leave: others have their turns meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    complete,
    completion,
    describe_request,
    history,
    history_request,
    names,
    start_request,
    virtual,
    workflow_poll,
)


def markers(count: int, size: int = 0) -> list[Command]:
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    command.record_marker_command_attributes.marker_name = "m"
    if size:
        command.record_marker_command_attributes.details["data"].payloads.add(data=b"x" * size)
    return [command] * count


async def started(connection: WorkflowService) -> service.PollWorkflowTaskQueueResponse:
    await connection.start_workflow_execution(start_request())
    return await connection.poll_workflow_task_queue(workflow_poll())


@virtual
async def test_others_are_answered_while_a_long_answer_is_decided(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        long = asyncio.create_task(
            connection.respond_workflow_task_completed(completion(task.task_token, *markers(5_000), complete()))
        )
        await asyncio.sleep(0)
        signal = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="go")
        signal.workflow_execution.workflow_id = "order-1"
        behind = asyncio.create_task(connection.signal_workflow_execution(signal))
        for number in range(3):
            await connection.start_workflow_execution(start_request(f"other-{number}"))
        assert not long.done(), "they were served between its steps"
        assert not behind.done(), "the same workflow waits its turn"
        await long
        with pytest.raises(Rejected) as refused:
            await behind
        assert refused.value.code is StatusCode.NOT_FOUND
        events = await history(connection)
        assert names(events).count("MARKER_RECORDED") == 5_000
        assert names(events)[-1] == "WORKFLOW_EXECUTION_COMPLETED"


@virtual
async def test_a_long_answer_that_is_stale_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token))
        with pytest.raises(Rejected) as refused:
            await connection.respond_workflow_task_completed(completion(task.task_token, *markers(5_000)))
        assert refused.value.code is StatusCode.NOT_FOUND
        await connection.start_workflow_execution(start_request("order-2"))


@virtual
async def test_a_long_answer_that_loses_a_race_is_decided_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        world.store.conflicts = 1
        await connection.respond_workflow_task_completed(completion(task.task_token, *markers(2_000)))
        assert names(await history(connection)).count("MARKER_RECORDED") == 2_000


@virtual
async def test_a_bug_in_a_long_answer_is_told_and_changes_nothing(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        bad = markers(2_000)
        bad[1_500:1_501] = [Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)]
        with pytest.raises(Rejected) as refused:
            await connection.respond_workflow_task_completed(completion(task.task_token, *bad))
        assert refused.value.code is StatusCode.INVALID_ARGUMENT
        assert "MARKER_RECORDED" not in names(await history(connection))


@virtual
async def test_stopping_ends_what_is_being_decided(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        long = asyncio.create_task(
            connection.respond_workflow_task_completed(completion(task.task_token, *markers(5_000)))
        )
        for _ in range(3):
            await asyncio.sleep(0)
        await engine.abort()
        with pytest.raises(Rejected) as refused:
            await long
        assert refused.value.code is StatusCode.UNAVAILABLE
    async with world.engine() as engine:
        assert "MARKER_RECORDED" not in names(await history(WorkflowService(engine)))


@virtual
async def test_more_than_a_history_holds_ends_the_run_before_any_of_it_is_written(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        with pytest.raises(Rejected, match="Workflow history count exceeds limit"):
            await connection.respond_workflow_task_completed(completion(task.task_token, *markers(60_000)))
        assert names(await history(connection))[-2:] == ["WORKFLOW_TASK_FAILED", "WORKFLOW_EXECUTION_TERMINATED"]


@virtual
async def test_a_long_history_is_read_in_pages_of_events_and_reset_in_steps(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token, *markers(9_000)))
        page = await connection.get_workflow_execution_history(history_request())
        assert 3_000 < len(page.history.events) < 5_500
        events = await history(connection)
        assert [event.event_id for event in events] == list(range(1, 9_005))
        stored = [len(batch.data) for run in world.store.inner._runs.values() for batch in run.batches]
        assert len(stored) >= 9, "no batch has more than a thousand events"
        reset = service.ResetWorkflowExecutionRequest(
            namespace="default", request_id="r", workflow_task_finish_event_id=4
        )
        reset.workflow_execution.workflow_id = "order-1"
        await connection.reset_workflow_execution(reset)
        described = await connection.describe_workflow_execution(describe_request())
        assert described.workflow_execution_info.history_length < 10


@virtual
async def test_large_events_of_one_commit_are_read_in_pages_of_bytes(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token, *markers(20, 900_000)))
        page = await connection.get_workflow_execution_history(history_request())
        assert page.ByteSize() < 5 << 20
        assert len(await history(connection)) == 24

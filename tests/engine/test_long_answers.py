"""Answers of tens of thousands of commands, and the histories that they leave: others have their turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commit import Commit
from perdure.frontend import WorkflowService
from perdure.stores.encoding import encode_commit
from perdure.testing import run_virtual
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


class Turns:
    """Counts the turns of the event loop, as one whom others let have theirs."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        for self.count in range(10_000):
            await asyncio.sleep(0)

    async def until(self, count: int) -> None:
        for _ in range(10_000):
            if self.count >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"there were no {count} turns")


@contextmanager
def counted() -> Iterator[Turns]:
    turns = Turns()
    task = asyncio.create_task(turns.run())
    try:
        yield turns
    finally:
        task.cancel()


@virtual
async def test_what_a_long_answer_brings_is_joined_and_forgotten_in_turns_too(world: World) -> None:
    written: list[tuple[Commit, int]] = []
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        decided: list[int] = []
        assign = engine.matching.assign
        with counted() as turns:
            world.store.refuses = lambda commit: written.append((commit, turns.count)) or False
            engine.matching.assign = lambda tasks: decided.append(turns.count) or assign(tasks)
            await connection.respond_workflow_task_completed(completion(task.task_token, *markers(9_000)))
            [(commit, began)], [was_decided] = written, decided
            assert len(commit.events) == 9_001
            assert [first for first, _ in commit.batches] == [4 + 1_000 * number for number in range(10)]
            assert began - was_decided >= 9, "one batch in a turn"
            answered = turns.count
            left = [len(commit.events)]
            for _ in range(100):
                await asyncio.sleep(0)
                left.append(len(commit.events))
            assert left[-1] == 0
            assert max(before - after for before, after in pairwise(left)) <= 1_000
            assert turns.count - answered >= 10
        assert names(await history(connection)).count("MARKER_RECORDED") == 9_000


@virtual
async def test_what_was_joined_beforehand_is_what_the_store_would_have_joined(world: World) -> None:
    encoded: list[bool] = []

    def compare(commit: Commit) -> bool:
        joined, commit.batches = commit.batches, ()
        whole = encode_commit(commit).batches
        commit.batches = joined
        encoded.append(bool(joined) and encode_commit(commit).batches == whole)
        return False

    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        world.store.refuses = compare
        await connection.respond_workflow_task_completed(completion(task.task_token, *markers(2_500, 300)))
        assert encoded == [True]
        await connection.start_workflow_execution(start_request("order-2"))
        assert encoded == [True, False], "what is short is joined by the store"


async def play_until(world: World, count: int, *, abort: bool) -> bool:
    """A long answer, of which all is lost sight of after so many turns; True: it was answered before."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        asked = completion(task.task_token, *markers(1_100))
        asked.force_create_new_workflow_task = True
        poller = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        with counted() as turns:
            long = asyncio.create_task(connection.respond_workflow_task_completed(asked))
            await turns.until(count)
            is_answered = long.done()
            if abort:
                await engine.abort()
                poller.cancel()
            else:
                long.cancel()
            await asyncio.wait([long])
        if not abort:  # another answer, if the first was taken back; and nobody who waits has been forgotten
            told = names(await history(connection)).count("MARKER_RECORDED")
            if not told:
                await connection.respond_workflow_task_completed(asked)
            assert (await poller).started_event_id > 1_100
    async with world.engine() as engine:
        told = names(await history(WorkflowService(engine))).count("MARKER_RECORDED")
        assert told == 1_100 or (abort and not told), f"after {count} turns"
        assert told or not is_answered
    return is_answered


@pytest.mark.parametrize("abort", [True, False], ids=["aborted", "taken back"])
def test_a_long_answer_is_whole_or_nothing_whenever_it_is_cut(abort: bool) -> None:
    answered = [run_virtual(lambda loop, count=count: play_until(World(loop), count, abort=abort)) for count in CUTS]
    assert answered[0] is False
    assert answered[-1] is True, "it was cut in every turn that it took"


CUTS = range(30)
"""Turns of the event loop; it takes some twenty."""


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

"""Completions inside a transaction of the user's: what is kept, what is not, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.deciding import mailboxes
from perdure.frontend import WorkflowService
from perdure.stores.api import NotKept, Outcome, StoreError
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

Request = service.RespondActivityTaskCompletedRequest


async def started(connection: WorkflowService, workflow_id: str = "order-1") -> Request:
    """The completion of an activity that a worker has in hand."""
    await connection.start_workflow_execution(start_request(workflow_id))
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", attempts=1)))
    activity = await connection.poll_activity_task_queue(activity_poll())
    return Request(task_token=activity.task_token, namespace="default")


class Work:
    """A function that inserts a row, and remembers how often it ran."""

    def __init__(self, request: Request, data: bytes = b'"done"', keep: bool = True) -> None:
        self._request = request
        self._data = data
        self._keep = keep
        self.runs = 0

    def __call__(self, tx: Any) -> bool:
        self.runs += 1
        tx.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
        tx.execute("INSERT INTO t VALUES (1)")
        self._request.ClearField("result")
        self._request.result.payloads.add(data=self._data)
        return self._keep


async def rows(world: World) -> int:
    """How many rows are kept."""
    found: list[int] = []

    class Look:
        def run(self, transaction: Any) -> bool:
            transaction.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
            found.append(transaction.execute("SELECT count(*) FROM t").fetchone()[0])
            return False

        def decide(self) -> None:
            raise AssertionError("nothing is to be kept")

    await world.store.inner.transact([Look()])
    return found[0]


def rejected(result: Any) -> StatusCode:
    assert isinstance(result, Rejected), result
    return result.code


@virtual
async def test_both_are_kept_and_the_workflow_goes_on(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        assert await connection.complete_activity_in_transaction(request, Work(request)) is True
        assert await rows(world) == 1
        assert "ACTIVITY_TASK_COMPLETED" in names(await history(connection))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token))


@virtual
async def test_neither_is_kept_when_the_function_says_so(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        assert await connection.complete_activity_in_transaction(request, Work(request, keep=False)) is False
        assert await rows(world) == 0
        assert "ACTIVITY_TASK_COMPLETED" not in names(await history(connection))
        assert await connection.complete_activity_in_transaction(request, Work(request)) is True


@virtual
async def test_an_attempt_that_is_not_owed_any_more_loses_its_rows(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        await asyncio.sleep(31)  # start-to-close, the only attempt
        work = Work(request)
        with pytest.raises(Rejected) as refused:
            await connection.complete_activity_in_transaction(request, work)
        assert refused.value.code is StatusCode.NOT_FOUND
        assert (work.runs, await rows(world)) == (1, 0)


@virtual
async def test_a_result_that_is_too_large_is_refused_with_its_rows(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        with pytest.raises(Rejected, match="Complete result exceeds size limit"):
            await connection.complete_activity_in_transaction(request, Work(request, b"x" * (3 << 20)))
        assert await rows(world) == 0


@virtual
async def test_a_lost_race_runs_it_again_on_what_is_stored(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        losses = iter([True, True])
        intercept(world, lambda: next(losses, False))
        work = Work(request)
        assert await connection.complete_activity_in_transaction(request, work) is True
        assert (work.runs, await rows(world)) == (3, 1)
        assert engine.metrics().conflicts == 2


def intercept(world: World, loses: Callable[[], bool]) -> None:
    """Let the store lose races: run and decide, and keep nothing."""
    real = world.store.inner.transact

    class Lost:
        def __init__(self, one: Any) -> None:
            self.run = one.run
            self._one = one

        def decide(self) -> None:
            self._one.decide()

    async def transact(deferred: Any) -> Any:
        if not loses():
            return await real(deferred)
        await real([Lost(one) for one in deferred])
        return [Outcome.CONFLICT] * len(deferred)

    setattr(world.store.inner, "transact", transact)


@virtual
async def test_one_that_ends_the_transaction_is_told_and_the_others_are_done_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        bad, good = await started(connection, "bad"), await started(connection, "good")
        real = world.store.inner.transact
        calls: list[int] = []

        async def transact(deferred: Any) -> Any:
            calls.append(len(deferred))
            if len(calls) > 1:
                return await real(deferred)
            return [NotKept("it was the first of them"), Outcome.CONFLICT]

        setattr(world.store.inner, "transact", transact)
        first, second = await asyncio.gather(
            connection.complete_activity_in_transaction(bad, Work(bad)),
            connection.complete_activity_in_transaction(good, Work(good)),
            return_exceptions=True,
        )
        assert (rejected(first), second) == (StatusCode.FAILED_PRECONDITION, True)
        assert calls == [2, 1]


@virtual
async def test_a_store_that_fails_or_breaks_is_told_and_serves_on(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        world.store.fails = lambda method: method == "transact"
        with pytest.raises(Rejected, match="on fire") as failed:
            await connection.complete_activity_in_transaction(request, Work(request))
        assert failed.value.code is StatusCode.UNAVAILABLE
        world.store.fails, world.store.breaks = (lambda method: False), (lambda method: method == "transact")
        with pytest.raises(Rejected, match="failed unexpectedly") as broke:
            await connection.complete_activity_in_transaction(request, Work(request))
        assert broke.value.code is StatusCode.INTERNAL
        world.store.breaks = lambda method: False
        assert await connection.complete_activity_in_transaction(request, Work(request)) is True
        assert await rows(world) == 1


@virtual
async def test_a_disk_that_fails_after_the_decision_leaves_neither(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        real = world.store.inner.transact
        tries: list[int] = []

        async def transact(deferred: Any) -> Any:
            tries.append(1)
            if len(tries) > 1:
                return await real(deferred)
            for one in deferred:
                assert one.run(NoRows())
                assert one.decide() is not None
            raise StoreError("the disk is full")

        setattr(world.store.inner, "transact", transact)
        with pytest.raises(Rejected, match="the disk is full"):
            await connection.complete_activity_in_transaction(request, Work(request))
        assert await connection.complete_activity_in_transaction(request, Work(request)) is True
        assert names(await history(connection)).count("ACTIVITY_TASK_COMPLETED") == 1


class NoRows:
    """A transaction that nothing comes of."""

    def execute(self, sql: str, parameters: Any = ()) -> None:
        """Forgotten."""


@virtual
async def test_a_bug_in_the_decision_costs_that_call_alone(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        real = vars(mailboxes)["decide"]

        def broken(*args: Any) -> Any:
            setattr(mailboxes, "decide", real)
            raise ZeroDivisionError("a bug")

        setattr(mailboxes, "decide", broken)
        with pytest.raises(Rejected, match="nothing was changed") as told:
            await connection.complete_activity_in_transaction(request, Work(request))
        assert told.value.code is StatusCode.INTERNAL
        assert await rows(world) == 0
        assert await connection.complete_activity_in_transaction(request, Work(request)) is True


@virtual
async def test_who_does_not_wait_any_more_has_nothing_written(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        work = Work(request)
        waiting = asyncio.ensure_future(connection.complete_activity_in_transaction(request, work))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (work.runs, await rows(world)) == (0, 0)


@virtual
async def test_other_commands_of_the_workflow_wait_their_turn(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        terminate = service.TerminateWorkflowExecutionRequest(namespace="default")
        terminate.workflow_execution.workflow_id = "order-1"
        kept, _ = await asyncio.gather(
            connection.complete_activity_in_transaction(request, Work(request)),
            connection.terminate_workflow_execution(terminate),
        )
        assert kept is True
        assert names(await history(connection))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
        assert "ACTIVITY_TASK_COMPLETED" in names(await history(connection))

"""A bug in one place harms what it touches and nothing else: loops live on, callers are answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.errors import Rejected, StatusCode
from perdure.core import workflow_task
from perdure.core.commit import Commit
from perdure.engine.deciding import mailboxes
from perdure.engine.node.gatherer import Gatherer
from perdure.frontend import WorkflowService
from tests.engine.test_mailboxes import cancel, rejection, start, status
from tests.engine.world import World, history, names, start_request, virtual, workflow_poll


@virtual
async def test_a_commit_that_cannot_be_published_is_answered_all_the_same(world: World) -> None:
    async with world.engine() as engine:
        publish = engine.feed.publish

        def broken(commit: Commit) -> None:
            raise ZeroDivisionError("a bug of the shell")

        engine.feed.publish = broken
        started = await engine.submit("default", "order-1", None, start())
        assert started.created, "it is durable"
        engine.feed.publish = publish
        await engine.submit("default", "order-1", None, cancel())
        assert names(await history(WorkflowService(engine)))[-1] == "WORKFLOW_EXECUTION_CANCEL_REQUESTED"


@virtual
async def test_a_read_that_raises_fails_its_caller(world: World) -> None:
    async with world.engine() as engine:
        await engine.submit("default", "order-1", None, start())
        results = await asyncio.gather(
            engine.read("default", "order-1", None, lambda execution: 1 // 0),
            engine.read("default", "order-1", None, status),
            return_exceptions=True,
        )
        assert rejection(results[0]) is StatusCode.INTERNAL
        assert results[1] == 1


@virtual
async def test_a_mailbox_that_cannot_be_served_fails_its_callers_and_lives_on(world: World) -> None:
    async with world.engine() as engine:
        step = engine.mailboxes._step

        def broken(mailbox: Any) -> None:
            raise ZeroDivisionError("a bug of the shell")

        setattr(engine.mailboxes, "_step", broken)
        call = engine.submit("default", "order-1", None, start())
        with pytest.raises(Rejected) as refused:
            await call
        assert refused.value.code is StatusCode.INTERNAL
        setattr(engine.mailboxes, "_step", step)
        assert (await engine.submit("default", "order-1", None, start())).created
        assert engine.metrics().waiting_calls == 0


@virtual
async def test_a_gatherer_outlives_a_batch_that_raises(world: World) -> None:
    worked: list[int] = []

    class Fragile(Gatherer[int]):
        async def _work(self, batch: list[int]) -> None:
            worked.extend(batch)
            if 0 in batch:
                raise ZeroDivisionError("a bug of the shell")

    fragile = Fragile(batch_max=10)
    await fragile.start()
    fragile.add(0)
    await fragile.batches.reached(1)
    fragile.add(1)
    await fragile.batches.reached(2)
    assert worked == [0, 1]
    await fragile.stop()


@virtual
async def test_a_call_for_an_older_run_that_is_taken_back_is_skipped(world: World) -> None:
    async with world.engine() as engine:
        started = await engine.submit("default", "order-1", None, start())
        world.store.gate = asyncio.Event()
        first = engine.submit("default", "order-1", None, cancel())
        await asyncio.sleep(1)
        calls = [engine.submit("default", "order-1", started.run_id, cancel()) for _ in range(3)]
        calls[1].cancel()
        world.store.gate.set()
        await asyncio.gather(first, calls[0], calls[2])
        assert engine.metrics().waiting_calls == 0


@virtual
async def test_a_lack_of_memory_is_no_bug_and_passes(world: World) -> None:
    async with world.engine() as engine:

        def starved(*arguments: Any) -> Any:
            raise MemoryError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mailboxes, "decide", starved)
            with pytest.raises(Rejected) as refused:
                await engine.submit("default", "order-1", None, start())
            assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
        assert (await engine.submit("default", "order-1", None, start())).created


def test_a_poller_that_was_set_aside_for_a_decision_that_broke_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    start_task = workflow_task.start

    def broken(*arguments: Any) -> Any:
        monkeypatch.setattr(workflow_task, "start", start_task)
        raise ZeroDivisionError("a bug of core")

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll()))
            await asyncio.sleep(1)
            monkeypatch.setattr(workflow_task, "start", broken)
            refused = engine.submit("default", "order-1", None, start())
            assert rejection((await asyncio.gather(refused, return_exceptions=True))[0]) is StatusCode.INTERNAL
            await connection.start_workflow_execution(start_request("order-2"))
            assert (await poll).workflow_execution.workflow_id == "order-2"

    scenario()


@virtual
async def test_a_poller_that_was_set_aside_is_answered_when_the_engine_ends_before_it_is_durable(world: World) -> None:
    async with world.engine() as engine:
        poll = asyncio.ensure_future(WorkflowService(engine).poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        world.store.gate = asyncio.Event()
        started = engine.submit("default", "order-1", None, start())
        await asyncio.sleep(1)
        await engine.abort()
        assert rejection(started.exception()) is StatusCode.UNAVAILABLE
        assert (await asyncio.wait_for(poll, 1)).task_token == b""

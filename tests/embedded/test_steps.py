"""What an order costs an engine in this process, by count; and that nothing has effects before it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import EventType

from perdure import AsyncEngine, activity, call, call_local, start, workflow
from perdure.core.commit import Commit
from perdure.embedded import EngineSeams, seamed
from perdure.engine import EngineConfig
from perdure.stores.api import Outcome, Store, Unstorable
from perdure.stores.memory import MemoryStore

PATIENCE_S = 60
COUNT = 20
KEPT_NS = 50_000_000
COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED


class CountingStore(MemoryStore):
    """Counts what it is given. Attributes:
    gate: while it is not set, a commit with the result of an activity waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.commits = self.transactions = self.events = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.waits = asyncio.Event()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        self.transactions += 1
        self.commits += len(commits)
        self.events += sum(len(commit.events) for commit in commits)
        if not self.gate.is_set() and any(event.event_type == COMPLETED for one in commits for event in one.events):
            self.waits.set()
            await self.gate.wait()
        return await super().commit(commits)


@activity(name="steps.def", start_to_close_timeout="1m")
def step(number: int) -> int:
    return number


@activity(name="steps.async", start_to_close_timeout="1m")
async def step_async(number: int) -> int:
    return number


@workflow(name="steps.order")
def order() -> int:
    return sum(call(step, number) for number in range(4))


@workflow(name="steps.order_async")
async def order_async() -> int:
    return sum([await start(step_async, number) for number in range(4)])


def engine_on(store: CountingStore) -> AsyncEngine:
    return seamed(
        AsyncEngine, EngineSeams(store=cast(Store, store), engine_config=EngineConfig(kept_ns=KEPT_NS)), "memory://"
    )


@pytest.mark.parametrize("flow", [order, order_async], ids=["def", "async"])
@pytest.mark.parametrize("concurrency", [1, COUNT])
async def test_an_order_of_four_activities_is_six_commits(flow: Any, concurrency: int) -> None:
    """Ten, if each were written by itself."""
    store = CountingStore()
    async with engine_on(store) as engine:
        before = store.commits, store.transactions, store.events
        for number in range(0, COUNT, concurrency):
            some = [engine.run(flow, id=f"order-{number + one}") for one in range(concurrency)]
            assert await asyncio.wait_for(asyncio.gather(*some), PATIENCE_S) == [6] * concurrency
        commits, transactions, events = (
            now - then for now, then in zip((store.commits, store.transactions, store.events), before, strict=True)
        )
    assert events == 29 * COUNT
    # A machine that is so busy that an answer takes its time has some of them written by themselves.
    assert 6 * COUNT <= commits <= 8 * COUNT
    assert transactions <= commits


@activity(name="steps.locally", start_to_close_timeout="1m")
async def locally(number: int) -> int:
    ran.append(number)
    return number


ran: list[int] = []


@workflow(name="steps.then_locally")
def then_locally() -> int:
    return call_local(locally, call(step, 7))


async def test_a_local_activity_runs_when_what_it_is_given_is_durable() -> None:
    ran.clear()
    store = CountingStore()
    store.gate.clear()
    async with engine_on(store) as engine:
        handle = await engine.start(then_locally, id="locally")
        await asyncio.wait_for(store.waits.wait(), PATIENCE_S)
        for _ in range(100):  # whoever would go on before it is durable has every chance
            await asyncio.sleep(0)
        assert not ran
        store.gate.set()
        assert await handle.result(timeout=PATIENCE_S) == 7
        assert ran == [7]

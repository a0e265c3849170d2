"""Everything at once, from a seed: lost races, a failing store, callers that leave, restarts.

Whatever happens, every workflow that was started ends, with a history without gaps, and no activity
is recorded twice. A failing seed is the whole reproduction.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.engine import Engine
from perdure.frontend import WorkflowService
from perdure.testing import run_virtual
from tests.engine.world import Worker, World, history, names, outcome, start_request

PASSING = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL)


class Chaos:
    """Disturbs a world by the dice of its seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.calm = False
        store = world.store
        store.fails = lambda method: not self.calm and method not in QUIET and self.dice.random() < 0.03
        store.breaks = lambda method: not self.calm and method == "commit" and self.dice.random() < 0.01

    async def disturb(self, engine: Engine, workers: list[Worker]) -> None:
        """Until it is calm: races are lost, polls are cancelled, workers come and go."""
        while not self.calm:
            await asyncio.sleep(self.dice.random() * 0.5)
            roll = self.dice.random()
            if roll < 0.3:
                self.world.store.conflicts = self.dice.randrange(1, 6)
            elif roll < 0.8:
                worker = self.dice.choice(workers)
                worker.cancel_one(self.dice)
            else:
                gate = self.world.store.gate = asyncio.Event()
                await asyncio.sleep(self.dice.random() * 0.2)
                gate.set()
                self.world.store.gate = None


QUIET = ("open", "close", "namespaces", "put_namespace", "next_wake_at_ns", "record", "records", "pending_messages")
"""What fails at a start is another test's matter."""


async def persist(action: object) -> object:
    """Do what a client does when it is told to come again."""
    while True:
        try:
            return await action()  # type: ignore[operator]
        except Rejected as error:
            if error.code not in PASSING:
                raise
            await asyncio.sleep(0.2)


async def life(world: World, seed: int) -> None:
    chaos = Chaos(world, seed)
    dice = random.Random(seed + 1)
    ids = [f"order-{number}" for number in range(30)]
    sticky = ["", "sticky-1", "sticky-2"]
    for lifetime in range(4):
        chaos.calm = lifetime == 3
        settings = {"backlog_rows_max": 4, "backlog_page": 3, "cache_bytes_max": dice.choice([0, 50_000, 1 << 27])}
        async with world.engine(workers_died=False, **settings) as engine:
            connection = WorkflowService(engine)
            workers = [Worker(connection, steps=3, sticky=name, timer_s=5).start() for name in sticky]
            disturber = asyncio.create_task(chaos.disturb(engine, workers))
            waits = [asyncio.create_task(run_one(connection, id_)) for id_ in ids]
            done, _ = await asyncio.wait(waits, timeout=None if chaos.calm else dice.uniform(1, 8))
            for wait in done:
                wait.result()
            chaos.calm = True
            disturber.cancel()
            for task in waits:
                task.cancel()
            for worker in workers:
                await worker.stop()
            assert engine.metrics().decision_errors == 0
            if lifetime == 3:
                await audit(connection, ids)
        world.store.gate = None
        world.store.conflicts = 0


async def run_one(connection: WorkflowService, workflow_id: str) -> None:
    request = start_request(workflow_id, request_id=workflow_id, workflow_id_reuse_policy=3)
    await persist(lambda: connection.start_workflow_execution(request))
    await persist(lambda: outcome(connection, workflow_id))


async def audit(connection: WorkflowService, ids: list[str]) -> None:
    for workflow_id in ids:
        events = await history(connection, workflow_id)
        happened = Counter(names(events))
        assert [event.event_id for event in events] == list(range(1, len(events) + 1))
        assert names(events)[-1] == "WORKFLOW_EXECUTION_COMPLETED"
        assert happened["ACTIVITY_TASK_SCHEDULED"] == happened["ACTIVITY_TASK_COMPLETED"] == 3
        assert happened["TIMER_FIRED"] == 1


@pytest.mark.parametrize("seed", range(12))
def test_every_workflow_ends_whatever_happens(seed: int) -> None:
    run_virtual(lambda loop: life(World(loop, seed), seed))

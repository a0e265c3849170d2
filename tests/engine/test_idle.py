"""What a fleet that has nothing to do asks of its store."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

from perdure.core.names import QueueName, TaskKind
from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.engine.matching.seats import Seat
from perdure.stores.api import Store
from tests.engine.shared import Face
from tests.engine.world import World, virtual

NODES = 4
WATCHED_S = 60


class Counted(Face):
    """A face that counts what its engine asks of it."""

    def __init__(self, world: World, calls: Counter[str]) -> None:
        super().__init__(world.shared)
        self._calls = calls

    def __getattribute__(self, name: str) -> object:
        if name in ("notify", "listen"):
            self._calls[name] += 1
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> object:
        self._calls[name] += 1
        return super().__getattr__(name)


async def calls_of_an_idle_fleet(world: World, works: bool) -> Counter[str]:
    """What four nodes ask in a minute, by method; with `works`, each has workers in its process."""
    calls = Counter[str]()
    config = EngineConfig(node=NodeConfig(), workers_died=works, prune_every_ns=60_000_000_000)
    engines = [Engine(cast(Store, Counted(world, calls)), world.clock, world.ids, config) for _ in range(NODES)]
    for number, engine in enumerate(engines):
        await engine.start()
        if works:
            for kind in TaskKind:
                queue = QueueName("default", "orders", kind)
                Seat(engine.matching, queue, f"worker-{number}", f"worker-{number}", lambda seat, task: None).free()
    await asyncio.sleep(10)
    calls.clear()
    await asyncio.sleep(WATCHED_S)
    asked = Counter(calls)
    for engine in engines:
        await engine.stop()
    return asked


@virtual
async def test_an_idle_fleet_of_four_asks_little_of_its_store(world: World) -> None:
    calls = await calls_of_an_idle_fleet(world, works=False)
    beats = NODES * WATCHED_S
    assert calls["put_records"] <= beats + NODES
    assert calls["records"] <= beats + NODES
    assert calls["notify"] == 0
    assert calls.total() <= 12.5 * WATCHED_S, calls


@virtual
async def test_workers_that_wait_for_work_cost_an_idle_fleet_little(world: World) -> None:
    calls = await calls_of_an_idle_fleet(world, works=True)
    assert calls.total() <= 14 * WATCHED_S, calls

"""A fleet on one memory store: nodes that are started, stopped and killed one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.stores.api import Store
from perdure.stores.partitions import PARTITIONS
from tests.engine.world import (
    World,
)

NODE = NodeConfig()
BEAT_S = NODE.beat_ns / 1e9
NOTICED_S = 5.0
DELIVERED_S = 2.0


class Fleet:
    """Nodes that are started, stopped and killed one by one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.engines: list[Engine] = []

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        for engine in self.engines:
            await engine.stop()

    async def node(self, skew_s: float = 0.0, **settings: Any) -> Engine:
        """One more, whose clock may be ahead of the others'."""
        clock = Skewed(self.world, skew_s)
        config = EngineConfig(**{"node": NODE, **settings})
        engine = Engine(cast(Store, self.world.shared.face()), clock, self.world.ids, config)
        await engine.start()
        self.engines.append(engine)
        return engine

    async def nodes(self, count: int) -> list[Engine]:
        """Some more, that see one another, and hear one another's news."""
        nodes = [await self.node() for _ in range(count)]
        await asyncio.sleep(2 * BEAT_S)
        self.check_shares(*nodes)
        return nodes

    def check_shares(self, *nodes: Engine) -> None:
        """Every partition is with one of them, and with one alone."""
        held = Counter(partition for node in nodes for partition in node.duties.partitions)
        assert len(held) == PARTITIONS
        assert set(held.values()) == {1}


class Skewed:
    """A clock that is ahead of the world's."""

    def __init__(self, world: World, by_s: float) -> None:
        self._clock = world.clock
        self._by_ns = round(by_s * 1e9)

    def set(self, by_s: float) -> None:
        """Somebody sets it to be ahead by so much."""
        self._by_ns = round(by_s * 1e9)

    def now_ns(self) -> int:
        return self._clock.now_ns() + self._by_ns


async def changed(engine: Engine, within_s: float) -> float:
    """Wait until it sees other nodes than now; returns how long that took, in seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(within_s):
        await engine.duties.changes.reached(engine.duties.changes.count + 1)
    return loop.time() - begin

"""One program, lived through as many lives of the engine as it is killed times, plus one.

Each life has an event loop and an engine of its own; what passes from one to the next is what
would in reality: the disk, the world outside, and the time. When a life ends by a crash its loop is
dropped with everything that runs on it, without a last word.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from temporalio.api.history.v1 import History, HistoryEvent

from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.stores.api import Reference, Store
from perdure.stores.memory import MemoryStore
from perdure.testing import VirtualTimeLoop, abandon
from tests.simulation.crashing import ENDLESS, CrashingStore, Disk
from tests.simulation.ids import SeededIds
from tests.simulation.life import WORKFLOW_ID, live, open_engine
from tests.simulation.programs import Program
from tests.simulation.world import World, stage

SECOND_NS = 1_000_000_000
RESTART_NS = 2 * SECOND_NS
"""How long the machine is down after a crash."""


@dataclass(slots=True, frozen=True)
class CrashPoint:
    """Die at the n-th commit of a life, before or after it is durable."""

    boundary: int
    after: bool

    def __str__(self) -> str:
        return f"--crash {'after' if self.after else 'before'}:{self.boundary}"

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        """From "before:N" or "after:N". Raises ValueError."""
        when, _, boundary = text.partition(":")
        if when not in ("before", "after"):
            raise ValueError(f"{text!r} is neither before:N nor after:N")
        return cls(int(boundary), when == "after")


@dataclass(slots=True)
class Report:
    """What came of a run."""

    outcome: str
    """How the workflow closed, with its result or failure."""
    boundaries: int
    """Commits of the last life."""
    lives: int
    world: World
    disk: Disk
    stored: Execution
    events: list[HistoryEvent]


class Machine(Protocol):
    """What a store stands on, and what remains of it when the power is cut."""

    def boot(self) -> Store:
        """The store, as a process that starts finds it. Called once per life."""
        ...


class MemoryMachine:
    """Keeps the store in memory between lives."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    def boot(self) -> Store:
        asyncio.run(self._store.close())
        return self._store


def simulate(program: Program, crashes: Sequence[CrashPoint] = (), machine: Machine | None = None) -> Report:
    """Live a program through these crashes, one per life, to its end. Raises LawBroken, and what the run raises."""
    machine = machine or MemoryMachine()
    disk, ids = Disk(), SeededIds(program.seed)
    stage.world = world = World(disk)
    latency = random.Random(f"latency {program.seed}")
    now_ns = 0
    for life, point in enumerate((*crashes, None), start=1):
        inner = machine.boot()
        store = CrashingStore(inner, disk, latency, point.boundary if point else 0, bool(point and point.after))
        loop = VirtualTimeLoop()
        loop.advance(now_ns)
        outcome = _run(loop, live(program, open_engine(cast(Store, store), ids, loop), loop))
        _check_resumed(store)
        now_ns = loop.now_ns + RESTART_NS
        if outcome is not None:
            stored, events = asyncio.run(_read(inner))
            return Report(outcome, store.boundaries, life, world, disk, stored, events)
        if store.boundaries >= ENDLESS:
            raise AssertionError(f"does not end; the last commits: {disk.trace[-3:]}")
        if disk.faults:
            raise AssertionError(f"a workflow task failed: {disk.faults[0]}")
    raise AssertionError("a life that nobody ends has an outcome")


def _check_resumed(store: CrashingStore) -> None:
    """What dead workers held is taken back at once, and not when its time is up."""
    if store.owed_since is not None and store.resumed_at is not None:
        took = store.resumed_at - store.owed_since
        assert took < 1.0, f"restarted with tasks of dead workers, and resumed after {took:.1f} s"


def _run(loop: VirtualTimeLoop, life: Coroutine[Any, Any, str]) -> str | None:
    """Live until the program ends, None: until the crash."""
    living = loop.create_task(life)
    living.add_done_callback(lambda _: loop.stop())
    try:
        loop.run_forever()
        return living.result() if living.done() else None
    finally:
        abandon(loop)


async def _read(store: Store) -> tuple[Execution, list[HistoryEvent]]:
    """What the store holds in the end."""
    await store.close()
    await store.open()
    [stored] = await store.load([Reference("default", WORKFLOW_ID)])
    assert stored is not None
    history = History()
    while (page := await _page(store, stored.key, len(history.events) + 1)).events:
        history.MergeFrom(page)
    await store.close()
    return stored, list(history.events)


async def _page(store: Store, key: ExecutionKey, first_event_id: int) -> History:
    page = History()
    for batch in await store.history(key, first_event_id):
        page.MergeFromString(batch.data)
    return page

"""One program, lived through by a fleet of nodes, while some of them die.

What passes from one life of a node to the next is what would in reality: the disk, the world outside, and the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from temporalio.api.history.v1 import History, HistoryEvent

from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.stores.api import Reference, Store
from perdure.stores.memory import MemoryStore
from tests.simulation.crashing import Disk
from tests.simulation.faults import CrashPoint
from tests.simulation.fleet import Fleet, Storage, at_once
from tests.simulation.life import WORKFLOW_ID
from tests.simulation.programs import Program
from tests.simulation.world import World, stage


@dataclass(slots=True)
class Report:
    """What came of a run."""

    outcome: str
    """How the workflow closed, with its result or failure."""
    boundaries: int
    """Commits of all nodes."""
    struck: int
    """Faults that befell nodes."""
    lives: int
    """Of nodes."""
    world: World
    disk: Disk
    stored: Execution
    events: list[HistoryEvent]


class MemoryStorage:
    """Keeps the store in memory, over all power cuts."""

    serves_many = False

    def __init__(self) -> None:
        self._store = MemoryStore()

    def boot(self) -> Store:
        at_once(self._store.close())
        return self._store


def simulate(
    program: Program,
    crashes: Sequence[CrashPoint] = (),
    storage: Storage | None = None,
    nodes: int = 1,
    tell: Callable[[str], object] | None = None,
) -> Report:
    """Live a program through these crashes to its end. Raises AssertionError, and what the run raises.

    Args:
        tell: is told what happens, a line at a time.
    """
    fleet = Fleet(program, nodes, crashes, storage or MemoryStorage(), tell)
    stage.world = world = World(fleet.disk, stalls=any(point.kind == "stall" for point in crashes))
    outcome = fleet.run()
    assert fleet.store is not None
    stored, events = asyncio.run(_read(fleet.store))
    fate = fleet.fate
    return Report(outcome, fate.boundaries, fate.struck, fleet.lives, world, fleet.disk, stored, events)


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

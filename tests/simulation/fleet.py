"""A fleet: nodes that share one store, and go and come while clients want something of them.

Each node has a machine, an engine, ids and a clock of its own; what they share is the store, the world outside and the
time. A fault befalls the node that makes the commit at which it is to happen (`faults`). A node that was stopped is
back after a while or never, but the last one always is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar, cast

from perdure import AsyncEngine
from perdure.core.commit import Commit
from perdure.errors import EngineClosedError
from perdure.stores.api import Hear, Store
from tests.simulation.crashing import Disk, NodeStore
from tests.simulation.faults import CrashPoint, Fate
from tests.simulation.ids import SeededIds
from tests.simulation.life import SECOND_NS, Client, make_engine
from tests.simulation.loops import Loops
from tests.simulation.network import Network
from tests.simulation.node import Node, NodeDied
from tests.simulation.programs import Program

R = TypeVar("R")

ENDLESS = 600
"""No program needs so many commits of a node: it goes round in circles."""
SKEW_S = 3.0
"""Clocks are right by so much."""


class Storage(Protocol):
    """What a store stands on, and what remains of it when all power is cut.

    Attributes:
        serves_many: whether each node opens a store of its own there; else they share an open one.
    """

    serves_many: bool

    def boot(self) -> Store:
        """The store, as a process that starts finds it, not opened.

        Called for every node where it serves many, else whenever no other node lives.
        """
        ...


class Fleet:
    """See the module's text. Use `run`, once."""

    def __init__(
        self,
        program: Program,
        size: int,
        points: Sequence[CrashPoint],
        storage: Storage,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._program = program
        self._storage = storage
        self._tell = tell
        self._chance = random.Random(f"chance {program.seed} {size}")
        self.fate = Fate(program.seed, size, points)
        self.disk = Disk()
        self.loops = Loops(random.Random(f"turns {program.seed} {size}"))
        self.network = Network(random.Random(f"network {program.seed} {size}"), self.loops.__contains__, self.tell)
        self.store: Store | None = None
        self._client_machine = self.loops.make()
        has_front = size > 1 and self._chance.random() < 1 / 3
        moves = size > 1 and self._chance.random() < 1 / 3
        self._client = Client(program, self, self._client_machine, moves=moves)
        self._seats = [
            Seat(self, number, self._skew_ns(size), works=number < size or not has_front)
            for number in range(1, size + 1)
        ]

    def _skew_ns(self, size: int) -> int:
        return round(self._chance.uniform(-SKEW_S, SKEW_S) * SECOND_NS) if size > 1 else 0

    @property
    def is_alone(self) -> bool:
        return len(self._seats) == 1

    @property
    def lives(self) -> int:
        """Nodes that ever came up."""
        return sum(seat.boots for seat in self._seats)

    def run(self) -> str:
        """Live until the program has ended; its outcome. Raises AssertionError, and what opening a node raises."""
        for seat in self._seats:
            seat.boot()
        living = self._client_machine.create_task(self._client.live())
        try:
            self.loops.run(lambda: living.done() or bool(self.disk.faults) or self._is_endless())
            if self.disk.faults:
                raise AssertionError(self.disk.faults[0])
            if self._is_endless():
                raise AssertionError(f"does not end; the last commits: {self.disk.trace[-3:]}")
            self._check_resumed()
            return living.result()
        finally:
            self.loops.end()

    def _is_endless(self) -> bool:
        return self.fate.boundaries >= ENDLESS * len(self._seats)

    def _check_resumed(self) -> None:
        """What dead workers held is taken back at once, and not when its time is up."""
        for store in (store for seat in self._seats for store in seat.stores if self.is_alone):
            if store.owed_since is not None and store.resumed_at is not None:
                took_s = store.resumed_at - store.owed_since
                assert took_s < 1.0, f"restarted with tasks of dead workers, and resumed after {took_s:.1f} s"

    # --- what nodes need ------------------------------------------------------------------------

    def boot_store(self) -> Store:
        """The store as a node finds it that comes up."""
        if self._storage.serves_many or self.store is None or not any(seat.node for seat in self._seats):
            self.store = self._storage.boot()
            at_once(self.store.open())
        return self.store

    def away_s(self) -> float | None:
        """How long a node is away that has stopped; None: for ever."""
        others = sum(seat.works and (seat.node is not None or seat.is_coming) for seat in self._seats)
        return self.fate.away_s(others)

    def tell(self, what: str) -> None:
        """Something happens."""
        if self._tell is not None:
            self._tell(f"{self.loops.now_ns / 1e9:16.6f} s  {what}")

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Do something from outside of all nodes."""
        self._client_machine.call_later(delay_s, work)

    def lost(self, node: Node) -> None:
        """It is no more: whoever waited for it goes to another one, and says all again."""
        node.die(self._client_machine)
        self.later(0.5, self._client.repeat)

    def latency(self) -> random.Random:
        """What draws how long a commit takes."""
        return self._chance

    def id_seed(self, number: int) -> str:
        """Of a node's ids."""
        return f"{self._program.seed} {number}"

    # --- what clients need ----------------------------------------------------------------------

    async def ask(self, request: Callable[[AsyncEngine], Coroutine[Any, Any, R]]) -> R:
        """See `Service.ask`."""
        while True:
            open_to_all = [seat.node for seat in self._seats if seat.node is not None and seat.node.takes]
            if open_to_all:
                self.loops.stir()
                node = self._chance.choice(open_to_all)
                try:
                    return await node.ask(self._client_machine, request, lambda: self._chance.uniform(0.0, 0.002))
                except (NodeDied, EngineClosedError):
                    pass  # to another one
            await asyncio.sleep(0.1)


class Seat:
    """A place for a node: whoever sits there has this number, these ids and this clock. The `Master` of its store."""

    def __init__(self, fleet: Fleet, number: int, skew_ns: int, *, works: bool) -> None:
        self._fleet = fleet
        self.number = number
        self.works = works
        self._skew_ns = skew_ns
        self._ids = SeededIds(fleet.id_seed(number))
        self.node: Node | None = None
        self.is_coming = False
        self.boots = 0
        self.stores: list[NodeStore] = []

    def boot(self) -> None:
        """A node comes up."""
        fleet, self.is_coming = self._fleet, False
        fleet.loops.stir()
        self.boots += 1
        about = "" if self.works else ", without workers"
        fleet.tell(f"node {self.number} comes up, its clock {self._skew_ns / 1e9:+.1f} s{about}")
        store = NodeStore(fleet.boot_store(), self, fleet.latency())
        self.stores.append(store)
        machine = fleet.loops.make()
        self.node = node = Node(self.number, machine)
        node.engine = make_engine(
            cast(Store, store), self.number, self._ids, machine, self._skew_ns, alone=fleet.is_alone, works=self.works
        )
        machine.create_task(node.engine.open()).add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Task[AsyncEngine]) -> None:
        if self._blame(opening) and self.node is not None:
            self.node.takes = True

    def _blame(self, task: asyncio.Task[Any]) -> bool:
        """Whether it went well."""
        error = task.exception()
        if error is not None:
            self.accuse(repr(error))
        return error is None

    def _empty(self) -> None:
        """The node is gone; another one comes, after a while or never."""
        fleet, node = self._fleet, self.node
        assert node is not None
        self.node = None
        fleet.loops.drop(node.machine)
        fleet.lost(node)
        away_s = fleet.away_s()
        fleet.tell(f"node {self.number} is gone, {'for ever' if away_s is None else f'for {away_s:.1f} s'}")
        if away_s is not None:
            self.is_coming = True
            fleet.later(away_s, self.boot)

    # --- what the store of a node asks and tells ------------------------------------------------

    def at_next_commit(self) -> str | None:
        """See `Master`, as all below."""
        self._fleet.loops.stir()
        fault = self._fleet.fate.at_next_commit()
        if fault is not None:
            self._fleet.tell(f"node {self.number}: {fault} commit {self._fleet.fate.boundaries}")
        return fault

    def stall(self) -> None:
        assert self.node is not None
        self._fleet.loops.freeze(self.node.machine, self._fleet.fate.stall_s())

    def drain(self) -> None:
        node = self.node
        assert node is not None and node.engine is not None
        if node.is_draining:
            return
        node.is_draining, node.takes = True, False
        node.machine.create_task(node.engine.close()).add_done_callback(self._drained)

    def _drained(self, closing: asyncio.Task[None]) -> None:
        if self._blame(closing):
            self._empty()

    def die(self) -> None:
        self._empty()

    def wrote(self, commit: Commit) -> None:
        self._fleet.loops.stir()
        self._fleet.disk.note(self._fleet.loops.now_ns, self.number, commit)
        _, node, workflow_id, version, names = self._fleet.disk.trace[-1]
        self._fleet.tell(f"node {node} wrote {workflow_id} version {version:3}  {' '.join(names) or '(no event)'}")

    def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        if self.node is not None:
            self._fleet.network.notify(self.node.machine, channel, notices)

    def listen(self, channel: str, hear: Hear) -> None:
        if self.node is not None:
            self._fleet.network.listen(self.node.machine, channel, hear)

    def accuse(self, reason: str) -> None:
        self._fleet.disk.faults.append(f"node {self.number}: {reason}")


def at_once(work: Coroutine[Any, Any, R]) -> R:
    """The result of what waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")

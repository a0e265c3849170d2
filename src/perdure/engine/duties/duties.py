"""Which partitions of the key space this node looks after: whose deadlines, records, messages and closed runs.

A duty is a hint. Two nodes that think they have the same one waste work and do no harm, for compare-and-set decides
(ADR 0004); a partition that nobody thinks of is late until somebody does. So no node asks another one for leave: each
shares out the partitions among those that it sees alive, by the same rule, and for a moment after one has come or gone
they may see it differently (ADR 0020).

A node that is alone has every partition, and this costs it nothing: no read, no write, no timer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import shake_128
from itertools import compress
from operator import gt
from struct import Struct

from perdure.engine.duties.nodes import Node, Nodes, State
from perdure.engine.node.clock import WatchedClock
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.node.wire import Wire
from perdure.stores.api import Store
from perdure.stores.partitions import ALL_PARTITIONS, NO_PARTITIONS, PARTITIONS, Partitions


class Duties:
    """See the module's text.

    Attributes:
        partitions: those that this node looks after now.
        look_every_s: how often whoever has a duty looks at the store by itself, because another node may have written
            there; None: there is no other.
        changes: emitted whenever the nodes were found to be others than before.
    """

    def __init__(
        self, store: Store, clock: WatchedClock, wire: Wire | None, config: EngineConfig, metrics: Metrics
    ) -> None:
        """`wire`: to the other nodes; None: there are none, whatever `config.node` says."""
        node = None if wire is None else config.node
        self._nodes = None
        if wire is not None and node is not None:
            self._nodes = Nodes(store, clock, wire, node, metrics, self._share_out, has_workers=config.workers_died)
        self._metrics = metrics
        self._recovers = config.workers_died
        self._listeners: list[Callable[[], None]] = []
        self._live: frozenset[str] = frozenset()
        self.partitions = ALL_PARTITIONS if node is None else NO_PARTITIONS
        metrics.partitions = len(self.partitions)
        self.look_every_s = None if node is None else node.look_every_ns / 1e9
        self.changes = Signal()
        self.on_bereaved: Callable[[Sequence[str]], None] = _ignore
        """Given the ids of nodes that are gone and had workers in their processes."""

    def subscribe(self, look: Callable[[], None]) -> None:
        """Have `look()` called whenever a node has gone: it may have left something, and its share is to be done."""
        self._listeners.append(look)

    @property
    def me(self) -> Node | None:
        """What this node says of itself with its next beat; None: to nobody."""
        return None if self._nodes is None else self._nodes.me

    def follow(self, followed: Callable[[], None]) -> None:
        """Have `followed()` called when the machine's clock, which was set and not gone by, is gone by from now on."""
        if self._nodes is not None:
            self._nodes.on_followed = followed

    def count(self, workers: Callable[[], int]) -> None:
        """Have the number of workers told that `workers()` gives."""
        if self._nodes is not None:
            self._nodes.count_workers = workers

    def drain(self) -> None:
        """This node will be gone soon; until then it does its duties."""
        if self._nodes is not None:
            self._nodes.me.state = State.DRAINING
            self._nodes.tell()

    @property
    def is_heard(self) -> bool:
        """Whether this node reaches its store, and the others know that it lives."""
        return self._nodes is None or self._nodes.is_heard

    @property
    def is_alone(self) -> bool:
        """Whether no other node lives, as far as is known."""
        return self._nodes is None or not self._nodes.others

    # --- life cycle -----------------------------------------------------------------------------

    async def check(self) -> None:
        """Before anybody is served: whether the clock is right, and who else is there. Raises StoreError."""
        if self._nodes is not None:
            await self._nodes.check(self._recovers)

    async def start(self) -> None:
        """Take a share. Raises StoreError."""
        if self._nodes is not None:
            await self._nodes.join()

    async def hand_over(self) -> None:
        """Nothing is done by this node any more: the others take its share at once. Idempotent."""
        if self._nodes is not None:
            await self._nodes.leave()

    async def stop(self) -> None:
        """Stop as a crash would: the others notice after a while. Idempotent."""
        if self._nodes is not None:
            await self._nodes.stop()

    def _share_out(self) -> None:
        nodes = self._nodes
        assert nodes is not None, "nodes come and go only where there are some"
        gone, self._live = self._live - nodes.live, nodes.live
        self.partitions = share_of(nodes.id, nodes.live)
        nodes.me.partitions = self._metrics.partitions = len(self.partitions)
        self._metrics.nodes = len(nodes.live)
        if gone:  # one that comes only takes
            for look in self._listeners:
                look()
        bereaved = [node for node, said in nodes.take_gone().items() if said.has_workers]
        if bereaved:
            self.on_bereaved(bereaved)
        self.changes.emit()


def _ignore(nodes: Sequence[str]) -> None:
    """Nobody wants to know."""


def share_of(node: str, live: Iterable[str]) -> Partitions:
    """The partitions of a node among those that live (ids; it is one of them).

    Rendezvous hashing: a partition is with the node that gives it the greatest number, so that all who see the same
    nodes share out alike, and when a node goes, its partitions alone find others
    (https://en.wikipedia.org/wiki/Rendezvous_hashing).
    """
    others = [_weights(other) for other in live if other != node]
    if not others:
        return ALL_PARTITIONS
    mine = _weights(node)
    greatest = map(max, *others) if len(others) > 1 else others[0]
    return Partitions(compress(range(PARTITIONS), map(gt, mine, greatest)))


_WEIGHTS = Struct(f"<{PARTITIONS}Q")


def _weights(node: str) -> Sequence[int]:
    """The number that a node gives to each partition: the same on every machine."""
    return _WEIGHTS.unpack(shake_128(node.encode()).digest(_WEIGHTS.size))

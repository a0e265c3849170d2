"""The nodes of a fleet: each says that it lives, and sees which others do.

A node is a record of kind `node`, which it replaces once a beat. Whether another one lives is not asked of its clock: a
record that is not what it was a while ago was written meanwhile, and how long it is the same is measured here, by a
clock that nobody can set. One that is silent for too long is taken for dead and its record taken away, by
compare-and-set; should it live after all, it announces itself again with its next beat.

Clocks are compared before a node serves anybody: deadlines that are written by one clock and read by another are
as wrong as the two differ. When a machine's clock is set later, its node goes on by the time before, until most of the
others' machines have the new one too.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version
from socket import gethostname

import msgspec

from perdure.engine.node.clock import WatchedClock
from perdure.engine.node.config import NodeConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.wire import Wire
from perdure.stores.api import Outcome, Record, RecordChange, Store, StoreError

_log = logging.getLogger(__name__)

KIND = "node"
"""Of their records, and of what a node tells when it comes or goes, so that the others look at once and not with their
next beat."""
_NODES_MAX = 1_000
_VERSION = version("perdure")
_TRIES_MAX = 5
_LOOKS_A_BEAT = 4
"""While a node waits to know who lives."""


class ClockSkewError(StoreError):
    """This machine's clock differs too much from those of the other nodes on the store; the message says how much."""


class State(StrEnum):
    """What a node says of how it stands."""

    SERVING = "serving"
    DRAINING = "draining"
    """It takes no polls any more, and will be gone soon."""


class Node(msgspec.Struct):
    """What a node says of itself. Times in nanoseconds since the epoch, by its own clock."""

    name: str
    started_at_ns: int
    beat_at_ns: int
    told: int = 0
    """How many notices it has sent (`perdure.engine.node.wire`)."""
    has_workers: bool = False
    """Workers are in its process, and die with it."""
    version: str = ""
    host: str = ""
    address: str = ""
    """Of its gRPC port; empty: it has none."""
    partitions: int = 0
    """How many it looks after."""
    workers: int = 0
    """How many poll it now."""
    state: State = State.SERVING
    clock_ns: int = 0
    """When it beat by its machine's clock, where that is not the time that it goes by; 0: it is."""


class _Seen:
    """Another node, as it was seen last."""

    __slots__ = ("age_ns", "at", "has_beaten", "looks", "node", "record", "skew_ns")

    def __init__(self, record: Record, at: float, now_ns: int, machine_ns: int, has_beaten: bool) -> None:
        self.record = record
        self.node = _decode(record.data)
        self.at = at
        """Loop time since which it is this record."""
        self.age_ns = now_ns - self.node.beat_at_ns
        """How old its beat was then, its clock and this one compared."""
        self.skew_ns = machine_ns - (self.node.clock_ns or self.node.beat_at_ns)
        """The same, by the clocks of the machines."""
        self.has_beaten = has_beaten
        """It was seen to write: it lives, or did a moment ago."""
        self.looks = 0
        """Looks that have found it so since: who stood still itself, for a while, has not looked."""


class Nodes:
    """See the module's text. `changed()` is called whenever `live` has changed.

    Attributes:
        id: names this node among all that there ever were.
        live: the ids of the nodes that live, this one among them once it has joined.
        me: what this node says of itself, with its next beat.
        count_workers: asked with every beat.
    """

    def __init__(
        self,
        store: Store,
        clock: WatchedClock,
        wire: Wire,
        config: NodeConfig,
        metrics: Metrics,
        changed: Callable[[], None],
        *,
        has_workers: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._now_ns = clock.now_ns
        self._machine_ns = clock.machine_ns
        self._wire = wire
        wire.on(KIND, lambda node, body: self.tell())
        self.id = wire.node
        self._config = config
        self._beat_s = config.beat_ns / 1e9
        self._silence_s = config.silence_ns / 1e9
        self._metrics = metrics
        self._changed = changed
        self.me = Node(
            config.name or f"{gethostname()}/{os.getpid()}",
            0,
            0,
            has_workers=has_workers,
            version=_VERSION,
            host=gethostname(),
        )
        self.count_workers: Callable[[], int] = _none
        self._gone: dict[str, Node] = {}
        """Those that were seen and are not there any more, since they were last asked for."""
        self._version = 0
        """Of this node's record, as far as it knows."""
        self._seen: dict[str, _Seen] = {}
        self._task: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._is_in_trouble = False
        self._is_told = False
        """That the clock is wrong."""
        self.on_followed: Callable[[], None] = _ignore
        """Called when the machine's clock, which was set, is gone by."""
        self.live: frozenset[str] = frozenset()
        self._beat_at = 0.0
        """Loop time of the newest beat that went well."""

    def tell(self) -> None:
        """Something about this node has changed: beat now."""
        self._bell.set()

    def take_gone(self) -> dict[str, Node]:
        """The nodes that have stopped or died since this was last asked, by id."""
        gone, self._gone = self._gone, {}
        return gone

    @property
    def is_heard(self) -> bool:
        """Whether this node lives, to the others: its store has taken a beat of it of late."""
        return asyncio.get_running_loop().time() - self._beat_at < self._silence_s

    @property
    def others(self) -> list[str]:
        """The ids of the other nodes that live, or are not known to be dead."""
        return list(self._seen)

    # --- life cycle -----------------------------------------------------------------------------

    async def check(self, until_known: bool) -> None:
        """Compare clocks with the others, and see who they are; `until_known`: wait until it is known who lives.

        A beat that looks too old or too young is a dead node's, or a wrong clock's: the next beat shows which. To know
        that nobody lives takes as long as a node may be silent. Raises ClockSkewError, StoreError.
        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while True:
            await self._look(loop.time())
            self._compare_clocks()
            is_known = not until_known or any(seen.has_beaten for seen in self._seen.values())
            wait_s = 2 * self._beat_s if is_known else self._silence_s + self._beat_s
            if is_known and not any(self._is_doubtful(seen) for seen in self._seen.values()):
                return
            if not self._seen or loop.time() - begin >= wait_s:
                return
            await asyncio.sleep(self._beat_s / _LOOKS_A_BEAT)

    def _is_doubtful(self, seen: _Seen) -> bool:
        bound_ns = self._config.skew_max_ns
        return not seen.has_beaten and not self._config.beat_ns - bound_ns <= seen.age_ns <= bound_ns

    def _compare_clocks(self) -> None:
        """Of who has beaten since the last look: by a clock that is right, that was just now."""
        for seen in self._seen.values():
            bound_ns = self._config.skew_max_ns
            if seen.has_beaten and abs(seen.age_ns) > bound_ns:
                way = "behind" if seen.age_ns < 0 else "ahead of"
                raise ClockSkewError(
                    f"The clock of this machine is {abs(seen.age_ns) / 1e9:.1f} s {way} that of node "
                    f"{seen.node.name!r}, which serves the same store; {bound_ns / 1e9:g} s are allowed: set the "
                    "clocks right (NTP), then start again."
                )

    async def join(self) -> None:
        """Announce this node, and beat from now on. Raises StoreError."""
        self.me.started_at_ns = self._now_ns()
        self._bell.clear()
        await self._beat()
        self._wire.tell(KIND, b"")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="Nodes")

    async def leave(self) -> None:
        """Say that this node is gone, so that the others take its duties over at once. Idempotent."""
        has_joined = self._task is not None
        await self.stop()
        if not has_joined:
            return
        try:
            await self._take_away()
            await self._wire.tell_now(KIND, b"")
        except StoreError as error:
            _log.warning("the other nodes will find out by themselves that this one is gone: %s", error)

    async def _take_away(self) -> None:
        """The record of this node, whatever became of a beat that was cancelled while it was written."""
        version: int | None = self._version
        for _ in range(_TRIES_MAX):
            if version is None:
                return
            [outcome] = await self._store.put_records([RecordChange(KIND, "", self.id, version, None)])
            if isinstance(outcome, StoreError):
                raise outcome
            if outcome is Outcome.APPLIED:
                return
            stored = await self._store.record(KIND, "", self.id)
            version = None if stored is None else stored.version

    async def stop(self) -> None:
        """Beat no more: to the others this node is dead after a while. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # --- beats ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._beat_s):
                    await self._bell.wait()
            except TimeoutError:
                pass  # it is time for the next beat
            self._bell.clear()
            try:
                await self._beat()
                self._is_in_trouble = False
            except StoreError as error:
                self._metrics.store_errors += 1
                if not self._is_in_trouble:  # not every second of an outage
                    self._is_in_trouble = True
                    _log.warning("this node cannot say that it lives, trying again: %s", error)
            except Exception:  # a node that stops beating for a bug is dead to the others, and serves on
                _log.exception("a beat of this node failed")

    async def _beat(self) -> None:
        now_s = asyncio.get_running_loop().time()
        await self._announce()
        self._beat_at = now_s
        await self._look(now_s)
        if self._clock.held_ns:
            self._judge_clock(now_s)
        else:
            self._is_told = False
        self._wire.compare({name: seen.node.told for name, seen in self._seen.items()})
        live = frozenset({self.id, *self._seen})
        if live != self.live:
            self.live = live
            self._changed()

    def _judge_clock(self, now_s: float) -> None:
        """The machine's clock was set, and is not followed: do most of those who have just beaten have its time too?"""
        beaten = [seen for seen in self._seen.values() if seen.at == now_s and seen.has_beaten]
        bound_ns = self._config.skew_max_ns
        agree = sum(-bound_ns <= seen.skew_ns <= bound_ns + self._config.beat_ns for seen in beaten)
        if not self._seen or 2 * agree > len(beaten):
            _log.warning("the clock of this machine is right: this node goes by it again (%+.1f s)", self._held_s())
            self._clock.follow()
            self.on_followed()
        elif beaten and not self._is_told:
            self._is_told = True
            text = "the clock of this machine was set by %+.1f s, and those of the other nodes were not: set it right; "
            _log.error(text + "until then this node goes on by the time before", self._held_s())

    def _held_s(self) -> float:
        return self._clock.held_ns / 1e9

    async def _announce(self) -> None:
        """Once more, if the record is not what it was: others took it away, or a write went well after all."""
        me = self.me
        me.workers = self.count_workers()
        for _ in range(2):
            me.beat_at_ns, me.told = self._now_ns(), self._wire.told
            me.clock_ns = self._machine_ns() if self._clock.held_ns else 0
            data = _encode(me)
            [outcome] = await self._store.put_records([RecordChange(KIND, "", self.id, self._version, data)])
            if isinstance(outcome, StoreError):
                raise outcome
            if outcome is Outcome.APPLIED:
                self._version += 1
                return
            stored = await self._store.record(KIND, "", self.id)
            self._version = 0 if stored is None else stored.version

    async def _look(self, now_s: float) -> None:
        """See who has written, and bury who was silent for too long."""
        found = await self._store.records(KIND, "", limit=_NODES_MAX)
        now_ns, machine_ns = self._now_ns(), self._machine_ns()
        seen: dict[str, _Seen] = {}
        for record in found:
            known = self._seen.get(record.name)
            if record.name == self.id or record.damage:
                continue
            if known is not None and known.record == record:
                known.looks += 1
                seen[record.name] = known
            else:
                seen[record.name] = _Seen(record, now_s, now_ns, machine_ns, known is not None)
        silent = [
            name
            for name, one in seen.items()
            if now_s - one.at >= self._silence_s and one.looks * self._beat_s >= self._silence_s
        ]
        dead = [seen.pop(name) for name in silent]
        self._gone.update((name, one.node) for name, one in self._seen.items() if name not in seen)
        self._gone.update((one.record.name, one.node) for one in dead)
        self._seen = seen
        if dead:
            text = "node %r was not heard of for %.0f s and is taken for dead: its duties are taken over"
            for one in dead:
                _log.warning(text, one.node.name, self._silence_s)
            await self._store.put_records([one.record.change(None) for one in dead])


async def read_nodes(store: Store) -> list[tuple[str, Node]]:
    """What the nodes on an open store say of themselves, by id. Raises StoreError."""
    found = await store.records(KIND, "", limit=_NODES_MAX)
    return [(record.name, _decode(record.data)) for record in found if not record.damage]


def _ignore() -> None:
    """Nobody wants to know."""


def _none() -> int:
    return 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Node).decode

"""Wakes the owners of records whose time has come: schedules, batch operations, and whatever else waits as a record.

As with executions, the deadlines are in the store and the waker knows only the earliest. What is due is read in pages
and handed to the owner of its kind, which is to do what is due and store the record with a later deadline.

A record that its owner fails on is tried again more and more slowly, alone. One that goes on failing by what does not
pass by itself (it cannot be read, or what it asks for cannot be done or stored) is *parked*: its owner writes into it
why, where it can be seen, and nobody looks at it again until somebody changes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from perdure.api.errors import Rejected
from perdure.engine.duties.duties import Duties
from perdure.engine.duties.wakeups import NEVER_NS
from perdure.engine.feed.news import News
from perdure.engine.node.clock import Clock, Jump
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import Faults, Setbacks, is_passing, reason_of
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.node.wire import Wire
from perdure.stores.api import PAGE_BYTES, Record, RecordChange, Store, StoreError
from perdure.stores.partitions import partition_of

_log = logging.getLogger(__name__)

Handler = Callable[[Record], Awaitable[None]]
"""Does what is due. May raise whatever it likes: then it is called again later."""
Park = Callable[[Record, str], Awaitable[None]]
"""Stores the record with the reason why it is not looked at any more, and without a deadline."""
Name = tuple[str, str, str]
"""Kind, namespace and name."""


class _Owner(NamedTuple):
    wake: Handler
    park: Park


class RecordWaker:
    """See the module's text. `passes` is emitted after each look at the store."""

    def __init__(self, store: Store, clock: Clock, config: EngineConfig, metrics: Metrics, duties: Duties) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._config = config
        self._metrics = metrics
        self._duties = duties
        self._owners: dict[str, _Owner] = {}
        self._setbacks: Setbacks[Name] = Setbacks(
            config.store_retry_ns / 1e9, config.record_retry_max_ns / 1e9, lambda: asyncio.get_running_loop().time()
        )
        self._faults = Faults(_log)
        self._given_up: dict[Name, int] = {}
        """Versions of records that are parked and, being damaged, could not be written to: due, and left alone."""
        self._again_at: float | None = None
        """Loop time of the next look for the sake of what failed. No matter of the wall clock."""
        self._soon_ns = 0
        """Once, what is due until then is looked at: the clock was set back, and it was to be soon."""
        self._task: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        self._is_in_trouble = False
        self.next_ns = NEVER_NS
        self.passes = Signal()
        self.tell: Callable[[int, int], None] = _tell_nobody
        """Given the partition and the deadline of a record that this node has written and another one looks after."""
        duties.subscribe(self.gap)

    def register(self, kind: str, wake: Handler, park: Park) -> None:
        """Records of this kind are this owner's."""
        self._owners[kind] = _Owner(wake, park)

    @property
    def kinds(self) -> list[str]:
        """The kinds that have an owner."""
        return list(self._owners)

    async def start(self) -> None:
        """Look at once: time has passed while nobody looked."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="RecordWaker")

    async def stop(self) -> None:
        """Wake nobody any more; owners that are at work are cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def hear(self, news: News) -> None:
        """News are of runs, not of records."""

    def gap(self) -> None:
        """Some record may have a deadline that is not known of here: look at the store."""
        self.lower(self._now_ns())

    def written(self, change: RecordChange) -> None:
        """This node has stored a record with a deadline."""
        assert change.wake_at_ns is not None, "one without a deadline wakes nobody"
        partitions = self._duties.partitions
        if partitions.is_all:
            self.lower(change.wake_at_ns)
            return
        partition = partition_of(change.namespace, change.name)
        if partition in partitions:
            self.lower(change.wake_at_ns)
        else:
            self.tell(partition, change.wake_at_ns)

    def told(self, partition: int, wake_at_ns: int) -> None:
        """Another node has stored a record with a deadline."""
        if partition in self._duties.partitions:
            self.lower(wake_at_ns)

    def lower(self, wake_at_ns: int) -> None:
        """Some record is to be woken at `wake_at_ns`."""
        if wake_at_ns < self.next_ns:
            self.next_ns = wake_at_ns
            if self._bell is not None and not self._bell.done():
                self._bell.set_result(None)

    @property
    def is_busy(self) -> bool:
        """Whether it looks, or is about to."""
        return self._task is not None and (self._bell is None or self._bell.done())

    def clock_moved(self) -> None:
        """The clock was set forward: what was far may be due."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def clock_was_set(self, jump: Jump) -> None:
        """The wall clock was set: a page of a batch that was to be done in a second does not wait for an hour."""
        if jump.by_ns < 0:
            self._soon_ns = jump.old_ns + self._config.wake_recheck_ns
            self.next_ns = 0
        self.clock_moved()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.next_ns = NEVER_NS  # from here on, whoever stores a record lowers it again
            self._again_at = None
            next_ns = await self._look()
            self.next_ns = min(self.next_ns, next_ns)
            self.passes.emit()
            while self.next_ns > self._now_ns() and (self._again_at is None or self._again_at > loop.time()):
                await self._wait(loop)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until then, or until there is an earlier deadline; other nodes lower deadlines too."""
        config, look_every_s = self._config, self._duties.look_every_s
        waits_s: list[float] = []
        if self.next_ns < NEVER_NS:
            waits_s.append(min(self.next_ns - self._now_ns(), config.wake_recheck_ns) / 1e9)
        if self._again_at is not None:
            waits_s.append(self._again_at - loop.time())
        if look_every_s is not None:
            waits_s.append(look_every_s)
        self._bell = bell = loop.create_future()
        timer = loop.call_later(min(waits_s), _ring, bell) if waits_s else None
        try:
            await bell
        finally:
            if timer is not None:
                timer.cancel()
            self._bell = None
        if look_every_s is not None:
            self.next_ns = min(self.next_ns, self._now_ns())

    async def _look(self) -> int:
        """Everything that is due now; returns when something else is."""
        try:
            next_ns = await self._wake_all_due()
            self._is_in_trouble = False
            return next_ns
        except StoreError as error:
            self._metrics.store_errors += 1
            trouble = f"due records cannot be read: {error}"
        except Exception as error:  # as below
            self._faults.tell(error, "waking the owners of due records failed")
            trouble = f"waking the owners of due records failed: {error!r}"
        if not self._is_in_trouble:
            self._is_in_trouble = True
            _log.warning("%s; trying again", trouble)
        self._again_at = asyncio.get_running_loop().time() + self._config.store_retry_ns / 1e9
        return NEVER_NS

    async def _wake_all_due(self) -> int:
        """Returns when something else is due. What failed, and is due still, has a time of its own."""
        seen: set[tuple[Name, int]] = set()
        seen_bytes = 0
        while True:
            now_ns = self._now_ns()
            until_ns = max(now_ns, self._soon_ns)
            number, size = self._config.record_page + len(seen), PAGE_BYTES + seen_bytes
            due = await self._store.due_records(until_ns, number, size, self._duties.partitions)
            page = [record for record in due if (_name(record), record.version) not in seen]
            seen.update((_name(record), record.version) for record in page)
            seen_bytes += sum(len(record.data) for record in page)
            if not page:
                break
            await self._wake_page([record for record in page if not self._is_left_alone(record)])
        self._soon_ns = 0
        due = [record for record in due if record.wake_at_ns is not None and record.wake_at_ns <= now_ns]
        names = {_name(record) for record in due}
        self._setbacks.keep(names)
        self._given_up = {name: version for name, version in self._given_up.items() if name in names}
        for record in due:
            if not self._is_left_alone(record):
                self._setbacks.add(_name(record))  # its owner has changed nothing: not in a tight loop
        rest_s = self._setbacks.rest_s()
        self._again_at = None if rest_s is None else asyncio.get_running_loop().time() + rest_s
        return await self._store.next_record_wake_at_ns(now_ns, self._duties.partitions) or NEVER_NS

    async def _wake_page(self, page: Sequence[Record]) -> None:
        """All of a page beside one another; each begins in a turn of its own, for its first step may take a while."""
        waking: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        try:
            for record in page:
                waking.append(loop.create_task(self._wake(record)))
                await asyncio.sleep(0)
            await asyncio.gather(*waking)
        finally:
            for task in waking:
                task.cancel()

    def _is_left_alone(self, record: Record) -> bool:
        name = _name(record)
        return self._setbacks.rests(name) or self._given_up.get(name) == record.version

    async def _wake(self, record: Record) -> None:
        owner = self._owners.get(record.kind)
        if owner is None:
            return
        try:
            await owner.wake(record)
        except Exception as error:  # the waker serves everybody: it must outlive a fault in one owner
            await self._set_back(owner, record, error)

    async def _set_back(self, owner: _Owner, record: Record, error: Exception) -> None:
        """Try again later, or not any more."""
        setback = self._setbacks.add(_name(record), error)
        text = "%s %r is left for later (%d s)"
        if not isinstance(error, (StoreError, Rejected)):
            self._faults.tell(error, text, record.kind, record.name, setback.pause_s)
        elif setback.failures == 1 or not is_passing(error):  # not every second of an outage
            _log.warning(text + ": %s", record.kind, record.name, setback.pause_s, error)
        if setback.faults >= self._config.record_faults_max:
            await self._park(owner, record, error)

    async def _park(self, owner: _Owner, record: Record, error: Exception) -> None:
        try:
            await owner.park(record, reason_of(error))
        except Exception as second:
            self._faults.tell(second, "%s %r cannot be parked", record.kind, record.name)
            return
        self._setbacks.forget(_name(record))
        self._given_up[_name(record)] = record.version


def _name(record: Record) -> Name:
    return record.kind, record.namespace, record.name


def _tell_nobody(partition: int, wake_at_ns: int) -> None:
    """There is no other node."""


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)


def tell_of_deadlines(wire: Wire, waker: RecordWaker) -> None:
    """Have the nodes tell one another of records with a deadline, so that who looks after one looks in time."""

    def tell(partition: int, wake_at_ns: int) -> None:
        wire.tell("deadline", _encode((partition, wake_at_ns)))

    waker.tell = tell
    wire.on("deadline", lambda node, body: waker.told(*_decode(body)))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int]).decode

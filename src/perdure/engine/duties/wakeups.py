"""Wakes executions whose deadline has passed.

All deadlines are in the store; the waker knows one number, the earliest. It sleeps until then, reads
what is due in pages, and submits a Wake for each, so that a hundred thousand sleepers due at once need
the memory of one page. A page goes by in slices, each a little later while workers are behind with the one
before: the rest is as well off in the store, and whatever is done meanwhile stands behind a slice of them
and not behind all. A deadline may be stored too early, never too late: a Wake that finds nothing due is a
no-op that corrects it.

When the wall clock is set, everything that is in hand is told before anybody is woken by the new time (`MoveClock`).

An execution that cannot be woken (its state cannot be read, or not be stored) is tried again more and more slowly, and
holds up nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from perdure.api.errors import Rejected
from perdure.api.times import LONG_MAX
from perdure.core.commands import Command, MoveClock, Wake
from perdure.core.names import ExecutionKey
from perdure.engine.duties.duties import Duties
from perdure.engine.feed.news import News
from perdure.engine.node.clock import Clock, Jump
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import Setbacks, is_passing
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.submission import Submit
from perdure.stores.api import Store, StoreError

_log = logging.getLogger(__name__)

NEVER_NS = LONG_MAX
"""A deadline as late as this is none: time ends there (`perdure.api.times`)."""
_SLICE = 16
"""Executions that are woken in one go: enough to share a transaction, and few to stand behind."""
_TOLD_MAX = 10
"""Executions of one pass that are named in the log."""


class Waker:
    """See the module's text.

    Attributes:
        next_ns: when it will look next; an earlier deadline calls `lower`.
        passes: emitted after each look at the store.
    """

    def __init__(
        self, store: Store, clock: Clock, config: EngineConfig, metrics: Metrics, duties: Duties, submit: Submit
    ) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._config = config
        self._slice = min(_SLICE, config.wake_page)
        self._metrics = metrics
        self._duties = duties
        self._submit = submit
        self._timer: asyncio.TimerHandle | None = None
        self._pass: asyncio.Task[None] | None = None
        self._is_open = False
        self._is_in_trouble = False
        self._stuck: Setbacks[ExecutionKey] = Setbacks(
            config.store_retry_ns / 1e9, config.retry_max_ns / 1e9, lambda: self._loop.time()
        )
        self._again_at: float | None = None
        """Loop time of the next look for the sake of what could not be woken. No matter of the wall clock."""
        self._jumps: list[Jump] = []
        """What those in hand are not told of yet."""
        self.next_ns = NEVER_NS
        self.passes = Signal()
        self.is_crowded: Callable[[int], bool] = _never
        """Whether on some queue that is polled here so many tasks wait for a worker."""
        self.taken = Signal()
        """Emitted for each of them that a worker takes."""
        duties.subscribe(self.gap)

    async def start(self) -> None:
        """Look for the earliest deadline. Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self.next_ns = min(
            self.next_ns, await self._store.next_wake_at_ns(partitions=self._duties.partitions) or NEVER_NS
        )
        self._arm()
        if self._duties.look_every_s is not None:
            self._loop.call_later(self._duties.look_every_s, self._refresh, self._duties.look_every_s)

    async def stop(self) -> None:
        """Sleep for ever; wake-ups that were submitted go their way."""
        self._is_open = False
        self.next_ns = -1
        if self._timer is not None:
            self._timer.cancel()
        if self._pass is not None:
            self._pass.cancel()
            await asyncio.wait([self._pass])

    def hear(self, news: News) -> None:
        """A run has a deadline."""
        wake_at_ns, key = news.wake_at_ns, news.key
        if wake_at_ns is None or wake_at_ns >= self.next_ns:
            return
        if self._duties.partitions.hold(key.namespace, key.workflow_id):  # else another node does, and hears of it too
            self.lower(wake_at_ns)

    def gap(self) -> None:
        """Some may have a deadline that is not known of here: look at the store."""
        if self._is_open:
            self.lower(self._now_ns())

    def lower(self, wake_at_ns: int) -> None:
        """Somebody is to be woken at `wake_at_ns`."""
        if wake_at_ns < self.next_ns:
            self.next_ns = wake_at_ns
            if self._pass is None:
                self._arm()

    @property
    def is_busy(self) -> bool:
        """Whether it is waking somebody right now."""
        return self._pass is not None

    @property
    def is_stuck(self) -> bool:
        """Whether there are executions that are due and could not be woken."""
        return self._again_at is not None

    def clock_moved(self) -> None:
        """The clock was set forward: what was far may be due."""
        if self._pass is None:
            self._arm()

    def clock_was_set(self, jump: Jump) -> None:
        """The wall clock was set, by nobody who has to do with the engine."""
        if self._is_open:
            self._jumps.append(jump)
            if self._pass is None:
                self._pass = self._loop.create_task(self._look(), name="Waker")

    async def _tell_of_jumps(self) -> None:
        """Everything that a worker holds; of a clock that was set back also what would soon have been due."""
        while self._jumps:
            jump = self._jumps[0]
            told: set[ExecutionKey] = set()
            command = MoveClock(jump.by_ns, jump.since_ns)
            for _ in range(2):  # what was being written when it was set is found by the second look
                after: ExecutionKey | None = None
                while page := await self._store.in_flight(after, self._config.wake_page):
                    await self._tell([key for key in page if key not in told], command)
                    told.update(page)
                    after = page[-1]
            if jump.by_ns < 0:
                horizon_ns = jump.old_ns - jump.by_ns
                soon = await self._store.due(horizon_ns, self._config.wake_stuck_max)
                await self._tell([key for key in soon if key not in told], command)
                told.update(soon)
            del self._jumps[0]
            _log.warning(
                "the wall clock was set by %+.1f s: %d executions keep the time that they were given",
                jump.by_ns / 1e9,
                len(told),
            )

    def _refresh(self, every_s: float) -> None:
        """Other nodes lower deadlines as well, and may die before they say so: look at least this often."""
        if self._is_open:
            self.lower(self._now_ns())
            self._loop.call_later(every_s, self._refresh, every_s)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_open:
            return
        wait_s: float | None = None
        if self.next_ns < NEVER_NS:
            wait_s = min(max(0, self.next_ns - self._now_ns()), self._config.wake_recheck_ns) / 1e9
        if self._again_at is not None:
            again_s = max(0.0, self._again_at - self._loop.time())
            wait_s = again_s if wait_s is None else min(wait_s, again_s)
        if wait_s is not None:
            self._timer = self._loop.call_later(wait_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        is_due = self._now_ns() >= self.next_ns or (self._again_at is not None and self._loop.time() >= self._again_at)
        if not is_due:
            self._arm()
        elif self._pass is None:
            self._pass = self._loop.create_task(self._look(), name="Waker")

    async def _look(self) -> None:
        """One pass: everything that is due now, page by page."""
        self.next_ns = NEVER_NS  # from here on, commits lower it again
        self._again_at = None
        next_ns = NEVER_NS
        try:
            next_ns = await self._wake_all_due()
        except StoreError as error:
            self._metrics.store_errors += 1
            self._try_later(f"due executions cannot be read: {error}")
        except Exception as error:
            _log.exception("waking due executions failed")
            self._try_later(f"waking due executions failed: {error!r}")
        finally:
            self._pass = None
        self.next_ns = min(self.next_ns, next_ns)
        self._arm()
        self.passes.emit()

    async def _wake_all_due(self) -> int:
        """Returns when something else is due. Executions that are still due after their Wake are left for later."""
        stuck: set[ExecutionKey] = set()
        woken: set[ExecutionKey] = set()
        busy = 0
        while len(stuck) < self._config.wake_stuck_max:
            limit = self._config.wake_page + len(stuck)
            now_ns = self._now_ns()
            if self._jumps:
                await self._tell_of_jumps()
            due = await self._store.due(now_ns, limit, self._duties.partitions)
            for key in due:
                if key in woken and key not in stuck:
                    self._stuck.add(key)
                if key in woken or self._stuck.rests(key):
                    stuck.add(key)
            page = [key for key in due if key not in stuck]
            woken, failed = await self._wake(page)
            busy += self._note(failed)
            stuck.update(failed)
            if not page and len(due) < limit:
                break
            if page and len(due) >= limit:
                await self._let_workers_catch_up()
        else:
            now_ns = self._now_ns()
        self._stuck.keep(stuck)
        if busy:
            self._try_later(f"{busy} executions are due but could not be woken")
        else:
            self._is_in_trouble = False
            rest_s = self._stuck.rest_s()
            self._again_at = None if rest_s is None else self._loop.time() + rest_s
        return await self._store.next_wake_at_ns(now_ns, self._duties.partitions) or NEVER_NS

    async def _let_workers_catch_up(self) -> None:
        """Before the next slice, if tasks of this one wait; not for long: others may be due that wait for nobody."""
        try:
            async with asyncio.timeout(self._config.wake_patience_ns / 1e9 * self._slice / self._config.wake_page):
                while not self._jumps and self.is_crowded(self._slice):
                    await self.taken.reached(self.taken.count + 1)
        except TimeoutError:
            pass  # long enough

    def _note(self, failed: dict[ExecutionKey, BaseException]) -> int:
        """Say why these could not be woken and when they are tried again; returns how many it may be a moment later."""
        busy = told = 0
        for key, error in failed.items():
            if is_passing(error):
                busy += 1
                continue
            setback, told = self._stuck.add(key, error), told + 1
            if told <= _TOLD_MAX:
                text = "workflow %r is due but cannot be woken, trying again in %d s: %s"
                _log.warning(text, key.workflow_id, setback.pause_s, error)
        if told > _TOLD_MAX:
            _log.warning("%d other workflows are due but cannot be woken either", told - _TOLD_MAX)
        return busy

    def _try_later(self, why: str) -> None:
        """Look again soon; says why once, not every second of an outage."""
        if not self._is_in_trouble:
            self._is_in_trouble = True
            _log.warning("%s; trying again", why)
        self._again_at = self._loop.time() + self._config.store_retry_ns / 1e9

    async def _wake(self, page: list[ExecutionKey]) -> tuple[set[ExecutionKey], dict[ExecutionKey, BaseException]]:
        """Wake these, until the clock is set, and wait until that is durable; returns those that were woken, and those
        of them that failed, and why."""
        woken: set[ExecutionKey] = set()
        failed: dict[ExecutionKey, BaseException] = {}
        for begin in range(0, len(page), self._slice):
            if begin:
                await self._let_workers_catch_up()
                if self._jumps:
                    break
            few = page[begin : begin + self._slice]
            self._metrics.wakes += len(few)
            failed |= await self._tell(few, Wake())
            woken.update(few)
        return woken, failed

    async def _tell(self, page: list[ExecutionKey], command: Command) -> dict[ExecutionKey, BaseException]:
        """Have each decide on this, durably; returns those that failed, and why."""
        failed: dict[ExecutionKey, BaseException] = {}
        replies: list[tuple[ExecutionKey, asyncio.Future[Any]]] = []
        for key in page:
            try:
                replies.append((key, self._submit(key.namespace, key.workflow_id, key.run_id, command)))
            except Rejected as error:
                failed[key] = error
        if replies:
            await asyncio.wait([reply for _, reply in replies])
        for key, reply in replies:
            error = reply.exception()
            if error is not None:
                failed[key] = error
        return failed


def _never(tasks: int) -> bool:
    """Nobody knows of any queue."""
    return False

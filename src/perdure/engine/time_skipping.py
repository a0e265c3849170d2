"""Time that jumps while nobody works: for tests that must not wait thirty days.

The clock of a test server runs at the pace of the machine. While skipping is unlocked and nothing is
in anybody's hands (no task with a worker or on its way to one, nothing to be written or answered), it
jumps to the next deadline of the store, or to the end of a test's own sleep. Whoever works is given
real time, so an activity's time-outs mean what they say.

Locks are counted, and there is one at the start, as on Temporal's test server
(temporal/api/testservice/v1): a test unlocks while it awaits a result, and locks again.
"""

from __future__ import annotations

import asyncio
import logging

from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import LONG_MAX, NS_PER_SECOND
from perdure.engine.engine import Engine
from perdure.engine.node.clock import Clock, SystemClock
from perdure.stores.api import BEGINNING, StoreError

_log = logging.getLogger(__name__)

LOOK_S = 0.002
"""Between two looks while time may jump."""
LAST_NS = LONG_MAX - 365 * 86_400 * NS_PER_SECOND
"""A year before the end of time (`perdure.api.times`): nothing that is due later ever happens."""
CALM_LOOKS = 3
"""Looks in a row that must find nothing going on: answers of workers travel between processes."""


class SkippingClock:
    """The machine's clock, and whatever was skipped."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._now_ns = (clock or SystemClock()).now_ns
        self.skipped_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._now_ns() + self.skipped_ns

    def skip_to(self, time_ns: int) -> None:
        """Jump forward, never back, and not so far that there is no time left to work in."""
        self.skipped_ns += max(0, min(time_ns, LAST_NS) - self.now_ns())


class TimeSkipper:
    """See the module's text. A service beside an engine whose clock it moves.

    Args:
        engine: made with this clock; started before, stopped after.
        clock: the same.
    """

    def __init__(self, engine: Engine, clock: SkippingClock) -> None:
        self._engine = engine
        self._clock = clock
        self._locks = 1
        self._unlocked = asyncio.Event()
        self._sleepers: dict[asyncio.Event, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look, as soon as time is unlocked."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="TimeSkipper")

    async def stop(self) -> None:
        """Time runs as it does everywhere. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # --- what a test asks for -------------------------------------------------------------------

    def now_ns(self) -> int:
        """The server's time, in nanoseconds since the epoch."""
        return self._clock.now_ns()

    def lock(self) -> None:
        """Time runs at the machine's pace until this lock is taken away."""
        self._locks += 1
        self._unlocked.clear()

    def unlock(self) -> None:
        """Take one lock away; without any, time may jump. Raises Rejected FAILED_PRECONDITION when there is none."""
        if not self._locks:
            raise Rejected(StatusCode.FAILED_PRECONDITION, "Time skipping is not locked: unlock once for each lock.")
        self._locks -= 1
        if not self._locks:
            self._unlocked.set()

    async def sleep_until(self, time_ns: int) -> None:
        """Until the server's time is there: at once while time may jump and nobody works."""
        reached = asyncio.Event()
        self._sleepers[reached] = time_ns
        try:
            while (left_ns := time_ns - self._clock.now_ns()) > 0:
                try:
                    async with asyncio.timeout(left_ns / 1e9):
                        await reached.wait()
                except TimeoutError:
                    continue  # the machine's clock has its own idea of a second
                reached.clear()
        finally:
            del self._sleepers[reached]

    # --- the jumps ------------------------------------------------------------------------------

    async def _run(self) -> None:
        calm = 0
        while True:
            await self._unlocked.wait()
            try:
                calm = calm + 1 if await self._is_calm() else 0
                if calm >= CALM_LOOKS and not self._locks:
                    calm = 0
                    await self._jump()
            except StoreError as error:
                calm = 0
                _log.warning("time does not jump now: %s", error)
            await asyncio.sleep(LOOK_S)

    async def _is_calm(self) -> bool:
        """Whether nobody works, and nothing waits to be worked on by somebody who is there."""
        engine = self._engine
        if engine.metrics().waiting_calls or engine.queries.waiting or engine.updates.waiting or engine.waker.is_busy:
            return False
        if engine.record_waker.is_busy or engine.schedules.is_busy:
            return False
        store = engine.store
        if await store.in_flight(None, 1) or await store.pending_messages(BEGINNING, 1):
            return False
        return not any(engine.matching.is_polled(queue) for queue in await store.queues())

    async def _jump(self) -> None:
        """To the next thing that will happen, if anything will."""
        store = self._engine.store
        past_ns = self._clock.now_ns() if self._engine.waker.is_stuck else -1  # what is due and stuck holds up nobody
        deadlines = [
            await store.next_wake_at_ns(past_ns),
            await store.next_record_wake_at_ns(),
            *self._sleepers.values(),
        ]
        next_ns = min((deadline for deadline in deadlines if deadline is not None), default=None)
        if next_ns is None or next_ns > LAST_NS or self._locks:
            return
        self._clock.skip_to(next_ns)
        self._engine.clock_moved()
        for reached, time_ns in self._sleepers.items():
            if time_ns <= self._clock.now_ns():
                reached.set()

"""Wakes executions whose deadline has passed.

All deadlines are in the store; the waker knows one number, the earliest. It sleeps until then, reads
what is due in pages, and submits a Wake for each, one page at a time, so that a hundred thousand
sleepers due at once need the memory of one page. A deadline may be stored too early, never too late:
a Wake that finds nothing due is a no-op that corrects it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from perdure.api.errors import Rejected
from perdure.core.commands import Wake
from perdure.core.commit import ExecutionKey
from perdure.engine.clock import Clock
from perdure.engine.config import EngineConfig
from perdure.engine.matching import Submit
from perdure.engine.metrics import Metrics
from perdure.engine.service import Signal
from perdure.stores.api import Store, StoreError

_log = logging.getLogger(__name__)

NEVER_NS = 1 << 62
"""Later than any time of the wire."""


class Waker:
    """See the module's text.

    Attributes:
        next_ns: when it will look next; a commit whose `wake_at_ns` is earlier must call `lower`.
        passes: emitted after each look at the store.
    """

    def __init__(self, store: Store, clock: Clock, config: EngineConfig, metrics: Metrics, submit: Submit) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._config = config
        self._metrics = metrics
        self._submit = submit
        self._timer: asyncio.TimerHandle | None = None
        self._pass: asyncio.Task[None] | None = None
        self._is_open = False
        self._is_in_trouble = False
        self.next_ns = NEVER_NS
        self.passes = Signal()

    async def start(self) -> None:
        """Look for the earliest deadline. Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self.next_ns = min(self.next_ns, await self._store.next_wake_at_ns() or NEVER_NS)
        self._arm()
        if self._config.store_is_shared:
            self._loop.call_later(self._config.shared_refresh_ns / 1e9, self._refresh)

    async def stop(self) -> None:
        """Sleep for ever; wake-ups that were submitted go their way."""
        self._is_open = False
        self.next_ns = -1
        if self._timer is not None:
            self._timer.cancel()
        if self._pass is not None:
            self._pass.cancel()
            await asyncio.wait([self._pass])

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

    def clock_moved(self) -> None:
        """The clock was set forward: what was far may be due."""
        if self._pass is None:
            self._arm()

    def _refresh(self) -> None:
        """Other engines lower deadlines as well, and may die: look at least this often."""
        if self._is_open:
            self.lower(self._now_ns())
            self._loop.call_later(self._config.shared_refresh_ns / 1e9, self._refresh)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_open and self.next_ns < NEVER_NS:
            wait_ns = min(max(0, self.next_ns - self._now_ns()), self._config.wake_recheck_ns)
            self._timer = self._loop.call_later(wait_ns / 1e9, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._now_ns() < self.next_ns:
            self._arm()
        elif self._pass is None:
            self._pass = self._loop.create_task(self._look(), name="Waker")

    async def _look(self) -> None:
        """One pass: everything that is due now, page by page."""
        self.next_ns = NEVER_NS  # from here on, commits lower it again
        try:
            next_ns = await self._wake_all_due()
        except StoreError as error:
            self._metrics.store_errors += 1
            next_ns = self._try_later(f"due executions cannot be read: {error}")
        except Exception as error:
            _log.exception("waking due executions failed")
            next_ns = self._try_later(f"waking due executions failed: {error!r}")
        finally:
            self._pass = None
        self.next_ns = min(self.next_ns, next_ns)
        self._arm()
        self.passes.emit()

    async def _wake_all_due(self) -> int:
        """Returns when to look next. Executions that are still due after their Wake are left for then."""
        stuck: set[ExecutionKey] = set()
        woken: set[ExecutionKey] = set()
        page_size = self._config.wake_page
        while len(stuck) < self._config.wake_stuck_max:
            limit = page_size + len(stuck)
            due = await self._store.due(self._now_ns(), limit)
            stuck.update(key for key in due if key in woken)
            page = [key for key in due if key not in stuck]
            stuck.update(await self._wake(page))
            woken = set(page)
            if not page:
                break
        if stuck:
            return self._try_later(f"{len(stuck)} executions are due but could not be woken")
        self._is_in_trouble = False
        return await self._store.next_wake_at_ns() or NEVER_NS

    def _try_later(self, why: str) -> int:
        """When to look again; says why once, not every second of an outage."""
        if not self._is_in_trouble:
            self._is_in_trouble = True
            _log.warning("%s; trying again", why)
        return self._now_ns() + self._config.store_retry_ns

    async def _wake(self, page: list[ExecutionKey]) -> list[ExecutionKey]:
        """Wake these and wait until that is durable; returns those that failed."""
        self._metrics.wakes += len(page)
        failed: list[ExecutionKey] = []
        replies: list[tuple[ExecutionKey, asyncio.Future[Any]]] = []
        for key in page:
            try:
                replies.append((key, self._submit(key.namespace, key.workflow_id, key.run_id, Wake())))
            except Rejected:
                failed.append(key)
        if replies:
            await asyncio.wait([reply for _, reply in replies])
        failed.extend(key for key, reply in replies if reply.exception() is not None)
        return failed

"""Wakes the owners of records whose time has come: schedules, batch operations, and whatever else waits as a record.

As with executions, the deadlines are in the store and the waker knows only the earliest. What is due is read in pages
and handed to the owner of its kind, which is to do what is due and store the record with a later deadline. A record
that is still due afterwards, unchanged, is left alone until the next pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from perdure.api.errors import Rejected
from perdure.engine.clock import Clock
from perdure.engine.config import EngineConfig
from perdure.engine.metrics import Metrics
from perdure.engine.service import Signal
from perdure.engine.wakeups import NEVER_NS
from perdure.stores.api import Record, Store, StoreError

_log = logging.getLogger(__name__)

Handler = Callable[[Record], Awaitable[None]]
"""Does what is due. May raise StoreError and Rejected: then it is called again later."""


class RecordWaker:
    """See the module's text. `passes` is emitted after each look at the store."""

    def __init__(self, store: Store, clock: Clock, config: EngineConfig, metrics: Metrics) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._config = config
        self._metrics = metrics
        self._handlers: dict[str, Handler] = {}
        self._task: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        self._is_in_trouble = False
        self.next_ns = NEVER_NS
        self.passes = Signal()

    def register(self, kind: str, handler: Handler) -> None:
        """Records of this kind are this owner's."""
        self._handlers[kind] = handler

    @property
    def kinds(self) -> list[str]:
        """Those that have an owner."""
        return list(self._handlers)

    async def start(self) -> None:
        """Look at once: time has passed while nobody looked."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="RecordWaker")

    async def stop(self) -> None:
        """Wake nobody any more; owners that are at work are cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

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

    async def _run(self) -> None:
        while True:
            self.next_ns = NEVER_NS  # from here on, whoever stores a record lowers it again
            next_ns = await self._look()
            self.next_ns = min(self.next_ns, next_ns)
            self.passes.emit()
            while (wait_ns := self.next_ns - self._now_ns()) > 0:
                await self._wait(wait_ns)

    async def _wait(self, wait_ns: int) -> None:
        """Until then, or until there is an earlier deadline; on a shared store others lower deadlines too."""
        loop, config = asyncio.get_running_loop(), self._config
        longest_ns = config.shared_refresh_ns if config.store_is_shared else config.wake_recheck_ns
        self._bell = bell = loop.create_future()
        timer = None
        if self.next_ns < NEVER_NS or config.store_is_shared:
            timer = loop.call_later(min(wait_ns, longest_ns) / 1e9, _ring, bell)
        try:
            await bell
        finally:
            if timer is not None:
                timer.cancel()
            self._bell = None
        if config.store_is_shared:
            self.next_ns = min(self.next_ns, self._now_ns())

    async def _look(self) -> int:
        """Everything that is due now; returns when to look next."""
        try:
            left = await self._wake_all_due()
            if not left:
                self._is_in_trouble = False
                return await self._store.next_record_wake_at_ns() or NEVER_NS
            trouble = f"{left} records are due but their owners did not see to them"
        except StoreError as error:
            self._metrics.store_errors += 1
            trouble = f"due records cannot be read: {error}"
        except Exception as error:  # as below
            _log.exception("waking the owners of due records failed")
            trouble = f"waking the owners of due records failed: {error!r}"
        if not self._is_in_trouble:
            self._is_in_trouble = True
            _log.warning("%s; trying again", trouble)
        return self._now_ns() + self._config.store_retry_ns

    async def _wake_all_due(self) -> int:
        """Returns how many are due still."""
        seen: set[tuple[str, str, str, int]] = set()
        while True:
            left = len(seen)
            due = await self._store.due_records(self._now_ns(), self._config.record_page + left)
            page = [record for record in due if _key(record) not in seen]
            if not page:
                return len(due)
            seen.update(_key(record) for record in page)
            await asyncio.gather(*[self._wake(record) for record in page])

    async def _wake(self, record: Record) -> None:
        handler = self._handlers.get(record.kind)
        if handler is None:
            return
        try:
            await handler(record)
        except (StoreError, Rejected) as error:
            _log.warning("%s %r is left for later: %s", record.kind, record.name, error)
        except Exception:  # the waker serves everybody: it must outlive a bug in one owner
            _log.exception("%s %r failed", record.kind, record.name)


def _key(record: Record) -> tuple[str, str, str, int]:
    return record.kind, record.namespace, record.name, record.version


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)

"""Group commit, as a loop: while one batch is being worked on, the next one gathers."""

from __future__ import annotations

import asyncio
import logging
from typing import Generic, TypeVar

from perdure.engine.node.signal import Signal

_log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Gatherer(Generic[Item]):
    """The heart of group commit: while one batch is being worked on, the next one gathers.

    A subclass says in `_work` what is done with a batch, and there answers whoever waits for it.
    """

    def __init__(self, batch_max: int) -> None:
        self._batch_max = batch_max
        self._gathered: list[Item] = []
        self._bell: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.batches = Signal()
        """One for every batch that was worked on."""

    async def start(self) -> None:
        """Begin to work on what is added."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=type(self).__name__)

    async def stop(self) -> None:
        """Abandon what is gathered; a batch under way is cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def add(self, item: Item) -> None:
        """Into the next batch with it."""
        self._gathered.append(item)
        bell = self._bell
        if bell is not None:
            self._bell = None
            if not bell.done():
                bell.set_result(None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._gathered:
                self._bell = loop.create_future()
                await self._bell
            batch = self._gathered[: self._batch_max]
            del self._gathered[: self._batch_max]
            try:
                await self._work(batch)
            except Exception:  # the loop serves everybody: it must outlive a bug in one batch
                _log.exception("%s failed on a batch of %d", type(self).__name__, len(batch))
            self.batches.emit()
            if len(batch) > 1:
                # Under load what this turn of the loop has ready still joins: one batch of that more instead of two
                # (measured: 0.37 transactions for each order workflow instead of 0.43). Who is alone waits for nobody.
                await asyncio.sleep(0)

    async def _work(self, batch: list[Item]) -> None:
        raise NotImplementedError

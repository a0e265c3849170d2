"""How tests, and whoever else waits, are told that something has happened: no test has to sleep and hope."""

from __future__ import annotations

import asyncio


class Signal:
    """Counts what happened and wakes whoever waits for a count."""

    __slots__ = ("_waiters", "count")

    def __init__(self) -> None:
        self.count = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def emit(self) -> None:
        """Something happened once more."""
        self.count += 1
        if self._waiters:
            self._release()

    def _release(self) -> None:
        waiting = self._waiters
        self._waiters = []
        for count, future in waiting:
            if self.count < count:
                self._waiters.append((count, future))
            elif not future.done():
                future.set_result(None)

    async def reached(self, count: int) -> None:
        """Return when `count` is reached, at once if it was already."""
        if self.count < count:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((count, future))
            await future

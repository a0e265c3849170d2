"""A commit that is kept back, as the one who has its workflow task already sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Kept:
    """A wait for the answer to the workflow task that a commit brings, to make both durable in one.

    Attributes:
        since: the loop's time at which it began to wait.
        is_called: it waits no longer: the answer is there, or something else for which it is written.
    """

    __slots__ = ("_end", "_is_durable", "_write", "is_called", "since")

    def __init__(self, since: float, write: Callable[[], None]) -> None:
        self.since = since
        self.is_called = False
        self._write = write
        self._end: asyncio.Future[bool] | None = None
        self._is_durable: bool | None = None

    async def durable(self) -> bool:
        """Have it written now, without the answer; whether it was. False: no answer to its task is taken."""
        if self._is_durable is not None:
            return self._is_durable
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
            self._write()
        return await asyncio.shield(self._end)

    def end(self, is_durable: bool) -> None:
        """The end of the wait: it was written, or it will never be."""
        self._is_durable = is_durable
        if self._end is not None:
            self._end.set_result(is_durable)

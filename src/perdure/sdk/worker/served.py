"""Tasks that come unasked: what `Runners` are to a server, `Served` is to an engine in this process.

No poll waits, and none is sent: the engine hands over a task as soon as it is durable, while there is
room for it. Each is handled by an asyncio task of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from perdure.sdk.worker.runners import ABANDON_PAUSE_S, ABANDON_TRIES

T = TypeVar("T")

logger = logging.getLogger("perdure.worker")


class Served(Generic[T]):
    """The tasks of one queue.

    Args:
        what: names the queue in the log.
        serve: begins it: given the number of slots and what takes a task; returns what ends it.
        handle: does the whole of one task; what it raises is logged.
        slots: how many tasks may be in hand at once.
    """

    def __init__(
        self,
        what: str,
        serve: Callable[[int, Callable[[T, Callable[[], None]], None]], Callable[[], None]],
        handle: Callable[[T], Awaitable[None]],
        *,
        slots: int,
    ) -> None:
        self._what = what
        self._serve = serve
        self._handle = handle
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._leave: Callable[[], None] | None = None
        self._in_hand: dict[int, asyncio.Task[None]] = {}
        self._taken = 0

    def start(self) -> None:
        """Begin to take tasks. Raises Rejected."""
        self._leave = self._serve(self._slots, self._take)

    def accept(self, task: T) -> None:
        """Take a task that came with an answer (an eager activity)."""
        self._take(task, _nothing)

    def stop_polling(self) -> None:
        """No new tasks from now on; what is in hand goes on."""
        if self._leave is not None:
            self._leave()

    async def drain(self, limit_s: float) -> bool:
        """Wait for what is in hand; whether all of it ended within the limit."""
        if self._in_hand:
            await asyncio.wait(list(self._in_hand.values()), timeout=limit_s)
        return not self._in_hand

    async def abandon(self) -> None:
        """Cancel what is still in hand and wait until it has noticed; code that will not be cancelled is left."""
        for _ in range(ABANDON_TRIES):
            if not self._in_hand:
                return
            working = list(self._in_hand.values())
            for task in working:
                task.cancel()
            await asyncio.wait(working, timeout=ABANDON_PAUSE_S)
            # One that was cancelled before its first step could not take itself out.
            self._in_hand = {number: task for number, task in self._in_hand.items() if not task.done()}
        logger.warning("%d tasks of %s ignore their cancellation and are left behind", len(self._in_hand), self._what)

    def _take(self, task: T, free: Callable[[], None]) -> None:
        self._taken = number = self._taken + 1
        work = self._run(number, task, free)
        self._in_hand[number] = self._loop.create_task(work, context=self._context.copy())

    async def _run(self, number: int, task: T, free: Callable[[], None]) -> None:
        try:
            await self._handle(task)
        except Exception:
            # A bug of ours or a refusal of the server: the task will time out and come again; the others go on.
            logger.exception("a task of %s was not answered", self._what)
        finally:
            self._in_hand.pop(number, None)
            free()


def _nothing() -> None:
    """An eager task has no seat."""

"""Tasks that come unasked: what `Runners` are to a server, `Served` is to an engine in this process.

No poll waits, and none is sent: the engine hands over a task as soon as it is durable, while there is
room for it. Hands take the tasks: asyncio tasks that live as long as this does, for to make one costs
more than to wake one; there are as many as were needed at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

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
        self._hands: list[_Hand] = []
        self._idle: list[_Hand] = []
        self._in_hand = 0
        self._drained: asyncio.Future[None] | None = None

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
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=limit_s)
        return not self._in_hand

    async def abandon(self) -> None:
        """Cancel what is still in hand and wait until it has noticed; code that will not be cancelled is left."""
        hands = [hand.worker for hand in self._hands if hand.worker is not None]
        self._idle.clear()
        for _ in range(ABANDON_TRIES):
            hands = [worker for worker in hands if not worker.done()]
            if not hands:
                return
            for worker in hands:
                worker.cancel()
            await asyncio.wait(hands, timeout=ABANDON_PAUSE_S)
        logger.warning("%d tasks of %s ignore their cancellation and are left behind", len(hands), self._what)

    def _take(self, task: T, free: Callable[[], None]) -> None:
        self._in_hand += 1
        if self._idle:
            self._idle.pop().work.set_result((task, free))
            return
        hand = _Hand(self._loop)
        self._hands.append(hand)
        hand.work.set_result((task, free))
        hand.worker = self._loop.create_task(self._run(hand), context=self._context.copy())

    async def _run(self, hand: _Hand) -> None:
        while True:
            task, free = await hand.work
            try:
                await self._handle(task)
            except Exception:
                # A bug of ours or a refusal of the server: the task will time out and come again; the others go on.
                logger.exception("a task of %s was not answered", self._what)
            finally:
                self._in_hand -= 1
                if self._drained is not None and not self._in_hand and not self._drained.done():
                    self._drained.set_result(None)
            del task
            hand.work = self._loop.create_future()
            self._idle.append(hand)
            free()


class _Hand:
    """One asyncio task and the work that it waits for."""

    __slots__ = ("work", "worker")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.work: asyncio.Future[tuple[Any, Callable[[], None]]] = loop.create_future()
        self.worker: asyncio.Task[None] | None = None


def _nothing() -> None:
    """An eager task has no seat."""

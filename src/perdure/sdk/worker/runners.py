"""Runners: each polls for one task, works on it, answers, and polls again.

A runner is one asyncio task that lives as long as it is needed, so in steady state no task is
created per piece of work. There are never more runners than slots, and never more waiting polls
than `polls`; a runner that comes back and finds enough others waiting parks until it is summoned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from perdure.api.errors import Rejected
from perdure.sdk.worker.delivery import TRANSIENT, Pauses


class PolledTask(Protocol):
    """A poll's response: without a token nothing came."""

    @property
    def task_token(self) -> bytes: ...


T = TypeVar("T", bound=PolledTask)

logger = logging.getLogger("perdure.worker")

ABANDON_TRIES = 10
ABANDON_PAUSE_S = 0.1


class Runners(Generic[T]):
    """The runners of one queue.

    Args:
        what: names the queue in the log.
        poll: waits for a task; its response has no token when none came.
        handle: does the whole of one task; what it raises is logged and does not end the runner.
        slots: how many tasks may be in hand at once.
        polls: how many polls may wait at once.
    """

    def __init__(
        self,
        what: str,
        poll: Callable[[], Awaitable[T]],
        handle: Callable[[T], Awaitable[None]],
        *,
        slots: int,
        polls: int,
    ) -> None:
        self._what = what
        self._poll = poll
        self._handle = handle
        self._slots = slots
        self._polls = min(polls, slots)
        self._waiting = 0
        self._polling: set[asyncio.Task[None]] = set()
        self._parked: list[asyncio.Future[None]] = []
        self._runners: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        for _ in range(self._polls):
            self._add_runner()

    @property
    def free(self) -> int:
        """Slots without a task in hand."""
        return self._slots - (len(self._runners) - self._waiting - len(self._parked))

    def accept(self, task: T) -> None:
        """Take a task that came without a poll (an eager activity)."""
        self._track(asyncio.get_running_loop().create_task(self._handle_one(task)))

    def stop_polling(self) -> None:
        """No new tasks from now on; what is in hand goes on."""
        self._stopping = True
        for runner in list(self._polling):
            runner.cancel()
        for parked in self._parked:
            if not parked.done():
                parked.set_result(None)
        self._parked.clear()

    async def drain(self, limit_s: float) -> bool:
        """Wait for what is in hand; whether all of it ended within the limit."""
        if self._runners:
            await asyncio.wait(list(self._runners), timeout=limit_s)
        return not self._runners

    async def abandon(self) -> None:
        """Cancel what is still in hand and wait until it has noticed; code that will not be cancelled is left."""
        for _ in range(ABANDON_TRIES):
            if not self._runners:
                return
            for runner in list(self._runners):
                runner.cancel()
            await asyncio.wait(list(self._runners), timeout=ABANDON_PAUSE_S)
        logger.warning("%d tasks of %s ignore their cancellation and are left behind", len(self._runners), self._what)

    def _add_runner(self) -> None:
        # Counted as waiting from birth, so that summons in the same turn do not add more than is needed.
        self._waiting += 1
        self._track(asyncio.get_running_loop().create_task(self._run()))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._runners.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._runners.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a runner of %s ended: %r", self._what, error, exc_info=error)

    def _summon(self) -> None:
        """A runner has taken a task: another one polls in its place, if there may be one."""
        if self._stopping:
            return
        while self._parked:
            parked = self._parked.pop()
            if not parked.done():
                self._waiting += 1
                parked.set_result(None)
                return
        if len(self._runners) < self._slots:
            self._add_runner()

    async def _run(self) -> None:
        while not self._stopping:
            task = await self._next()
            self._waiting -= 1
            if task is None:
                return
            self._summon()
            await self._handle_one(task)
            del task
            if self._waiting >= self._polls:
                await self._park()
            else:
                self._waiting += 1

    async def _park(self) -> None:
        if self._stopping:
            return
        parked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parked.append(parked)
        await parked

    async def _next(self) -> T | None:
        """The next task; None when the runner is to end."""
        me: Any = asyncio.current_task()
        pauses: Pauses | None = None
        self._polling.add(me)
        try:
            while not self._stopping:
                try:
                    task = await self._poll()
                    if task.task_token:
                        return task
                    pauses = None
                    continue
                except Rejected as rejected:
                    if pauses is None:
                        report = logger.warning if rejected.code in TRANSIENT else logger.error
                        report("polling %s failed, trying again: %s", self._what, rejected.message)
                except Exception:
                    # Not the server's answer but a bug: a poller that ended silently would be a worker that starves.
                    logger.exception("polling %s failed, trying again", self._what)
                pauses = pauses or Pauses()
                await pauses.wait()
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._polling.discard(me)
        return None

    async def _handle_one(self, task: T) -> None:
        try:
            await self._handle(task)
        except Exception:
            # A bug of ours or a refusal of the server: the task will time out and come again; the others go on.
            logger.exception("a task of %s was not answered", self._what)

"""Work handed from the event loop to threads, and its results handed back, in batches.

Waking the loop from another thread costs a system call and a fight for the interpreter lock. So
results gather in a deque and one wake-up takes all that are there. Handing work out is a C queue:
an idle thread sleeps in it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Returns:
    """Calls made on the loop on behalf of other threads, many per wake-up."""

    __slots__ = ("_calls", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._woken = False

    def put(self, call: Callable[[Any], None], value: Any) -> None:
        """From any thread: have `call(value)` run on the loop. Dropped when the loop is closed."""
        self._calls.append((call, value))
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # The loop is closed: the worker was stopped and has left this thread's work behind.
            self._calls.clear()

    def _deliver(self) -> None:
        # The flag falls first: what is appended from now on either is popped below or wakes the loop again.
        self._woken = False
        calls = self._calls
        while calls:
            call, value = calls.popleft()
            call(value)


def settle(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    """A call that sets a future's result unless nobody waits any more."""

    def set_result(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    return set_result


class Hands(Protocol):
    """Whatever runs `def` activities. The job itself must not raise."""

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]: ...

    def stop(self) -> None: ...


class InlineHands:
    """Runs jobs at once, on the loop: for simulation, where a thread would be chance."""

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(contextvars.copy_context().run(job))
        return future

    def stop(self) -> None:
        """Nothing was started."""


class ThreadHands:
    """Daemon threads, started as needed, never more than jobs that were in hand at once.

    Each job runs in a fresh copy of the context that the pool was made in, so that what one
    activity sets is not seen by the next.
    """

    def __init__(self, returns: Returns, most: int, name: str) -> None:
        self._returns = returns
        self._most = most
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._in_hand = 0
        self._threads = 0

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """From the loop alone."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._in_hand += 1
        if self._threads < self._in_hand and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put((job, future))
        return future

    def stop(self) -> None:
        """Idle threads end; busy ones end after their job."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        get, put, settled, fresh = self._jobs.get, self._returns.put, self._settle, self._context.copy
        while (item := get()) is not None:
            job, future = item
            put(settled, (future, fresh().run(job)))
            del item, job, future

    def _settle(self, done: tuple[asyncio.Future[Any], Any]) -> None:
        self._in_hand -= 1
        future, result = done
        if not future.done():
            future.set_result(result)

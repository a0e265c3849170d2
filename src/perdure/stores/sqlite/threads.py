"""Work done in a thread, or where it is asked for when the system has no thread to give.

What every commit does has a thread of its own (`OneThread`); what is done now and then has the event loop's executor.
An executor queues the work before it starts a thread for it, so work whose thread could not be started may still be
done, much later, by another one. Here it is done once: whoever comes second finds it taken.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar, cast
from weakref import finalize

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Once:
    """Calls `work` the first time, from whatever thread; later calls do nothing and give None."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._free = Lock()

    def __call__(self) -> Any:
        return self._work() if self._free.acquire(blocking=False) else None


def hand_over(executor: Executor | None, work: Callable[[], Result]) -> asyncio.Future[Result]:
    """Have it done in a thread of the executor (None: the event loop's own), or before this returns.

    A store must be closed, and a transaction that was begun must end, threads or none.
    """
    loop, once = asyncio.get_running_loop(), Once(work)
    try:
        return cast("asyncio.Future[Result]", loop.run_in_executor(executor, once))
    except RuntimeError as error:  # the executor raises it when it cannot start a thread
        _log.warning("no thread can be had, the event loop does the work of one: %s", error)
    done: asyncio.Future[Result] = loop.create_future()
    try:
        done.set_result(once())
    except Exception as error:
        done.set_exception(error)
    return done


class OneThread:
    """A thread that does one piece of work after another, and is there from the first on.

    An executor of one thread does the same by two futures for each piece, chained, and a lock and a condition for each
    future: with one workflow in flight that was a twelfth of all that was executed for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces: SimpleQueue[_Piece[Any] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._end = finalize(self, self._pieces.put, None)

    async def do(self, work: Callable[[], Result]) -> Result:
        """What it returns, or raises. Who is cancelled meanwhile is cancelled after: nobody goes on before its end."""
        if self._thread is None and not self._start():
            return work()
        piece = _Piece(work, asyncio.get_running_loop())
        self._give(piece)
        cancelled = await piece.ended()
        if piece.error is not None:
            raise piece.error
        if cancelled is not None:
            raise cancelled
        return cast("Result", piece.result)

    def stop(self) -> None:
        """What is in hand is done first. Idempotent."""
        self._end()
        if self._thread is not None:
            self._thread.join()

    def _give(self, piece: _Piece[Any]) -> None:
        self._pieces.put(piece)
        time.sleep(0)  # the thread begins now, instead of after the interpreter's switch interval (5 ms)

    def _start(self) -> bool:
        """Whether there is a thread now. On a loop that hears of no threads, as one of virtual time, there is none."""
        if getattr(asyncio.get_running_loop(), "is_threadless", False):
            return False
        thread = Thread(target=_do_all, args=(self._pieces,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _log.warning("no thread can be had, the event loop does the work of one: %s", error)
            return False
        self._thread = thread
        return True


class _Piece(Generic[Result]):
    """Work for a thread, and the loop on which its end is waited for."""

    __slots__ = ("_loop", "_waiter", "_work", "error", "is_over", "result")

    def __init__(self, work: Callable[[], Result], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self.is_over = False
        self.result: Result | None = None
        self.error: BaseException | None = None

    def do(self) -> None:
        """In the thread."""
        try:
            self.result = self._work()
        except BaseException as error:  # whoever waits for it is told
            self.error = error
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError as error:  # the loop was closed over it: nobody waits
            _log.debug("a loop did not wait for the end of what it had given to a thread: %s", error)

    def _tell(self) -> None:
        self.is_over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def ended(self) -> asyncio.CancelledError | None:
        """Return when the work is over; the cancellation that came meanwhile, if one did."""
        cancelled: asyncio.CancelledError | None = None
        while not self.is_over:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                cancelled = error
        return cancelled


def _do_all(pieces: SimpleQueue[_Piece[Any] | None]) -> None:
    """The life of a thread. It knows of nobody: who gave it the work may be forgotten, and then it ends."""
    while (piece := pieces.get()) is not None:
        piece.do()
        del piece

"""An event loop in a thread of its own, asked by other threads.

A blocking engine is asked by many threads at once, and waking a loop costs a system call and a fight
for the interpreter lock. So what they ask gathers while the loop is busy and wakes it once, and
each is told its answer by the release of one lock.
"""

from __future__ import annotations

import asyncio
import os
import threading
from _thread import get_ident
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from perdure.sdk.errors import DeterminismViolation, EngineClosedError, EngineError
from perdure.sdk.replay.running import running
from perdure.sdk.worker.green_threads import check_threads

try:
    import uvloop
except ImportError:
    uvloop = None

R = TypeVar("R")

LEFT_BEHIND_S = 1.0
"""How long what still runs on a closed engine's loop may take to notice its cancellation."""


class _Errand(Generic[R]):
    """A coroutine that another thread waits for."""

    __slots__ = ("_context", "_done", "_task", "_work", "error", "result")

    def __init__(self, work: Coroutine[Any, Any, R]) -> None:
        self._work = work
        self._context = copy_context()
        self._task: asyncio.Task[R] | None = None
        self._done = threading.Lock()
        self._done.acquire()
        self.result: R
        self.error: BaseException | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop."""
        self._task = loop.create_task(self._work, context=self._context)
        self._task.add_done_callback(self._end)

    def refuse(self) -> None:
        """The loop has ended: it will not begin."""
        self._work.close()
        self.error = asyncio.CancelledError()
        self._done.release()

    def _end(self, task: asyncio.Task[R]) -> None:
        if task.cancelled():
            self.error = asyncio.CancelledError()
        else:
            self.error = task.exception()
            if self.error is None:
                self.result = task.result()
        self._done.release()

    def wait(self, look_up_s: float | None) -> None:
        """In the thread that asks. Interruptible; `look_up_s`: it looks up so often, for signals that woke another."""
        if look_up_s is None:
            self._done.acquire()
            return
        while not self._done.acquire(timeout=look_up_s):
            continue  # back in the interpreter, where Python calls the handlers of signals

    def cancel(self) -> None:
        """On the loop: nobody will take the result."""
        if self._task is not None:
            self._task.cancel()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed (`pip install perdure[fast]`): a tenth more workflows a second. Else asyncio's."""
    if uvloop is None:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class LoopThread:
    """An event loop in a daemon thread, and the way to run a coroutine on it from any other thread.

    Args:
        what: "engine" or "client": what lives on it, for errors.
    """

    def __init__(self, name: str, what: str = "engine") -> None:
        check_threads()
        self._what = what
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._pid = os.getpid()
        self._asked: deque[_Errand[Any]] = deque()
        self._is_woken = False
        self._has_ended = False
        self.is_running = True
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, R], *, look_up_s: float | None = None) -> R:
        """Run on the loop and wait.

        Args:
            look_up_s: the main thread, if it waits here for signals, looks up so often. The system may give a signal
                that comes right behind another to a thread that Python runs no handlers in, and wakes that alone.

        Raises:
            DeterminismViolation: called by workflow code.
            EngineError: called on the loop itself, or in a forked process.
            EngineClosedError: the loop was stopped meanwhile.
        """
        try:
            self._check_caller()
        except BaseException:
            work.close()
            raise
        errand = _Errand(work)
        self._asked.append(errand)
        self._wake()
        try:
            errand.wait(look_up_s)
        except BaseException:
            # Ctrl-C while waiting: nobody will take the result.
            self._loop.call_soon_threadsafe(errand.cancel)
            raise
        if errand.error is None:
            return errand.result
        if isinstance(errand.error, asyncio.CancelledError):
            raise EngineClosedError(f"the {self._what} was closed while this was asked of it") from errand.error
        raise errand.error

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call it on the loop, and do not wait. From any thread, and a signal's handler; nothing once it ended."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            self._has_ended = True  # it was closed

    def _wake(self) -> None:
        if not self._is_woken and not self._has_ended:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._begin)
            except RuntimeError:
                self._has_ended = True  # closed between the question and the call
        if self._has_ended:
            self._refuse()

    def _begin(self) -> None:
        # The flag falls first: what is appended from now on is popped below, or wakes the loop again.
        self._is_woken = False
        if self._has_ended:
            self._refuse()
        while self._asked:
            self._asked.popleft().begin(self._loop)

    def _refuse(self) -> None:
        while self._asked:
            try:
                errand = self._asked.popleft()
            except IndexError:
                return  # another thread refused the last one
            errand.refuse()

    def stop(self) -> None:
        """Cancel what still runs, end the loop and wait for the thread. Idempotent."""
        if not self.is_running:
            return
        self.is_running = False
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _check_caller(self) -> None:
        ident = get_ident()
        if ident in running:
            raise DeterminismViolation(
                f"workflow code asked the {self._what} directly; replay would ask again: do it in an activity"
            )
        if ident == self._thread.ident:
            raise EngineError(
                f"the {self._what} was asked from its own event loop, which would wait for itself: an `async def` "
                f"activity must not use the blocking {self._what.capitalize()}; make it a `def` activity"
            )
        if os.getpid() != self._pid:
            raise EngineError(
                f"this {self._what} belongs to process {self._pid} and was carried into {os.getpid()} by a fork; open "
                "one after forking, in each process its own"
            )

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._has_ended = True
            self._finish()
        finally:
            self._loop.close()
            # Whoever asks from now on sees the flag; whoever asked before is refused here.
            self._has_ended = True
            self._refuse()

    def _finish(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            # Code that ignores its cancellation is left behind: this thread must end.
            self._loop.run_until_complete(asyncio.wait(left, timeout=LEFT_BEHIND_S))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())

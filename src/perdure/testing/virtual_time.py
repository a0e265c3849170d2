"""An asyncio event loop on which time is a number.

Callbacks run as on any asyncio loop, first in, first out. When none is ready the loop does not
wait: it moves its clock to the next timer. So a workflow that sleeps thirty days takes a
millisecond, and the same program with the same inputs takes the same path, callback by callback:
there are no threads, no sockets and no other source of chance on this loop. `run_in_executor` runs
the function at once, inline, whatever executor is named. When nothing is ready and no timer is
left, what is awaited can never come, and the loop raises `DeadlockError` instead of hanging.

Time is kept in whole nanoseconds; `loop.time()` is that number in seconds, as asyncio wants it.
"""

from __future__ import annotations

import asyncio
import math
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_NS = 1_000_000_000


class DeadlockError(RuntimeError):
    """Nothing is ready to run, no timer is set: whatever is awaited can never happen."""


class _JumpingSelector:
    """Stands where asyncio expects its I/O poll, and moves the clock instead of waiting."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise DeadlockError("nothing is ready to run and no timer is set: what is awaited can never happen")
        self._loop.jump()
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """See the module's text.

    Attributes:
        is_threadless: True: what other threads have ended is not heard of here, so nothing is given to any.
        now_ns: nanoseconds since the loop was made.
    """

    is_threadless = True

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self._stopping: bool
        self._selector = _JumpingSelector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds since the loop was made, by its own clock."""
        return self.now_ns / _NS

    def jump(self) -> None:
        """If nothing is ready to run, move the clock to where asyncio takes the next timer for due."""
        if self._ready or self._stopping or not self._scheduled:
            return
        due = self._scheduled[0].when()
        self.now_ns = max(self.now_ns, math.ceil(due * _NS))
        step = 1
        # asyncio compares seconds: far from zero a nanosecond is lost in the rounding of a float. And whoever waits for
        # a moment is not woken before it: else a wait that ends "in no time at all" would begin again without end.
        while due > self.time() or due >= self.time() + self._clock_resolution:
            self.now_ns += step
            step *= 2

    def is_busy(self) -> bool:
        """Whether anything is ready to run now."""
        return bool(self._ready)

    def advance(self, duration_ns: int) -> None:
        """Move the clock on while no callback runs, as a machine that was switched off for so long."""
        self.now_ns += duration_ns

    def run_in_executor(self, executor: Any, func: Callable[..., Result], *args: Any) -> asyncio.Future[Result]:
        """Run `func` now, in this thread; the future is done when this returns."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """asyncio's hook for ready sockets: there are none."""

    def _write_to_self(self) -> None:
        """asyncio's hook to interrupt a poll: this loop never waits in one."""


class VirtualClock:
    """Wall-clock time of a world that starts at `epoch_ns` and passes as the loop's time does.

    Calling the clock gives nanoseconds since the Unix epoch.
    """

    def __init__(self, loop: VirtualTimeLoop, epoch_ns: int = 1_700_000_000 * _NS) -> None:
        self._loop = loop
        self._epoch_ns = epoch_ns

    def __call__(self) -> int:
        return self._epoch_ns + self._loop.now_ns

    def now_ns(self) -> int:
        """The same, by name."""
        return self()


def run_virtual(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Run `main(loop)` to its end on a fresh virtual-time loop and return its result.

    Raises what `main` raises; `DeadlockError` when it waits for what cannot come.
    """
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        abandon(loop)


def abandon(loop: VirtualTimeLoop) -> None:
    """Drop a loop with all that still runs on it, as a crash would.

    No task is cancelled or awaited: each is closed where it stands, and whatever its clean-up still
    wants of the loop is refused. Raises nothing.
    """
    asyncio.set_event_loop(None)  # as asyncio.run leaves it: else clean-up is given a new one, on which it goes on
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that nobody will await now
        for task in asyncio.all_tasks(loop):
            setattr(task, "_log_destroy_pending", False)
            try:
                task.get_coro().close()
            except Exception:
                # Clean-up that awaits, or asks for the running loop: in a crash it would not have run at all.
                continue
    loop.close()

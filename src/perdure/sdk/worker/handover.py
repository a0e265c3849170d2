"""Work handed from the event loop to threads, and its results handed back, in batches.

Waking the loop from another thread costs a system call and a fight for the interpreter lock. So
results gather in a deque and one wake-up takes all that are there. Handing work out is a C queue:
an idle thread sleeps in it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import mmap
import resource
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from perdure.sdk.texts import class_name

T = TypeVar("T")

logger = logging.getLogger("perdure.worker")


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
            try:
                call(value)
            except Exception:  # a fault of ours: the others' calls are made all the same
                logger.exception("what a thread handed over was not taken")


def settle(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    """A call that sets a future's result unless nobody waits any more."""

    def set_result(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    return set_result


class Hands(Protocol):
    """Whatever runs `def` activities. The job itself must not raise."""

    def begin(self) -> None: ...

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]: ...

    def stop(self) -> None: ...


class InlineHands:
    """Runs jobs at once, on the loop: for simulation, where a thread would be chance."""

    def begin(self) -> None:
        """Nothing needs to be there."""

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(contextvars.copy_context().run(job))
        return future

    def stop(self) -> None:
        """Nothing was started."""


class ThreadHands:
    """Daemon threads, started as needed, never more than jobs that were in hand at once.

    Waking a thread costs more than a short activity does. So a wave of jobs wakes one thread, which
    takes one job after another; if some are still there a millisecond later, because a job took its
    thread with it, more threads are woken, twice as many each time. Short jobs are done by one or two
    threads; a hundred blocking ones are on a hundred threads within a few milliseconds.

    Nobody is woken while a thread that was woken has not come yet (then the interpreter or the processors are busy,
    and one more would wait as well), nor while jobs go so fast that the others will be gone a millisecond later.

    When the system has no thread to give (its limit, its memory), jobs wait for a thread that is there, or until one
    can be started: that is tried again and again.

    Each job runs in a fresh copy of the context that the pool was made in, so that what one
    activity sets is not seen by the next.
    """

    def __init__(self, returns: Returns, most: int, name: str) -> None:
        self._returns = returns
        self._most = most
        self._name = name
        self._jobs: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._idle: list[threading.Lock] = []
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._threads = 0
        self._relief: asyncio.TimerHandle | None = None
        self._relief_size = 1
        self._submitted = 0
        self._taken = 0
        """Jobs that threads had taken when it was looked last."""
        self._due = 0
        """So many jobs will have been taken once every thread that was woken has come."""
        self._is_short = False
        """The last thread that was wanted could not be started."""
        self._stopped = False

    def begin(self) -> None:
        """Have one thread before there is work: later the system may have none to give. Raises RuntimeError."""
        if not self._threads and not self._start_one():
            raise RuntimeError("can't start new thread: the system gives none, not even one for activities")

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """From the loop alone."""
        future: asyncio.Future[T] = self._loop.create_future()
        is_first = not self._jobs
        self._jobs.append((job, future))
        self._submitted += 1
        if is_first and self._wake_one():
            self._due = self._submitted
        if self._relief is None and (not is_first or self._is_short):
            self._taken = self._submitted - len(self._jobs)
            self._relief = self._loop.call_later(SHORT_S if self._is_short else RELIEF_S, self._relieve)
        return future

    def stop(self) -> None:
        """Idle threads end; busy ones end after their job."""
        self._stopped = True
        if self._relief is not None:
            self._relief.cancel()
        while self._idle:
            self._idle.pop().release()

    def _relieve(self) -> None:
        left = len(self._jobs)
        if not left:
            self._relief, self._relief_size = None, 1
            return
        taken = self._submitted - left
        lately, self._taken = taken - self._taken, taken
        is_late = taken < self._due
        goes_by_itself = is_late or lately >= left
        if not goes_by_itself:
            self._relief_size *= 2
            woken = 0
            while woken < min(self._relief_size, left) and self._wake_one():
                woken += 1
            self._due = taken + woken
            # With every thread at work nobody is left to wake: they take what is there when they get to it.
            goes_by_itself = woken > 0
        self._relief = None
        if goes_by_itself or self._is_short:
            pause_s = SHORT_S if self._is_short else LATE_S if is_late else RELIEF_S
            self._relief = self._loop.call_later(pause_s, self._relieve)

    def _wake_one(self) -> bool:
        try:
            self._idle.pop().release()
        except IndexError:
            return self._threads < self._most and self._start_one()
        return True

    def _start_one(self) -> bool:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{self._threads + 1}", daemon=True)
        try:
            _check_room(ROOM_BYTES if self._threads else ROOM_BYTES_FIRST)
            thread.start()
        except (RuntimeError, MemoryError, OSError) as error:
            if not self._is_short:
                logger.warning("no thread can be had for an activity, it waits for one: %s", error)
            self._is_short = True
            return False
        self._threads += 1
        self._is_short = False
        return True

    def _run(self) -> None:
        waker = threading.Lock()
        waker.acquire()
        jobs, put, fresh = self._jobs, self._returns.put, self._context.copy
        while not self._stopped:
            try:
                job, future = jobs.popleft()
            except IndexError:
                self._rest(waker)
                continue
            try:
                result = fresh().run(job)
            except BaseException as error:  # a fault of ours; the thread, and whoever waits, must not suffer it
                result = _Fault(error)
            put(_settle, (future, result))
            del job, future, result

    def _rest(self, waker: threading.Lock) -> None:
        """Wait to be woken, unless a job came between looking and lying down."""
        self._idle.append(waker)
        if self._jobs or self._stopped:
            try:
                self._idle.remove(waker)
                return
            except ValueError:
                pass  # woken already: the lock below is free
        waker.acquire()


def _check_room(room_bytes: int) -> None:
    """Raises OSError when there is no memory for a thread's stack and for what it needs to begin with.

    Python crashes when a new thread gets its stack and nothing more, as under `ulimit -v`: so both are asked for first.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    stack = threading.stack_size() or (limit if 0 < limit < STACK_BYTES_MAX else STACK_BYTES_MAX)
    mmap.mmap(-1, stack + room_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


RELIEF_S = 0.001
LATE_S = 0.005
"""A thread that has not come waits for the interpreter's lock, which a busy thread gives away so often."""
STACK_BYTES_MAX = 8 << 20
ROOM_BYTES, ROOM_BYTES_FIRST = 16 << 20, 2 << 20
"""Without a single thread nothing would go on, so less is asked for."""
SHORT_S = 0.1
"""Between two tries to start a thread that the system does not give."""


def _settle(done: tuple[asyncio.Future[Any], Any]) -> None:
    future, result = done
    if future.done():
        return
    if isinstance(result, _Fault):
        future.set_exception(RuntimeError(f"a job raised {class_name(result.error)}"))
        logger.error("a job raised", exc_info=result.error)
    else:
        future.set_result(result)


class _Fault:
    """What a job raised that must not raise."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

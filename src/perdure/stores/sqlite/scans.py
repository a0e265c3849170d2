"""Reads that may look at every row: lists and counts, in threads of their own, each with an end.

Nobody knows beforehand how much a filter looks at. So a read has the processor for a slice at a time, and whoever has
used it least is next: a short list is answered between two slices of a long count. A read that is waited for too long
is ended, and so is one that nobody waits for any more; of those that turn out to be long only some are kept.

SQLite itself asks now and then whether to go on, after so many steps of its machine that a thread seldom has to win the
interpreter for it. A read that is to pause simply does not answer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

from perdure.stores.api import ReadsBusy, ReadTooLong, StoreError
from perdure.stores.sqlite.errors import is_interrupt

Result = TypeVar("Result")

AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
"""Reads that run at the same moment: each uses a processor whole, and the event loop needs one."""
THREADS = 16
SLICE_S = 0.02
LONG_S = 0.1
"""A read that has used so much is a long one."""
LONG_MAX = 10
"""Long reads that are kept, so that threads are left for short ones; more are refused."""
READ_S_MAX = 10.0
_CONDITION_S = 0.0002
"""What a condition of a filter counts before anything was read for it: SQLite takes so long to understand it."""
_STEPS = 20_000
"""Of SQLite's machine, between two questions: some milliseconds, of a filter with many conditions."""


class _Ended(Exception):
    """The read was ended before it had its answer."""


class _Turn:
    """The place of one read among those that wait."""

    __slots__ = ("_come", "is_given")

    def __init__(self) -> None:
        self._come = threading.Event()
        self.is_given = False

    def end(self, is_given: bool) -> None:
        """The wait is over."""
        self.is_given = is_given
        self._come.set()

    def wait(self) -> bool:
        """Whether the turn has come; else it is not needed any more."""
        self._come.wait()
        return self.is_given


class _Processor:
    """Lets so many reads run at a time; those that wait, the one first that has run least."""

    def __init__(self, at_once: int) -> None:
        self._lock = threading.Lock()
        self._free = at_once
        self._waiting: list[tuple[float, int, _Turn]] = []
        self._arrivals = 0
        self._long = 0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def ask(self, used_s: float) -> _Turn:
        """A turn, which comes now or later."""
        turn = _Turn()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.end(True)
            else:
                self._arrivals += 1
                heappush(self._waiting, (used_s, self._arrivals, turn))
        return turn

    def withdraw(self, turn: _Turn) -> None:
        """If it has not come yet, it is not needed."""
        with self._lock:
            left = [waiting for waiting in self._waiting if waiting[2] is not turn]
            if len(left) < len(self._waiting):
                heapify(left)
                self._waiting = left
                turn.end(False)

    def give(self) -> None:
        """To whoever is next."""
        with self._lock:
            if self._waiting:
                heappop(self._waiting)[2].end(True)
            else:
                self._free += 1

    def admit_long(self) -> bool:
        """Whether there is room for one more long read; who was let in says `dismiss_long` at its end."""
        with self._lock:
            if self._long >= LONG_MAX:
                return False
            self._long += 1
            return True

    def dismiss_long(self) -> None:
        with self._lock:
            self._long -= 1


class _Job(Generic[Result]):
    """One read."""

    def __init__(
        self,
        processor: _Processor,
        connect: Callable[[], sqlite3.Connection],
        read: Callable[[sqlite3.Connection], Result],
        conditions: int,
        seconds_max: float,
    ) -> None:
        self._processor = processor
        self._connect = connect
        self._read = read
        self._ends_at = time.monotonic() + seconds_max
        self._used_s = conditions * _CONDITION_S
        self._slice_began = 0.0
        self._is_long = False
        self._turn: _Turn | None = None
        self._has_turn = False
        self.is_stopped = False
        self.is_refused = False

    def run(self) -> Result:
        """In a thread. Raises _Ended, sqlite3.Error."""
        if not self._take():
            raise _Ended
        try:
            if self.is_stopped:
                raise _Ended
            connection = self._connect()
            connection.set_progress_handler(self._is_over, _STEPS)
            try:
                return self._read(connection)
            except sqlite3.OperationalError as error:
                if is_interrupt(error):
                    raise _Ended from error
                raise
            finally:
                connection.close()
        finally:
            if self._has_turn:
                self._processor.give()
            if self._is_long:
                self._processor.dismiss_long()

    def _take(self) -> bool:
        """Wait for a turn. False: nobody wants the answer any more."""
        self._turn = turn = self._processor.ask(self._used_s)
        if self.is_stopped:  # `stop` may have looked for a turn before there was this one
            self._processor.withdraw(turn)
        self._has_turn = turn.wait()
        self._slice_began = time.monotonic()
        return self._has_turn

    def stop(self) -> None:
        """Nobody wants the answer any more."""
        self.is_stopped = True
        if self._turn is not None:
            self._processor.withdraw(self._turn)

    def _is_over(self) -> bool:
        """Asked by SQLite while it reads."""
        now = time.monotonic()
        slice_s = now - self._slice_began
        if not self._is_long and self._used_s + slice_s > LONG_S:
            self._is_long = self._processor.admit_long()
            self.is_refused = not self._is_long
        if slice_s > SLICE_S and self._processor.is_wanted and not self.is_refused:
            self._used_s += slice_s
            self._processor.give()
            self._take()
        return self.is_stopped or self.is_refused or now > self._ends_at


class Scans:
    """The reads of one open file. `connect` gives a connection, in any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._threads = ThreadPoolExecutor(THREADS, "perdure-list")
        self._processor = _Processor(AT_ONCE)
        self._jobs: set[_Job[Any]] = set()
        self._is_closed = False

    async def read(self, read: Callable[[sqlite3.Connection], Result], conditions: int = 0) -> Result:
        """What `read` says, on a connection of its own; one that asks for much has its first turn behind the others.

        Raises ReadTooLong, ReadsBusy when too many long ones run already, sqlite3.Error, and whatever `connect` does.
        """
        self._check_open()
        job = _Job(self._processor, self._connect, read, conditions, READ_S_MAX)
        self._jobs.add(job)
        try:
            try:
                done = asyncio.get_running_loop().run_in_executor(self._threads, job.run)
            except RuntimeError as error:  # no thread can be had; what was queued for one finds itself stopped, below
                return self._read_here(read, error)
            return await done
        except _Ended as error:
            self._check_open()
            if job.is_refused:
                text = "Too many lists and counts look at many executions: narrow their filters, or wait."
                raise ReadsBusy(text) from error
            text = f"A list or count looked at too much and was ended after {READ_S_MAX:g} s: narrow its filter."
            raise ReadTooLong(text) from error
        finally:  # also when whoever asked has gone: the thread is free a moment later
            job.stop()
            self._jobs.discard(job)

    def _read_here(self, read: Callable[[sqlite3.Connection], Result], why: RuntimeError) -> Result:
        """On the event loop, if it is short. Raises ReadsBusy when it is not."""
        try:
            return _Job(_Processor(1), self._connect, read, 0, LONG_S).run()
        except _Ended as error:
            raise ReadsBusy(f"There is no thread for a long list or count now, try again: {why}.") from error

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreError("The store was closed while it was read.")

    def close(self) -> None:
        """End what runs, and wait for the threads."""
        self._is_closed = True
        for job in list(self._jobs):
            job.stop()
        self._threads.shutdown()

"""Reads that may look at every row: lists and counts, in threads of their own, each with an end.

Nobody knows beforehand how much a filter looks at. So every read begins in the quick lane, where it has a tenth of a
second, and less when others wait; what takes longer is ended there and begun again in the slow lane. There few run at a
time, and none longer than `SLOW_S`. So a short list never waits for a long one. A read ends as soon as
whoever asked has gone.

SQLite itself asks now and then whether to go on, after so many steps of its machine that a thread seldom has to win the
interpreter for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from perdure.stores.api import ReadsBusy, ReadTooLong, StoreError
from perdure.stores.sqlite.errors import is_interrupt

Result = TypeVar("Result")

QUICK_THREADS, SLOW_THREADS = 3, 2
QUICK_S = 0.1
QUICK_S_MIN = 0.01
SLOW_S = 10.0
SLOW_MAX = 50
"""Reads in the slow lane, with those that wait there: more are refused."""
_STEPS = 100_000
"""Of SQLite's machine, between two questions: a millisecond or two."""


class _Ended(Exception):
    """The read was ended before it had its answer."""


class _Job(Generic[Result]):
    """One read in one lane."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], read: Callable[[sqlite3.Connection], Result], budget_s: float
    ) -> None:
        self._connect = connect
        self._read = read
        self._budget_s = budget_s
        self._ends_at = 0.0
        self.is_stopped = False

    def run(self) -> Result:
        """In a thread. The time counts from here, and not while it waits for one. Raises _Ended, sqlite3.Error."""
        self._ends_at = time.monotonic() + self._budget_s
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

    def _is_over(self) -> bool:
        return self.is_stopped or time.monotonic() > self._ends_at


class Scans:
    """The two lanes of one open file. `connect` gives a connection, in any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "perdure-list")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "perdure-long-list")
        self._in_quick = self._in_slow = 0
        self._jobs: set[_Job[Any]] = set()
        self._is_closed = False

    async def read(self, read: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `read` says, on a connection of its own. Perhaps it is called twice.

        Raises ReadTooLong, ReadsBusy when too many long ones run already, sqlite3.Error, and whatever `connect` does.
        """
        self._in_quick += 1
        try:
            budget_s = max(QUICK_S * QUICK_THREADS / max(self._in_quick, QUICK_THREADS), QUICK_S_MIN)
            return await self._within(self._quick, read, budget_s)
        except _Ended:
            pass  # it begins again below, with more time
        finally:
            self._in_quick -= 1
        if self._in_slow >= SLOW_MAX:
            raise ReadsBusy("Too many lists and counts that look at many executions: narrow their filters, or wait.")
        self._in_slow += 1
        try:
            return await self._within(self._slow, read, SLOW_S)
        except _Ended as error:
            self._check_open()
            text = f"A list or count looked at too much and was ended after {SLOW_S:g} s: narrow its filter."
            raise ReadTooLong(text) from error
        finally:
            self._in_slow -= 1

    async def _within(
        self, threads: ThreadPoolExecutor, read: Callable[[sqlite3.Connection], Result], budget_s: float
    ) -> Result:
        self._check_open()
        job = _Job(self._connect, read, budget_s)
        self._jobs.add(job)
        try:
            try:
                done = asyncio.get_running_loop().run_in_executor(threads, job.run)
            except RuntimeError as error:  # no thread can be had: what is queued for one finds itself stopped, below
                if threads is self._slow:
                    raise ReadsBusy(f"There is no thread for a long list or count now, try again: {error}.") from error
                return job.run()  # a tenth of a second at most
            return await done
        finally:  # also when whoever asked has gone: the thread is free a moment later
            job.is_stopped = True
            self._jobs.discard(job)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreError("The store was closed while it was read.")

    def close(self) -> None:
        """End what runs, and wait for the threads."""
        self._is_closed = True
        for job in list(self._jobs):
            job.is_stopped = True
        self._quick.shutdown()
        self._slow.shutdown()

"""Where workflow code runs: one thread for all runs, watched for code that does not give it back.

Workflow code is expected to run for microseconds and then wait. Code that blocks (a `time.sleep`
the guard did not see, an endless loop) would stop every workflow of the worker, so a watch on
the event loop looks at the thread: the same step of the same run in hand for `deadlock_ns`, seen
by several looks (one long pause of the whole process does not count), is given up. Its task
fails with the file and line where it stands, a new thread takes over what was queued, and runs
that belong to the old thread are replayed on the new one. The old thread is interrupted, which ends
a loop but not a call that waits in C; should that one ever come back, the thread ends then.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import CodeType, FrameType
from typing import Any, Protocol

from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.errors import WorkflowBlockedError
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay.conclusion import as_exception
from perdure.sdk.replay.local_work import Report
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.traces import stack_text
from perdure.sdk.worker.handover import Returns, settle
from perdure.sdk.worker.machines import CachedRun

logger = logging.getLogger("perdure.worker")

STOP_S = 2.0
"""How long `stop` waits for a thread that nothing watches."""
LOOKS = 4
"""The watch looks this many times within the limit."""


Work = PollWorkflowTaskQueueResponse | Report
"""A workflow task, or what came of the local activities that one waits for."""


class ThreadLost(Exception):
    """The thread that a run belonged to was given up before its task was processed: replay it."""


class GivenUp(BaseException):
    """Raised inside code that blocked its thread for too long."""


class WorkflowExecutor(Protocol):
    """Processes workflow tasks and closes machines, wherever machines may be touched."""

    @property
    def home(self) -> object:
        """What a machine made now will belong to."""
        ...

    def process(self, run: CachedRun, task: Work) -> asyncio.Future[TaskOutcome]:
        """Raises, through the future, WorkflowBlockedError, ThreadLost, or what the machine raises."""
        ...

    def dispose(self, run: CachedRun) -> None:
        """Close a machine where it belongs, soon."""
        ...

    async def stop(self) -> None: ...


class InlineWorkflows:
    """Processes on the loop itself: for simulation. Nothing watches for blocking code."""

    home: object = None

    def process(self, run: CachedRun, task: Work) -> asyncio.Future[TaskOutcome]:
        future: asyncio.Future[TaskOutcome] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(run.machine.process(task))
        except KeyboardInterrupt:  # a Ctrl-C, which is nobody's answer
            raise
        except BaseException as error:  # handed on: the future is its way to the caller
            future.set_exception(_to_be_set(error))
        return future

    def dispose(self, run: CachedRun) -> None:
        run.let_go()
        run.machine.close()

    async def stop(self) -> None:
        """Nothing was started."""


class _Job:
    """One task for the thread; with no future, a machine to close."""

    __slots__ = ("future", "run", "task")

    def __init__(self, run: CachedRun, task: Work | None, future: asyncio.Future[TaskOutcome] | None) -> None:
        self.run = run
        self.task = task
        self.future = future


class _Thread:
    """One workflow thread: until it is stopped, or given up."""

    def __init__(self, returns: Returns, number: int) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.current: _Job | None = None
        self.given_up = False
        self._returns = returns
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.thread = threading.Thread(target=self._run, name=f"perdure-workflows-{number}", daemon=True)
        self.thread.start()

    def interrupt(self) -> None:
        """Raise in the thread, at its next step of Python, what ends even an endless loop. Blocked C code stays."""
        ident = ctypes.c_ulong(self.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(GivenUp))

    def _run(self) -> None:
        try:
            self._work()
        except GivenUp:
            pass  # the interruption came when the blocked code had just ended by itself
        self._returns.put(settle(self.ended), None)

    def _work(self) -> None:
        get, put = self.jobs.get, self._returns.put
        while (job := get()) is not None:
            if job.task is None:
                _close(job.run)
                continue
            self.current = job
            try:
                result: Any = job.run.machine.process(job.task)
            except BaseException as error:  # even SystemExit: it is this one run's, not the thread's
                result = _to_be_set(error)
            self.current = None
            put(_settle, (job, result))
            del job, result
            if self.given_up:
                self._close_what_is_left()
                break

    def _close_what_is_left(self) -> None:
        while True:
            try:
                job = self.jobs.get_nowait()
            except Empty:
                return
            if job is not None and job.task is None:
                _close(job.run)


def _close(run: CachedRun) -> None:
    """Whatever clean-up code does, the thread goes on with the other runs."""
    try:
        run.machine.close()
    except Exception:  # a fault of ours: what the code raises ends with the code
        logger.exception("a run could not be closed")


def _to_be_set(error: BaseException) -> Exception:
    """An error as a future takes it."""
    return error if isinstance(error, Exception) and not isinstance(error, StopIteration) else as_exception(error)


def _settle(done: tuple[_Job, Any]) -> None:
    job, result = done
    future = job.future
    if future is None or future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


class WorkflowThread:
    """The executor of real workers. All methods are called on the loop.

    Args:
        returns: the way back to the loop.
        deadlock_ns: the limit of the watch, 0: none.
        on_lost: told of each thread that was given up, so that its runs are let go.
    """

    def __init__(self, returns: Returns, deadlock_ns: int, on_lost: Callable[[object], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._returns = returns
        self._look_s = deadlock_ns / SECOND_NS / LOOKS
        self._limit_s = deadlock_ns / SECOND_NS
        self._on_lost = on_lost
        self._threads = 1
        self._thread = _Thread(returns, 1)
        self._batch: list[_Job] = []
        self._watch: asyncio.TimerHandle | None = None
        self._seen: tuple[_Job | None, int] = (None, 0)
        self._looks = 0

    @property
    def home(self) -> object:
        return self._thread

    def process(self, run: CachedRun, task: Work) -> asyncio.Future[TaskOutcome]:
        future: asyncio.Future[TaskOutcome] = self._loop.create_future()
        thread = self._thread
        if run.home is not thread:
            future.set_exception(ThreadLost())
            return future
        if not self._batch:
            # Handed over together with whatever else this turn of the loop brings: one wake-up for all.
            self._loop.call_soon(self._hand_over)
        self._batch.append(_Job(run, task, future))
        if self._watch is None and self._look_s:
            self._watch = self._loop.call_later(self._look_s, self._look)
        return future

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        put = self._thread.jobs.put
        for job in batch:
            if job.run.home is self._thread:
                put(job)
            else:
                _settle((job, ThreadLost()))

    def dispose(self, run: CachedRun) -> None:
        run.let_go()
        home = run.home
        if isinstance(home, _Thread):
            home.jobs.put(_Job(run, None, None))

    async def stop(self) -> None:
        """Ask the thread to end once its queue is empty; a blocked one is left behind (it is a daemon)."""
        if self._watch is not None:
            self._watch.cancel()
        self._thread.jobs.put(None)
        await asyncio.wait([self._thread.ended], timeout=self._limit_s or STOP_S)

    def _look(self) -> None:
        job = self._thread.current
        if job is None and self._thread.jobs.empty():
            self._watch, self._seen, self._looks = None, (None, 0), 0
            return
        seen = (job, job.run.machine.history_length if job is not None else 0)
        self._looks = self._looks + 1 if job is not None and seen == self._seen else 0
        self._seen = seen
        if job is not None and self._looks >= LOOKS:
            self._give_up(job)
        self._watch = self._loop.call_later(self._look_s, self._look)

    def _give_up(self, job: _Job) -> None:
        old = self._thread
        frame = sys._current_frames().get(old.thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
        error = _blocked_error(job, frame, self._limit_s)
        try:
            self._thread = _Thread(self._returns, self._threads + 1)
        except (RuntimeError, MemoryError) as short:  # at the next look, if it is blocked still
            logger.warning("workflow code blocks its thread, and there is no other to be had yet: %s", short)
            return
        old.given_up = True
        self._threads += 1
        self._seen, self._looks = (None, 0), 0
        _settle((job, error))
        self._fail_queued(old)
        self._on_lost(old)
        old.interrupt()

    def _fail_queued(self, old: _Thread) -> None:
        """What was queued behind the blocked task is processed again, from history, on the new thread."""
        kept: list[_Job] = []
        while True:
            try:
                job = old.jobs.get_nowait()
            except Empty:
                break
            if job is not None and job.task is None:
                kept.append(job)
            elif job is not None:
                _settle((job, ThreadLost()))
        for job in kept:
            old.jobs.put(job)


def _blocked_error(job: _Job, frame: FrameType | None, limit_s: float) -> WorkflowBlockedError:
    """Names the innermost line of the workflow's own file, or else of whatever runs."""
    code: CodeType | None = getattr(job.run.definition.fn, "__code__", None)
    own_file = code.co_filename if code is not None else None
    where, stack = "an unknown place", ""
    if frame is not None:
        stack = stack_text(frame)
        place: FrameType | None = frame
        while place is not None and own_file is not None and place.f_code.co_filename != own_file:
            place = place.f_back
        place = place or frame
        where = f"{place.f_code.co_filename}:{place.f_lineno}, in {place.f_code.co_qualname}"
    return WorkflowBlockedError(
        f"workflow code blocked its thread for more than {limit_s:g} s at {where}; blocking calls and long "
        "computations belong into activities, waiting into workflow.sleep() or workflow.wait_condition()",
        stack_trace=stack,
    )

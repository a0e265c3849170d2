"""The event loop that carries `async def` workflows: deterministic, without a clock, without I/O.

asyncio's own tasks, futures, gather, wait, timeout, Event and Queue run on it unchanged, for they
only ever ask a loop to call something soon, or later. Soon is a queue, first in, first out. Later
is a durable timer of the workflow: `asyncio.sleep(86400)` survives restarts. What else a loop may be asked is
in `loop_surface.py`.

This module is beside `replay/` and not in it because it must subclass asyncio's classes, and
`replay/` is kept free of asyncio so that it stays plain to see that the machine does no I/O. The
machine gets it handed in, as `WorkflowDefinition.fiber`.
"""

from __future__ import annotations

import asyncio
import math
import sys
from _thread import get_ident
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from functools import update_wrapper
from inspect import isawaitable
from types import FrameType
from typing import Any, ClassVar, cast

from perdure.api.bounds import DURATION_MAX_S
from perdure.sdk.abandoned import abandon
from perdure.sdk.errors import CancelledError, DeterminismViolation, EngineError
from perdure.sdk.guard.anyio_order import keep_order
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay.entry import SCOPE, Operation, Site, current_site, is_user_frame, site_text
from perdure.sdk.replay.fiber import REFUSALS_MAX, Ended
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import WorkflowClosed, running
from perdure.sdk.workflow.cancelling import Canceller, Cancelling
from perdure.sdk.workflow.loop_surface import LoopSurface
from perdure.sdk.workflow.loop_tasks import LoopFuture, LoopTask
from perdure.sdk.workflow.timers import begin_timer
from perdure.sdk.workflow.unawaited import Unawaited, told

_MICROSECOND_NS = 1_000
_GRAIN_S = 1e-5
"""More than what is lost where seconds since the epoch are floats and timers have whole microseconds."""

POLLS_MAX = 256
"""How often a callback may have itself called again with nothing else to do, until it is left for what happens next.

anyio's cancelled scopes do so as long as a task in them lives; it may well wait for an activity to end.
"""


class _Timer(asyncio.TimerHandle):
    """A callback that a durable timer calls."""

    __slots__ = ("operation",)

    operation: Operation


class WorkflowLoop(LoopSurface):
    """An `async def` workflow: a loop, and the `Fiber` that the machine runs."""

    blocks: ClassVar[bool] = False

    def __init__(self, machine: Run) -> None:
        self.machine = machine
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._ready: deque[asyncio.Handle] = deque()
        self._later: deque[asyncio.Handle] | None = None
        """What is ready, and waits while handlers of new messages begin."""
        self._main: asyncio.Task[Any] | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._tasks_limit = 16
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self._canceling = False
        self._refusals = 0
        self._due_s = 0.0
        """When the latest of the timers was due that have fired."""
        self._running = False
        self._spawned: list[tuple[Callable[[], Any], Ended, bool]] = []
        self._holding: dict[asyncio.Task[Any], None] = {}
        self._shields: dict[asyncio.Task[Any], int] = {}
        self._held_back: dict[asyncio.Task[Any], list[Callable[[], object]]] = {}
        self.unawaited = Unawaited()
        self.cancelling: Cancelling | None = None
        """The `cancel()` of a task that is under way."""
        self.canceller: Canceller | None = None
        """On whose behalf."""

    # --- the fiber -------------------------------------------------------------------------------

    def run(self) -> None:
        outer = events._get_running_loop()
        outer_task = _swap_task(outer, None)
        events._set_running_loop(self)
        self._running = True
        try:
            if self._spawned:
                self._begin_spawned()
            if self._main is None:
                # A context of its own: what the worker's thread carries around is not the workflow's business.
                self._main = self.create_task(self._call(), context=Context())
            self._drain()
            if self._canceling and not self._main.done():
                # Behind what else happened, so that the code gets the results that came before.
                self._canceling = False
                self.deliver(self._main, self)
                self._drain()
        finally:
            self._running = False
            events._set_running_loop(outer)
            _swap_task(outer, outer_task)
        if not self.done and self._is_over():
            self._end(self._main)

    async def _call(self) -> Any:
        return await self.machine.begin()

    def _drain(self) -> None:
        ready, main = self._ready, self._main
        polling = 0
        while True:
            while ready:
                first: Any = ready[0]
                for _ in range(len(ready)):
                    handle: Any = ready.popleft()
                    if not handle._cancelled:
                        handle._context.run(handle._callback, *handle._args)
                    if self.done or (main is not None and main.done() and self._is_over()):
                        return
                if ready and ready[0]._callback == first._callback:
                    polling += 1
                    if polling >= POLLS_MAX:
                        break
                else:
                    polling = 0
            if not self._conditions or not self._look_at_conditions():
                return

    def _begin_spawned(self) -> None:
        """Handlers of this task's messages go first; what else it brought resumes behind them."""
        later = self._later = self._ready
        self._ready = deque()
        spawned, self._spawned = self._spawned, []
        for work, ended, holds in spawned:
            self.spawn(work, ended, holds=holds)
        self._drain()
        self._ready.extend(later)
        self._later = None

    def _is_over(self) -> bool:
        """The main branch has ended, and with it the run, unless a handler holds it open."""
        main = self._main
        if main is None or not main.done():
            return False
        return main.cancelled() or main.exception() is not None or not self._holding

    def blocking(self, what: str, instead: str) -> Any:
        raise EngineError(f"{what} would block an `async def` workflow; write {instead}")

    def carry(self, what: str, here: Callable[..., Any], awaited: Callable[..., Any], *args: Any) -> Any:
        made = awaited(self, *args)
        self.note(made, what)
        return made

    def settle(self, operation: Operation, what: str) -> Awaitable[None]:
        return told(self.machine, operation, what)

    async def follow(self, steps: Iterable[Callable[[], bool]]) -> None:
        for condition in steps:
            if not condition():
                await self.condition(condition)

    def note(self, made: Any, what: str) -> None:
        self.unawaited.note(made, what)

    def spawn(self, work: Callable[[], Any], ended: Ended, *, holds: bool) -> None:
        if not self._running:
            self._spawned.append((work, ended, holds))
            return
        task = self.create_task(self._branch(work, ended), context=Context())
        if holds:
            self._holding[task] = None

    async def _branch(self, work: Callable[[], Any], ended: Ended) -> None:
        value, error = None, None
        try:
            value = work()
            if isawaitable(value):
                value = await value
        except (WorkflowClosed, GeneratorExit):
            raise
        except asyncio.CancelledError as raised:
            error = CancelledError(str(raised) or "the handler was cancelled")
        except BaseException as raised:  # whatever user code raises is how the handler ended
            error = raised
        task = asyncio.current_task(self)
        if task is not None:
            self._holding.pop(task, None)
        ended(value, error)

    def fail(self, error: BaseException) -> None:
        self.error, self.done = error, True

    def _look_at_conditions(self) -> bool:
        """Wake whoever waits for what now holds. Returns whether there was one."""
        woken = False
        for pair in self._conditions[:]:
            condition, future = pair
            if not future.done():
                try:
                    if not condition():
                        continue
                    future.set_result(True)
                except Exception as error:
                    future.set_exception(error)
                woken = True
            self._conditions.remove(pair)
        return woken

    def _end(self, main: asyncio.Task[Any]) -> None:
        self.done = True
        if main.cancelled():
            reason = self.machine.cancel_reason
            text = f"the workflow was cancelled: {reason}" if reason else "the workflow was cancelled"
            self.error = CancelledError(text)
        else:
            self.error = main.exception()
            if self.error is None:
                self.value = main.result()

    def cancel(self) -> None:
        self._canceling = True

    def shield(self) -> asyncio.Task[Any]:
        task = asyncio.current_task(self)
        assert task is not None, "workflow code runs in tasks"
        self._shields[task] = self._shields.get(task, 0) + 1
        return task

    def unshield(self, mark: asyncio.Task[Any]) -> None:
        left = self._shields.pop(mark) - 1
        if left:
            self._shields[mark] = left
        for tell in self._held_back.pop(mark, ()):
            self.call_soon(tell)

    def shields_of(self, task: asyncio.Task[Any]) -> int:
        """How many shields the task is in."""
        return self._shields.get(task, 0)

    def behind_shield(self, task: asyncio.Task[Any], tell: Callable[[], object]) -> None:
        """Call this when the task leaves a shield."""
        self._held_back.setdefault(task, []).append(tell)

    # --- cancellations: of the run, whose canceller this is, and of scopes ------------------------

    is_run = True

    def stops_at(self, task: asyncio.Task[Any]) -> bool:
        return task in self._shields

    def is_over_for(self, task: asyncio.Task[Any]) -> bool:
        return False

    def deliver(self, task: asyncio.Task[Any], by: Canceller | None, message: Any = None) -> None:
        """Cancel a task; shields hold it back, from the task and from what that awaits."""
        outer, self.canceller = self.canceller, by
        try:
            task.cancel(message)
        finally:
            self.canceller = outer

    def postpones(self, task: asyncio.Task[Any], tell: Callable[[], object]) -> bool:
        """Whether a task, or one that it awaits, is about to be given how something ended: it is told behind that."""
        awaited = cast(Any, task)._fut_waiter
        while isinstance(awaited, LoopTask) and not awaited.done():
            awaited = cast(Any, awaited)._fut_waiter
        if awaited is None or not awaited.done() or awaited.cancelled():
            return False
        if not self.machine.uses(Flag.CANCELLATION_KEPT):
            return False
        (self._later or self._ready).append(asyncio.Handle(tell, (), self))
        return True

    def holds_back(self, task: LoopTask[Any]) -> bool:
        """Whether the cancellation under way must not reach the task now; it is made up for behind the shield."""
        by = self.canceller
        if by is None or not by.stops_at(task):
            return False
        self.behind_shield(task, lambda: None if by.is_over_for(task) else self.deliver(task, by))
        return True

    def cancel_again(self, task: LoopTask[Any], cancelling: Cancelling) -> None:
        """Tell a task at its next wait, as what it waited for has not told it."""
        by = cancelling.canceller
        if by is not None and by.stops_at(task):
            self.behind_shield(task, lambda: task.owes and self.cancel_again(task, cancelling))
            return
        if by is None or not by.is_over_for(task):
            task.uncancel()  # it is the same request
            self.deliver(task, by, cancelling.message)

    def drop(self) -> None:
        tasks, self._tasks = list(self._tasks), {}
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for task in tasks:
                if not task.done():
                    _close_task(task)
        finally:
            events._set_running_loop(outer)
        self.unawaited.drop()
        self._ready.clear()
        self._conditions.clear()
        self._main = None

    def refuse(self) -> None:
        self._refusals += 1
        if self._refusals <= REFUSALS_MAX:
            raise WorkflowClosed
        # What it asks for never comes. It awaits that, so `drop` gets the thread back.

    def sites(self) -> list[Site]:
        return [stack[0] for stack in self.stacks() if stack]

    def stacks(self) -> list[list[Site]]:
        return [_stack(task.get_coro()) for task in self._tasks if not task.done()]

    def ready_count(self) -> int:
        return len(self._ready)

    def never_awaited(self) -> EngineError | None:
        return self.unawaited.error(self._tasks)

    # --- what asyncio asks -----------------------------------------------------------------------

    def time(self) -> float:
        """Workflow time, in seconds since the epoch; never just before a timer was due that has fired."""
        now_s = self.machine.now_ns / SECOND_NS
        due_s = self._due_s
        return due_s if now_s < due_s < now_s + _GRAIN_S else now_s

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        if running.get(get_ident()) is not self.machine:
            raise DeterminismViolation(
                f"another thread calls a callback into the workflow {self.machine.definition.name} "
                f"(call_soon_threadsafe), at {site_text(current_site())}: replay could not repeat it; let an activity "
                "do the work, whose result wakes the workflow, or signal it"
            )
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        # To the microsecond: seconds since the epoch have no finer grain in a float.
        if delay == math.inf:
            return asyncio.TimerHandle(delay, callback, args, self, context)  # never
        # A century at most, as everywhere.
        delay = min(delay, DURATION_MAX_S)
        if delay != delay:
            raise ValueError("a delay must be a number, not nan")
        delay_ns = round(delay * 1_000_000) * _MICROSECOND_NS
        if delay_ns <= 0:
            return self.call_soon(callback, *args, context=context)
        handle = _Timer(self.time() + delay, callback, args, self, context)
        # No part of a scope: that cancels the task which sleeps, and asyncio then this.
        token = SCOPE.set(None)
        try:
            timer = handle.operation = begin_timer(self.machine, delay_ns)
        finally:
            SCOPE.reset(token)
        timer.listener = self._fired(handle, timer.listener)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _fired(self, handle: _Timer, seen: Callable[[Operation], None] | None) -> Callable[[Operation], None]:
        """What a timer that ends calls. `seen`: the same of the handle that interceptors have; None without them."""

        def both(operation: Operation) -> None:
            if seen is not None:
                seen(operation)
            self._fire(handle)

        return both if seen is not None else lambda operation: self._fire(handle)

    def _fire(self, handle: _Timer) -> None:
        if not handle.cancelled():
            self._due_s = max(self._due_s, handle.when())
            self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio.TimerHandle.cancel calls this."""
        if isinstance(handle, _Timer) and not self.machine.is_closed:
            handle.operation.cancel()

    def create_future(self) -> asyncio.Future[Any]:
        future: LoopFuture[Any] = LoopFuture(loop=self)
        future.number = self.machine.next_number()
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        number = self.machine.next_number()
        if name is None:
            name = f"Task-{number & 0xFFFFF}"
        task: asyncio.Task[Any] = LoopTask(coro, number=number, loop=self, name=name, context=context, **options)
        scope = SCOPE.get()
        if scope is not None and context is None:
            scope.adopt_task(task)
        tasks = self._tasks
        tasks[task] = None
        if len(tasks) > self._tasks_limit:
            self._tasks = {known: None for known in tasks if not known.done()}
            self._tasks_limit = 2 * len(self._tasks) + 16
        return task

    def once_running(self, settle: Callable[[], object]) -> None:
        """Settle a future when the code runs, and wake whoever waits for it as if it had been settled now.

        What depends on a change of the SDK (`replay/flags.py`) is not known before.
        """

        def in_its_place() -> None:
            ready = self._ready
            others = len(ready)
            settle()
            for _ in range(len(ready) - others):
                ready.appendleft(ready.pop())

        self.call_soon(in_its_place)

    def condition(self, holds: Callable[[], bool]) -> asyncio.Future[bool]:
        """A future that is done once `holds()` is true; looked at whenever everything waits."""
        future = self.create_future()
        self._conditions.append((holds, future))
        return future


def _as_completed(real: Any) -> Any:
    """asyncio.as_completed puts coroutines into a set, ordered by address, and starts them in that order."""

    def as_completed(fs: Any, **options: Any) -> Any:
        if get_ident() in running:
            fs = [asyncio.ensure_future(item) for item in fs]
        return real(fs, **options)

    return update_wrapper(as_completed, real)


asyncio.as_completed = asyncio.tasks.as_completed = _as_completed(asyncio.as_completed)
keep_order()


def _close_task(task: asyncio.Task[Any]) -> None:
    cast(Any, task)._log_destroy_pending = False
    coroutine: Any = task.get_coro()
    chain: list[Any] = []
    while coroutine is not None:
        chain.append(coroutine)
        coroutine = getattr(coroutine, "cr_await", None)
    try:
        chain[0].close()
    except BaseException:
        # Its clean-up asked for something, or failed: nobody is left to be told.
        for link in chain:
            if getattr(link, "cr_frame", None) is not None:
                abandon(link)


def _swap_task(loop: asyncio.AbstractEventLoop | None, task: Any) -> Any:
    """From Python 3.14 on a thread has one current task, whatever the loop: set the outer one aside."""
    if loop is None or sys.version_info < (3, 14):
        return None
    return cast(Any, asyncio.tasks)._swap_current_task(loop, task)


def _stack(coroutine: Any) -> list[Site]:
    """The lines of workflow code at which a coroutine, and those that it awaits, wait; the innermost first."""
    sites: list[Site] = []
    while coroutine is not None:
        frame: FrameType | None = getattr(coroutine, "cr_frame", None)
        if frame is not None and is_user_frame(frame):
            sites.append((frame.f_code, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None)
    return sites[::-1]

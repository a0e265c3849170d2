"""The event loop that carries `async def` workflows: deterministic, without a clock, without I/O.

asyncio's own tasks, futures, gather, wait, timeout, Event and Queue run on it unchanged, for they
only ever ask a loop to call something soon, or later. Soon is a queue, first in, first out. Later
is a durable timer of the workflow: `asyncio.sleep(86400)` survives restarts. Everything else that a
loop can do is I/O and raises DeterminismViolation.

This module is beside `replay/` and not in it because it must subclass asyncio's classes, and
`replay/` is kept free of asyncio so that it stays plain to see that the machine does no I/O. The
machine gets it handed in, as `WorkflowDefinition.fiber`.

`Handle` is an asyncio.Future for the same reason: gather and wait take it as it is, with no task
around it. A `def` workflow uses it too, on a loop that carries nothing.
"""

from __future__ import annotations

import asyncio
import sys
from _thread import get_ident
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context
from functools import update_wrapper
from inspect import isawaitable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from perdure.sdk.abandoned import abandon
from perdure.sdk.errors import CancelledError, DeterminismViolation, EngineError
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay.entry import SCOPE, Operation, Site, current_site, is_user_frame, site_text
from perdure.sdk.replay.fiber import REFUSALS_MAX, Ended, GreenletFiber
from perdure.sdk.replay.running import WorkflowClosed, current, running

if TYPE_CHECKING:
    from perdure.sdk.replay.machine import WorkflowMachine

T = TypeVar("T")

_MICROSECOND_NS = 1_000


class Handle(asyncio.Future[T]):
    """Something under way: an activity, a timer.

    In an `async def` workflow: `await` it, or give it to asyncio.gather, asyncio.wait, asyncio.timeout.
    In a `def` workflow: `result()` waits; `workflow.wait_all` and `workflow.wait_any` wait for many.
    """

    __slots__ = ("carrier", "number", "operation")

    operation: Operation
    carrier: Any
    number: int

    def __hash__(self) -> int:
        return self.number

    def result(self) -> T:
        """The value; in a `def` workflow waits for it.

        Raises:
            ActivityError: the activity failed for good; its cause says why.
            CancelledError: this was cancelled, or the workflow was, while waiting.
            asyncio.InvalidStateError: in an `async def` workflow, when it is not done: await it instead.
        """
        carrier = self.carrier
        if type(carrier) is GreenletFiber:
            return carrier.join(self.operation)
        return super().result()

    def cancel(self, msg: Any = None) -> bool:
        """Ask it to stop. False when it was done already.

        What it then does is up to the activity's `cancellation`: "try" (the default) and "abandon": this handle
        is cancelled now. "wait": it is done when the activity has ended.
        """
        operation = self.operation
        if operation.done or self.done():
            return False
        if type(self.carrier) is GreenletFiber:
            operation.cancel()
            return True
        operation.listener = None
        if operation.cancel():
            return super().cancel(msg)
        operation.listener = self._settle
        return True

    def _settle(self, operation: Operation) -> None:
        if self.done():
            return
        if operation.error is None:
            self.set_result(operation.value)
        elif isinstance(operation.error, CancelledError):
            super().cancel(operation.error.message)
        else:
            self.set_exception(operation.error)


def handle_of(machine: WorkflowMachine, operation: Operation, kind: type[Handle[Any]] = Handle) -> Handle[Any]:
    """The handle of an operation that has just been started."""
    fiber: Any = machine.fiber
    if type(fiber) is GreenletFiber:
        handle: Handle[Any] = kind(loop=_NO_LOOP)
        operation.listener = handle._settle  # pyright: ignore[reportPrivateUsage] - one file, two halves of one thing
    else:
        handle = kind(loop=fiber)
        operation.listener = handle._settle  # pyright: ignore[reportPrivateUsage]
    handle.operation = operation
    handle.carrier = fiber
    handle.number = machine.next_number()
    return handle


async def wait_any(*handles: Handle[Any]) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(handles, return_when=asyncio.FIRST_COMPLETED)


class _Future(asyncio.Future[T]):
    """A future whose place in a set is the same in replay."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class _Task(asyncio.Task[T]):
    """A task whose place in a set is the same in replay: asyncio.wait and TaskGroup keep theirs in sets."""

    __slots__ = ("number",)

    def __init__(self, coro: Any, *, number: int, **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any = None) -> bool:
        """Also called by what awaits this task, when that is cancelled."""
        loop: Any = self.get_loop()
        if loop.holds_back(self):
            return True
        return super().cancel(msg)


class _Timer(asyncio.TimerHandle):
    """A callback that a durable timer calls."""

    __slots__ = ("operation",)

    operation: Operation


class _Loop(asyncio.AbstractEventLoop):
    """What asyncio may ask of a loop that does no I/O."""

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """asyncio reports here what nobody will see: a future's error that was never asked for.

        It does so whenever the garbage collector comes by, which is not deterministic, and the error is in
        history in any case. So nothing is done.
        """


_IO = {
    "add_reader": "an activity",
    "add_signal_handler": "a signal of the workflow",
    "add_writer": "an activity",
    "call_soon_threadsafe": "an activity, whose result wakes the workflow",
    "connect_accepted_socket": "an activity",
    "connect_read_pipe": "an activity",
    "connect_write_pipe": "an activity",
    "create_connection": "an activity",
    "create_datagram_endpoint": "an activity",
    "create_server": "an activity",
    "create_unix_connection": "an activity",
    "create_unix_server": "an activity",
    "getaddrinfo": "an activity",
    "getnameinfo": "an activity",
    "run_forever": "await",
    "run_in_executor": "an activity: a plain `def` one runs in a thread",
    "run_until_complete": "await",
    "sendfile": "an activity",
    "sock_accept": "an activity",
    "sock_connect": "an activity",
    "sock_recv": "an activity",
    "sock_recv_into": "an activity",
    "sock_recvfrom": "an activity",
    "sock_sendall": "an activity",
    "sock_sendto": "an activity",
    "start_tls": "an activity",
    "subprocess_exec": "an activity",
    "subprocess_shell": "an activity",
}


def _refuser(name: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        error = DeterminismViolation(
            f"workflow code asks asyncio for I/O ({name}, as to_thread, open_connection and their like do), at "
            f"{site_text(current_site())}: replay could not repeat it; use {instead}"
        )
        current("asyncio").violation = error
        raise error

    refuse.__name__ = name
    return refuse


for _name, _instead in _IO.items():
    setattr(_Loop, _name, _refuser(_name, _instead))


class _NoLoop(_Loop):
    """The loop of handles in `def` workflows."""

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        raise EngineError("callbacks of a handle are for `async def` workflows; in a `def` workflow use result()")


_NO_LOOP = _NoLoop()


class WorkflowLoop(_Loop):
    """An `async def` workflow: a loop, and the `Fiber` that the machine runs."""

    def __init__(self, machine: WorkflowMachine) -> None:
        self.machine = machine
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._ready: deque[asyncio.Handle] = deque()
        self._main: asyncio.Task[Any] | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._tasks_limit = 16
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self._canceling = False
        self._refusals = 0
        self._running = False
        self._spawned: list[tuple[Callable[[], Any], Ended, bool]] = []
        self._holding: dict[asyncio.Task[Any], None] = {}
        self._shields: dict[asyncio.Task[Any], int] = {}
        self._held_back: dict[asyncio.Task[Any], list[Callable[[], object]]] = {}
        self._canceling_now = False

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
                self._cancel_main(self._main)
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
        while True:
            while ready:
                handle: Any = ready.popleft()
                if not handle._cancelled:
                    handle._context.run(handle._callback, *handle._args)
                if self.done or (main is not None and main.done() and self._is_over()):
                    return
            if not self._conditions or not self._look_at_conditions():
                return

    def _begin_spawned(self) -> None:
        """Handlers of this task's messages go first; what else it brought resumes behind them."""
        later, self._ready = self._ready, deque()
        spawned, self._spawned = self._spawned, []
        for work, ended, holds in spawned:
            self.spawn(work, ended, holds=holds)
        self._drain()
        self._ready.extend(later)

    def _is_over(self) -> bool:
        """The main branch has ended, and with it the run, unless a handler holds it open."""
        main = self._main
        if main is None or not main.done():
            return False
        return main.cancelled() or main.exception() is not None or not self._holding

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

    def holds_back(self, task: asyncio.Task[Any]) -> bool:
        """Whether a cancellation of the run must not reach the task now; it is made up for behind the shield."""
        if not self._canceling_now or task not in self._shields:
            return False
        self.behind_shield(task, lambda: self._cancel_main(task))
        return True

    def shields_of(self, task: asyncio.Task[Any]) -> int:
        """How many shields the task is in."""
        return self._shields.get(task, 0)

    def behind_shield(self, task: asyncio.Task[Any], tell: Callable[[], object]) -> None:
        """Call this when the task leaves a shield."""
        self._held_back.setdefault(task, []).append(tell)

    def _cancel_main(self, task: asyncio.Task[Any]) -> None:
        """Deliver a cancellation of the run; shields hold it back."""
        self._canceling_now = True
        try:
            task.cancel()
        finally:
            self._canceling_now = False

    def close(self) -> None:
        tasks, self._tasks = list(self._tasks), {}
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for task in tasks:
                if not task.done():
                    _close_task(task)
        finally:
            events._set_running_loop(outer)
        self._ready.clear()
        self._conditions.clear()
        self._main = None

    def refuse(self) -> None:
        self._refusals += 1
        if self._refusals <= REFUSALS_MAX:
            raise WorkflowClosed
        # What it asks for never comes. It awaits that, so `close` gets the thread back.

    def sites(self) -> list[Site]:
        return [stack[0] for stack in self.stacks() if stack]

    def stacks(self) -> list[list[Site]]:
        return [_stack(task.get_coro()) for task in self._tasks if not task.done()]

    def disturbed(self) -> bool:
        return bool(self._ready)

    # --- what asyncio asks -----------------------------------------------------------------------

    def time(self) -> float:
        """Workflow time, in seconds since the epoch."""
        return self.machine.now_ns / SECOND_NS

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        # To the microsecond: seconds since the epoch have no finer grain in a float.
        delay_ns = round(delay * 1_000_000) * _MICROSECOND_NS
        if delay_ns <= 0:
            return self.call_soon(callback, *args, context=context)
        handle = _Timer(self.time() + delay, callback, args, self, context)
        # No part of a scope: that cancels the task which sleeps, and asyncio then this.
        token = SCOPE.set(None)
        try:
            handle.operation = self.machine.start_timer(delay_ns)
        finally:
            SCOPE.reset(token)
        handle.operation.listener = lambda operation: self._fire(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _fire(self, handle: _Timer) -> None:
        if not handle.cancelled():
            self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: _Timer) -> None:
        """asyncio.TimerHandle.cancel calls this."""
        if self.machine.barred != "closed":
            handle.operation.cancel()

    def create_future(self) -> asyncio.Future[Any]:
        future: _Future[Any] = _Future(loop=self)
        future.number = self.machine.next_number()
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        number = self.machine.next_number()
        if name is None:
            name = f"Task-{number & 0xFFFFF}"
        task: asyncio.Task[Any] = _Task(coro, number=number, loop=self, name=name, context=context, **options)
        scope = SCOPE.get()
        if scope is not None and context is None:
            scope.adopt_task(task)
        tasks = self._tasks
        tasks[task] = None
        if len(tasks) > self._tasks_limit:
            self._tasks = {known: None for known in tasks if not known.done()}
            self._tasks_limit = 2 * len(self._tasks) + 16
        return task

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

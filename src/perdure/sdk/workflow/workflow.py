"""`@workflow`, and everything that workflow code may ask for.

A workflow is an ordinary function that is run again, from its top, whenever its process was lost:
what it did before is handed back from history instead of done anew. So it must do the same again
when it is given the same: time, randomness, ids and the world outside come through here or through
activities. The guard (`sdk/guard/`) watches that.

`def` or `async def`: `call(...)` in the one is `await start(...)` in the other. asyncio's own sleep,
gather, wait, timeout, create_task, Event and Queue work in `async def` workflows, deterministically.

What happens to an exception that leaves the function:

* a FailureError (ApplicationError, ActivityError, CancelledError, ...) or TimeoutError fails the run, as do the
  types in `@workflow(fail_on=...)`;
* anything else is a bug. It fails the workflow task alone: the run stays open, nothing is lost, the
  task is tried again, and a deploy of mended code lets the run go on. This is Temporal's rule.
"""

from __future__ import annotations

import asyncio
import logging
import random
import typing
import uuid
from _thread import get_ident
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar, overload

import msgspec

from perdure.sdk.declare.definitions import (
    ActivityDefinition,
    WorkflowDefinition,
    default_registry,
    direct_call_guard,
)
from perdure.sdk.declare.named import NamedWorkflow, activity_given
from perdure.sdk.errors import DefinitionError, DeterminismViolation
from perdure.sdk.guard import install
from perdure.sdk.guard.talkers import quiet_in_replay
from perdure.sdk.interceptors import StartActivityInput, WorkflowChain
from perdure.sdk.option_names import lists_options, options_of
from perdure.sdk.options import SECOND_NS, Duration, parse_duration, sum_of_durations
from perdure.sdk.replay.activity import Activity, schedule_activity
from perdure.sdk.replay.entry import current_site, site_text
from perdure.sdk.replay.greenlets import GreenletFiber
from perdure.sdk.replay.info import ParentInfo, WorkflowInfo
from perdure.sdk.replay.marker import side_effect
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import current, running
from perdure.sdk.workflow.children import Children
from perdure.sdk.workflow.events import Events
from perdure.sdk.workflow.handles import ActivityHandle, Handle, TimerHandle, handle_of, operation_of
from perdure.sdk.workflow.kinds import (
    AsyncWorkflow,
    ClassWorkflow,
    SyncWorkflow,
    WorkflowDecorator,
    workflow_definition,
)
from perdure.sdk.workflow.logger import WorkflowLogger
from perdure.sdk.workflow.loop import WorkflowLoop
from perdure.sdk.workflow.messages import Messages
from perdure.sdk.workflow.properties import Properties
from perdure.sdk.workflow.scopes import CancelScope, Scopes
from perdure.sdk.workflow.shielding import Shielding
from perdure.sdk.workflow.timers import begin_timer, timer_handle
from perdure.sdk.workflow.unsafe import Unsafe
from perdure.sdk.workflow.versions import Versions

__all__ = [
    "ActivityHandle",
    "AsyncWorkflow",
    "CancelScope",
    "ClassWorkflow",
    "ParentInfo",
    "SyncWorkflow",
    "TimerHandle",
    "WorkflowInfo",
    "call",
    "start",
    "workflow",
]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
H = TypeVar("H", bound=Handle[Any])
E = TypeVar("E")
T = TypeVar("T")


def _schedule(machine: Run, what: str, activity: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity:
    return schedule_activity(machine, activity_given(what, activity), args, kwargs)


def _through(
    chain: WorkflowChain, what: str, activity: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ActivityHandle[Any]:
    definition = activity_given(what, activity)
    return chain.outbound.start_activity(StartActivityInput(definition, definition.bind(args, kwargs)))


@overload
def call(activity: ActivityDefinition[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
@overload
def call(activity: str, /, *args: Any) -> Any: ...
def call(activity: Any, /, *args: Any, **kwargs: Any) -> Any:
    """In a `def` workflow: run an activity, wait, and return its result.

    Args:
        activity: decorated with @activity, or `activity.named(...)`; a text names one whose code is elsewhere.
        args, kwargs: for it; where its name alone is known, by position.

    Raises:
        ActivityError: it failed for good; `.cause` says why (ApplicationError, TimedOutError, CancelledError).
        CancelledError: the workflow was cancelled; so was the activity.
        PayloadError: an argument cannot be serialised. Fails the task even if caught.
    """
    machine = current("call()")
    fiber = machine.fiber.blocking("call(...)", "`await start(...)`")
    if machine.chain is not None:
        return _through(machine.chain, "call()", activity, args, kwargs).result()
    return fiber.join(_schedule(machine, "call()", activity, args, kwargs))


@overload
def start(activity: ActivityDefinition[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ActivityHandle[R]: ...
@overload
def start(activity: str, /, *args: Any) -> ActivityHandle[Any]: ...
def start(activity: Any, /, *args: Any, **kwargs: Any) -> ActivityHandle[Any]:
    """Start an activity and go on. `await` the handle in an `async def` workflow, `.result()` in a `def` one.

    Args:
        activity, args, kwargs: as `call`'s.

    Raises:
        PayloadError: an argument cannot be serialised. Fails the task even if caught.
    """
    machine = current("start()")
    if machine.chain is not None:
        return _through(machine.chain, "start()", activity, args, kwargs)
    return handle_of(machine, _schedule(machine, "start()", activity, args, kwargs), ActivityHandle)


def _sleep_here(fiber: GreenletFiber, duration_ns: int, summary: str | None) -> Awaitable[None]:
    return fiber.settle(begin_timer(fiber.machine, duration_ns, summary), "workflow.sleep")


async def _sleep_async(fiber: WorkflowLoop, duration_ns: int, summary: str | None) -> None:
    await timer_handle(fiber.machine, duration_ns, summary)


def _wait_here(
    fiber: GreenletFiber, condition: Callable[[], object], timeout: Duration | None, timeout_summary: str | None
) -> bool:
    machine = fiber.machine
    if machine.look(condition):
        return True
    if timeout is None:
        fiber.wait(lambda: machine.look(condition))
        return True
    timer = begin_timer(machine, parse_duration(timeout, "timeout"), timeout_summary)
    try:
        fiber.wait(lambda: timer.done or machine.look(condition))
        return machine.look(condition)
    finally:
        if machine.barred is None:
            timer.cancel()


async def _wait_async(
    fiber: WorkflowLoop, condition: Callable[[], object], timeout: Duration | None, timeout_summary: str | None
) -> bool:
    """Looks at the condition when it is awaited."""
    machine = fiber.machine
    if machine.look(condition):
        return True
    future = fiber.condition(lambda: machine.look(condition))
    if timeout is None:
        return await future
    timer = timer_handle(machine, parse_duration(timeout, "timeout"), timeout_summary)
    try:
        await asyncio.wait((future, timer), return_when=asyncio.FIRST_COMPLETED)
        return future.done() and future.result()
    finally:
        future.cancel()
        if machine.barred is None:
            timer.cancel()


@lists_options
class WorkflowNamespace(Messages, Children, Events, Scopes, Shielding, Versions, Properties):
    """`workflow`: the decorator, and what workflow code may ask for: EngineError is raised where none runs."""

    def __init__(self) -> None:
        self.logger = WorkflowLogger(logging.getLogger("perdure.workflow"), None)
        self.unsafe = Unsafe()

    @overload
    def __call__(self, fn: type[T], /) -> type[T]: ...  # pyright: ignore[reportOverlappingOverload] - the special case
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncWorkflow[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncWorkflow[P, R]: ...
    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        fail_on: Sequence[type[BaseException]] = (),
        guard: bool = True,
        dynamic: bool = False,
    ) -> WorkflowDecorator: ...

    @options_of("@workflow")
    def __call__(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        fail_on: Sequence[type[BaseException]] = (),
        guard: bool = True,
        dynamic: bool = False,
    ) -> Any:
        """Make a function a workflow, or a class that has one method decorated with @workflow.run.

        Args:
            name: in history; default the function's.
            fail_on: exceptions that fail the run; any but these, FailureErrors and TimeoutErrors fail the task alone.
            guard: False to let the code read clocks, files and so on unwatched.
            dynamic: it runs every type that has no workflow of its own, and is given the type's name first.

        Raises:
            DefinitionError: the declaration cannot be; names the argument.
        """
        types = tuple(fail_on)
        for kind in types:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"fail_on must name exception classes, not {kind!r}")

        def decorate(function: Callable[..., Any]) -> WorkflowDefinition[Any, Any]:
            definition = workflow_definition(function, name)
            definition.fail_on = types
            definition.guarded = guard
            definition.dynamic = dynamic
            if guard:
                install()
            default_registry.add(definition)
            return definition

        return decorate if fn is None else decorate(fn)

    @overload
    @staticmethod
    def named(name: str, *, returns: type[T], task_queue: str | None = None) -> NamedWorkflow[T]: ...
    @overload
    @staticmethod
    def named(name: str, *, returns: Any = Any, task_queue: str | None = None) -> NamedWorkflow[Any]: ...
    @staticmethod
    def named(name: str, *, returns: Any = Any, task_queue: str | None = None) -> NamedWorkflow[Any]:
        """A workflow whose code is elsewhere, to be started, called as a child, or put on a schedule.

        Args:
            name: its type, as the workers that run it know it.
            returns: what its result is decoded to; default what the JSON says.
            task_queue: whose workers run it; default those of whoever starts it.

        Raises DefinitionError, TypeError, ValueError: the name or the queue cannot be.
        """
        return NamedWorkflow(name, returns=returns, task_queue=task_queue)

    # --- time ------------------------------------------------------------------------------------

    @staticmethod
    def now() -> datetime:
        """Workflow time, in UTC: when the server began the current workflow task. Stands still while code runs."""
        ns = current("workflow.now()").now_ns
        return datetime.fromtimestamp(ns // SECOND_NS, UTC) + timedelta(microseconds=ns % SECOND_NS // 1000)

    @staticmethod
    def time() -> float:
        """Workflow time in seconds since the epoch."""
        return current("workflow.time()").now_ns / SECOND_NS

    @staticmethod
    def time_ns() -> int:
        """Workflow time in nanoseconds since the epoch."""
        return current("workflow.time_ns()").now_ns

    @staticmethod
    def sleep(
        duration: Duration | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        summary: str | None = None,
    ) -> Awaitable[None]:
        """Sleep, durably: no thread and no memory is held, and restarts do not matter.

        In a `def` workflow it returns when the time has passed; in an `async def` one, await what it returns.

        Args:
            duration: seconds, a timedelta, or text such as "2 days".
            days, hours, minutes, seconds: instead of it, or together.
            summary: one line for people, shown in the history.

        Raises:
            CancelledError: the workflow was cancelled (`async def`: asyncio.CancelledError).
        """
        machine = current("workflow.sleep()")
        duration_ns = sum_of_durations(
            "sleep's duration", duration or 0, days=days, hours=hours, minutes=minutes, seconds=seconds
        )
        return machine.fiber.carry("workflow.sleep", _sleep_here, _sleep_async, duration_ns, summary)

    @staticmethod
    def timer(duration: Duration, *, summary: str | None = None) -> TimerHandle:
        """Start a durable timer and go on: for `workflow.wait_any`, or to be awaited later.

        `summary`: one line for people, shown in the history.
        """
        machine = current("workflow.timer()")
        return timer_handle(machine, parse_duration(duration, "timer's duration"), summary)

    # --- chance and the world outside --------------------------------------------------------------

    @staticmethod
    def random() -> random.Random:
        """The run's random generator; seeded by its run id, so replay throws the same dice."""
        return _random(current("workflow.random()"))

    @staticmethod
    def uuid4() -> uuid.UUID:
        """A UUID from the run's random generator."""
        return uuid.UUID(int=_random(current("workflow.uuid4()")).getrandbits(128), version=4)

    @overload
    @staticmethod
    def side_effect(make: Callable[[], R]) -> R: ...
    @overload
    @staticmethod
    def side_effect(make: Callable[[], Any], returns: type[E]) -> E: ...

    @staticmethod
    def side_effect(make: Callable[[], Any], returns: Any = None) -> Any:
        """Run `make` once, here, and record its value: for short, local things such as reading a setting.

        It may run again when the process dies before the value is recorded, so effects belong in activities.
        The guard is off inside. What comes back was encoded and decoded, by `returns` or make's annotation.

        Raises:
            PayloadError: the value cannot be serialised.
        """
        kind = returns
        if kind is None:
            kind = typing.get_type_hints(make).get("return", Any) if hasattr(make, "__annotations__") else Any
        return side_effect(current("workflow.side_effect()"), make, kind)

    # --- waiting -----------------------------------------------------------------------------------

    @staticmethod
    def wait_condition(
        condition: Callable[[], object], timeout: Duration | None = None, *, timeout_summary: str | None = None
    ) -> Any:
        """Wait until `condition()` is true, and say True; False when `timeout` passed first.

        In a `def` workflow it returns that; in an `async def` one, await what it returns.

        Args:
            condition: looked at whenever something happened to the workflow; it must only look at values.
            timeout: how long to wait; a durable timer.
            timeout_summary: one line for people about that timer, shown in the history.

        Raises:
            CancelledError: the workflow was cancelled (`async def`: asyncio.CancelledError).
        """
        machine = current("workflow.wait_condition()")
        what = "workflow.wait_condition"
        return machine.fiber.carry(what, _wait_here, _wait_async, condition, timeout, timeout_summary)

    @staticmethod
    def wait_all(*handles: Handle[Any], timeout: Duration | None = None) -> list[Any]:
        """In a `def` workflow: wait for all, and return their values in order.

        Raises:
            ActivityError: of the first handle, in their order, that failed; the others go on.
            TimeoutError: not all were done within `timeout`; they go on.
            CancelledError: the workflow was cancelled; so were they.
        """
        machine = current("workflow.wait_all()")
        _wait_many(machine, "workflow.wait_all", "`await asyncio.gather(...)`", handles, all, timeout)
        if not all(operation_of(h).done for h in handles):
            raise TimeoutError(f"not all of {len(handles)} were done within {timeout}")
        return [h.result() for h in handles]

    @staticmethod
    def wait_any(*handles: H, timeout: Duration | None = None) -> list[H]:
        """In a `def` workflow: wait for at least one, and return those that are done, in their order given.

        An empty list: `timeout` passed first. The others go on.
        """
        machine = current("workflow.wait_any()")
        instead = "`await asyncio.wait(..., return_when=asyncio.FIRST_COMPLETED)`"
        _wait_many(machine, "workflow.wait_any", instead, handles, any, timeout)
        return [h for h in handles if operation_of(h).done]

    # --- the run itself ------------------------------------------------------------------------------

    @staticmethod
    def info() -> WorkflowInfo:
        """Ids, type, queue, attempt, time-outs, search attributes."""
        machine = current("workflow.info()")
        info = machine.info
        assert info is not None
        if info.history_length != machine.history_length:
            info = machine.info = msgspec.structs.replace(
                info,
                history_length=machine.history_length,
                history_size_bytes=machine.history_size_bytes,
                continue_as_new_suggested=machine.continue_as_new_suggested,
            )
        return info

    @staticmethod
    def is_replaying() -> bool:
        """Whether history is being gone through again. Only for what is not the workflow's business, as metrics."""
        return current("workflow.is_replaying()").replaying

    @staticmethod
    def cancel_requested() -> bool:
        """Whether someone asked this run to stop."""
        return current("workflow.cancel_requested()").cancel_requested

    @staticmethod
    def history_length() -> int:
        """How many events the run has, up to the current workflow task."""
        return current("workflow.history_length()").history_length


def _random(machine: Run) -> random.Random:
    if machine.barred is not None:
        machine.check_open()
    generator = machine.random
    if not isinstance(generator, random.Random):
        assert machine.info is not None
        seed = machine.info.original_run_id
        generator = machine.random = random.Random(seed)
    return generator


def _wait_many(
    machine: Run,
    what: str,
    instead: str,
    handles: Sequence[Handle[Any]],
    enough: Callable[[Iterator[bool]], bool],
    timeout: Duration | None,
) -> None:
    fiber = machine.fiber.blocking(f"{what}(...)", instead)
    operations = [operation_of(handle) for handle in handles]
    if not operations or enough(operation.done for operation in operations):
        return
    cancels = operations if enough is all else ()
    if timeout is None:
        fiber.wait(lambda: enough(operation.done for operation in operations), cancels)
        return
    timer = begin_timer(machine, parse_duration(timeout, "timeout"))
    try:
        fiber.wait(lambda: timer.done or enough(operation.done for operation in operations), cancels)
    finally:
        if machine.barred is None:
            timer.cancel()


def _refuse_direct_call(name: str) -> None:
    machine = running.get(get_ident())
    if machine is not None and machine.guard and not machine.unguarded:
        _violate(machine, name)


def _violate(machine: Run, name: str) -> NoReturn:
    wait = "call" if machine.fiber.blocks else "await start"
    machine.violation = DeterminismViolation(
        f"workflow code runs the activity {name} itself, at {site_text(current_site())}: its result would not be "
        f"recorded, and replay would do it again; write `{wait}({name}, ...)`"
    )
    raise machine.violation


direct_call_guard.append(_refuse_direct_call)
quiet_in_replay()

workflow = WorkflowNamespace()

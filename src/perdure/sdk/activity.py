"""`@activity`, and what an activity may ask about itself while it runs.

An activity is where effects belong. It runs at least once: when its process dies after the
effect and before the result is recorded, the next attempt runs it again. `activity.info()`
therefore carries an `idempotency_key` that is the same for every attempt of one call, to be
handed to whatever has the effect.

The running attempt is found by a context variable, which the worker sets in whatever carries
the attempt: a task on the loop, a pool thread, a pool process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, MutableMapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, Protocol, TypeVar, cast, overload

import msgspec

from perdure.sdk.declare.definitions import (
    ActivityDefinition,
    AsyncActivity,
    SyncActivity,
    default_registry,
    needs_object,
)
from perdure.sdk.declare.named import NamedActivity
from perdure.sdk.declare.transaction import TransactionalActivity, TransactionalDecorator
from perdure.sdk.errors import CancelledError, DefinitionError, EngineError
from perdure.sdk.moments import former_ns, length_of, moment_of
from perdure.sdk.option_names import lists_options, options_of
from perdure.sdk.options import (
    ActivityOptions,
    Duration,
    Retry,
    activity_options,
    optional_duration,
)
from perdure.sdk.policies import Cancellation, RunIn

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class ActivityInfo(msgspec.Struct, frozen=True):
    """What a running attempt knows of itself. Times are datetimes in UTC, to the microsecond; time-outs timedeltas."""

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    activity_id: str
    activity_type: str
    attempt: int
    """1 for the first."""
    task_queue: str
    heartbeat_details: tuple[Any, ...]
    """What the previous attempt last reported with `heartbeat`."""
    _scheduled_at_ns: int
    _started_at_ns: int
    _start_to_close_ns: int
    _schedule_to_close_ns: int
    _heartbeat_ns: int
    task_token: bytes = b""
    """Names this attempt to `engine.activities.complete`; b"" for a local one."""

    @property
    def is_local(self) -> bool:
        """Whether the worker runs it within a workflow task (`call_local`): heartbeats then go nowhere."""
        return not self.task_token

    @property
    def idempotency_key(self) -> str:
        """Names this call, the same for every attempt: give it to the payment gateway."""
        return f"{self.run_id}:{self.activity_id}"

    @property
    def scheduled_at(self) -> datetime:
        """When the call was recorded; the same for every attempt."""
        return moment_of(self._scheduled_at_ns)

    @property
    def started_at(self) -> datetime:
        """When this attempt began."""
        return moment_of(self._started_at_ns)

    @property
    def start_to_close_timeout(self) -> timedelta | None:
        """How long this attempt may take, None: as long as it likes."""
        return length_of(self._start_to_close_ns)

    @property
    def schedule_to_close_timeout(self) -> timedelta | None:
        """How long all attempts together may take, None: as long as they like."""
        return length_of(self._schedule_to_close_ns)

    @property
    def heartbeat_timeout(self) -> timedelta | None:
        """How long this attempt may be silent, None: as long as it likes."""
        return length_of(self._heartbeat_ns)

    @property
    def deadline(self) -> datetime | None:
        """When this attempt times out, None: never."""
        ends = [
            start + length
            for start, length in (
                (self._started_at_ns, self._start_to_close_ns),
                (self._scheduled_at_ns, self._schedule_to_close_ns),
            )
            if length
        ]
        return moment_of(min(ends)) if ends else None

    if not TYPE_CHECKING:
        deadline_ns = former_ns("deadline_ns", "deadline")
        heartbeat_ns = former_ns("heartbeat_ns", "heartbeat_timeout", none=0)
        schedule_to_close_ns = former_ns("schedule_to_close_ns", "schedule_to_close_timeout", none=0)
        scheduled_at_ns = former_ns("scheduled_at_ns", "scheduled_at")
        start_to_close_ns = former_ns("start_to_close_ns", "start_to_close_timeout", none=0)
        started_at_ns = former_ns("started_at_ns", "started_at")


class ActivityContext(Protocol):
    """One running attempt, as the code that carries it provides it."""

    @property
    def info(self) -> ActivityInfo: ...

    def heartbeat(self, details: tuple[Any, ...]) -> None:
        """Report progress; from any thread; returns at once."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        ...

    async def wait_cancelled(self) -> None: ...

    def wait_cancelled_sync(self, timeout_ns: int | None) -> bool: ...


current_attempt: ContextVar[ActivityContext | None] = ContextVar("perdure_activity", default=None)


class CompleteAsync(BaseException):
    """Carries the wish to be completed from outside to the worker; no Exception, so that code does not catch it."""


def _current() -> ActivityContext:
    context = current_attempt.get()
    if context is None:
        raise EngineError(
            "not inside an activity: activity.info(), heartbeat() and is_cancelled() work in a function "
            "decorated with @activity while a worker runs it, and not in threads that it started itself"
        )
    return context


class _ActivityLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds which activity, workflow and attempt a line is from."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        context = current_attempt.get()
        if context is None:
            return msg, kwargs
        info = context.info
        extra: dict[str, Any] = {
            "workflow_id": info.workflow_id,
            "run_id": info.run_id,
            "activity_type": info.activity_type,
            "activity_id": info.activity_id,
            "attempt": info.attempt,
        }
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"{msg} ({info.activity_type} of {info.workflow_id}, attempt {info.attempt})", kwargs


class ActivityDecorator(Protocol):
    """`@activity(...)`: still to be given its function."""

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload] - a coroutine function is the special case
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncActivity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncActivity[P, R]: ...


@lists_options
class ActivityNamespace:
    """`activity`: the decorator, and what a running activity may ask, which raises EngineError outside of one."""

    def __init__(self) -> None:
        self.logger = _ActivityLogger(logging.getLogger("perdure.activity"), None)

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload] - a coroutine function is the special case
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncActivity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncActivity[P, R]: ...
    @overload
    def __call__(
        self,
        *,
        transactional: Literal[True],
        name: str | None = None,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        summary: str | None = None,
    ) -> TransactionalDecorator: ...
    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        local_retry_threshold: Duration | None = None,
        summary: str | None = None,
        run_in: RunIn | str = RunIn.AUTO,
        dynamic: bool = False,
    ) -> ActivityDecorator: ...

    @options_of("@activity")
    def __call__(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        local_retry_threshold: Duration | None = None,
        summary: str | None = None,
        run_in: RunIn | str = RunIn.AUTO,
        transactional: bool = False,
        dynamic: bool = False,
    ) -> Any:
        """Make a function an activity.

        Args:
            name: in history; default the function's.
            start_to_close_timeout: how long one attempt may take; default ten minutes when schedule_to_close_timeout is
                not given.
            schedule_to_close_timeout: how long all attempts together may take, waiting included.
            schedule_to_start_timeout: how long it may wait for a worker.
            heartbeat_timeout: how long an attempt may be silent; then it counts as dead.
            retry: when it is tried again; default: from 1 s, doubling, to 100 s, without end.
            task_queue: whose workers run it; default the workflow's own.
            cancellation: "try" (default), "wait" or "abandon": what the workflow does when it cancels a call.
            local_retry_threshold: of local calls (`call_local`): a back-off longer than this, default a minute, is
                waited for by a durable timer instead of in the worker.
            summary: one line for people, shown in the history; for one call: `.options(summary=...)`.
            transactional: the function's first parameter is the transaction in which its completion is recorded:
                what it writes there and the completion are durable together, or neither is. Embedded engine only.
            dynamic: it runs every type that has no activity of its own, and is given the type's name first.
            run_in: "thread" (a `def`'s default), "process" (a `def` that keeps a CPU busy), "loop" (`async def`).

        Raises:
            DefinitionError, ValueError, TypeError: the declaration cannot be; names the argument.
        """
        declared = activity_options(
            start_to_close_timeout=start_to_close_timeout,
            schedule_to_close_timeout=schedule_to_close_timeout,
            schedule_to_start_timeout=schedule_to_start_timeout,
            heartbeat_timeout=heartbeat_timeout,
            retry=retry,
            task_queue=task_queue,
            cancellation=cancellation,
            local_retry_threshold=local_retry_threshold,
            summary=summary,
        )

        def decorate(function: Any) -> ActivityDefinition[Any, Any]:
            if isinstance(function, ActivityDefinition):
                definition = _known_again(cast("ActivityDefinition[Any, Any]", function), name, declared)
            elif transactional:
                definition = TransactionalActivity[Any, Any](function, name=name, options=declared, run_in=run_in)
            else:
                definition = SyncActivity[Any, Any](function, name=name, options=declared, run_in=run_in)
                if definition.is_async:
                    definition = AsyncActivity[Any, Any](function, name=name, options=declared, run_in=run_in)
                definition.dynamic = dynamic
            if definition.is_declared:
                default_registry.add(definition)
            return definition

        return decorate if fn is None else decorate(fn)

    @overload
    def named(
        self,
        name: str,
        *,
        returns: type[T],
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        summary: str | None = None,
    ) -> NamedActivity[T]: ...
    @overload
    def named(
        self,
        name: str,
        *,
        returns: Any = Any,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        summary: str | None = None,
    ) -> NamedActivity[Any]: ...

    def named(
        self,
        name: str,
        *,
        returns: Any = Any,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        summary: str | None = None,
    ) -> NamedActivity[Any]:
        """An activity whose code is elsewhere: in another program, or another language.

        Args:
            name: its type, as the workers that run it know it.
            returns: what its result is decoded to; default what the JSON says.
            start_to_close_timeout, schedule_to_close_timeout, schedule_to_start_timeout, heartbeat_timeout, retry,
                task_queue, cancellation, summary: as of `@activity`, with the same defaults. What its own worker
                declares is not known here.

        Raises DefinitionError, TypeError, ValueError: the name or an option cannot be; names the argument.
        """
        declared = activity_options(
            start_to_close_timeout=start_to_close_timeout,
            schedule_to_close_timeout=schedule_to_close_timeout,
            schedule_to_start_timeout=schedule_to_start_timeout,
            heartbeat_timeout=heartbeat_timeout,
            retry=retry,
            task_queue=task_queue,
            cancellation=cancellation,
            summary=summary,
        )
        return NamedActivity(name, returns=returns, options=declared)

    def info(self) -> ActivityInfo:
        """Of the running attempt. Raises EngineError outside of one."""
        return _current().info

    def heartbeat(self, *details: Any) -> None:
        """Say that this attempt is alive, and how far it is; the next attempt gets `details` in `info()`.

        Cheap: reports are gathered and sent at most every 0.8 of the heartbeat time-out.

        Raises:
            CancelledError: in a `def` activity that was asked to stop (an `async def` one is cancelled by asyncio).
        """
        context = _current()
        context.heartbeat(details)
        if context.cancelled:
            raise CancelledError(f"activity {context.info.activity_type} was asked to stop")

    def raise_complete_async(self) -> NoReturn:
        """Leave without a result: `engine.activities.complete` or `.fail` will end this attempt later.

        Give them `activity.info().task_token`, or the ids. Until then the time-outs of the call run on. Not in
        `run_in="process"` and not in transactional activities.
        """
        _current()
        raise CompleteAsync

    def is_cancelled(self) -> bool:
        """Whether the running attempt was asked to stop. Learnt from heartbeats and from the worker's shutdown."""
        return _current().cancelled

    async def wait_for_cancelled(self) -> None:
        """In an `async def` activity: returns when it is asked to stop."""
        await _current().wait_cancelled()

    def wait_for_cancelled_sync(self, timeout: Duration | None = None) -> bool:
        """In a `def` activity: blocks until it is asked to stop; False when `timeout` passed first."""
        return _current().wait_cancelled_sync(optional_duration(timeout, "timeout"))


def _known_again(
    definition: ActivityDefinition[Any, Any], name: str | None, declared: ActivityOptions
) -> ActivityDefinition[Any, Any]:
    """A method of an object whose class has it decorated: for all engines of the process, perhaps by another name.

    Raises DefinitionError for what is an activity already, and has no object.
    """
    if not definition.is_declared:
        raise DefinitionError(needs_object(definition))
    if definition.instance is None or declared != ActivityOptions():
        called = definition.__name__
        raise DefinitionError(f"{called} is an activity already; to call it otherwise, write {called}.options(...)")
    return definition.renamed(name or definition.name)


activity = ActivityNamespace()

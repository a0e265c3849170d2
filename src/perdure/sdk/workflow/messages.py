"""The part of `workflow` that is about signals, queries and updates.

A function registers its handlers while it runs:

    @workflow
    def order(order_id):
        workflow.on_signal("approve", approve)
        workflow.wait_condition(lambda: approved)

A class declares them:

    @workflow
    class Order:
        @workflow.run
        def run(self, order_id): ...
        @workflow.signal
        def approve(self, who): ...

A handler may do whatever the workflow's function may: call activities, sleep, wait. It runs beside
the function, in a branch of its own; code runs until it waits, so nothing is ever between two lines.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from perdure.sdk.declare.callables import own_name
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.declare.handlers import RUN_MARK, Handler, Kind, UpdateDecorator, UpdateMethod, check_markable, marked
from perdure.sdk.errors import DefinitionError
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration, parse_duration
from perdure.sdk.policies import UnfinishedPolicy
from perdure.sdk.replay.greenlets import GreenletFiber
from perdure.sdk.replay.inbox import SignalWait, inbox_of
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import current
from perdure.sdk.workflow.handles import Handle, handle_of, wait_any
from perdure.sdk.workflow.loop import WorkflowLoop
from perdure.sdk.workflow.timers import begin_timer, timer_handle

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@lists_options
class Messages:
    """Handlers of signals, queries and updates."""

    # --- for classes -------------------------------------------------------------------------------

    @staticmethod
    def run(fn: F) -> F:
        """In a class: the method that is the workflow. Named `run`, it tells type checkers the workflow's result."""
        check_markable(fn, "@workflow.run")
        setattr(fn, RUN_MARK, True)
        return fn

    @overload
    def signal(self, fn: F, /) -> F: ...
    @overload
    def signal(
        self,
        *,
        name: str | None = None,
        dynamic: bool = False,
        unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN,
    ) -> Callable[[F], F]: ...

    def signal(
        self,
        fn: Any = None,
        *,
        name: str | None = None,
        dynamic: bool = False,
        unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN,
    ) -> Any:
        """In a class: a method that handles a signal.

        Args:
            name: of the signal; default the method's.
            dynamic: handle all signals that no other method does; the method is given the name first.
            unfinished: "wait": the run does not close before the handler has ended. "warn": it does, and says so.

        Raises DefinitionError.
        """
        return _method("signal", fn, name, dynamic, unfinished)

    @overload
    def query(self, fn: F, /) -> F: ...
    @overload
    def query(self, *, name: str | None = None, dynamic: bool = False) -> Callable[[F], F]: ...

    def query(self, fn: Any = None, *, name: str | None = None, dynamic: bool = False) -> Any:
        """In a class: a method that answers a query. It only looks: it must not wait, nor change anything.

        Args:
            name: of the query; default the method's.
            dynamic: answer all queries that no other method does; the method is given the name first.

        Raises DefinitionError.
        """
        return _method("query", fn, name, dynamic, "warn")

    @overload
    def update(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> UpdateMethod[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def update(self, fn: Callable[P, R], /) -> UpdateMethod[P, R, R]: ...
    @overload
    def update(
        self,
        *,
        name: str | None = None,
        dynamic: bool = False,
        unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN,
    ) -> UpdateDecorator: ...

    def update(
        self,
        fn: Any = None,
        *,
        name: str | None = None,
        dynamic: bool = False,
        unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN,
    ) -> Any:
        """In a class: a method that handles an update and answers it. Arguments as `signal`'s.

        `@method.validator` decorates the method that may reject an update before it is recorded.
        A FailureError that it raises is the client's answer; any other exception is a bug and fails the task.
        """

        def decorate(function: Callable[..., Any]) -> UpdateMethod[..., Any, Any]:
            check_markable(function, "@workflow.update")
            return UpdateMethod(function, _name(function, name, dynamic), unfinished)

        return decorate if fn is None else decorate(fn)

    # --- for functions -----------------------------------------------------------------------------

    @staticmethod
    def on_signal(
        name: str | None, handler: Callable[..., Any], *, unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN
    ) -> None:
        """Have `handler(*args)` run for each signal of that name, those that came before this call first.

        Args:
            name: None: for all names that have no handler, as `handler(name, *args)`.
            unfinished: "wait": the run does not close before the handler has ended. "warn": it does, and says so.

        Raises DefinitionError when the handler does not fit the workflow.
        """
        machine = current("workflow.on_signal()")
        inbox_of(machine).on_signal(_handler(machine, handler, "signal", name, unfinished))

    @staticmethod
    def on_query(name: str | None, handler: Callable[..., Any]) -> None:
        """Have `handler(*args)` answer queries of that name; None: the others, as `handler(name, *args)`.

        Raises DefinitionError when the handler is `async def`: it only looks.
        """
        machine = current("workflow.on_query()")
        inbox_of(machine).on_query(_handler(machine, handler, "query", name, "warn"))

    @staticmethod
    def on_update(
        name: str | None,
        handler: Callable[..., Any],
        *,
        validator: Callable[..., Any] | None = None,
        unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN,
    ) -> None:
        """Have `handler(*args)` run for each update of that name; what it returns, or raises, is the answer.

        Args:
            name: None: for all names that have no handler, as `handler(name, *args)`.
            validator: given the same arguments before; raises to reject the update, which then leaves no trace.
            unfinished: as in `on_signal`.

        Raises DefinitionError when the handler does not fit the workflow.
        """
        machine = current("workflow.on_update()")
        inbox_of(machine).on_update(_handler(machine, handler, "update", name, unfinished, validator))

    @staticmethod
    def wait_signal(name: str, timeout: Duration | None = None, *, returns: Any = Any) -> Any:
        """Wait for the next signal of that name which no handler takes, and return its value.

        In a `def` workflow it returns the value; in an `async def` one, await what it returns. A signal that came
        before is kept for this. The value is the signal's argument; None without one, a list of several.

        Args:
            timeout: how long to wait.
            returns: what the value is decoded to.

        Raises:
            TimeoutError: the builtin one; `timeout` passed.
            CancelledError: the workflow was cancelled.
        """
        machine = current("workflow.wait_signal()")
        wait = inbox_of(machine).wait(name, returns)
        return machine.fiber.carry("workflow.wait_signal", _wait_here, _wait_async, wait, timeout)

    @staticmethod
    def all_handlers_finished() -> bool:
        """Whether no handler of a signal or an update is under way: to be waited for before returning."""
        inbox = current("workflow.all_handlers_finished()").inbox
        return inbox is None or not inbox.running


def _wait_here(fiber: GreenletFiber, wait: SignalWait, timeout: Duration | None) -> Any:
    if timeout is None or wait.done:
        return fiber.join(wait)
    machine = fiber.machine
    timer = begin_timer(machine, parse_duration(timeout, "timeout"))
    try:
        fiber.wait(lambda: wait.done or timer.done, (wait,))
    finally:
        if machine.barred is None:
            timer.cancel()
    return _value_of(wait, timeout)


async def _wait_async(fiber: WorkflowLoop, wait: SignalWait, timeout: Duration | None) -> Any:
    machine = fiber.machine
    handle = handle_of(machine, wait, Handle)
    if timeout is None or wait.done:
        return wait.result() if wait.done else await handle
    timer = timer_handle(machine, parse_duration(timeout, "timeout"))
    try:
        await wait_any(handle, timer)
    finally:
        if machine.barred is None:
            timer.cancel()
            if not wait.done:
                wait.listener = None
                wait.cancel()
    return _value_of(wait, timeout)


def _value_of(wait: SignalWait, timeout: Duration) -> Any:
    """Of a wait that ended, or whose time is up."""
    if wait.done and wait.error is None:
        return wait.value
    wait.cancel()
    raise TimeoutError(f"no signal {wait.name!r} came within {timeout}")


def _name(fn: Callable[..., Any], name: str | None, dynamic: bool) -> str | None:
    if dynamic and name is not None:
        raise DefinitionError(f"{fn.__qualname__} is dynamic, so it has no name of its own: leave out {name!r}")
    known = name or own_name(fn)
    if known is None and not dynamic:
        raise DefinitionError("a lambda has no name that clients could use: say name=...")
    return None if dynamic else known


def _method(kind: Kind, fn: Any, name: str | None, dynamic: bool, unfinished: UnfinishedPolicy | str) -> Any:
    def decorate(function: F) -> F:
        check_markable(function, f"@workflow.{kind}")
        return marked(function, kind, _name(function, name, dynamic), unfinished)

    return decorate if fn is None else decorate(fn)


def _handler(
    machine: Run,
    fn: Callable[..., Any],
    kind: Kind,
    name: str | None,
    unfinished: UnfinishedPolicy | str,
    validator: Callable[..., Any] | None = None,
) -> Handler:
    handler = Handler(fn, kind, name, unfinished=unfinished, validator=validator)
    definition: AnyWorkflow = machine.definition
    if handler.is_async and not definition.is_async:
        raise DefinitionError(
            f"the handler of {kind} {name!r} is `async def` and the workflow {definition.name} is not; "
            "make both `async def`, or both `def`"
        )
    return handler

"""One workflow id, perhaps one run of it, as the outside sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, TypeVarTuple, Unpack, overload

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, HistoryEventFilterType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.client import enlisting, inquiry, messages
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.descriptions import WorkflowDescription
from perdure.sdk.client.message_options import Accepted, Awaited, Completed, Identified, SignalOptions
from perdure.sdk.client.outbound import describe
from perdure.sdk.client.resets import Step, check_place, request_of, task_before
from perdure.sdk.client.resets import name_of as step_name
from perdure.sdk.client.results import next_run_of, result_of
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.declare.handlers import UpdateMethod, addressed
from perdure.sdk.interceptors import (
    CancelWorkflowInput,
    DescribeWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
)
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import SECOND_NS, Duration, optional_duration
from perdure.sdk.policies import Reapply, WaitFor, waited_for

R = TypeVar("R")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Request = TypeVar("Request")
Response = TypeVar("Response")

_CLOSE_EVENT = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
_CLOSED_BY = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)


@lists_options
@sends_texts
class AsyncWorkflowHandle(Generic[R]):
    """Asks after a workflow, and steers it.

    Attributes:
        id: the workflow id.
        run_id: the run that was started or attached to; None: whichever is current.
        update_of_start: the update that went along with the start (`start_update`); None without one.
    """

    update_of_start: messages.AsyncUpdateHandle[Any] | None = None
    _enlisted: enlisting.Enlisted | None = None

    def __init__(self, reach: Reach, workflow_id: str, run_id: str | None, result_type: Any = Any) -> None:
        self._reach = reach
        self.id = workflow_id
        self.run_id = run_id
        self._result_type = result_type

    def __repr__(self) -> str:
        return f"<AsyncWorkflowHandle {self.id!r}{f' run {self.run_id}' if self.run_id else ''}>"

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for the result, over continued runs to the last one.

        Args:
            timeout: give up waiting; the workflow goes on.

        Raises:
            WorkflowFailedError: it closed without a result; the cause says why.
            WorkflowNotFoundError: there is no such workflow.
            TimeoutError: the builtin one; `timeout` passed.
            EngineError: it was started with `connection`, and that transaction is not committed yet.
        """
        limit_ns = optional_duration(timeout, "timeout")
        if limit_ns is None or timeout is None:
            return await self._result()
        try:
            async with asyncio.timeout(limit_ns / SECOND_NS):
                return await self._result()
        except TimeoutError:
            pass  # what it waits for is asked for outside of the handler, so that the error has no other behind it
        raise await inquiry.timed_out(self._reach, self.id, f"workflow {self.id!r} has not closed", timeout)

    async def _result(self) -> R:
        if self._enlisted is not None:
            await self._enlisted.done()
            self._enlisted = None
        run_id = self.run_id or ""
        while True:
            event = await self._closing_event(run_id)
            run_id = next_run_of(event)
            if not run_id:
                return result_of(event, self._result_type, self._reach.converter, self.id, self.run_id or "")

    async def _closing_event(self, run_id: str) -> HistoryEvent:
        request = service.GetWorkflowExecutionHistoryRequest()
        request.namespace = self._reach.namespace
        request.execution.workflow_id = self.id
        request.execution.run_id = run_id
        request.wait_new_event = True
        request.history_event_filter_type = _CLOSE_EVENT
        while True:
            page = await self._reach.ask(
                self._reach.connection.get_workflow_execution_history, request, f"the result of workflow {self.id!r}"
            )
            events = page.history.events
            if events and events[-1].event_type in _CLOSED_BY:
                return events[-1]
            request.next_page_token = page.next_page_token

    async def describe(self, *, stack: bool = True) -> WorkflowDescription:
        """How it stands, and what it waits for.

        Args:
            stack: ask a worker at which line its code waits, if one polls; at most a second.

        Raises:
            WorkflowNotFoundError: there is no such run.
        """
        outbound, given = self._reach.outbound, DescribeWorkflowInput(self.id, self.run_id, stack)
        return await (describe(self._reach, given) if outbound is None else outbound.describe_workflow(given))

    async def history(self) -> list[HistoryEvent]:
        """All events of the run, from the first. Raises WorkflowNotFoundError."""
        return await self._events(self._execution())

    async def cancel(self, reason: str = "") -> None:
        """Ask the workflow to stop; it may clean up, or go on. Raises WorkflowNotFoundError when it is closed."""
        outbound, given = self._reach.outbound, CancelWorkflowInput(self.id, self.run_id, reason)
        await (messages.request_cancel(self._reach, given) if outbound is None else outbound.cancel_workflow(given))

    async def terminate(self, reason: str = "") -> None:
        """End the workflow now; its code is not asked. Raises WorkflowNotFoundError when it is closed."""
        outbound, given = self._reach.outbound, TerminateWorkflowInput(self.id, self.run_id, reason)
        await (messages.terminate(self._reach, given) if outbound is None else outbound.terminate_workflow(given))

    async def pause(self, reason: str = "") -> None:
        """Let nothing of it run: it collects what happens until `unpause`. Raises WorkflowNotFoundError."""
        request = service.PauseWorkflowExecutionRequest(**self._steering(), reason=reason)
        await self._ask(self._reach.connection.pause_workflow_execution, request, "pausing")

    async def unpause(self, reason: str = "") -> None:
        """Let it go on. Raises WorkflowNotFoundError; EngineError when it is not paused."""
        request = service.UnpauseWorkflowExecutionRequest(**self._steering(), reason=reason)
        await self._ask(self._reach.connection.unpause_workflow_execution, request, "unpausing")

    def _steering(self) -> dict[str, str]:
        reach = self._reach
        return {
            "namespace": reach.namespace,
            "workflow_id": self.id,
            "run_id": self.run_id or "",
            "identity": reach.identity,
            "request_id": reach.new_id(),
        }

    async def reset(
        self,
        *,
        event_id: int | None = None,
        step: Step | None = None,
        nth: int = -1,
        reason: str = "",
        reapply: Reapply | str = Reapply.ALL,
    ) -> AsyncWorkflowHandle[R]:
        """Begin a new run that has everything up to a point of an earlier one, and goes on differently from there.

        The run that was current is terminated. Either `event_id` or `step` says where:

        Args:
            event_id: of a WorkflowTaskCompleted, or of the event behind a WorkflowTaskStarted: that task is done anew.
            step: an activity (or its name), a child workflow, or "timer": the task that called it is done anew.
            nth: which of its calls: 1 is the first, -1 the last.
            reason: for people.
            reapply: which of the signals and updates from after that point the new run is told again.

        Gives back a handle to the new run.

        Raises:
            WorkflowNotFoundError: there is no such run.
            ValueError: there is no such step.
            EngineError: it cannot be reset there.
        """
        reach, run_id = self._reach, self.run_id or ""
        check_place(event_id, step)
        if event_id is None:
            run_id = run_id or await self._current_run()
            execution = WorkflowExecution(workflow_id=self.id, run_id=run_id)
            event_id = task_before(await self._events(execution), step_name(step), nth)
        request = request_of(reach, self.id, run_id, event_id, reason, reapply)
        response = await self._ask(reach.connection.reset_workflow_execution, request, "resetting")
        return AsyncWorkflowHandle(reach, self.id, response.run_id, self._result_type)

    @overload
    async def signal(self, signal: Callable[Concatenate[Any, P], object], *args: P.args, **named: P.kwargs) -> None: ...
    @overload
    async def signal(
        self, signal: Callable[[Any, *Ts], object], *args: *Ts, **options: Unpack[SignalOptions]
    ) -> None: ...
    @overload
    async def signal(self, signal: str, *args: Any, **options: Unpack[SignalOptions]) -> None: ...
    async def signal(
        self, signal: Any, *args: Any, request_id: str | None = None, connection: Any = None, **named: Any
    ) -> None:
        """Tell the workflow something. It is durable when this returns, whether or not a worker runs.

        Args:
            signal: its name, or the method that handles it.
            args, named: for the handler; by name where it is given as a method.
            request_id: the idempotency key: the same id again changes nothing. Default a fresh UUID.
            connection: psycopg's or asyncpg's: it is told when the transaction of this connection is committed, as
                with `start`; whether there is such a run is asked then.

        Raises:
            WorkflowNotFoundError: there is no such run, or it is closed.
            PayloadError: an argument cannot be serialised.
            TypeError: the arguments do not fit the method; likewise of a query and an update.
        """
        await messages.signal(self._reach, self._execution(), signal, args, named, request_id, connection)

    @overload
    async def query(self, query: Callable[Concatenate[Any, P], T], *args: P.args, **named: P.kwargs) -> T: ...
    @overload
    async def query(self, query: str, *args: Any, returns: type[T]) -> T: ...
    @overload
    async def query(self, query: str, *args: Any, returns: Any = Any) -> Any: ...
    async def query(self, query: Any, *args: Any, returns: Any = Any, **named: Any) -> Any:
        """Ask the workflow something, open or closed; it is not changed. `__stack_trace`: where its code waits.

        Args:
            query: its name, or the method that answers it.
            args, named: for the handler; by name where it is given as a method.
            returns: what the answer is decoded to; default the method's annotation, else what the JSON says.

        Raises:
            QueryFailedError: the handler raised, or there is none.
            WorkflowNotFoundError: there is no such run.
            EngineError: no worker answered; one must be running.
        """
        return await messages.query(self._reach, self._execution(), query, args, named, returns)

    @overload
    async def update(
        self, update: UpdateMethod[Concatenate[Any, P], Any, T], *args: P.args, **named: P.kwargs
    ) -> T: ...
    @overload
    async def update(
        self, update: Callable[[Any, *Ts], Coroutine[Any, Any, T]], *args: *Ts, **options: Unpack[Accepted]
    ) -> messages.AsyncUpdateHandle[T]: ...
    @overload
    async def update(
        self, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[Accepted]
    ) -> messages.AsyncUpdateHandle[T]: ...
    @overload
    async def update(
        self, update: Callable[[Any, *Ts], Coroutine[Any, Any, T]], *args: *Ts, **options: Unpack[Identified]
    ) -> T: ...
    @overload
    async def update(self, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[Identified]) -> T: ...
    @overload
    async def update(
        self, update: Callable[[Any, *Ts], Coroutine[Any, Any, T]], *args: *Ts, **options: Unpack[Awaited]
    ) -> T: ...
    @overload
    async def update(self, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[Awaited]) -> T: ...
    @overload
    async def update(self, update: str, *args: Any, **options: Unpack[Accepted]) -> messages.AsyncUpdateHandle[Any]: ...
    @overload
    async def update(self, update: str, *args: Any, **options: Unpack[Completed]) -> Any: ...
    async def update(
        self,
        update: Any,
        *args: Any,
        update_id: str | None = None,
        wait_for: WaitFor | str = WaitFor.COMPLETED,
        returns: Any = Any,
        **named: Any,
    ) -> Any:
        """Have the workflow do something, and get its answer.

        Args:
            update: its name, or the method that handles it.
            args, named: for the handler; by name where it is given as a method.
            update_id: the idempotency key: the same id is the same update. Default a fresh UUID.
            wait_for: "accepted": give back an AsyncUpdateHandle as soon as the workflow has taken it.
            returns: what the answer is decoded to; default the method's annotation, else what the JSON says.

        Raises:
            UpdateFailedError: it was rejected, or its handler raised; the cause says why.
            WorkflowNotFoundError: there is no such run, or it is closed.
        """
        name, args = addressed("update", update, args, named, ("update_id", "wait_for", "returns"))
        outbound, kind = self._reach.outbound, messages.returns_of(update, returns)
        given = StartWorkflowUpdateInput(self.id, self.run_id, name, args, update_id, wait_for, kind)
        handle = await (
            messages.start_update(self._reach, given) if outbound is None else outbound.start_workflow_update(given)
        )
        return handle if waited_for(wait_for) is WaitFor.ACCEPTED else await handle.result()

    def update_handle(self, update_id: str, *, returns: Any = Any) -> messages.AsyncUpdateHandle[Any]:
        """A handle to an update that was sent before, perhaps by another process; nothing is asked, so nothing raises.

        Args:
            returns: what the answer is decoded to; default what the JSON says.
        """
        return messages.AsyncUpdateHandle(self._reach, update_id, update_id, self._execution(), returns, None)

    def _execution(self) -> WorkflowExecution:
        return WorkflowExecution(workflow_id=self.id, run_id=self.run_id or "")

    async def _current_run(self) -> str:
        described = await inquiry.describe(self._reach, self._execution())
        return described.workflow_execution_info.execution.run_id

    async def _events(self, execution: WorkflowExecution) -> list[HistoryEvent]:
        request = service.GetWorkflowExecutionHistoryRequest(namespace=self._reach.namespace, execution=execution)
        events: list[HistoryEvent] = []
        while True:
            page = await self._reach.ask(
                self._reach.connection.get_workflow_execution_history, request, f"the history of workflow {self.id!r}"
            )
            events.extend(page.history.events)
            if not page.next_page_token:
                return events
            request.next_page_token = page.next_page_token

    async def _ask(self, rpc: Callable[[Request], Awaitable[Response]], request: Request, what: str) -> Response:
        return await self._reach.ask(rpc, request, f"{what} workflow {self.id!r}")

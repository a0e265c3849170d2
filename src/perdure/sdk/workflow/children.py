"""Workflows that start, signal and cancel other workflows, or go on as a new run of themselves.

A child is a workflow of its own, with its own history; its parent waits for it as for an activity. A
workflow that never ends continues as new now and then, so that its history stays short:

    if workflow.info().continue_as_new_suggested:
        workflow.continue_as_new(state)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, TypeVarTuple, Unpack, cast, overload

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType, WorkflowIdReusePolicy
from temporalio.api.enums.v1 import ParentClosePolicy as WireClosePolicy

from perdure.sdk.convert.user_metadata import put_metadata
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.declare.handlers import addressed
from perdure.sdk.declare.named import NamedWorkflow, workflow_given
from perdure.sdk.declare.search_attributes import SearchAttributes, payloads_of
from perdure.sdk.declare.startable import ChildOptions, Runs, StartableWorkflow
from perdure.sdk.interceptors import (
    ContinueAsNewInput,
    SignalExternalWorkflowInput,
    StartChildWorkflowInput,
    put_headers,
)
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import (
    Duration,
    Retry,
    positive_duration,
)
from perdure.sdk.policies import (
    Cancellation,
    IdReusePolicy,
    ParentClosePolicy,
    cancellation_of,
    close_policy,
    reuse_policy,
)
from perdure.sdk.replay.child import CancelExternal, Child, SignalExternal
from perdure.sdk.replay.completion import ContinueAsNew
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import current
from perdure.sdk.starting import put_notes, put_repetition, put_timeouts
from perdure.sdk.texts import check_text
from perdure.sdk.workflow.handles import Handle, handle_of

R = TypeVar("R")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


@lists_options
class ExternalHandle:
    """Another workflow, as workflow code may steer it: `.id`, `.run_id`.

    `signal` and `cancel` return when the other workflow has been told; in `async def` workflows, await them. They raise
    ApplicationError of type WorkflowNotFound when there is no open one.
    """

    def __init__(self, machine: Run, workflow_id: str, run_id: str | None) -> None:
        self._machine = machine
        self.id = workflow_id
        self.run_id = run_id

    @overload
    def signal(
        self, signal: Callable[Concatenate[Any, P], object], *args: P.args, **named: P.kwargs
    ) -> Awaitable[None]: ...
    @overload
    def signal(self, signal: str, *args: Any) -> Awaitable[None]: ...
    def signal(self, signal: Any, *args: Any, **named: Any) -> Awaitable[None]:
        """Send a signal, given by its name or as the method that handles it. Raises PayloadError, TypeError."""
        signal, args = addressed("signal", signal, args, named, ())
        return _signal(self._machine, SignalExternalWorkflowInput(self.id, self.run_id, signal, args, False))

    def cancel(self) -> Awaitable[None]:
        """Ask it to stop."""
        operation = CancelExternal(self._machine, self.id, self.run_id or "", is_child=False)
        self._machine.emit(operation)
        return self._machine.fiber.settle(operation, "external.cancel")


@lists_options
class ChildHandle(Handle[R]):
    """A child workflow under way: a handle that knows whose it is.

    `result` raises ChildWorkflowError of one that has not ended well, `signal` ApplicationError of one that is not
    there (any more), and `cancel` nothing.
    """

    __slots__ = ()

    @property
    def id(self) -> str:
        """The child's workflow id."""
        return cast(Child, self._operation).id

    @property
    def run_id(self) -> str | None:
        """None until it was started."""
        return cast(Child, self._operation).run_id

    @overload
    def signal(
        self, signal: Callable[Concatenate[Any, P], object], *args: P.args, **named: P.kwargs
    ) -> Awaitable[None]: ...
    @overload
    def signal(self, signal: str, *args: Any) -> Awaitable[None]: ...
    def signal(self, signal: Any, *args: Any, **named: Any) -> Awaitable[None]:
        """As `ExternalHandle.signal`."""
        signal, args = addressed("signal", signal, args, named, ())
        machine = cast(Child, self._operation).machine
        return _signal(machine, SignalExternalWorkflowInput(self.id, None, signal, args, True))


def _signal(machine: Run, input: SignalExternalWorkflowInput) -> Awaitable[None]:
    return (
        signal_external(machine, input)
        if machine.chain is None
        else (machine.chain.outbound.signal_external_workflow(input))
    )


def signal_external(machine: Run, input: SignalExternalWorkflowInput) -> Awaitable[None]:
    """Signal another workflow, and wait until that has it."""
    operation = send_signal(
        machine, input.id, input.run_id or "", input.signal, tuple(input.args), is_child=input.is_child,
        headers=input.headers,
    )  # fmt: skip
    return machine.fiber.settle(operation, "child.signal" if input.is_child else "external.signal")


def send_signal(
    machine: Run,
    workflow_id: str,
    run_id: str,
    name: str,
    args: tuple[Any, ...],
    *,
    is_child: bool,
    headers: Mapping[str, Payload] | None = None,
) -> SignalExternal:
    """Begin to signal another workflow; done when that has it, or failed: ApplicationError WorkflowNotFound."""
    operation = SignalExternal(machine, workflow_id, run_id, is_child=is_child)
    operation.name = name
    if not machine.replaying:
        command = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
        attributes = command.signal_external_workflow_execution_command_attributes
        try:
            attributes.namespace = machine.namespace
            attributes.execution.workflow_id, attributes.execution.run_id = workflow_id, run_id
            attributes.signal_name, attributes.child_workflow_only = name, is_child
            attributes.input.payloads.extend(machine.converter.to_payloads(args, f"the arguments of signal {name}"))
            if headers:
                put_headers(attributes.header, headers)
        except Exception as error:
            raise machine.not_built(f"signal {name} to {workflow_id}", error) from error.__cause__
        operation.command = command
    machine.emit(operation)
    return operation


@overload
def start_child(workflow: NamedWorkflow[R], /, *args: Any, **options: Unpack[ChildOptions]) -> ChildHandle[R]: ...
@overload
def start_child(
    workflow: StartableWorkflow[*Ts, R], /, *args: *Ts, **options: Unpack[ChildOptions]
) -> ChildHandle[R]: ...
@overload
def start_child(
    workflow: type[Runs[*Ts, Coroutine[Any, Any, R]]], /, *args: *Ts, **options: Unpack[ChildOptions]
) -> ChildHandle[R]: ...
@overload
def start_child(workflow: type[Runs[*Ts, R]], /, *args: *Ts, **options: Unpack[ChildOptions]) -> ChildHandle[R]: ...
@overload
def start_child(workflow: str, /, *args: Any, **options: Unpack[ChildOptions]) -> ChildHandle[Any]: ...
@lists_options
def start_child(
    workflow: Any,
    /,
    *args: Any,
    id: str | None = None,
    task_queue: str | None = None,
    parent_close_policy: ParentClosePolicy | str = ParentClosePolicy.TERMINATE,
    cancellation: Cancellation | str = Cancellation.WAIT,
    id_reuse_policy: IdReusePolicy | str = IdReusePolicy.ALLOW_DUPLICATE,
    execution_timeout: Duration | None = None,
    run_timeout: Duration | None = None,
    task_timeout: Duration | None = None,
    retry: Retry | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: SearchAttributes | None = None,
    cron_schedule: str | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> ChildHandle[Any]:
    """In a workflow: start another one and go on. `await` the handle, or `.result()` in a `def` workflow.

    Args:
        workflow: what is started: decorated with @workflow, or `workflow.named(...)`; a text names one whose code is
            elsewhere.
        args: its positional arguments.
        id: default made of this run's id and a number.
        task_queue: whose workers run it; default this workflow's own.
        parent_close_policy: what becomes of it when this workflow closes first.
        cancellation: when the call is cancelled: "wait" until it has ended, "try" without waiting, "abandon" it.
        id_reuse_policy: for a closed run of that id.
        execution_timeout, run_timeout, task_timeout: as in `Engine.start`.
        retry: run it again as a whole when it fails; default never.
        memo, search_attributes: as in `Engine.start`; this workflow's own are not handed on.
        cron_schedule, static_summary, static_details: as in `Engine.start`.

    Raises:
        PayloadError: an argument cannot be serialised. Fails the task even if caught.
        DefinitionError, ValueError: what is asked for cannot be; names the argument.
    """
    machine = current("start_child()")
    definition = workflow_given(workflow)
    options: ChildOptions = {
        "id": id,
        "task_queue": task_queue,
        "parent_close_policy": parent_close_policy,
        "cancellation": cancellation,
        "id_reuse_policy": id_reuse_policy,
        "execution_timeout": execution_timeout,
        "run_timeout": run_timeout,
        "task_timeout": task_timeout,
        "retry": retry,
        "memo": memo,
        "search_attributes": search_attributes,
        "cron_schedule": cron_schedule,
        "static_summary": static_summary,
        "static_details": static_details,
    }
    if machine.chain is not None:
        input = StartChildWorkflowInput(definition, definition.bind(args, {}), cast("dict[str, Any]", options))
        return machine.chain.outbound.start_child_workflow(input)
    return begin_child(machine, definition, args, options)


def begin_child(
    machine: Run,
    definition: AnyWorkflow,
    args: tuple[Any, ...],
    options: ChildOptions,
    headers: Mapping[str, Payload] | None = None,
) -> ChildHandle[Any]:
    """The child of a call: its command, and its handle. Raises as `start_child`."""
    machine.check_open()
    bound = definition.bind(args, {})
    id, task_queue = options.get("id"), options.get("task_queue")
    check_text(id, "id")
    check_text(task_queue, "task_queue")
    number = machine.next_child()
    assert machine.info is not None
    workflow_id = id or f"{machine.info.original_run_id}_{number}"
    cancellation = cancellation_of(options.get("cancellation", Cancellation.WAIT))
    child = Child(machine, definition.name, workflow_id, definition.return_type, cancellation)
    command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.namespace = machine.namespace
    attributes.workflow_id = workflow_id
    attributes.workflow_type.name = definition.name
    attributes.task_queue.name = task_queue or definition.task_queue or machine.task_queue
    closing = close_policy(options.get("parent_close_policy", ParentClosePolicy.TERMINATE))
    attributes.parent_close_policy = cast(WireClosePolicy.ValueType, closing.number)
    reuse = reuse_policy(options.get("id_reuse_policy", IdReusePolicy.ALLOW_DUPLICATE))
    attributes.workflow_id_reuse_policy = cast(WorkflowIdReusePolicy.ValueType, reuse.number)
    put_timeouts(attributes, options.get("execution_timeout"), options.get("run_timeout"), options.get("task_timeout"))
    put_repetition(attributes, options.get("retry"), options.get("cron_schedule"))
    if not machine.replaying:
        _fill(child, command, bound, options, headers)
        child.command = command
    machine.emit(child)
    return handle_of(machine, child, ChildHandle)


def _fill(
    child: Child,
    command: Command,
    args: tuple[Any, ...],
    options: ChildOptions,
    headers: Mapping[str, Payload] | None,
) -> None:
    """What is encoded, and so is not there in replay."""
    machine = child.machine
    attributes = command.start_child_workflow_execution_command_attributes
    to_payloads = machine.converter.to_payloads
    try:
        attributes.input.payloads.extend(to_payloads(args, f"the arguments of workflow {child.name}"))
        put_notes(attributes, machine.converter, options.get("memo"), options.get("search_attributes"))
        put_metadata(command, machine.converter, options.get("static_summary"), options.get("static_details"))
        if headers:
            put_headers(attributes.header, headers)
    except Exception as error:
        raise machine.not_built(child.describe(), error) from error.__cause__


@overload
def call_child(workflow: NamedWorkflow[R], /, *args: Any, **options: Unpack[ChildOptions]) -> R: ...
@overload
def call_child(workflow: StartableWorkflow[*Ts, R], /, *args: *Ts, **options: Unpack[ChildOptions]) -> R: ...
@overload
def call_child(
    workflow: type[Runs[*Ts, Coroutine[Any, Any, R]]], /, *args: *Ts, **options: Unpack[ChildOptions]
) -> R: ...
@overload
def call_child(workflow: type[Runs[*Ts, R]], /, *args: *Ts, **options: Unpack[ChildOptions]) -> R: ...
@overload
def call_child(workflow: str, /, *args: Any, **options: Unpack[ChildOptions]) -> Any: ...
@lists_options
def call_child(
    workflow: Any,
    /,
    *args: Any,
    id: str | None = None,
    task_queue: str | None = None,
    parent_close_policy: ParentClosePolicy | str = ParentClosePolicy.TERMINATE,
    cancellation: Cancellation | str = Cancellation.WAIT,
    id_reuse_policy: IdReusePolicy | str = IdReusePolicy.ALLOW_DUPLICATE,
    execution_timeout: Duration | None = None,
    run_timeout: Duration | None = None,
    task_timeout: Duration | None = None,
    retry: Retry | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: SearchAttributes | None = None,
    cron_schedule: str | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> Any:
    """In a `def` workflow: run another one, wait, and return its result. Arguments as `start_child`'s.

    Raises:
        ChildWorkflowError: it closed without a result, or could not be started; `.cause` says why.
        CancelledError: this workflow was cancelled, and so was the child.
    """
    machine = current("call_child()")
    machine.fiber.blocking("call_child(...)", "`await start_child(...)`")
    handle = start_child(
        workflow,
        *args,
        id=id,
        task_queue=task_queue,
        parent_close_policy=parent_close_policy,
        cancellation=cancellation,
        id_reuse_policy=id_reuse_policy,
        execution_timeout=execution_timeout,
        run_timeout=run_timeout,
        task_timeout=task_timeout,
        retry=retry,
        memo=memo,
        search_attributes=search_attributes,
        cron_schedule=cron_schedule,
        static_summary=static_summary,
        static_details=static_details,
    )
    return handle.result()


@lists_options
class Children:
    """The part of `workflow` that is about other workflows and the next run."""

    @staticmethod
    def external(id: str, run_id: str | None = None) -> ExternalHandle:
        """Another workflow, to be signalled or cancelled; run_id None: whichever run is current."""
        return ExternalHandle(current("workflow.external()"), id, run_id)

    @staticmethod
    def continue_as_new(
        *args: Any,
        workflow: Any = None,
        task_queue: str | None = None,
        run_timeout: Duration | None = None,
        task_timeout: Duration | None = None,
        memo: Mapping[str, Any] | None = None,
        search_attributes: SearchAttributes | None = None,
    ) -> NoReturn:
        """End this run and begin the next one of the same id, with these arguments and an empty history.

        It never returns. Signals that nobody took yet go on to the next run; a handler that has not ended is lost
        with this run: wait for `workflow.all_handlers_finished` first.

        Args:
            args: the workflow's arguments.
            workflow: what the next run is: decorated with @workflow, `workflow.named(...)`, or its name as a text;
                default this run's.
            task_queue, run_timeout, task_timeout, memo, search_attributes: of the next run; default this one's.

        Raises TypeError when the arguments do not fit the workflow.
        """
        machine = current("workflow.continue_as_new()")
        definition = None if workflow is None else workflow_given(workflow)
        options = {
            "task_queue": task_queue,
            "run_timeout": run_timeout,
            "task_timeout": task_timeout,
            "memo": memo,
            "search_attributes": search_attributes,
        }
        input = ContinueAsNewInput(definition, args, options)
        if machine.chain is not None:
            machine.chain.outbound.continue_as_new(input)
        continue_as_new(machine, input)


def continue_as_new(machine: Run, input: ContinueAsNewInput) -> NoReturn:
    """Leave the code with the order to go on as a new run. Raises TypeError, ValueError."""
    machine.check_open()
    definition, options = input.workflow or machine.definition, input.options
    attributes = options.get("search_attributes")
    raise ContinueAsNew(
        None if input.workflow is None else definition.name,
        definition.bind(tuple(input.args), {}),
        options.get("task_queue") or definition.task_queue or "",
        positive_duration(options.get("run_timeout"), "run_timeout"),
        positive_duration(options.get("task_timeout"), "task_timeout"),
        options.get("memo"),
        None if attributes is None else payloads_of(attributes),
        input.headers,
    )

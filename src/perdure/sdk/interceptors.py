"""Interceptors: code of yours around every call of a client, every activity and every workflow.

    class Tracing(Interceptor):
        def intercept_client(self, next): return TracingClient(next)
        def intercept_activity(self, next): return TracingActivity(next)
        def intercept_workflow(self, next): return TracingWorkflow(next)

    Engine("sqlite:///orders.db", interceptors=[Tracing()])

Each kind is a chain: the first interceptor of the list is the outermost, and each calls `self.next` for the rest. The
names are those of Temporal's SDKs; so are the headers, which travel in the wire's own fields: a trace that begins in a
client of another language goes on here, and the other way round.

*Inbound* is what is asked of this program (an attempt of an activity, the run of a workflow, its messages); *outbound*
is what its code asks for. An inbound interceptor is told of the outbound chain by `init`, and may put its own in front.

Interceptors of workflows are workflow code. They run again in replay, so what they ask for must be the same again; they
see `workflow.is_replaying()`, may keep what belongs to one run in themselves (there is one chain for each run in
memory), and are watched by the guard. In `def` workflows what `next` gives is the value; in `async def` ones it is an
awaitable, to be handed on or awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, NoReturn, TypeVar

from temporalio.api.common.v1 import Header, Payload

from perdure.sdk.declare.definitions import AnyActivity, AnyWorkflow

T = TypeVar("T")

Headers = dict[str, Payload]
"""What travels beside the arguments; not touched by a codec. Names that begin with `perdure-` are ours."""


def _no_headers() -> Headers:
    return {}


# --- what is asked for, of a client ------------------------------------------------------------------


@dataclass(slots=True)
class StartWorkflowInput:
    """`start`, `run`. `options` are the other ones of the call, by name, None where not given.

    `message_headers` are of the signal or update that goes along (`start_signal`, `start_update`); a signal has
    `headers` too, for on the wire it shares them with the start.
    """

    workflow: AnyWorkflow
    args: Sequence[Any]
    options: dict[str, Any]
    headers: Headers = field(default_factory=_no_headers)
    message_headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class CreateScheduleInput:
    """`schedules.create`. `headers` are those of the workflows that it starts, each of which has them.

    `options` are the other ones of the call, by name, as far as they were given.
    """

    id: str
    workflow: AnyWorkflow
    args: Sequence[Any]
    options: dict[str, Any]
    headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class SignalWorkflowInput:
    """`signal` of a client or handle. `connection`: the caller's, in whose transaction it is sent."""

    id: str
    run_id: str | None
    signal: str
    args: Sequence[Any]
    request_id: str | None
    headers: Headers = field(default_factory=_no_headers)
    connection: Any = None


@dataclass(slots=True)
class QueryWorkflowInput:
    """`query`. `returns`: what the answer is decoded to."""

    id: str
    run_id: str | None
    query: str
    args: Sequence[Any]
    returns: Any
    headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class StartWorkflowUpdateInput:
    """`update`; `wait_for` is "accepted" or "completed"."""

    id: str
    run_id: str | None
    update: str
    args: Sequence[Any]
    update_id: str | None
    wait_for: Any
    returns: Any
    headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class DescribeWorkflowInput:
    """`describe`."""

    id: str
    run_id: str | None
    stack: bool


@dataclass(slots=True)
class CancelWorkflowInput:
    """`cancel`."""

    id: str
    run_id: str | None
    reason: str


@dataclass(slots=True)
class TerminateWorkflowInput:
    """`terminate`."""

    id: str
    run_id: str | None
    reason: str


# --- what is asked of an activity, and what it asks for ----------------------------------------------


@dataclass(slots=True)
class ExecuteActivityInput:
    """One attempt. `args` are decoded, of a dynamic activity the type's name before them; `info` is an ActivityInfo."""

    activity: AnyActivity
    args: Sequence[Any]
    headers: Mapping[str, Payload]
    info: Any


# --- what is asked of a workflow, and what it asks for -----------------------------------------------


@dataclass(slots=True)
class ExecuteWorkflowInput:
    """The run itself. `fn` is called with `args` in the end; of a class its object is bound already."""

    type: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass(slots=True)
class HandleSignalInput:
    """A signal that has a handler; one that code waits for (`workflow.wait_signal`) goes to that code."""

    signal: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass(slots=True)
class HandleQueryInput:
    """A query."""

    query: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass(slots=True)
class HandleUpdateInput:
    """An update, or the validator before it."""

    id: str
    update: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass(slots=True)
class StartActivityInput:
    """`call`, `start`, and the local ones. To change an option: `input.activity = input.activity.options(...)`."""

    activity: AnyActivity
    args: Sequence[Any]
    headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class StartChildWorkflowInput:
    """`call_child`, `start_child`. `options` are the other ones of the call, by name."""

    workflow: AnyWorkflow
    args: Sequence[Any]
    options: dict[str, Any]
    headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class SignalExternalWorkflowInput:
    """`workflow.external(...).signal`, and that of a child's handle (`is_child`)."""

    id: str
    run_id: str | None
    signal: str
    args: Sequence[Any]
    is_child: bool
    headers: Headers = field(default_factory=_no_headers)


@dataclass(slots=True)
class StartTimerInput:
    """`workflow.sleep`, `workflow.timer`, `asyncio.sleep`, and the time-outs of waits."""

    duration: timedelta
    summary: str | None


@dataclass(slots=True)
class ContinueAsNewInput:
    """`workflow.continue_as_new`. `options` are the other ones of the call, by name."""

    workflow: AnyWorkflow | None
    args: Sequence[Any]
    options: dict[str, Any]
    headers: Headers = field(default_factory=_no_headers)


# --- the chains ----------------------------------------------------------------------------------------


class _Link(Generic[T]):
    def __init__(self, next: T) -> None:
        self.next = next


class ClientOutboundInterceptor(_Link["ClientOutboundInterceptor"]):
    """Around what a client asks for. Override what is wanted; `await self.next....(input)` does it."""

    async def start_workflow(self, input: StartWorkflowInput) -> Any:
        """Gives a WorkflowHandle."""
        return await self.next.start_workflow(input)

    async def create_schedule(self, input: CreateScheduleInput) -> None:
        """Returns when the schedule is durable."""
        await self.next.create_schedule(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        """Returns when the signal is durable."""
        await self.next.signal_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        """Gives the answer."""
        return await self.next.query_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> Any:
        """Gives an UpdateHandle, when the workflow has accepted it."""
        return await self.next.start_workflow_update(input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> Any:
        """Gives a WorkflowDescription."""
        return await self.next.describe_workflow(input)

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        """Returns when the request is durable."""
        await self.next.cancel_workflow(input)

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        """Returns when the run is closed."""
        await self.next.terminate_workflow(input)


class ActivityOutboundInterceptor(_Link["ActivityOutboundInterceptor"]):
    """Around what a running activity asks for; called where it runs. Not in `run_in="process"`."""

    def info(self) -> Any:
        """`activity.info()`: an ActivityInfo."""
        return self.next.info()

    def heartbeat(self, *details: Any) -> None:
        """`activity.heartbeat(...)`."""
        self.next.heartbeat(*details)


class ActivityInboundInterceptor(_Link["ActivityInboundInterceptor"]):
    """Around an attempt of an activity, on the worker's event loop whatever runs the activity itself.

    Context variables that are set here are there in `def` and `async def` activities, but for those in processes. What
    a transactional activity returned is recorded when `next` returns; a changed value has no effect there.
    """

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Before anything else; to intercept what the activity asks for: `self.next.init(Mine(outbound))`."""
        self.next.init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Gives the result; raises what the activity raised."""
        return await self.next.execute_activity(input)


class WorkflowOutboundInterceptor(_Link["WorkflowOutboundInterceptor"]):
    """Around what workflow code asks for. All of it is deterministic, and done again in replay."""

    def start_activity(self, input: StartActivityInput) -> Any:
        """Gives a handle; `call` waits for it."""
        return self.next.start_activity(input)

    def start_local_activity(self, input: StartActivityInput) -> Any:
        """Gives a handle."""
        return self.next.start_local_activity(input)

    def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        """Gives a ChildHandle; `call_child` waits for it."""
        return self.next.start_child_workflow(input)

    def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> Any:
        """Gives an awaitable; in a `def` workflow the other one has been told when this returns."""
        return self.next.signal_external_workflow(input)

    def start_timer(self, input: StartTimerInput) -> Any:
        """Gives a TimerHandle. Code need not wait for it: it may be the time-out of a wait, which cancels it."""
        return self.next.start_timer(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """Ends the run."""
        self.next.continue_as_new(input)
        raise AssertionError("continue_as_new does not return")


class WorkflowInboundInterceptor(_Link["WorkflowInboundInterceptor"]):
    """Around what is asked of a workflow: the run, and its messages. All of it is done again in replay."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Before anything else; to intercept what the code asks for: `self.next.init(Mine(outbound))`."""
        self.next.init(outbound)

    def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Gives the result, of an `async def` workflow an awaitable of it."""
        return self.next.execute_workflow(input)

    def handle_signal(self, input: HandleSignalInput) -> Any:
        """Gives nothing, or an awaitable of it."""
        return self.next.handle_signal(input)

    def handle_query(self, input: HandleQueryInput) -> Any:
        """Gives the answer. It must only look."""
        return self.next.handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """Raises to reject. Not in replay, and only where there is a validator."""
        self.next.handle_update_validator(input)

    def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """Gives the answer, or an awaitable of it."""
        return self.next.handle_update_handler(input)


class Interceptor:
    """What an engine, a client or a worker is given. Override what is wanted; each gives back its link of the chain."""

    def intercept_client(self, next: ClientOutboundInterceptor) -> ClientOutboundInterceptor:
        """Once for each client."""
        return next

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Once for each attempt."""
        return next

    def intercept_workflow(self, next: WorkflowInboundInterceptor) -> WorkflowInboundInterceptor:
        """Once for each run that comes into memory, on the thread that runs workflow code."""
        return next


def headers_of(header: Header | None) -> Mapping[str, Payload]:
    """From the wire."""
    return {} if header is None else dict(header.fields)


def put_headers(header: Header, headers: Mapping[str, Payload]) -> None:
    """To the wire. Raises TypeError for what is no payload."""
    for name, payload in headers.items():
        header.fields[name].CopyFrom(payload)


def checked_interceptors(interceptors: Sequence[Any]) -> tuple[Interceptor, ...]:
    """As users give them. Raises TypeError for something else."""
    for interceptor in interceptors:
        if not isinstance(interceptor, Interceptor):
            raise TypeError(f"interceptors must be of perdure.interceptors.Interceptor, and {interceptor!r} is not")
    return tuple(interceptors)


class WorkflowRoot(WorkflowInboundInterceptor):
    """The end of the inbound chain: calls the code."""

    def __init__(self) -> None:
        self.outbound: WorkflowOutboundInterceptor | None = None

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """What the code asks for goes there."""
        self.outbound = outbound

    def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """The workflow's function."""
        return input.fn(*input.args)

    def handle_signal(self, input: HandleSignalInput) -> Any:
        """The handler."""
        return input.fn(*input.args)

    def handle_query(self, input: HandleQueryInput) -> Any:
        """The handler."""
        return input.fn(*input.args)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """The validator."""
        input.fn(*input.args)

    def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """The handler."""
        return input.fn(*input.args)


class WorkflowChain:
    """Both chains of one run, and the headers that it began with."""

    __slots__ = ("headers", "inbound", "outbound")

    def __init__(self, interceptors: Sequence[Interceptor], root: WorkflowOutboundInterceptor) -> None:
        end = WorkflowRoot()
        inbound: WorkflowInboundInterceptor = end
        for interceptor in reversed(interceptors):
            inbound = interceptor.intercept_workflow(inbound)
        inbound.init(root)
        self.inbound = inbound
        self.outbound = root if end.outbound is None else end.outbound
        self.headers: Mapping[str, Payload] = {}

"""An interceptor as tracing needs one: a name that is set in a client goes with everything that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

from temporalio.api.common.v1 import Payload

from perdure import workflow
from perdure.interceptors import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ClientOutboundInterceptor,
    ContinueAsNewInput,
    CreateScheduleInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    QueryWorkflowInput,
    SignalExternalWorkflowInput,
    SignalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from perdure.sdk.convert import Converter

TRACE: ContextVar[str] = ContextVar("trace", default="no trace")
HEADER = "trace"


def put(headers: dict[str, Payload], trace: str) -> None:
    headers[HEADER] = Converter().to_payload(trace)


def read(headers: Mapping[str, Payload]) -> str:
    return Converter().from_payload(headers[HEADER]) if HEADER in headers else "nothing came"


class Tracing(Interceptor):
    """Attributes: seen: what was traced, in order; in replay too."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def intercept_client(self, next: ClientOutboundInterceptor) -> ClientOutboundInterceptor:
        return Client(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return Activity(next, self.seen)

    def intercept_workflow(self, next: WorkflowInboundInterceptor) -> WorkflowInboundInterceptor:
        return Workflow(next, self.seen)


class Client(ClientOutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> Any:
        put(input.headers, TRACE.get())
        if input.options["start_signal"] or input.options["start_update"]:
            put(input.message_headers, f"{TRACE.get()} along")
        return await super().start_workflow(input)

    async def create_schedule(self, input: CreateScheduleInput) -> None:
        put(input.headers, f"{TRACE.get()} {input.options['note']}")
        await super().create_schedule(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        put(input.headers, TRACE.get())
        await super().signal_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        put(input.headers, TRACE.get())
        return await super().query_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> Any:
        put(input.headers, TRACE.get())
        return await super().start_workflow_update(input)


class Activity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, seen: list[str]) -> None:
        super().__init__(next)
        self.seen = seen

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(Marked(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        self.seen.append(f"{input.activity.name} {read(input.headers)}")
        mark = TRACE.set(read(input.headers))
        try:
            return await super().execute_activity(input)
        finally:
            TRACE.reset(mark)


class Marked(ActivityOutboundInterceptor):
    def heartbeat(self, *details: Any) -> None:
        super().heartbeat(TRACE.get(), *details)


class Workflow(WorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor, seen: list[str]) -> None:
        super().__init__(next)
        self.seen = seen
        self.trace = ""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound, self))

    def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self.trace = read(input.headers)
        self.note(input.type, input.headers)
        return super().execute_workflow(input)

    def handle_signal(self, input: HandleSignalInput) -> Any:
        self.note(f"signal {input.signal}", input.headers)
        return super().handle_signal(input)

    def handle_query(self, input: HandleQueryInput) -> Any:
        return [read(input.headers), super().handle_query(input)]

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        self.note(f"validator {input.update}", input.headers)
        super().handle_update_validator(input)

    def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        self.note(f"update {input.update}", input.headers)
        return super().handle_update_handler(input)

    def note(self, what: str, headers: Mapping[str, Payload]) -> None:
        again = " again" if workflow.is_replaying() else ""
        self.seen.append(f"{what} {read(headers)}{again}")


class Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, of: Workflow) -> None:
        super().__init__(next)
        self.of = of

    def start_activity(self, input: StartActivityInput) -> Any:
        put(input.headers, self.of.trace)
        return super().start_activity(input)

    def start_local_activity(self, input: StartActivityInput) -> Any:
        put(input.headers, self.of.trace)
        return super().start_local_activity(input)

    def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        put(input.headers, self.of.trace)
        return super().start_child_workflow(input)

    def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> Any:
        put(input.headers, self.of.trace)
        return super().signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        put(input.headers, self.of.trace)
        super().continue_as_new(input)

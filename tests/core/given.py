"""Short builders for core tests: given events / when command / then events.

`World` drives `decide` as the shell would: one commit after another on one workflow id, with an
injected clock, its own task rows and no waiting pollers unless a test asks for them. After every
commit it checks the laws: the fold of the events gives the state, the snapshot round-trips, the
invariants hold, a refused command changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Header, Memo, Payload, Payloads, RetryPolicy
from temporalio.api.enums.v1 import CommandType, EventType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Rejection, Request, Response
from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatRequest,
    RequestCancelWorkflowExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.api.errors import Rejected
from perdure.core import commands as law
from perdure.core.commit import Commit
from perdure.core.context import Context, Poller
from perdure.core.execution import Execution, blank, decide, decode, encode, evolve
from perdure.core.invariants import check, check_commit
from perdure.core.limits import Limits
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.core.replies import UpdateNews
from perdure.core.started import StartedActivityTask, StartedWorkflowTask
from perdure.core.tokens import TaskToken, decode_token

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
WORKER = "worker"
CLOSING = {
    f"WorkflowExecution{how}" for how in ("Completed", "Failed", "TimedOut", "Canceled", "Terminated", "ContinuedAsNew")
}


def seconds(number: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(number * SECOND))
    return duration


def payloads(text: str) -> Payloads:
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=text.encode())])


def failure(message: str = "boom", *, type: str = "Boom", non_retryable: bool = False, delay: float = 0) -> Failure:
    built = Failure(message=message, source="Test")
    info = built.application_failure_info
    info.type = type
    info.non_retryable = non_retryable
    if delay:
        info.next_retry_delay.CopyFrom(seconds(delay))
    return built


application_failure = failure


def retry(
    initial: float = 1, coefficient: float = 2, maximum: float = 0, attempts: int = 0, non_retryable: Sequence[str] = ()
) -> RetryPolicy:
    policy = RetryPolicy(
        initial_interval=seconds(initial),
        backoff_coefficient=coefficient,
        maximum_attempts=attempts,
        non_retryable_error_types=non_retryable,
    )
    if maximum:
        policy.maximum_interval.CopyFrom(seconds(maximum))
    return policy


def memo(note: str) -> Memo:
    return Memo(fields={"note": Payload(data=note.encode())})


def header(trace: str) -> Header:
    return Header(fields={"trace": Payload(data=trace.encode())})


# --- commands of a worker ------------------------------------------------------------------------


def schedule(
    activity_id: str = "1",
    *,
    start_to_close: float = 30,
    schedule_to_start: float = 0,
    schedule_to_close: float = 0,
    heartbeat: float = 0,
    policy: RetryPolicy | None = None,
    eager: bool = False,
    queue: str = "queue",
    input: str = '"input"',
    type: str = "charge",
) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = type
    attributes.task_queue.name = queue
    attributes.input.CopyFrom(payloads(input))
    for field, value in (
        (attributes.start_to_close_timeout, start_to_close),
        (attributes.schedule_to_start_timeout, schedule_to_start),
        (attributes.schedule_to_close_timeout, schedule_to_close),
        (attributes.heartbeat_timeout, heartbeat),
    ):
        if value:
            field.CopyFrom(seconds(value))
    if policy is not None:
        attributes.retry_policy.CopyFrom(policy)
    attributes.request_eager_execution = eager
    return command


def told(command: Command, summary: str = '"a summary"') -> Command:
    """The command with something for people to read."""
    command.user_metadata.summary.CopyFrom(payloads(summary).payloads[0])
    command.user_metadata.details.CopyFrom(payloads('"its details"').payloads[0])
    return command


def cancel_activity(scheduled_event_id: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
    command.request_cancel_activity_task_command_attributes.scheduled_event_id = scheduled_event_id
    return command


def timer(timer_id: str = "t", after: float = 1) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = timer_id
    command.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(seconds(after))
    return command


def cancel_timer(timer_id: str = "t") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
    command.cancel_timer_command_attributes.timer_id = timer_id
    return command


def marker(name: str = "SideEffect") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    command.record_marker_command_attributes.marker_name = name
    command.record_marker_command_attributes.details["data"].CopyFrom(payloads("42"))
    return command


def upsert_memo() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    command.modify_workflow_properties_command_attributes.upserted_memo.fields["note"].data = b"1"
    return command


def upsert_search_attributes() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    fields = command.upsert_workflow_search_attributes_command_attributes.search_attributes.indexed_fields
    fields["CustomKeywordField"].CopyFrom(
        Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=b'"blue"')
    )
    return command


def complete(result: str = '"done"') -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    command.complete_workflow_execution_command_attributes.result.CopyFrom(payloads(result))
    return command


def fail(message: str = "boom") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    command.fail_workflow_execution_command_attributes.failure.CopyFrom(failure(message))
    return command


def cancel() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
    command.cancel_workflow_execution_command_attributes.details.CopyFrom(payloads('"stopped"'))
    return command


def continue_as_new(**fields: Any) -> Command:
    """Fields of the command; floats are seconds."""
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    attributes = command.continue_as_new_workflow_execution_command_attributes
    attributes.workflow_type.name = "order"
    attributes.input.CopyFrom(payloads('"next"'))
    fill(attributes, fields)
    return command


# --- protocol messages of a worker ---------------------------------------------------------------


def protocol_message(message_id: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
    command.protocol_message_command_attributes.message_id = message_id
    return command


def accepted(asked: Message) -> Message:
    request = Request()
    asked.body.Unpack(request)
    return _message(
        asked.protocol_instance_id,
        "accept",
        Acceptance(
            accepted_request_message_id=asked.id,
            accepted_request_sequencing_event_id=asked.event_id,
            accepted_request=request,
        ),
    )


def responded(update_id: str, result: str = '"set"', failure: str = "") -> Message:
    response = Response()
    response.meta.update_id = update_id
    response.meta.identity = "client"
    if failure:
        response.outcome.failure.CopyFrom(application_failure(failure))
    else:
        response.outcome.success.CopyFrom(payloads(result))
    return _message(update_id, "complete", response)


def rejected(asked: Message) -> Message:
    return _message(
        asked.protocol_instance_id,
        "reject",
        Rejection(
            rejected_request_message_id=asked.id,
            rejected_request_sequencing_event_id=asked.event_id,
            failure=failure("no such street"),
        ),
    )


def _message(update_id: str, what: str, body: Any) -> Message:
    message = Message(id=f"{update_id}/{what}", protocol_instance_id=update_id)
    message.body.Pack(body)
    return message


def message_commands(messages: Sequence[Message]) -> list[Command]:
    """The commands that messages need: rejections need none."""
    return [protocol_message(message.id) for message in messages if not message.body.Is(Rejection.DESCRIPTOR)]


def update_request(update_id: str = "u1") -> UpdateWorkflowExecutionRequest:
    request = UpdateWorkflowExecutionRequest(namespace="default")
    request.wait_policy.lifecycle_stage = 3  # pyright: ignore[reportAttributeAccessIssue] - COMPLETED
    request.request.meta.update_id = update_id
    request.request.meta.identity = "client"
    request.request.input.name = "set_address"
    request.request.input.args.CopyFrom(payloads('"Elm Street"'))
    return request


# --- requests ------------------------------------------------------------------------------------


def start_request(**fields: Any) -> StartWorkflowExecutionRequest:
    """A start of workflow `order` on queue `queue`; `*_timeout` and `workflow_start_delay` in seconds."""
    request = StartWorkflowExecutionRequest(
        namespace="default", workflow_id="order-1001", request_id="request-1", identity="client"
    )
    request.workflow_type.name = "order"
    request.task_queue.name = "queue"
    request.input.CopyFrom(payloads('"order"'))
    fill(request, fields)
    return request


def signal_request(**fields: Any) -> SignalWorkflowExecutionRequest:
    request = SignalWorkflowExecutionRequest(namespace="default", signal_name="go", identity="client")
    request.workflow_execution.workflow_id = "order-1001"
    request.input.CopyFrom(payloads('"now"'))
    fill(request, fields)
    return request


def with_start_request(**fields: Any) -> SignalWithStartWorkflowExecutionRequest:
    """A signal `go` to, or a start of, workflow `order`."""
    request = SignalWithStartWorkflowExecutionRequest(
        namespace="default", workflow_id="order-1001", request_id="request-1", identity="client", signal_name="go"
    )
    request.workflow_type.name = "order"
    request.task_queue.name = "queue"
    request.input.CopyFrom(payloads('"order"'))
    request.signal_input.CopyFrom(payloads('"now"'))
    fill(request, fields)
    return request


def fill(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, float):
            getattr(message, name).CopyFrom(seconds(value))
        elif hasattr(value, "DESCRIPTOR"):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)


class Waiting:
    """A poller that waits."""

    def __init__(self, identity: str = WORKER, home: str = "") -> None:
        self.identity = identity
        self.home = home


def names(events: Sequence[HistoryEvent]) -> list[str]:
    """Event types without their prefix, in CamelCase as Temporal prints them."""
    return [
        "".join(word.capitalize() for word in EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_"))
        for event in events
    ]


class World:
    """One workflow id, driven by hand. `history` is what is durable; rows are the durable queue."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now_ns = START_NS
        self.execution: Execution | None = None
        self.history: list[HistoryEvent] = []
        self.rows: list[Task] = []
        self.runs: list[tuple[Execution, list[HistoryEvent]]] = []
        self.pollers: dict[QueueName, list[Poller]] = {}
        self.started: list[StartedWorkflowTask | StartedActivityTask] = []
        self.workers_alive = True
        self.limits = limits
        self.news: dict[str, UpdateNews | Rejected] = {}
        self.parts: dict[int, bytes] = {}
        """What a store keeps beside the snapshot of the newest run."""
        self._ids = 0

    # the shell's part

    def context(self) -> Context:
        sticky = self.execution.facts.sticky_queue if self.execution is not None and not self.workers_alive else ""
        return Context(self.now_ns, self._new_id, self.limits, dead_queue=sticky)

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    def assign(self, tasks: Sequence[Task]) -> list[Poller | None]:
        """Whoever waits for these."""
        waiting = [self.pollers.get(task.queue) for task in tasks]
        return [pollers.pop(0) if pollers else None for pollers in waiting]

    def when(self, *commands: law.Command) -> Commit:
        """Decide, check every law, and apply."""
        before = encode(self.execution) if self.execution is not None else None
        decision = decide(self.execution, commands, self.context())
        commit = decision.settle(self.assign(decision.queued))
        if not commit.changed:
            assert commit.events == []
            if before is not None:
                assert self.execution == self._decoded(before), "a commit that changed nothing changed the state"
        else:
            self._apply(commit, before)
        return commit

    def _apply(self, commit: Commit, before: bytes | None) -> None:
        link: Commit | None = commit
        while link is not None:
            execution = link.execution
            assert execution is not None
            if link.starts_run:
                self.execution = execution
                self.history = []
                self.runs.append((execution, self.history))
                self.rows = []
                self.parts = {}
                old = blank(link.key)
            else:
                assert before is not None
                old = self._decoded(before)
            assert link.expected_version == old.version
            self._keep_parts(link)
            self._check_fold(old, link)
            check(execution)
            check_commit(link)
            self.history += link.events
            for reference in link.remove_tasks:
                found = [r for r in self.rows if same_row(r, reference.kind, reference.scheduled_event_id)]
                assert len(found) == 1, f"removes a row that is not there: {reference}"
                self.rows.remove(found[0])
            for task in link.add_tasks:
                assert not any(same_row(r, task.queue.kind, task.scheduled_event_id) for r in self.rows)
                self.rows.append(task)
            self.news.update((news.update_id, news) for news in link.updates)
            self.started += [dispatch.task for dispatch in link.dispatches]
            assert execution.is_open or self.rows == []
            link = link.next_run

    def _keep_parts(self, link: Commit) -> None:
        for event_id, data in link.parts.items():
            self.parts.pop(event_id, None)
            if data:
                self.parts[event_id] = data
        assert link.execution is not None
        assert link.execution.facts.apart == self.parts.keys(), "a store would keep other parts than the state says"

    def _decoded(self, snapshot: bytes) -> Execution:
        return decode(snapshot, lambda: self.parts)

    def _check_fold(self, old: Execution, link: Commit) -> None:
        execution = link.execution
        assert execution is not None
        for event in link.events:
            evolve(old, HistoryEvent.FromString(event.SerializeToString()))
        old.facts, old.version, old.wake_at_ns = execution.facts, execution.version, execution.wake_at_ns
        assert old == execution, "folding the commit's events over the old state gives another state"
        assert self._decoded(encode(execution)) == execution
        assert execution.version == link.expected_version + 1
        assert execution.wake_at_ns == link.wake_at_ns

    def ask(self, command: law.Command) -> Any:
        """Decide one command and give its reply; a refusal is raised."""
        reply = self.when(command).replies[0]
        if isinstance(reply, Rejected):
            raise reply
        return reply

    # a client's part

    @property
    def run(self) -> Execution:
        assert self.execution is not None
        return self.execution

    def start(self, **fields: Any) -> Any:
        return self.ask(law.StartWorkflow(start_request(**fields)))

    def cancel(self, reason: str = "enough") -> None:
        self.ask(law.RequestCancel(RequestCancelWorkflowExecutionRequest(reason=reason, identity="client")))

    def update(self, update_id: str = "u1") -> None:
        """Ask for an update; `news` has what becomes of it."""
        try:
            self.ask(law.AdmitUpdate(update_request(update_id)))
        except Rejected as refused:
            self.news[update_id] = refused

    def terminate(self, reason: str = "enough") -> None:
        request = TerminateWorkflowExecutionRequest(reason=reason, identity="client", details=payloads('"why"'))
        self.ask(law.Terminate(request))

    # a worker's part

    def wait(self, kind: TaskKind, queue: str = "queue", identity: str = WORKER, home: str = "") -> None:
        """A poller waits on a queue, so that the next task of it is handed out in the same commit."""
        self.pollers.setdefault(QueueName("default", queue, kind), []).append(Waiting(identity, home))

    def _take(self, kind: TaskKind, queue: str, identity: str, activity_id: str = "", home: str = "") -> Any:
        for row in self.rows:
            if row.queue == QueueName("default", queue, kind) and (
                not activity_id or self.run.activity_ids[activity_id] == row.scheduled_event_id
            ):
                self.ask(law.StartTask(row, Waiting(identity, home)))
                return self.started[-1]
        raise AssertionError(f"no {kind.name} task on {queue}: {self.rows}")

    def workflow_task(self, queue: str = "queue", identity: str = WORKER, home: str = "") -> StartedWorkflowTask:
        return self._take(TaskKind.WORKFLOW, queue, identity, home=home)

    def activity_task(self, activity_id: str = "", identity: str = WORKER, home: str = "") -> StartedActivityTask:
        """The first queued activity, or the named one."""
        return self._take(TaskKind.ACTIVITY, "queue", identity, activity_id, home)

    def complete_task(self, task: StartedWorkflowTask, *commands: Command, **fields: Any) -> Any:
        request = RespondWorkflowTaskCompletedRequest(identity=WORKER, commands=commands, **fields)
        return self.ask(law.CompleteWorkflowTask(decode_token(task.token), request))

    def fail_task(self, task: StartedWorkflowTask, message: str = "boom") -> None:
        cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
        request = RespondWorkflowTaskFailedRequest(identity=WORKER, cause=cause, failure=failure(message))
        self.ask(law.FailWorkflowTask(decode_token(task.token), request))

    def complete_activity(self, task: StartedActivityTask, result: str = "42") -> None:
        request = RespondActivityTaskCompletedRequest(identity=WORKER, result=payloads(result))
        self.ask(law.CompleteActivity(decode_token(task.token), request))

    def complete_by_id(self, activity_id: str) -> None:
        run = self.run.key
        token = TaskToken(ExecutionKey(run.namespace, run.workflow_id, ""), TaskKind.ACTIVITY, 0, 0, activity_id)
        self.ask(law.CompleteActivity(token, RespondActivityTaskCompletedRequest(identity="operator")))

    def fail_activity(self, task: StartedActivityTask, why: Failure | None = None) -> None:
        request = RespondActivityTaskFailedRequest(identity=WORKER, failure=why or failure())
        self.ask(law.FailActivity(decode_token(task.token), request))

    def report_canceled(self, task: StartedActivityTask) -> None:
        request = RespondActivityTaskCanceledRequest(identity=WORKER, details=payloads('"stopped"'))
        self.ask(law.ReportActivityCanceled(decode_token(task.token), request))

    def heartbeat(self, task: StartedActivityTask, details: str = "7") -> bool:
        request = RecordActivityTaskHeartbeatRequest(identity=WORKER, details=payloads(details))
        return self.ask(law.RecordHeartbeat(decode_token(task.token), request)).cancel_requested

    # the clock's part

    def elapse(self, number: float) -> None:
        """Time passes; every stored deadline on the way wakes the execution."""
        until = self.now_ns + round(number * SECOND)
        while self.run.wake_at_ns is not None and self.run.wake_at_ns <= until:
            self.now_ns = max(self.now_ns, self.run.wake_at_ns)
            self.when(law.Wake())
        self.now_ns = until

    def lose_workers(self, home: str = "", living: Iterable[str] = ()) -> None:
        self.when(law.LoseWorkers(home, frozenset(living)))

    def tail(self, count: int) -> list[str]:
        return names(self.history[-count:])


def same_row(row: Task, kind: TaskKind, scheduled_event_id: int) -> bool:
    return row.queue.kind == kind and row.scheduled_event_id == scheduled_event_id


def refused(call: Callable[[], Any]) -> Rejected:
    """The refusal that a call meets."""
    try:
        call()
    except Rejected as rejected:
        return rejected
    raise AssertionError("was not refused")


def in_first_task(**fields: Any) -> tuple[World, StartedWorkflowTask]:
    """A started run whose first workflow task a worker holds."""
    world = World()
    world.start(**fields)
    return world, world.workflow_task()


def after(*commands: Command, **fields: Any) -> World:
    """A run whose first workflow task completed with these commands."""
    world, task = in_first_task(**fields)
    world.complete_task(task, *commands)
    return world

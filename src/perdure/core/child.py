"""Child workflows as their parent sees them: initiated by a command, started, ended, or never started.

The child is a workflow of its own; parent and child speak through messages. Either event may have to
wait behind the parent's running workflow task, and a message may come twice: what the facts and the fold
say together decides, so a repetition finds its transition missing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from temporalio.api.command.v1 import Command, StartChildWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import Header
from temporalio.api.history.v1 import HistoryEvent, StartChildWorkflowExecutionInitiatedEventAttributes
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api import enums
from perdure.api.bounds import cap
from perdure.api.history import decode_event
from perdure.api.times import duration_ns, set_duration
from perdure.core import cron, retry, workflow_task
from perdure.core.bad_command import BadCommand
from perdure.core.commands import ChildClosed, ResolveChildStart
from perdure.core.draft import Draft, check_blob, check_search_attributes
from perdure.core.fold import folds
from perdure.core.limits import Limits
from perdure.core.message import ChildClosed as ChildClosedMessage
from perdure.core.message import CloseChild, Message, Origin, StartChild, message_id
from perdure.core.refusals import workflow_completed
from perdure.core.schedule.fields import BadSpec
from perdure.core.state import Child, Execution
from perdure.core.table import Table
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer


class State(IntEnum):
    """Where a child stands for its parent; derived by `state_of`."""

    NONE = 0
    INITIATED = 1
    STARTED = 2
    CLOSED = 3


class Trigger(IntEnum):
    INITIATE = 1
    START = 2
    REFUSE = 3
    """It cannot be started: its workflow id is in use, or there is no such namespace."""
    COMPLETE = 4
    FAIL = 5
    CANCEL = 6
    TIME_OUT = 7
    TERMINATE = 8
    PARENT_CLOSE = 9


TABLE: Table[State, Trigger] = Table(
    "Child workflow",
    State.NONE,
    {
        (State.NONE, Trigger.INITIATE): State.INITIATED,
        (State.INITIATED, Trigger.START): State.STARTED,
        (State.INITIATED, Trigger.REFUSE): State.CLOSED,
        (State.INITIATED, Trigger.PARENT_CLOSE): State.CLOSED,
        (State.STARTED, Trigger.COMPLETE): State.CLOSED,
        (State.STARTED, Trigger.FAIL): State.CLOSED,
        (State.STARTED, Trigger.CANCEL): State.CLOSED,
        (State.STARTED, Trigger.TIME_OUT): State.CLOSED,
        (State.STARTED, Trigger.TERMINATE): State.CLOSED,
        (State.STARTED, Trigger.PARENT_CLOSE): State.CLOSED,
    },
)

CLOSING_EVENTS = frozenset(
    (
        enums.CHILD_WORKFLOW_EXECUTION_COMPLETED,
        enums.CHILD_WORKFLOW_EXECUTION_FAILED,
        enums.CHILD_WORKFLOW_EXECUTION_CANCELED,
        enums.CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
        enums.CHILD_WORKFLOW_EXECUTION_TERMINATED,
    )
)

_ENDS: dict[int, tuple[Trigger, enums.EventType, str]] = {
    enums.WORKFLOW_EXECUTION_COMPLETED: (Trigger.COMPLETE, enums.CHILD_WORKFLOW_EXECUTION_COMPLETED, "completed"),
    enums.WORKFLOW_EXECUTION_FAILED: (Trigger.FAIL, enums.CHILD_WORKFLOW_EXECUTION_FAILED, "failed"),
    enums.WORKFLOW_EXECUTION_CANCELED: (Trigger.CANCEL, enums.CHILD_WORKFLOW_EXECUTION_CANCELED, "canceled"),
    enums.WORKFLOW_EXECUTION_TIMED_OUT: (Trigger.TIME_OUT, enums.CHILD_WORKFLOW_EXECUTION_TIMED_OUT, "timed_out"),
    enums.WORKFLOW_EXECUTION_TERMINATED: (Trigger.TERMINATE, enums.CHILD_WORKFLOW_EXECUTION_TERMINATED, "terminated"),
}
"""The child's closing event -> what it means to the parent, and the parent's event."""


def state_of(execution: Execution, initiated_event_id: int) -> State:
    """The state that the execution's fields amount to; CLOSED also for a child that was never there."""
    child = execution.children.get(initiated_event_id)
    if child is None or initiated_event_id in execution.facts.settled:
        return State.CLOSED
    if child.started_event_id or initiated_event_id in execution.facts.starting:
        return State.STARTED
    return State.INITIATED


def is_to_start(execution: Execution, namespace: str, workflow_id: str) -> bool:
    """Whether the run has a child of that id of which it is not known that it has started, or cannot."""
    return any(
        (child.namespace, child.workflow_id) == (namespace, workflow_id)
        and state_of(execution, event_id) == State.INITIATED
        for event_id, child in execution.children.items()
    )


def judge(draft: Draft, message: Command) -> None:
    """Raises BadCommand when the child can never be started."""
    command = message.start_child_workflow_execution_command_attributes
    cause = enums.BAD_START_CHILD_EXECUTION_ATTRIBUTES
    namespace = command.namespace or draft.execution.key.namespace
    verb = "StartChildWorkflowExecutionCommand"
    if not command.workflow_id:
        kind = command.workflow_type.name
        raise BadCommand(
            cause, f"Required field WorkflowId is not set on {verb}. WorkflowType={kind} Namespace={namespace}"
        )
    if not command.workflow_type.name:
        where = f"WorkflowId={command.workflow_id} Namespace={namespace}"
        raise BadCommand(cause, f"Required field WorkflowType is not set on {verb}. {where}")
    where = f"WorkflowId={command.workflow_id} WorkflowType={command.workflow_type.name} Namespace={namespace}"
    for name, value in (
        ("WorkflowId", command.workflow_id),
        ("WorkflowType", command.workflow_type.name),
        ("TaskQueue", command.task_queue.name),
    ):
        if len(value) > draft.limits.id_length:
            raise BadCommand(cause, f"{name} on {verb} exceeds length limit. {where}")
    for name, timeout in (
        ("WorkflowExecutionTimeout", command.workflow_execution_timeout),
        ("WorkflowRunTimeout", command.workflow_run_timeout),
        ("WorkflowTaskTimeout", command.workflow_task_timeout),
    ):
        why = cap(timeout)
        if why:
            raise BadCommand(cause, f"Invalid {name} on {verb}: {why}. {where}")
    if command.HasField("search_attributes"):
        check_search_attributes(draft, enums.BAD_SEARCH_ATTRIBUTES, command.search_attributes, namespace)
    _judge_options(draft, command, where)
    check_blob(draft, cause, "StartChildWorkflowExecutionCommandAttributes.Input", command.input)
    # Remembered for `external.judge_cancel`: a child cannot be started and cancelled by one answer.
    draft.started_children.add(command.workflow_id)
    draft.children += 1
    if len(draft.execution.children) + draft.children > draft.limits.pending_children:
        raise BadCommand(
            enums.PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED,
            f"the number of pending child workflow executions, {draft.limits.pending_children}, "
            f"has reached the per-workflow limit of {draft.limits.pending_children}",
        )


def _judge_options(draft: Draft, command: StartChildWorkflowExecutionCommandAttributes, where: str) -> None:
    cause = enums.BAD_START_CHILD_EXECUTION_ATTRIBUTES
    if command.cron_schedule:
        try:
            cron.Times(command.cron_schedule, draft.find_zone)
        except BadSpec as error:
            raise BadCommand(cause, f"Invalid CronSchedule on StartChildWorkflowExecutionCommand. {where}") from error
    if command.HasField("retry_policy"):
        why = retry.fault(command.retry_policy)
        if why:
            raise BadCommand(
                cause, f"Invalid WorkflowRetryPolicy on StartChildWorkflowExecutionCommand: {why}. {where}"
            )
    if command.memo.ByteSize() > draft.limits.memo_bytes:
        raise BadCommand(cause, f"Memo on StartChildWorkflowExecutionCommand exceeds size limit. {where}")
    reuse_policy_is_known = 0 <= command.workflow_id_reuse_policy <= enums.REUSE_TERMINATE_IF_RUNNING
    if not reuse_policy_is_known or not 0 <= command.parent_close_policy <= enums.PARENT_CLOSE_REQUEST_CANCEL:
        raise BadCommand(cause, f"unknown policy on StartChildWorkflowExecutionCommand. {where}")


def initiate(turn: Turn, message: Command, completed_event_id: int) -> None:
    """Write StartChildWorkflowExecutionInitiated and send for the child."""
    execution = turn.execution
    TABLE.next(State.NONE, Trigger.INITIATE)
    event = HistoryEvent(event_type=enums.START_CHILD_WORKFLOW_EXECUTION_INITIATED)
    said = event.start_child_workflow_execution_initiated_event_attributes
    _fill_initiated(execution, turn.limits, said, message.start_child_workflow_execution_command_attributes)
    said.workflow_task_completed_event_id = completed_event_id
    turn.add(event)
    _send_start(turn, event)


def started_in(events: Iterable[HistoryEvent]) -> frozenset[int]:
    """Initiated events of the children that this part of a history knows to have started."""
    return frozenset(
        initiated_event_id_of(event) for event in events if event.event_type == enums.CHILD_WORKFLOW_EXECUTION_STARTED
    )


def send_again(turn: Turn, events: Iterable[HistoryEvent]) -> None:
    """A reset run sends for the children that its copy of history initiated and does not know to have started."""
    for event in events:
        if event.event_type == enums.START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            child = turn.execution.children.get(event.event_id)
            if child is not None and not child.started_event_id:
                _send_start(turn, event)


def _send_start(turn: Turn, event: HistoryEvent) -> None:
    execution = turn.execution
    key = execution.key
    event_id = event.event_id
    said = event.start_child_workflow_execution_initiated_event_attributes
    row = message_id(key, event_id, "start")
    request = _start_request(said, row)
    if event.HasField("user_metadata"):
        request.user_metadata.CopyFrom(event.user_metadata)
    # The tree's top is this run, unless it is itself a child.
    body = StartChild(
        request.SerializeToString(),
        Origin(key.namespace, key.workflow_id, key.run_id, event_id),
        execution.root_workflow_id or key.workflow_id,
        execution.root_run_id or key.run_id,
    )
    turn.send(Message(row, said.namespace, said.workflow_id, "", body))


def _fill_initiated(
    execution: Execution,
    limits: Limits,
    said: StartChildWorkflowExecutionInitiatedEventAttributes,
    command: StartChildWorkflowExecutionCommandAttributes,
) -> None:
    said.namespace = command.namespace or execution.key.namespace
    said.workflow_id = command.workflow_id
    said.workflow_type.name = command.workflow_type.name
    said.task_queue.name = command.task_queue.name or execution.task_queue
    said.task_queue.kind = enums.QUEUE_NORMAL
    said.parent_close_policy = command.parent_close_policy or enums.PARENT_CLOSE_TERMINATE
    said.workflow_id_reuse_policy = command.workflow_id_reuse_policy or enums.REUSE_ALLOW_DUPLICATE
    said.control = command.control
    execution_ns = duration_ns(command.workflow_execution_timeout)
    run_ns = duration_ns(command.workflow_run_timeout)
    if execution_ns:
        set_duration(said.workflow_execution_timeout, execution_ns)
        # A run has no more time than its execution, and all of it if nothing else was said.
        run_ns = min(run_ns, execution_ns) if run_ns else execution_ns
    set_duration(said.workflow_run_timeout, run_ns)
    task_ns = duration_ns(command.workflow_task_timeout) or limits.task_timeout_ns
    set_duration(
        said.workflow_task_timeout, min(task_ns, limits.task_timeout_max_ns, run_ns or limits.task_timeout_max_ns)
    )
    for name in ("input", "header", "search_attributes", "priority"):
        if command.HasField(name):
            getattr(said, name).CopyFrom(getattr(command, name))
    if command.memo.fields:
        said.memo.CopyFrom(command.memo)
    said.cron_schedule = command.cron_schedule
    said.inherit_build_id = command.inherit_build_id
    if command.HasField("retry_policy"):
        said.retry_policy.CopyFrom(retry.filled(command.retry_policy))


def _start_request(
    said: StartChildWorkflowExecutionInitiatedEventAttributes, request_id: str
) -> StartWorkflowExecutionRequest:
    request = StartWorkflowExecutionRequest(
        namespace=said.namespace,
        workflow_id=said.workflow_id,
        workflow_type=said.workflow_type,
        task_queue=said.task_queue,
        workflow_run_timeout=said.workflow_run_timeout,
        workflow_task_timeout=said.workflow_task_timeout,
        workflow_id_reuse_policy=said.workflow_id_reuse_policy,
        request_id=request_id,
        cron_schedule=said.cron_schedule,
    )
    for name in (
        "workflow_execution_timeout", "input", "header", "memo", "search_attributes", "priority", "retry_policy"
    ):  # fmt: skip
        if said.HasField(name):
            getattr(request, name).CopyFrom(getattr(said, name))
    return request


def resolve_start(turn: Turn, command: ResolveChildStart) -> None:
    """The child started, or cannot. A repetition changes nothing. Raises Rejected NOT_FOUND when the run is closed."""
    execution = turn.execution
    if not execution.is_open:
        raise workflow_completed()
    event_id = command.initiated_event_id
    if state_of(execution, event_id) != State.INITIATED:
        return
    child = execution.children[event_id]
    if command.run_id:
        _start(turn, child, command.run_id)
    else:
        TABLE.next(State.INITIATED, Trigger.REFUSE)
        event = HistoryEvent(event_type=enums.START_CHILD_WORKFLOW_EXECUTION_FAILED)
        attributes = event.start_child_workflow_execution_failed_event_attributes
        attributes.namespace = child.namespace
        attributes.workflow_id = child.workflow_id
        attributes.workflow_type.name = child.workflow_type
        attributes.cause = command.cause  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
        attributes.control = child.control
        attributes.initiated_event_id = event_id
        if not add_or_buffer(turn, event):
            execution.facts.settled.add(event_id)
    turn.settled(command.message_id)
    workflow_task.schedule(turn)


def _start(turn: Turn, child: Child, run_id: str) -> None:
    TABLE.next(State.INITIATED, Trigger.START)
    event = HistoryEvent(event_type=enums.CHILD_WORKFLOW_EXECUTION_STARTED)
    attributes = event.child_workflow_execution_started_event_attributes
    attributes.namespace = child.namespace
    attributes.initiated_event_id = child.initiated_event_id
    attributes.workflow_execution.workflow_id = child.workflow_id
    attributes.workflow_execution.run_id = run_id
    attributes.workflow_type.name = child.workflow_type
    if child.header is not None:
        attributes.header.CopyFrom(Header.FromString(child.header))
    # Held back: until the flush this fact says that it has started (`state_of`).
    if not add_or_buffer(turn, event):
        turn.execution.facts.starting.add(child.initiated_event_id)


def closed(turn: Turn, command: ChildClosed) -> None:
    """A child's chain of runs has ended. A repetition changes nothing.

    The child may have been faster than the word of its start: then that is written first.
    Raises Rejected NOT_FOUND when the run is closed.
    """
    execution = turn.execution
    if not execution.is_open:
        raise workflow_completed()
    message = command.message
    event_id = message.initiated_event_id
    state = state_of(execution, event_id)
    if state == State.CLOSED:
        return
    child = execution.children[event_id]
    if child.run_id != message.first_run_id and message.parent_run_id != execution.key.run_id:
        return  # a child of an earlier run of this workflow
    # The word of its start is still on its way, and will find that all is done.
    if state == State.INITIATED:
        _start(turn, child, message.first_run_id)
        turn.settled(message_id(execution.key, event_id, "start"))
    # Their closing event says how it ended; ours, which child it was, and where it began.
    theirs = decode_event(message.closing)
    trigger, event_type, how = _ENDS[theirs.event_type]
    TABLE.next(State.STARTED, trigger)
    event = HistoryEvent(event_type=event_type)
    attributes = getattr(event, f"child_workflow_execution_{how}_event_attributes")
    attributes.namespace = child.namespace
    attributes.workflow_execution.workflow_id = message.workflow_id
    attributes.workflow_execution.run_id = message.run_id
    attributes.workflow_type.name = child.workflow_type
    attributes.initiated_event_id = event_id
    # 0 while Started is held back: the flush puts it in.
    if child.started_event_id:
        attributes.started_event_id = child.started_event_id
    said = getattr(theirs, f"workflow_execution_{how}_event_attributes")
    # Each of the five ways has its own of these, under the same names on both sides.
    for name in ("result", "failure", "details"):
        if name in attributes.DESCRIPTOR.fields_by_name and said.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(said, name))
    if how in ("failed", "timed_out"):
        attributes.retry_state = said.retry_state
    # Held back: until the flush this fact says that it has ended.
    if not add_or_buffer(turn, event):
        execution.facts.settled.add(event_id)
    turn.settled(command.message_id)
    workflow_task.schedule(turn)


def initiated_event_id_of(event: HistoryEvent) -> int:
    """Which child a Started or closing event is about, 0 for any other event."""
    return getattr(getattr(event, str(event.WhichOneof("attributes"))), "initiated_event_id", 0)


def set_started_event_id(event: HistoryEvent, started_event_id: int) -> None:
    """For a closing event that waited behind its Started event."""
    getattr(event, str(event.WhichOneof("attributes"))).started_event_id = started_event_id


def parent_closes(turn: Turn, inherited: frozenset[int]) -> None:
    """The run is closing: its children are dealt with by their policies, and what was never started never is.

    The children of the `inherited` initiated events belong to another run from now on.
    """
    execution = turn.execution
    key = execution.key
    for event_id, child in execution.children.items():
        state = state_of(execution, event_id)
        if state == State.CLOSED or event_id in inherited:
            continue
        TABLE.next(state, Trigger.PARENT_CLOSE)
        # Perhaps nobody has been told to start it yet: then nobody will be.
        if state == State.INITIATED:
            turn.retract(message_id(key, event_id, "start"))
        if child.parent_close_policy in (enums.PARENT_CLOSE_TERMINATE, enums.PARENT_CLOSE_REQUEST_CANCEL):
            # Also to one that was not started as far as is known here: it may just be starting.
            body = CloseChild(Origin(key.namespace, key.workflow_id, key.run_id, event_id), child.parent_close_policy)
            turn.send(Message(message_id(key, event_id, "close"), child.namespace, child.workflow_id, "", body))


def tell_parent(turn: Turn, closing: HistoryEvent) -> None:
    """The run has closed and is a child: if no run follows it, its parent is told."""
    execution = turn.execution
    parent = execution.parent
    attributes = getattr(closing, str(closing.WhichOneof("attributes")))
    if parent is None or getattr(attributes, "new_execution_run_id", ""):
        return
    key = execution.key
    body = ChildClosedMessage(
        parent.event_id,
        key.workflow_id,
        execution.workflow_type,
        key.run_id,
        execution.first_run_id,
        closing.SerializeToString(),
        parent.run_id,
    )
    row = message_id(key, closing.event_id, "closed")
    # To the current run: the parent may have been reset since, and its new run awaits the same child.
    turn.send(Message(row, parent.namespace, parent.workflow_id, "", body))


@folds(enums.START_CHILD_WORKFLOW_EXECUTION_INITIATED)
def _initiated(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    execution.children[event.event_id] = Child(
        event.event_id,
        attributes.namespace,
        attributes.workflow_id,
        attributes.workflow_type.name,
        attributes.parent_close_policy,
        attributes.control,
        attributes.header.SerializeToString() if attributes.HasField("header") else None,
    )


@folds(enums.CHILD_WORKFLOW_EXECUTION_STARTED)
def _started(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.child_workflow_execution_started_event_attributes
    child = execution.children[attributes.initiated_event_id]
    child.started_event_id = event.event_id
    child.run_id = attributes.workflow_execution.run_id
    child.header = None


@folds(enums.START_CHILD_WORKFLOW_EXECUTION_FAILED)
@folds(enums.CHILD_WORKFLOW_EXECUTION_COMPLETED)
@folds(enums.CHILD_WORKFLOW_EXECUTION_FAILED)
@folds(enums.CHILD_WORKFLOW_EXECUTION_CANCELED)
@folds(enums.CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
@folds(enums.CHILD_WORKFLOW_EXECUTION_TERMINATED)
def _ended(execution: Execution, event: HistoryEvent) -> None:
    del execution.children[initiated_event_id_of(event)]

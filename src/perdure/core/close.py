"""How a run ends: completed, failed, cancelled by its own command, terminated or timed out from outside."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from temporalio.api.command.v1 import (
    CancelWorkflowExecutionCommandAttributes,
    CompleteWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
)
from temporalio.api.common.v1 import Link, Payloads
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionTerminatedEventAttributes,
)

from perdure.api import enums
from perdure.api.failures import bounded
from perdure.api.times import timestamp_ns
from perdure.core import activity, buffer, child, external, update, workflow_task
from perdure.core.fold import folds
from perdure.core.names import TaskKind
from perdure.core.state import Execution, Paused
from perdure.core.table import Table
from perdure.core.turn import Turn


class State(IntEnum):
    """WorkflowExecutionStatus; 0: there is no run yet."""

    NONE = 0
    RUNNING = enums.RUNNING
    COMPLETED = enums.COMPLETED
    FAILED = enums.FAILED
    CANCELED = enums.CANCELED
    TERMINATED = enums.TERMINATED
    CONTINUED_AS_NEW = enums.CONTINUED_AS_NEW
    TIMED_OUT = enums.TIMED_OUT
    PAUSED = enums.PAUSED


class Trigger(IntEnum):
    START = 1
    COMPLETE = 2
    FAIL = 3
    CANCEL = 4
    TERMINATE = 5
    TIME_OUT = 6
    CONTINUE_AS_NEW = 7
    PAUSE = 8
    UNPAUSE = 9


TABLE: Table[State, Trigger] = Table(
    "Run",
    State.NONE,
    {
        (State.NONE, Trigger.START): State.RUNNING,
        (State.RUNNING, Trigger.COMPLETE): State.COMPLETED,
        (State.RUNNING, Trigger.FAIL): State.FAILED,
        (State.RUNNING, Trigger.CANCEL): State.CANCELED,
        (State.RUNNING, Trigger.TERMINATE): State.TERMINATED,
        (State.RUNNING, Trigger.TIME_OUT): State.TIMED_OUT,
        (State.RUNNING, Trigger.CONTINUE_AS_NEW): State.CONTINUED_AS_NEW,
        (State.RUNNING, Trigger.PAUSE): State.PAUSED,
        (State.PAUSED, Trigger.UNPAUSE): State.RUNNING,
        (State.PAUSED, Trigger.TERMINATE): State.TERMINATED,
        (State.PAUSED, Trigger.TIME_OUT): State.TIMED_OUT,
    },
)


def complete(
    turn: Turn, command: CompleteWorkflowExecutionCommandAttributes, completed_event_id: int, new_run_id: str
) -> None:
    """`new_run_id`: the run that follows by its cron schedule, "" for none."""
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_COMPLETED)
    attributes = event.workflow_execution_completed_event_attributes
    if command.HasField("result"):
        attributes.result.CopyFrom(command.result)
    attributes.workflow_task_completed_event_id = completed_event_id
    if new_run_id:
        attributes.new_execution_run_id = new_run_id
    _close(turn, event, Trigger.COMPLETE, bool(new_run_id))


def fail(
    turn: Turn,
    command: FailWorkflowExecutionCommandAttributes,
    completed_event_id: int,
    retry_state: enums.RetryState,
    new_run_id: str,
) -> None:
    """`new_run_id`: the run that tries again, or follows by its cron schedule; "" for none."""
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_FAILED)
    attributes = event.workflow_execution_failed_event_attributes
    attributes.failure.CopyFrom(bounded(command.failure))
    attributes.retry_state = retry_state
    attributes.workflow_task_completed_event_id = completed_event_id
    attributes.new_execution_run_id = new_run_id
    _close(turn, event, Trigger.FAIL, bool(new_run_id))


def cancel(turn: Turn, command: CancelWorkflowExecutionCommandAttributes, completed_event_id: int) -> None:
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_CANCELED)
    attributes = event.workflow_execution_canceled_event_attributes
    if command.HasField("details"):
        attributes.details.CopyFrom(command.details)
    attributes.workflow_task_completed_event_id = completed_event_id
    _close(turn, event, Trigger.CANCEL)


def terminate(
    turn: Turn,
    reason: str,
    details: Payloads | None,
    identity: str,
    inherited: frozenset[int] | None = None,
    links: Sequence[Link] = (),
) -> None:
    """End the run whatever it is doing. A workflow task in a worker's hands is failed first.

    `inherited`: a reset run takes its place, and with it the children of these initiated events. None: none does.
    """
    workflow_task.abandon(turn)
    # What was held back has happened before the end, so it stands before the end.
    buffer.flush(turn)
    attributes = WorkflowExecutionTerminatedEventAttributes(reason=reason, details=details, identity=identity)
    event = HistoryEvent(
        event_type=enums.WORKFLOW_EXECUTION_TERMINATED, workflow_execution_terminated_event_attributes=attributes
    )
    if links:
        event.links.extend(links)
    _close(turn, event, Trigger.TERMINATE, inherited=inherited)


def time_out(turn: Turn, retry_state: enums.RetryState, new_run_id: str) -> None:
    """The run or execution time-out has passed. `new_run_id`: the run that tries again, "" for none."""
    workflow_task.abandon(turn)
    buffer.flush(turn)
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_TIMED_OUT)
    attributes = event.workflow_execution_timed_out_event_attributes
    attributes.retry_state = retry_state
    attributes.new_execution_run_id = new_run_id
    _close(turn, event, Trigger.TIME_OUT, bool(new_run_id))


def continue_as_new(turn: Turn, event: HistoryEvent) -> None:
    """The run ends where the next begins; `event` says with what."""
    _close(turn, event, Trigger.CONTINUE_AS_NEW, True)


def next_run_id(event: HistoryEvent) -> str:
    """The run in which the chain goes on after this event; empty: it does not."""
    for name in ("completed", "failed", "timed_out", "continued_as_new"):
        field = f"workflow_execution_{name}_event_attributes"
        if event.HasField(field):  # pyright: ignore[reportArgumentType] - one of the names above
            return getattr(event, field).new_execution_run_id
    return ""


def _close(
    turn: Turn,
    event: HistoryEvent,
    trigger: Trigger,
    continues: bool = False,
    inherited: frozenset[int] | None = None,
) -> None:
    """Append the closing event; nothing is owed to anybody after it. `continues`: a next run follows."""
    execution = turn.execution
    TABLE.next(execution.status, trigger)
    # Rows of tasks that wait go away in this commit; a worker that holds one learns from its token's refusal.
    for event_id, attempt in execution.facts.attempts.items():
        if attempt.state == activity.State.SCHEDULED:
            turn.dequeue(TaskKind.ACTIVITY, event_id)
    workflow_task.drop(turn)
    # Before the closing event, whose fold forgets children and external requests.
    if execution.children:
        child.parent_closes(turn, inherited or frozenset())
    if execution.externals:
        external.sender_closes(turn)
    facts = execution.facts
    # Callers hear whether a next run follows, which they may ask instead.
    if facts.updates or execution.updates:
        update.abort(turn, continues)
    # Facts are decided, not folded: what concerned the open run is forgotten here.
    facts.attempts = {}
    facts.fired_timers = set()
    facts.sticky_queue = ""
    facts.sticky_schedule_to_start_ns = 0
    facts.starting = set()
    facts.settled = set()
    turn.add(event)
    execution.wake_at_ns = None
    # When a reset run takes this one's place, the parent goes on waiting, for that one.
    if execution.parent is not None and inherited is None:
        child.tell_parent(turn, event)


def run_deadline(execution: Execution) -> int | None:
    """When the run or the whole execution times out."""
    deadlines: list[int] = []
    if execution.run_timeout_ns:
        # A reset run has its whole time again; a delayed one's begins when the delay is over.
        began_ns = execution.facts.reset_at_ns or execution.started_at_ns + execution.first_task_backoff_ns
        deadlines.append(began_ns + execution.run_timeout_ns)
    if execution.execution_expires_at_ns:
        deadlines.append(execution.execution_expires_at_ns)
    return min(deadlines) + execution.facts.run_moved_ns if deadlines else None


def _closes(event_type: enums.EventType, trigger: Trigger) -> None:
    def closed(execution: Execution, event: HistoryEvent) -> None:
        execution.status = int(TABLE.transitions[State(execution.status), trigger])
        execution.closed_at_ns = timestamp_ns(event.event_time)
        execution.workflow_task = None
        execution.activities = {}
        execution.activity_ids = {}
        execution.timers = {}
        execution.children = {}
        execution.externals = {}

    folds(event_type)(closed)


_closes(enums.WORKFLOW_EXECUTION_COMPLETED, Trigger.COMPLETE)
_closes(enums.WORKFLOW_EXECUTION_FAILED, Trigger.FAIL)
_closes(enums.WORKFLOW_EXECUTION_CANCELED, Trigger.CANCEL)
_closes(enums.WORKFLOW_EXECUTION_TERMINATED, Trigger.TERMINATE)
_closes(enums.WORKFLOW_EXECUTION_TIMED_OUT, Trigger.TIME_OUT)
_closes(enums.WORKFLOW_EXECUTION_CONTINUED_AS_NEW, Trigger.CONTINUE_AS_NEW)


@folds(enums.WORKFLOW_EXECUTION_PAUSED)
def _paused(execution: Execution, event: HistoryEvent) -> None:
    execution.status = int(TABLE.next(execution.status, Trigger.PAUSE))
    attributes = event.workflow_execution_paused_event_attributes
    at_ns = timestamp_ns(event.event_time)
    execution.paused = Paused(at_ns, attributes.identity, attributes.reason, attributes.request_id)


@folds(enums.WORKFLOW_EXECUTION_UNPAUSED)
def _unpaused(execution: Execution, event: HistoryEvent) -> None:
    execution.status = int(TABLE.next(execution.status, Trigger.UNPAUSE))
    execution.paused = None

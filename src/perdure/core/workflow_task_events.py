"""Where a workflow task stands, the events that say so, and what other entities' events owe it.

Apart from `workflow_task` because every entity whose events come from outside asks for this much
of it: such an event waits behind a task that a worker is running, and brings a speculative task
that still waits for one into history before itself. That is Temporal's order, and the only one in
which the scheduled event keeps the id that was told.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.times import set_duration, set_timestamp
from perdure.core.limits import Limits
from perdure.core.state import Execution, WorkflowTask
from perdure.core.table import Table
from perdure.core.turn import Turn


class State(IntEnum):
    """Where the run's workflow task stands; derived from the state by `state_of`."""

    NONE = 0
    SCHEDULED = 1
    STARTED = 2
    BACKING_OFF = 3
    """An attempt > 1 that is not queued yet."""
    RETRY_SCHEDULED = 4
    RETRY_STARTED = 5
    SPECULATIVE_SCHEDULED = 6
    """A first attempt that is there for an update alone, and perhaps leaves no trace: not in history."""
    SPECULATIVE_STARTED = 7


class Trigger(IntEnum):
    SCHEDULE = 1
    SCHEDULE_RETRY = 2
    BACK_OFF = 3
    DUE = 4
    START = 5
    START_AS_NEW = 6
    """An attempt > 1 starts after events arrived: it becomes a first attempt, in history."""
    COMPLETE = 7
    FAIL = 8
    TIME_OUT = 9
    STICKY_TIME_OUT = 10
    CLOSE = 11
    SPECULATE = 12
    RECORD = 13
    """A speculative task enters history, as a normal one."""
    PAUSE = 15
    DROP = 14
    """A speculative task ends with rejected updates alone: history never knew of it."""


TABLE: Table[State, Trigger] = Table(
    "Workflow task",
    State.NONE,
    {
        (State.NONE, Trigger.SCHEDULE): State.SCHEDULED,
        (State.NONE, Trigger.SCHEDULE_RETRY): State.RETRY_SCHEDULED,
        (State.NONE, Trigger.BACK_OFF): State.BACKING_OFF,
        (State.BACKING_OFF, Trigger.DUE): State.RETRY_SCHEDULED,
        (State.BACKING_OFF, Trigger.CLOSE): State.NONE,
        (State.SCHEDULED, Trigger.START): State.STARTED,
        (State.SCHEDULED, Trigger.STICKY_TIME_OUT): State.NONE,
        (State.SCHEDULED, Trigger.CLOSE): State.NONE,
        (State.SCHEDULED, Trigger.PAUSE): State.NONE,
        (State.STARTED, Trigger.COMPLETE): State.NONE,
        (State.STARTED, Trigger.FAIL): State.NONE,
        (State.STARTED, Trigger.TIME_OUT): State.NONE,
        (State.RETRY_SCHEDULED, Trigger.START): State.RETRY_STARTED,
        (State.RETRY_SCHEDULED, Trigger.START_AS_NEW): State.STARTED,
        (State.RETRY_SCHEDULED, Trigger.CLOSE): State.NONE,
        (State.RETRY_STARTED, Trigger.COMPLETE): State.NONE,
        (State.RETRY_STARTED, Trigger.FAIL): State.NONE,
        (State.RETRY_STARTED, Trigger.TIME_OUT): State.NONE,
        (State.NONE, Trigger.SPECULATE): State.SPECULATIVE_SCHEDULED,
        (State.SPECULATIVE_SCHEDULED, Trigger.START): State.SPECULATIVE_STARTED,
        (State.SPECULATIVE_SCHEDULED, Trigger.RECORD): State.SCHEDULED,
        (State.SPECULATIVE_SCHEDULED, Trigger.CLOSE): State.NONE,
        (State.SPECULATIVE_STARTED, Trigger.COMPLETE): State.NONE,
        (State.SPECULATIVE_STARTED, Trigger.RECORD): State.STARTED,
        (State.SPECULATIVE_STARTED, Trigger.DROP): State.NONE,
    },
)


def state_of(execution: Execution) -> State:
    """The state that the execution's fields amount to."""
    task = execution.workflow_task
    if task is not None:
        return State.STARTED if task.started_event_id else State.SCHEDULED
    task = execution.facts.transient_task
    if task is None:
        return State.NONE
    if task.attempt == 1:
        return State.SPECULATIVE_STARTED if task.started_event_id else State.SPECULATIVE_SCHEDULED
    if task.started_event_id:
        return State.RETRY_STARTED
    return State.BACKING_OFF if execution.facts.task_not_before_ns else State.RETRY_SCHEDULED


def add_or_buffer(turn: Turn, event: HistoryEvent) -> int:
    """Append an event, or hold it back behind the workflow task that a worker is running.

    An event that carries a time keeps it. Returns its id, 0 when it was held back.
    """
    at_ns = None
    if not event.HasField("event_time"):
        event.event_time.CopyFrom(turn.now)
        at_ns = turn.now_ns
    execution = turn.execution
    if not execution.task_started:
        task = execution.facts.transient_task
        if task is not None and task.attempt == 1:
            record_scheduled(turn, task)
        return turn.add_dated(event, at_ns)
    execution.facts.buffered.append(event.SerializeToString())
    turn.fired = None  # what was read of the buffer does not hold any more
    turn.commit.changed = True
    return 0


def record_scheduled(turn: Turn, task: WorkflowTask) -> None:
    """A speculative task that waits for a worker becomes a normal one, in history with its old id."""
    TABLE.next(State.SPECULATIVE_SCHEDULED, Trigger.RECORD)
    turn.execution.facts.transient_task = None
    turn.add_dated(scheduled_event_of(turn.execution, task))


def scheduled_event_of(execution: Execution, task: WorkflowTask) -> HistoryEvent:
    """WorkflowTaskScheduled of a task that is not in history yet, with the id and time it was scheduled at."""
    event = scheduled_event(execution, task.queue if task.sticky else "", task.attempt, task.start_to_close_ns)
    event.event_id = task.scheduled_event_id
    set_timestamp(event.event_time, task.scheduled_at_ns)
    return event


def started_event_of(execution: Execution, limits: Limits, task: WorkflowTask) -> HistoryEvent:
    """WorkflowTaskStarted of a task that is not in history yet."""
    event = started_event(execution, limits, task.scheduled_event_id, task.identity, task.request_id)
    event.event_id = task.started_event_id
    set_timestamp(event.event_time, task.started_at_ns)
    return event


def scheduled_event(execution: Execution, sticky_queue: str, attempt: int, start_to_close_ns: int) -> HistoryEvent:
    return HistoryEvent.FromString(_scheduled(execution.task_queue, sticky_queue, attempt, start_to_close_ns))


@lru_cache(1024)
def _scheduled(task_queue: str, sticky_queue: str, attempt: int, start_to_close_ns: int) -> bytes:
    """All that such an event says but its id and its time: the same for nearly all tasks of a queue."""
    event = HistoryEvent(event_type=enums.WORKFLOW_TASK_SCHEDULED)
    attributes = event.workflow_task_scheduled_event_attributes
    queue = attributes.task_queue
    if sticky_queue:
        queue.name = sticky_queue
        queue.kind = enums.QUEUE_STICKY
        queue.normal_name = task_queue
    else:
        queue.name = task_queue
        queue.kind = enums.QUEUE_NORMAL
    set_duration(attributes.start_to_close_timeout, start_to_close_ns)
    attributes.attempt = attempt
    return event.SerializeToString()


def started_event(
    execution: Execution, limits: Limits, scheduled_event_id: int, identity: str, request_id: str
) -> HistoryEvent:
    event = HistoryEvent(event_type=enums.WORKFLOW_TASK_STARTED)
    attributes = event.workflow_task_started_event_attributes
    attributes.scheduled_event_id = scheduled_event_id
    attributes.identity = identity
    attributes.request_id = request_id
    attributes.history_size_bytes = execution.history_bytes
    if execution.next_event_id > limits.suggest_continue_as_new_events:
        attributes.suggest_continue_as_new = True
        attributes.suggest_continue_as_new_reasons.append(enums.TOO_MANY_HISTORY_EVENTS)
    if execution.history_bytes > limits.suggest_continue_as_new_bytes:
        attributes.suggest_continue_as_new = True
        attributes.suggest_continue_as_new_reasons.append(enums.HISTORY_SIZE_TOO_LARGE)
    return event

"""Activities: scheduled by a command, tried once or many times, closed by one event.

History has the Scheduled event and, when all trying is over, Started (of the last attempt) and
the closing event together; the attempts between live in `facts.attempts`, as Temporal keeps them.
"""

from __future__ import annotations

from enum import IntEnum

from temporalio.api.command.v1 import Command, ScheduleActivityTaskCommandAttributes
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    ActivityTaskCancelRequestedEventAttributes,
    HistoryEvent,
)

from perdure.api import backoff, enums
from perdure.api.failures import bounded, shortened, timeout_failure
from perdure.api.times import duration_ns, later, set_duration, set_timestamp, timestamp_ns
from perdure.core import apart, retry
from perdure.core.context import Poller
from perdure.core.fold import folds
from perdure.core.names import Task, TaskKind
from perdure.core.refusals import activity_not_found
from perdure.core.started import StartedActivityTask
from perdure.core.state import Activity, Attempt, Execution
from perdure.core.state import AttemptState as State
from perdure.core.table import Table
from perdure.core.tokens import TaskToken, encode_token
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer


class Trigger(IntEnum):
    SCHEDULE = 1
    START = 2
    HEARTBEAT = 3
    RETRY = 4
    RETRY_NOW = 5
    DUE = 6
    COMPLETE = 7
    FAIL = 8
    TIME_OUT = 9
    CANCEL = 10
    RECORD = 11
    """The closing event enters history."""
    PAUSE = 12
    UNPAUSE = 13
    RETRY_PAUSED = 14
    RESET = 15


_OPEN = (State.SCHEDULED, State.STARTED, State.BACKING_OFF, State.PAUSED)

TABLE: Table[State, Trigger] = Table(
    "Activity",
    State.NONE,
    {
        (State.NONE, Trigger.SCHEDULE): State.SCHEDULED,
        (State.SCHEDULED, Trigger.START): State.STARTED,
        (State.SCHEDULED, Trigger.TIME_OUT): State.CLOSING,
        (State.SCHEDULED, Trigger.CANCEL): State.CLOSING,
        (State.STARTED, Trigger.HEARTBEAT): State.STARTED,
        (State.STARTED, Trigger.RETRY): State.BACKING_OFF,
        (State.STARTED, Trigger.RETRY_NOW): State.SCHEDULED,
        (State.STARTED, Trigger.COMPLETE): State.CLOSING,
        (State.STARTED, Trigger.FAIL): State.CLOSING,
        (State.STARTED, Trigger.TIME_OUT): State.CLOSING,
        (State.STARTED, Trigger.CANCEL): State.CLOSING,
        (State.BACKING_OFF, Trigger.DUE): State.SCHEDULED,
        (State.BACKING_OFF, Trigger.START): State.STARTED,
        (State.BACKING_OFF, Trigger.TIME_OUT): State.CLOSING,
        (State.BACKING_OFF, Trigger.CANCEL): State.CLOSING,
        (State.CLOSING, Trigger.RECORD): State.CLOSED,
        (State.SCHEDULED, Trigger.PAUSE): State.PAUSED,
        (State.BACKING_OFF, Trigger.PAUSE): State.PAUSED,
        (State.STARTED, Trigger.PAUSE): State.STARTED,
        (State.STARTED, Trigger.UNPAUSE): State.STARTED,
        (State.STARTED, Trigger.RETRY_PAUSED): State.PAUSED,
        (State.PAUSED, Trigger.UNPAUSE): State.SCHEDULED,
        (State.PAUSED, Trigger.START): State.STARTED,
        (State.PAUSED, Trigger.TIME_OUT): State.CLOSING,
        (State.PAUSED, Trigger.CANCEL): State.CLOSING,
        (State.SCHEDULED, Trigger.RESET): State.SCHEDULED,
        (State.BACKING_OFF, Trigger.RESET): State.SCHEDULED,
    },
)


def schedule(turn: Turn, message: Command, completed_event_id: int) -> int:
    """Write the Scheduled event and owe a worker the first attempt. Returns the scheduled event id.

    Time-outs and the retry policy enter history as Temporal's server fills them in.
    """
    execution = turn.execution
    TABLE.next(State.NONE, Trigger.SCHEDULE)
    event = _scheduled_event(execution, message.schedule_activity_task_command_attributes, completed_event_id)
    event_id = turn.add(event)
    activity = execution.activities[event_id]
    attempt = execution.facts.attempts[event_id] = Attempt(State.SCHEDULED, 1, turn.now_ns)
    turn.enqueue(TaskKind.ACTIVITY, activity.task_queue, event_id, 1)
    deadline_ns = _queued_deadline(activity, attempt)
    if deadline_ns is not None:
        turn.lower(deadline_ns)
    return event_id


def _scheduled_event(
    execution: Execution, command: ScheduleActivityTaskCommandAttributes, completed_event_id: int
) -> HistoryEvent:
    event = HistoryEvent(event_type=enums.ACTIVITY_TASK_SCHEDULED)
    attributes = event.activity_task_scheduled_event_attributes
    attributes.activity_id = command.activity_id
    attributes.activity_type.name = command.activity_type.name
    attributes.task_queue.name = command.task_queue.name or execution.task_queue
    attributes.task_queue.kind = enums.QUEUE_NORMAL
    if command.HasField("header"):
        attributes.header.CopyFrom(command.header)
    if command.HasField("input"):
        attributes.input.CopyFrom(command.input)
    if command.HasField("priority"):
        attributes.priority.CopyFrom(command.priority)
    if command.use_workflow_build_id:
        attributes.use_workflow_build_id = True
    attributes.workflow_task_completed_event_id = completed_event_id
    to_close, to_start, start_to_close, heartbeat = _timeouts(execution, command)
    set_duration(attributes.schedule_to_close_timeout, to_close)
    set_duration(attributes.schedule_to_start_timeout, to_start)
    set_duration(attributes.start_to_close_timeout, start_to_close)
    set_duration(attributes.heartbeat_timeout, heartbeat)
    if command.HasField("retry_policy"):
        attributes.retry_policy.CopyFrom(retry.filled(command.retry_policy))
    else:
        attributes.retry_policy.CopyFrom(backoff.DEFAULT_POLICY_MESSAGE)
    return event


def _timeouts(execution: Execution, command: ScheduleActivityTaskCommandAttributes) -> tuple[int, int, int, int]:
    """(schedule-to-close, schedule-to-start, start-to-close, heartbeat), each filled in from the others
    and capped by the run time-out, as Temporal's server does. Nanoseconds, 0: no limit."""
    to_close = duration_ns(command.schedule_to_close_timeout)
    to_start = duration_ns(command.schedule_to_start_timeout)
    start_to_close = duration_ns(command.start_to_close_timeout)
    heartbeat = duration_ns(command.heartbeat_timeout)
    run = execution.run_timeout_ns
    if to_close:
        to_start = _shorter(to_start, to_close)
        start_to_close = _shorter(start_to_close, to_close)
    else:
        to_close = run
        to_start = to_start or run
    if run:
        to_close, to_start, start_to_close = min(to_close, run), min(to_start, run), min(start_to_close, run)
    return to_close, to_start, start_to_close, min(heartbeat, start_to_close)


def _shorter(one: int, other: int) -> int:
    return min(one, other) if one else other


def effective(activity: Activity, attempt: Attempt) -> Activity:
    """The activity with the options that hold now: an operator may have changed them."""
    control = attempt.control
    return activity if control is None or control.options is None else control.options


def start(turn: Turn, activity: Activity, attempt: Attempt, worker: Poller) -> StartedActivityTask:
    """Hand a queued attempt to a worker."""
    attempt.state = TABLE.next(attempt.state, Trigger.START)
    attempt.started_at_ns = attempt.heartbeat_at_ns = turn.now_ns
    attempt.identity = worker.identity
    attempt.home = worker.home
    attempt.request_id = turn.context.new_id()
    turn.touch()
    options = effective(activity, attempt)
    deadline_ns = _started_deadline(options, attempt)
    if deadline_ns is not None:
        turn.lower(deadline_ns)
    execution = turn.execution
    key = execution.key
    event_id = activity.scheduled_event_id
    return StartedActivityTask(
        key,
        encode_token(TaskToken(key, TaskKind.ACTIVITY, event_id, attempt.attempt)),
        execution.workflow_type,
        activity.activity_id,
        event_id,
        attempt.attempt,
        activity.scheduled_at_ns,
        attempt.scheduled_at_ns,
        turn.now_ns,
        attempt.heartbeat_details,
        None if options is activity else options,
    )


def take_row(turn: Turn, task: Task, worker: Poller) -> StartedActivityTask:
    """Start the attempt that a row of the durable queue means. Raises Rejected NOT_FOUND when the row is stale."""
    execution = turn.execution
    event_id = task.scheduled_event_id
    attempt = execution.facts.attempts.get(event_id)
    if execution.status == enums.PAUSED or attempt is None:
        raise activity_not_found()
    if attempt.state != State.SCHEDULED or attempt.attempt != task.stamp:
        raise activity_not_found()  # an earlier attempt's row, taken before this one's
    started = start(turn, execution.activities[event_id], attempt, worker)
    turn.dequeue(TaskKind.ACTIVITY, event_id)
    return started


def start_unasked(turn: Turn, activity: Activity, attempt: Attempt, identity: str) -> None:
    """Somebody who is no worker says how it ended: then the attempt is that one's."""
    if attempt.state == State.SCHEDULED:
        turn.dequeue(TaskKind.ACTIVITY, activity.scheduled_event_id)
    attempt.state = TABLE.next(attempt.state, Trigger.START)
    attempt.started_at_ns = turn.now_ns
    attempt.identity = identity
    attempt.home = attempt.request_id = ""


def close(turn: Turn, activity: Activity, attempt: Attempt, trigger: Trigger, closing: HistoryEvent) -> None:
    """Write the closing event, behind the Started event of the attempt that a worker held.

    `closing` lacks only `started_event_id`. Both are held back while a workflow task runs.
    """
    event_id = activity.scheduled_event_id
    if attempt.state == State.SCHEDULED:
        turn.dequeue(TaskKind.ACTIVITY, event_id)
    # Attempts leave no events but the last one: its Started event, with the time at which it was true, enters history
    # with the end.
    was_started = attempt.state == State.STARTED
    attempt.state = TABLE.next(attempt.state, trigger)
    started_id = add_or_buffer(turn, _started_event(activity, attempt)) if was_started else 0
    if started_id:
        set_started_event_id(closing, started_id)
    # Held back behind a workflow task, the attempt stays, as CLOSING, until the flush.
    if add_or_buffer(turn, closing):
        recorded(turn.execution, event_id)


def _started_event(activity: Activity, attempt: Attempt) -> HistoryEvent:
    event = HistoryEvent(event_type=enums.ACTIVITY_TASK_STARTED)
    set_timestamp(event.event_time, attempt.started_at_ns)
    attributes = event.activity_task_started_event_attributes
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.identity = attempt.identity
    attributes.request_id = attempt.request_id
    attributes.attempt = attempt.attempt
    if attempt.last_failure and attempt.attempt > 1:
        attributes.last_failure.CopyFrom(bounded(Failure.FromString(attempt.last_failure)))
    return event


def set_started_event_id(closing: HistoryEvent, started_event_id: int) -> None:
    """Point a closing event at its Started event."""
    if closing.event_type == enums.ACTIVITY_TASK_COMPLETED:
        closing.activity_task_completed_event_attributes.started_event_id = started_event_id
    elif closing.event_type == enums.ACTIVITY_TASK_FAILED:
        closing.activity_task_failed_event_attributes.started_event_id = started_event_id
    elif closing.event_type == enums.ACTIVITY_TASK_TIMED_OUT:
        closing.activity_task_timed_out_event_attributes.started_event_id = started_event_id
    else:
        closing.activity_task_canceled_event_attributes.started_event_id = started_event_id


def recorded(execution: Execution, scheduled_event_id: int) -> None:
    """The closing event has entered history: the attempt is forgotten."""
    attempt = execution.facts.attempts.pop(scheduled_event_id)
    TABLE.next(attempt.state, Trigger.RECORD)


def _queued_deadline(activity: Activity, attempt: Attempt) -> int | None:
    """The earlier of schedule-to-start (of this attempt) and schedule-to-close (of all)."""
    to_start = attempt.scheduled_at_ns + activity.schedule_to_start_ns if activity.schedule_to_start_ns else None
    to_close = expires_at(activity, attempt)
    if to_close and (to_start is None or to_close < to_start):
        return to_close
    return to_start


def expires_at(activity: Activity, attempt: Attempt) -> int:
    """When trying ends (schedule-to-close); 0: never."""
    if not activity.schedule_to_close_ns:
        return 0
    return activity.scheduled_at_ns + attempt.moved_ns + activity.schedule_to_close_ns


def _started_deadline(activity: Activity, attempt: Attempt) -> int | None:
    """The earliest of start-to-close, heartbeat and schedule-to-close."""
    earliest = expires_at(activity, attempt)
    if activity.start_to_close_ns:
        ends_at = attempt.started_at_ns + activity.start_to_close_ns
        earliest = min(earliest, ends_at) if earliest else ends_at
    if activity.heartbeat_ns:
        silent_at = attempt.heartbeat_at_ns + activity.heartbeat_ns
        earliest = min(earliest, silent_at) if earliest else silent_at
    return earliest or None


def next_deadline(activity: Activity, attempt: Attempt) -> int | None:
    """When this activity next needs attention."""
    activity = effective(activity, attempt)
    if attempt.state == State.STARTED:
        return _started_deadline(activity, attempt)
    if attempt.state == State.SCHEDULED:
        return _queued_deadline(activity, attempt)
    # An operator may have made schedule-to-close end before the back-off does.
    if attempt.state == State.BACKING_OFF:
        return min(attempt.scheduled_at_ns, expires_at(activity, attempt) or attempt.scheduled_at_ns)
    if attempt.state == State.PAUSED:
        return expires_at(activity, attempt) or None
    return None


def fail_attempt(
    turn: Turn, activity: Activity, attempt: Attempt, failure: Failure, identity: str, at_once: bool = False
) -> enums.RetryState:
    """An attempt ended with `failure`: try again, or give the reason why not (and change nothing).

    `at_once` leaves out the back-off: the worker died, the work itself did not fail.
    """
    # The workflow has asked for the end of it: another attempt would be what it does not want.
    if activity.cancel_requested_event_id:
        return enums.RETRY_CANCEL_REQUESTED
    options = effective(activity, attempt)
    control = attempt.control
    is_reset = control is not None and control.reset_requested
    # A worker's task names the attempt that it was given, so the number stays until that attempt has ended.
    tried = 1 if is_reset else attempt.attempt
    verdict = backoff.judge(options.retry, tried, failure, turn.now_ns, expires_at(options, attempt))
    if verdict.retry_state != enums.RETRY_IN_PROGRESS:
        return verdict.retry_state
    wait_ns = 0 if at_once else verdict.backoff_ns
    is_paused = control is not None and control.paused_at_ns != 0
    # A paused activity has its next attempt counted and kept, but on no queue and behind no back-off.
    trigger = Trigger.RETRY_PAUSED if is_paused else Trigger.RETRY if wait_ns else Trigger.RETRY_NOW
    attempt.state = TABLE.next(attempt.state, trigger)
    attempt.attempt = tried + 1
    if control is not None:
        # This was asked of the attempt that has just ended.
        control.reset_requested = False
        if control.heartbeat_reset:
            control.heartbeat_reset = False
            apart.set_details(turn, activity.scheduled_event_id, attempt, b"")
    attempt.scheduled_at_ns = later(turn.now_ns, wait_ns)
    if attempt.heartbeat_at_ns == attempt.started_at_ns:
        attempt.heartbeat_at_ns = 0  # it was the start, and no heartbeat
    attempt.started_at_ns = 0
    # Cut, for it is in every snapshot until the activity ends.
    attempt.last_failure = shortened(failure, turn.limits.kept_failure_bytes).SerializeToString()
    attempt.last_worker_identity = identity
    attempt.completed_at_ns = turn.now_ns
    attempt.identity = attempt.request_id = ""
    turn.touch()
    if is_paused:
        # The time for the whole activity runs on while it is paused.
        expires_at_ns = expires_at(options, attempt)
        if expires_at_ns:
            turn.lower(expires_at_ns)
    elif wait_ns:
        turn.lower(attempt.scheduled_at_ns)
    else:
        queue(turn, activity, attempt)
    return enums.RETRY_IN_PROGRESS


def queue(turn: Turn, activity: Activity, attempt: Attempt) -> None:
    """Owe a worker this attempt now."""
    activity = effective(activity, attempt)
    turn.enqueue(TaskKind.ACTIVITY, activity.task_queue, activity.scheduled_event_id, attempt.attempt)
    deadline_ns = _queued_deadline(activity, attempt)
    if deadline_ns is not None:
        turn.lower(deadline_ns)


def queue_if_due(turn: Turn, activity: Activity, attempt: Attempt) -> None:
    """Put an attempt on the queue whose back-off is over."""
    if attempt.state == State.BACKING_OFF and attempt.scheduled_at_ns <= turn.now_ns:
        attempt.state = TABLE.next(attempt.state, Trigger.DUE)
        turn.touch()
        queue(turn, activity, attempt)


def overdue(activity: Activity, attempt: Attempt, now_ns: int) -> enums.TimeoutType | None:
    """Which time-out has passed; of two that passed, the one that Temporal reports."""
    if attempt.state not in _OPEN:
        return None
    activity = effective(activity, attempt)
    if attempt.state == State.SCHEDULED and _passed(attempt.scheduled_at_ns, activity.schedule_to_start_ns, now_ns):
        return enums.SCHEDULE_TO_START
    if _passed(activity.scheduled_at_ns + attempt.moved_ns, activity.schedule_to_close_ns, now_ns):
        return enums.SCHEDULE_TO_CLOSE
    if attempt.state == State.STARTED:
        if _passed(attempt.started_at_ns, activity.start_to_close_ns, now_ns):
            return enums.START_TO_CLOSE
        if _passed(attempt.heartbeat_at_ns, activity.heartbeat_ns, now_ns):
            return enums.HEARTBEAT
    return None


def _passed(origin_ns: int, timeout_ns: int, now_ns: int) -> bool:
    return timeout_ns > 0 and origin_ns + timeout_ns <= now_ns


def time_out(
    turn: Turn, activity: Activity, attempt: Attempt, timeout_type: enums.TimeoutType, at_once: bool = False
) -> bool:
    """A time-out has passed: try again or close with ActivityTaskTimedOut. True when it closed."""
    failure = timeout_failure(timeout_type)
    retry_state = enums.RETRY_TIMEOUT
    # An attempt that took too long may be followed by another. Time that passed on the queue, or all there was, is no
    # attempt's fault.
    if timeout_type in (enums.START_TO_CLOSE, enums.HEARTBEAT):
        retry_state = fail_attempt(turn, activity, attempt, failure, attempt.identity, at_once)
        if retry_state == enums.RETRY_IN_PROGRESS:
            return False
        # Another attempt could not begin before schedule-to-close: then that is what ended it, as Temporal says it.
        if retry_state == enums.RETRY_TIMEOUT:
            failure = timeout_failure(enums.SCHEDULE_TO_CLOSE)
    # The workflow is told what the attempt last reported, and why the one before had failed.
    if attempt.heartbeat_details:
        failure.timeout_failure_info.last_heartbeat_details.ParseFromString(attempt.heartbeat_details)
    if attempt.last_failure:
        failure.cause.CopyFrom(bounded(Failure.FromString(attempt.last_failure)))
    closing = HistoryEvent(event_type=enums.ACTIVITY_TASK_TIMED_OUT)
    attributes = closing.activity_task_timed_out_event_attributes
    attributes.failure.CopyFrom(failure)
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.retry_state = retry_state
    close(turn, activity, attempt, Trigger.TIME_OUT, closing)
    return True


def close_failed(
    turn: Turn, activity: Activity, attempt: Attempt, failure: Failure, retry_state: enums.RetryState, identity: str
) -> None:
    """Close with ActivityTaskFailed."""
    closing = HistoryEvent(event_type=enums.ACTIVITY_TASK_FAILED)
    attributes = closing.activity_task_failed_event_attributes
    attributes.failure.CopyFrom(failure)
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.identity = identity
    attributes.retry_state = retry_state
    close(turn, activity, attempt, Trigger.FAIL, closing)


def request_cancel(turn: Turn, scheduled_event_id: int, completed_event_id: int) -> bool:
    """Ask for the end of an activity. True when no worker holds it: then `cancel_unstarted` is due."""
    turn.add(
        HistoryEvent(
            event_type=enums.ACTIVITY_TASK_CANCEL_REQUESTED,
            activity_task_cancel_requested_event_attributes=ActivityTaskCancelRequestedEventAttributes(
                scheduled_event_id=scheduled_event_id, workflow_task_completed_event_id=completed_event_id
            ),
        )
    )
    attempt = turn.execution.facts.attempts[scheduled_event_id]
    return attempt.state in (State.SCHEDULED, State.BACKING_OFF, State.PAUSED)


NOT_STARTED_DETAILS = Payloads(
    payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"ACTIVITY_ID_NOT_STARTED"')]
)
"""What Temporal's server says of an activity that was cancelled before a worker had it."""


def cancel_unstarted(turn: Turn, scheduled_event_id: int, identity: str) -> None:
    """Close an activity that is queued or backing off: there is nobody to ask."""
    execution = turn.execution
    activity = execution.activities[scheduled_event_id]
    closing = HistoryEvent(event_type=enums.ACTIVITY_TASK_CANCELED)
    attributes = closing.activity_task_canceled_event_attributes
    attributes.details.CopyFrom(NOT_STARTED_DETAILS)
    attributes.latest_cancel_requested_event_id = activity.cancel_requested_event_id
    attributes.scheduled_event_id = scheduled_event_id
    attributes.identity = identity
    close(turn, activity, execution.facts.attempts[scheduled_event_id], Trigger.CANCEL, closing)


@folds(enums.ACTIVITY_TASK_SCHEDULED)
def _scheduled(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.activity_task_scheduled_event_attributes
    event_id = event.event_id
    activity_id = attributes.activity_id
    execution.activities[event_id] = Activity(
        event_id,
        activity_id,
        attributes.activity_type.name,
        attributes.task_queue.name,
        timestamp_ns(event.event_time),
        duration_ns(attributes.schedule_to_close_timeout),
        duration_ns(attributes.schedule_to_start_timeout),
        duration_ns(attributes.start_to_close_timeout),
        duration_ns(attributes.heartbeat_timeout),
        backoff.from_message(attributes.retry_policy) if attributes.HasField("retry_policy") else None,
        priority=attributes.priority.SerializeToString() if attributes.HasField("priority") else b"",
    )
    execution.activity_ids[activity_id] = event_id


@folds(enums.ACTIVITY_TASK_STARTED)
def _started(execution: Execution, event: HistoryEvent) -> None:
    """Written together with the closing event, which says all that the state needs."""


@folds(enums.ACTIVITY_TASK_CANCEL_REQUESTED)
def _cancel_requested(execution: Execution, event: HistoryEvent) -> None:
    activity = execution.activities.get(event.activity_task_cancel_requested_event_attributes.scheduled_event_id)
    if activity is not None:
        activity.cancel_requested_event_id = event.event_id


def scheduled_event_id_of(closing: HistoryEvent) -> int:
    """The Scheduled event that an activity's closing event points at."""
    if closing.event_type == enums.ACTIVITY_TASK_COMPLETED:
        return closing.activity_task_completed_event_attributes.scheduled_event_id
    if closing.event_type == enums.ACTIVITY_TASK_FAILED:
        return closing.activity_task_failed_event_attributes.scheduled_event_id
    if closing.event_type == enums.ACTIVITY_TASK_TIMED_OUT:
        return closing.activity_task_timed_out_event_attributes.scheduled_event_id
    return closing.activity_task_canceled_event_attributes.scheduled_event_id


CLOSING_EVENTS = (
    enums.ACTIVITY_TASK_COMPLETED,
    enums.ACTIVITY_TASK_FAILED,
    enums.ACTIVITY_TASK_TIMED_OUT,
    enums.ACTIVITY_TASK_CANCELED,
)


def _closed(execution: Execution, event: HistoryEvent) -> None:
    activity = execution.activities.pop(scheduled_event_id_of(event))
    del execution.activity_ids[activity.activity_id]


for _event_type in CLOSING_EVENTS:
    folds(_event_type)(_closed)

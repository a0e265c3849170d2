"""The workflow task: one at a time, it asks a worker what the workflow wants next.

The first attempt is in history from the moment it is scheduled. Later attempts are *transient*:
their Scheduled and Started events are sent to the worker and enter history only if the attempt
completes, so that a workflow which fails over and over does not grow its history. Events that
arrive while a worker holds the task are buffered behind it.

A task that only an update asks for is *speculative*: a transient first attempt. It enters history
when it completes, fails or times out, or when another event comes before it started, and is dropped when
its worker rejects the update: then nothing has happened.
"""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowTaskTimedOutEventAttributes,
)
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.api import enums
from perdure.api.failures import bounded, too_large_failure
from perdure.api.times import duration_ns, timestamp_ns
from perdure.core import update
from perdure.core.commands import ForgetSticky
from perdure.core.context import Poller
from perdure.core.fold import folds
from perdure.core.limits import Limits
from perdure.core.names import Task, TaskKind
from perdure.core.refusals import workflow_completed, workflow_task_not_found
from perdure.core.started import StartedWorkflowTask
from perdure.core.state import Execution, Facts, WorkflowTask
from perdure.core.tokens import TaskToken, encode_token
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import (
    TABLE,
    State,
    Trigger,
    record_scheduled,
    scheduled_event,
    scheduled_event_of,
    started_event,
    started_event_of,
    state_of,
)

_START_DIGITS = 12
"""So much of a start's id tells it from all others: where an id counts on, and of another's UUID 48 random bits."""


def schedule(turn: Turn) -> None:
    """Owe the workflow a task, unless one is scheduled or running already, or it is paused."""
    execution = turn.execution
    if execution.current_task is not None or execution.status == enums.PAUSED:
        return
    facts = execution.facts
    # The worker that had the run in memory is known to be gone: do not wait for it to time out.
    if facts.sticky_queue == turn.context.dead_queue:
        facts.sticky_queue = ""
    if facts.task_attempt > 1:
        _schedule_retry(turn)
        return
    TABLE.next(State.NONE, Trigger.SCHEDULE)
    scheduled_id = turn.add(scheduled_event(execution, facts.sticky_queue, 1, execution.task_timeout_ns))
    _queue(turn, facts.sticky_queue or execution.task_queue, scheduled_id, 1)


def speculate(turn: Turn) -> None:
    """Owe the workflow a task that history need not know of, unless one is scheduled or running already."""
    execution = turn.execution
    if execution.current_task is not None or execution.status == enums.PAUSED:
        return
    facts = execution.facts
    assert facts.task_attempt == 1, "a task that failed is followed by the next at once"
    if facts.sticky_queue == turn.context.dead_queue:
        facts.sticky_queue = ""
    TABLE.next(State.NONE, Trigger.SPECULATE)
    task = facts.transient_task = WorkflowTask(
        execution.next_event_id,
        1,
        turn.now_ns,
        execution.task_timeout_ns,
        facts.sticky_queue or execution.task_queue,
        bool(facts.sticky_queue),
    )
    _queue(turn, task.queue, task.scheduled_event_id, 1)


def is_speculative(execution: Execution) -> bool:
    """Whether the current task is one that history does not know of, at its first attempt."""
    task = execution.facts.transient_task
    return task is not None and task.attempt == 1


def drop_speculative(turn: Turn) -> int:
    """Nothing has happened in the running task. Returns the event after which its worker is to forget."""
    execution = turn.execution
    TABLE.next(state_of(execution), Trigger.DROP)
    execution.facts.transient_task = None
    turn.touch()
    return execution.started_task_completed


def _record(turn: Turn) -> None:
    """A running speculative task becomes a normal one, because it does not end well."""
    execution = turn.execution
    task = execution.facts.transient_task
    if task is None or task.attempt != 1:
        return
    TABLE.next(State.SPECULATIVE_STARTED, Trigger.RECORD)
    events = transient_events(turn, task)
    execution.facts.transient_task = None
    for event in events:
        turn.add_dated(event)


def _schedule_retry(turn: Turn) -> None:
    """A transient attempt: no event. Later attempts get more time, because official SDKs report only the
    first failure and let the others time out: that is how Temporal slows a failing workflow down."""
    execution = turn.execution
    facts = execution.facts
    task = facts.transient_task = WorkflowTask(
        execution.next_event_id,
        facts.task_attempt,
        turn.now_ns,
        execution.task_timeout_ns + backoff_ns(turn.limits, facts.task_attempt),
        execution.task_queue,
        False,
    )
    turn.touch()
    if facts.task_not_before_ns > turn.now_ns:
        TABLE.next(State.NONE, Trigger.BACK_OFF)
        turn.lower(facts.task_not_before_ns)
        return
    facts.task_not_before_ns = 0
    TABLE.next(State.NONE, Trigger.SCHEDULE_RETRY)
    _queue(turn, task.queue, task.scheduled_event_id, task.attempt)


def _queue(turn: Turn, queue: str, scheduled_event_id: int, attempt: int) -> None:
    turn.enqueue(TaskKind.WORKFLOW, queue, scheduled_event_id, attempt)
    facts = turn.execution.facts
    if queue == facts.sticky_queue and facts.sticky_schedule_to_start_ns:
        turn.lower(turn.now_ns + facts.sticky_schedule_to_start_ns)


def start(turn: Turn, identity: str, request_id: str = "") -> StartedWorkflowTask:
    """Hand the scheduled task to a worker. The caller has checked that one is scheduled."""
    execution = turn.execution
    request_id = request_id or turn.context.new_id()
    transient = execution.facts.transient_task
    if transient is None:
        task = _start_in_history(turn, identity, request_id)
        events: list[HistoryEvent] = []
    # Events have come since the attempt was scheduled and taken the ids that it would have had. It has something new to
    # look at, so it starts as a first attempt, in history.
    elif transient.scheduled_event_id != execution.next_event_id:
        TABLE.next(State.RETRY_SCHEDULED, Trigger.START_AS_NEW)
        _forget_retries(execution)
        turn.add(scheduled_event(execution, "", 1, execution.task_timeout_ns))
        task = _start_in_history(turn, identity, request_id)
        events = []
    else:
        TABLE.next(state_of(execution), Trigger.START)
        task = transient
        task.started_event_id = task.scheduled_event_id + 1
        task.started_at_ns = turn.now_ns
        task.identity = identity
        task.request_id = request_id
        turn.touch()
        events = transient_events(turn, task)
    turn.lower(task.started_at_ns + task.start_to_close_ns)
    started = StartedWorkflowTask(
        execution.key,
        encode_token(
            TaskToken(
                execution.key, TaskKind.WORKFLOW, task.scheduled_event_id, task.attempt, "", request_id[-_START_DIGITS:]
            )
        ),
        execution.workflow_type,
        task.attempt,
        task.scheduled_event_id,
        task.started_event_id,
        execution.started_task_completed,
        task.scheduled_at_ns,
        task.started_at_ns,
        task.sticky,
        execution.task_queue,
        events,
    )
    if execution.facts.updates:
        started.messages = update.send(turn, task.started_event_id)
    return started


def _start_in_history(turn: Turn, identity: str, request_id: str) -> WorkflowTask:
    execution = turn.execution
    task = execution.workflow_task
    assert task is not None
    TABLE.next(State.SCHEDULED, Trigger.START)
    turn.add(started_event(execution, turn.limits, task.scheduled_event_id, identity, request_id))
    return task


def _forget_retries(execution: Execution) -> None:
    execution.facts.transient_task = None
    execution.facts.task_attempt = 1
    execution.facts.task_not_before_ns = 0


def transient_events(turn: Turn, task: WorkflowTask) -> list[HistoryEvent]:
    """Scheduled and Started of an attempt > 1, as a worker is sent them and as they enter history on completion."""
    execution = turn.execution
    return [scheduled_event_of(execution, task), started_event_of(execution, turn.limits, task)]


def require_started(execution: Execution, token: TaskToken) -> WorkflowTask:
    """The task that a worker's token means. Raises Rejected NOT_FOUND when it is not that worker's any more."""
    task = execution.current_task
    if (
        task is None
        or not task.started_event_id
        or task.scheduled_event_id != token.scheduled_event_id
        or task.attempt != token.attempt
        or token.kind != TaskKind.WORKFLOW
        or not task.request_id.endswith(token.started)
    ):
        raise workflow_task_not_found()
    return task


def complete(turn: Turn, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest) -> int:
    """Write WorkflowTaskCompleted (and for a transient attempt the two events before it). Returns its id."""
    execution = turn.execution
    TABLE.next(state_of(execution), Trigger.COMPLETE)
    if task is execution.facts.transient_task:
        events = transient_events(turn, task)
        execution.facts.transient_task = None
        for event in events:
            turn.add_dated(event)
    _forget_retries(execution)
    execution.facts.is_closing = False
    event = HistoryEvent(event_type=enums.WORKFLOW_TASK_COMPLETED)
    attributes = event.workflow_task_completed_event_attributes
    attributes.scheduled_event_id = task.scheduled_event_id
    attributes.started_event_id = task.started_event_id
    attributes.identity = request.identity
    if request.binary_checksum:
        attributes.binary_checksum = request.binary_checksum
    if request.HasField("worker_version_stamp"):
        attributes.worker_version.CopyFrom(request.worker_version_stamp)
    if request.HasField("sdk_metadata"):
        attributes.sdk_metadata.CopyFrom(request.sdk_metadata)
    if request.HasField("metering_metadata"):
        attributes.metering_metadata.CopyFrom(request.metering_metadata)
    return turn.add(event)


def fail(turn: Turn, cause: enums.WorkflowTaskFailedCause, failure: Failure | None, identity: str) -> None:
    """The running task failed: an event for the first attempt, none for later ones. The next is not scheduled here."""
    execution = turn.execution
    _record(turn)
    task = execution.current_task
    assert task is not None
    TABLE.next(state_of(execution), Trigger.FAIL)
    _end_attempt(turn, task)
    # Only a failure that a worker reports is the code's: a time-out may be a slow machine, so updates wait for the next
    # attempt, as they do on Temporal's server.
    if execution.facts.updates and execution.facts.task_attempt >= update.FAILING_ATTEMPT:
        update.abort_failing(turn)
    if task.attempt == 1:
        event = HistoryEvent(event_type=enums.WORKFLOW_TASK_FAILED)
        attributes = event.workflow_task_failed_event_attributes
        attributes.scheduled_event_id = task.scheduled_event_id
        attributes.started_event_id = task.started_event_id
        attributes.cause = cause
        if failure is not None:
            size = failure.ByteSize()
            if size > turn.limits.blob_bytes:
                failure = too_large_failure("Failure", size, turn.limits.blob_bytes, failure)
            attributes.failure.CopyFrom(bounded(failure))
        attributes.identity = identity
        turn.add(event)
    else:
        _back_off(turn, task.attempt)


def time_out(turn: Turn, *, lost: bool = False) -> None:
    """The running task's start-to-close time-out has passed; `lost`: its worker died, so it is not blamed."""
    execution = turn.execution
    _record(turn)
    task = execution.current_task
    assert task is not None
    TABLE.next(state_of(execution), Trigger.TIME_OUT)
    _end_attempt(turn, task, 0 if lost and task.attempt > 1 else 1)
    if task.attempt == 1:
        turn.add(_timed_out_event(task, enums.START_TO_CLOSE))


def time_out_sticky(turn: Turn) -> None:
    """The one worker that serves the sticky queue did not come: the normal queue's workers may."""
    execution = turn.execution
    if execution.facts.transient_task is not None:
        record_scheduled(turn, execution.facts.transient_task)
    task = execution.workflow_task
    assert task is not None
    TABLE.next(state_of(execution), Trigger.STICKY_TIME_OUT)
    turn.dequeue(TaskKind.WORKFLOW, task.scheduled_event_id)
    _clear_sticky(execution)
    turn.add(_timed_out_event(task, enums.SCHEDULE_TO_START))


def _timed_out_event(task: WorkflowTask, timeout_type: enums.TimeoutType) -> HistoryEvent:
    return HistoryEvent(
        event_type=enums.WORKFLOW_TASK_TIMED_OUT,
        workflow_task_timed_out_event_attributes=WorkflowTaskTimedOutEventAttributes(
            scheduled_event_id=task.scheduled_event_id,
            started_event_id=task.started_event_id,
            timeout_type=timeout_type,
        ),
    )


def _end_attempt(turn: Turn, task: WorkflowTask, counts: int = 1) -> None:
    facts = turn.execution.facts
    facts.transient_task = None
    facts.task_attempt = task.attempt + counts
    facts.task_not_before_ns = 0
    facts.is_closing = False
    _clear_sticky(turn.execution)
    turn.touch()


def _back_off(turn: Turn, attempt: int) -> None:
    """A worker did report that a later attempt failed: the next waits, longer each time."""
    wait_ns = backoff_ns(turn.limits, attempt + 1)
    if wait_ns:
        turn.execution.facts.task_not_before_ns = turn.now_ns + wait_ns


def backoff_ns(limits: Limits, attempt: int) -> int:
    """How much slower than the first this attempt of one workflow task is: 0, then doubling up to a bound."""
    beyond = attempt - limits.task_backoff_attempts - 1
    if beyond < 0:
        return 0
    return min(limits.task_backoff_initial_ns << min(beyond, 30), limits.task_backoff_max_ns)


def _clear_sticky(execution: Execution) -> None:
    execution.facts.sticky_queue = ""
    execution.facts.sticky_schedule_to_start_ns = 0


def forget_sticky(turn: Turn, command: ForgetSticky) -> None:
    """A worker lets go of the run: its next task is anybody's. Raises Rejected NOT_FOUND when it has closed."""
    if not turn.execution.is_open:
        raise workflow_completed()
    if turn.execution.facts.sticky_queue:
        _clear_sticky(turn.execution)
        turn.touch()


def remember_sticky(execution: Execution, queue: str, schedule_to_start_ns: int) -> None:
    """The worker keeps this workflow in memory and wants its next task on its own queue ("": it does not)."""
    execution.facts.sticky_queue = queue
    execution.facts.sticky_schedule_to_start_ns = schedule_to_start_ns if queue else 0


_QUEUED = (State.SCHEDULED, State.RETRY_SCHEDULED, State.SPECULATIVE_SCHEDULED)


def is_queued(execution: Execution) -> bool:
    """Whether a task is ready for a worker."""
    return state_of(execution) in _QUEUED


def take_row(turn: Turn, task: Task, worker: Poller) -> StartedWorkflowTask:
    """Start the task that a row of the durable queue means. Raises Rejected NOT_FOUND when the row is stale."""
    execution = turn.execution
    owed = execution.current_task
    if execution.status == enums.PAUSED or owed is None or not is_queued(execution):
        raise workflow_task_not_found()
    if owed.scheduled_event_id != task.scheduled_event_id or owed.attempt != task.stamp:
        raise workflow_task_not_found()  # an earlier attempt's row, taken before this one's
    execution.facts.task_home = worker.home
    started = start(turn, worker.identity)
    turn.dequeue(TaskKind.WORKFLOW, task.scheduled_event_id)
    return started


def take(turn: Turn, identity: str, request_id: str = "") -> StartedWorkflowTask:
    """Start the queued task for a worker, wherever it was queued. `request_id`: "" for a fresh one."""
    task = turn.execution.current_task
    assert task is not None
    turn.dequeue(TaskKind.WORKFLOW, task.scheduled_event_id)
    return start(turn, identity, request_id)


def reset_attempts(execution: Execution) -> None:
    """The next task is a first attempt: there are new events for it."""
    _forget_retries(execution)


def abandon(turn: Turn) -> None:
    """The run ends while a worker holds a task: the task is failed first, as Temporal does."""
    execution = turn.execution
    if execution.task_started:
        fail(turn, enums.FAILED_FORCE_CLOSE_COMMAND, None, "history-service")


def drop(turn: Turn) -> None:
    """The run is closing: a scheduled task is owed no more."""
    execution = turn.execution
    state = state_of(execution)
    if state != State.NONE:
        TABLE.next(state, Trigger.CLOSE)
        task = execution.current_task
        if task is not None and state != State.BACKING_OFF:
            turn.dequeue(TaskKind.WORKFLOW, task.scheduled_event_id)
    _forget_retries(execution)


def queue_if_due(turn: Turn, *, at_once: bool = False) -> None:
    """Queue a transient task whose back-off is over, or with `at_once` is not to be waited for."""
    facts = turn.execution.facts
    task = facts.transient_task
    not_before_ns = facts.task_not_before_ns
    if task is not None and not_before_ns and (at_once or not_before_ns <= turn.now_ns):
        TABLE.next(State.BACKING_OFF, Trigger.DUE)
        facts.task_not_before_ns = 0
        task.scheduled_at_ns = turn.now_ns
        _queue(turn, task.queue, task.scheduled_event_id, task.attempt)


def next_deadline(execution: Execution) -> int | None:
    """When the current task next needs attention."""
    task = execution.current_task
    if task is None:
        return None
    facts = execution.facts
    if task.started_event_id:
        return task.started_at_ns + task.start_to_close_ns + _moved(facts, task.started_at_ns)
    if task.sticky and facts.sticky_schedule_to_start_ns:
        return task.scheduled_at_ns + facts.sticky_schedule_to_start_ns + _moved(facts, task.scheduled_at_ns)
    return facts.task_not_before_ns or None


def _moved(facts: Facts, since_ns: int) -> int:
    """By how much the clock was set since that instant of the current task."""
    return facts.task_moved[1] if facts.task_moved[0] == since_ns else 0


@folds(enums.WORKFLOW_TASK_SCHEDULED)
def _scheduled(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_task_scheduled_event_attributes
    queue = attributes.task_queue
    execution.workflow_task = WorkflowTask(
        event.event_id,
        attributes.attempt,
        timestamp_ns(event.event_time),
        duration_ns(attributes.start_to_close_timeout),
        queue.name,
        queue.kind == enums.QUEUE_STICKY,
    )


@folds(enums.WORKFLOW_TASK_STARTED)
def _started(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_task_started_event_attributes
    task = execution.workflow_task
    assert task is not None
    task.started_event_id = event.event_id
    task.started_at_ns = timestamp_ns(event.event_time)
    task.identity = attributes.identity
    task.request_id = attributes.request_id


@folds(enums.WORKFLOW_TASK_COMPLETED)
def _completed(execution: Execution, event: HistoryEvent) -> None:
    execution.started_task_completed = event.workflow_task_completed_event_attributes.started_event_id
    execution.workflow_task = None


@folds(enums.WORKFLOW_TASK_FAILED)
@folds(enums.WORKFLOW_TASK_TIMED_OUT)
def _ended(execution: Execution, event: HistoryEvent) -> None:
    execution.workflow_task = None

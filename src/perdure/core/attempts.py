"""What workers say about the activities in their hands: done, failed, cancelled, still alive."""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.failures import bounded, too_large_failure
from perdure.core import activity, workflow_task
from perdure.core.activity import State, Trigger
from perdure.core.apart import set_details
from perdure.core.commands import CompleteActivity, FailActivity, RecordHeartbeat, ReportActivityCanceled
from perdure.core.names import TaskKind
from perdure.core.refusals import activity_not_found, invalid, not_found
from perdure.core.replies import HeartbeatRecorded
from perdure.core.state import Activity, Attempt
from perdure.core.tokens import TaskToken
from perdure.core.turn import Turn


def require_started(turn: Turn, token: TaskToken) -> tuple[Activity, Attempt]:
    """The attempt that a worker's token means. Raises Rejected NOT_FOUND when it is not that worker's any more."""
    execution = turn.execution
    # By its id: who speaks need not know which attempt it is.
    if token.activity_id:
        pending, attempt = _require_pending(turn, token.activity_id)
        if attempt.state != State.STARTED:
            raise activity_not_found()
        return pending, attempt
    attempt = execution.facts.attempts.get(token.scheduled_event_id) if token.kind == TaskKind.ACTIVITY else None
    if attempt is None or attempt.state != State.STARTED or attempt.attempt != token.attempt:
        raise activity_not_found()
    return execution.activities[token.scheduled_event_id], attempt


def _require_pending(turn: Turn, activity_id: str) -> tuple[Activity, Attempt]:
    """Raises Rejected NOT_FOUND when no activity of this id is pending, or it is about to be closed."""
    execution = turn.execution
    event_id = execution.activity_ids.get(activity_id, 0)
    attempt = execution.facts.attempts.get(event_id)
    if attempt is None or attempt.state == State.CLOSING:
        raise not_found(
            f"cannot find pending activity with ActivityID {activity_id}, check workflow execution history "
            "for more details"
        )
    return execution.activities[event_id], attempt


def complete(turn: Turn, command: CompleteActivity) -> None:
    request = command.request
    token = command.token
    # By its id an activity may be completed from anywhere, so perhaps before a worker has it.
    if token.activity_id:
        _start_unasked(turn, token.activity_id, request.identity)
    pending, attempt = require_started(turn, token)
    closing = HistoryEvent(event_type=enums.ACTIVITY_TASK_COMPLETED)
    attributes = closing.activity_task_completed_event_attributes
    if request.HasField("result"):
        size = request.result.ByteSize()
        if size > turn.limits.blob_bytes:
            _fail_too_large(turn, pending, attempt, size, request.identity)
            return
        attributes.result.CopyFrom(request.result)
    attributes.scheduled_event_id = pending.scheduled_event_id
    attributes.identity = request.identity
    activity.close(turn, pending, attempt, Trigger.COMPLETE, closing)
    workflow_task.schedule(turn)


def _start_unasked(turn: Turn, activity_id: str, identity: str) -> None:
    """The result of an activity may come before a worker has taken it, from somebody who knows it."""
    pending, attempt = _require_pending(turn, activity_id)
    if attempt.state != State.STARTED:
        activity.start_unasked(turn, pending, attempt, identity)


def _fail_too_large(turn: Turn, pending: Activity, attempt: Attempt, size: int, identity: str) -> None:
    """The worker did its part, but its result cannot be kept: running it again would not help."""
    failure = too_large_failure("Complete result", size, turn.limits.blob_bytes)
    activity.close_failed(turn, pending, attempt, failure, enums.RETRY_NON_RETRYABLE_FAILURE, identity)
    workflow_task.schedule(turn)


def fail(turn: Turn, command: FailActivity) -> None:
    request = command.request
    pending, attempt = require_started(turn, command.token)
    failure = bounded(request.failure)
    # The attempt did fail, and is tried again or not as any other; only what it says of that is replaced.
    size = failure.ByteSize()
    if size > turn.limits.blob_bytes:
        failure = too_large_failure("Failure", size, turn.limits.blob_bytes, failure)
    # Before the verdict, for the next attempt begins with them.
    if request.HasField("last_heartbeat_details"):
        set_details(turn, pending.scheduled_event_id, attempt, request.last_heartbeat_details.SerializeToString())
    retry_state = activity.fail_attempt(turn, pending, attempt, failure, request.identity)
    if retry_state != enums.RETRY_IN_PROGRESS:
        activity.close_failed(turn, pending, attempt, failure, retry_state, request.identity)
        workflow_task.schedule(turn)


def report_canceled(turn: Turn, command: ReportActivityCanceled) -> None:
    """Raises Rejected INVALID_ARGUMENT when nobody asked for the cancellation."""
    request = command.request
    pending, attempt = require_started(turn, command.token)
    if not pending.cancel_requested_event_id:
        raise invalid("unable to mark activity as canceled without activity being request canceled first")
    closing = HistoryEvent(event_type=enums.ACTIVITY_TASK_CANCELED)
    attributes = closing.activity_task_canceled_event_attributes
    if request.HasField("details"):
        attributes.details.CopyFrom(request.details)
    attributes.latest_cancel_requested_event_id = pending.cancel_requested_event_id
    attributes.scheduled_event_id = pending.scheduled_event_id
    attributes.identity = request.identity
    activity.close(turn, pending, attempt, Trigger.CANCEL, closing)
    workflow_task.schedule(turn)


def record_heartbeat(turn: Turn, command: RecordHeartbeat) -> HeartbeatRecorded:
    """The worker lives; its deadline moves on (later: the stored one stays)."""
    request = command.request
    pending, attempt = require_started(turn, command.token)
    if request.details.ByteSize() > turn.limits.blob_bytes:
        raise invalid(f"Heartbeat details are bigger than {turn.limits.blob_bytes} bytes.")
    attempt.state = activity.TABLE.next(attempt.state, Trigger.HEARTBEAT)
    attempt.heartbeat_at_ns = turn.now_ns
    if request.HasField("details"):
        set_details(turn, pending.scheduled_event_id, attempt, request.details.SerializeToString())
    turn.touch()
    control = attempt.control
    if control is None:
        return HeartbeatRecorded(pending.cancel_requested_event_id != 0)
    return HeartbeatRecorded(pending.cancel_requested_event_id != 0, control.paused_at_ns != 0, control.reset_requested)

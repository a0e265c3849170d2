"""What operators do to pending activities: pause, unpause, reset, other options. None of it enters history.

A paused activity is given to no worker; one that a worker runs is told so with its next heartbeat and goes on,
and if that attempt fails the next one waits. Whatever changes an activity's options does so for this
activity alone: they are kept beside its attempts, and what history says of it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    ResetActivityRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
)

from perdure.api import backoff
from perdure.api.backoff import RetryPolicy
from perdure.api.bounds import cap
from perdure.api.times import duration_ns
from perdure.core import activity, retry
from perdure.core.activity import TABLE, State, Trigger
from perdure.core.apart import set_details
from perdure.core.bad_command import camel
from perdure.core.commands import ControlActivities
from perdure.core.names import TaskKind
from perdure.core.refusals import invalid, not_found, workflow_completed
from perdure.core.state import Activity, Attempt, Control
from perdure.core.turn import Turn

Found = Sequence[tuple[Activity, Attempt]]


def control(turn: Turn, command: ControlActivities) -> list[Activity]:
    """Do it to every activity that is meant; reply: those, with the options they have now.

    Raises Rejected NOT_FOUND when there is none or the run is closed, INVALID_ARGUMENT.
    """
    request = command.request
    if not turn.execution.is_open:
        raise workflow_completed()
    found = _find(turn, request)
    # All are checked before the first is changed.
    if isinstance(request, UpdateActivityOptionsRequest):
        _check_options(found, request)
    for pending, attempt in found:
        if isinstance(request, PauseActivityRequest):
            _pause(turn, pending, attempt, request)
        elif isinstance(request, UnpauseActivityRequest):
            _unpause(turn, pending, attempt, request)
        elif isinstance(request, ResetActivityRequest):
            _reset(turn, pending, attempt, request)
        else:
            _change(turn, pending, attempt, request)
    turn.touch()
    return [activity.effective(pending, attempt) for pending, attempt in found]


def _find(
    turn: Turn,
    request: PauseActivityRequest | UnpauseActivityRequest | ResetActivityRequest | UpdateActivityOptionsRequest,
) -> Found:
    execution = turn.execution
    which = request.WhichOneof("activity")
    if not which or not getattr(request, which):
        raise invalid("Either Activity.Id or Activity.Type should be set on request.")
    found = [
        (pending, attempt)
        for event_id, pending in execution.activities.items()
        # One whose end is decided is not pending any more, though its event is held back.
        if (attempt := execution.facts.attempts[event_id]).state != State.CLOSING
        and (
            which not in ("id", "type")
            or (which == "id" and pending.activity_id == request.id)
            or (which == "type" and pending.activity_type == request.type)
        )
    ]
    if not found and which in ("id", "type"):
        raise not_found("Can't find pending activity with such ID. Invalid activityID or activity already completed")
    return found


def _control_of(attempt: Attempt) -> Control:
    if attempt.control is None:
        attempt.control = Control()
    return attempt.control


def _pause(turn: Turn, pending: Activity, attempt: Attempt, request: PauseActivityRequest) -> None:
    control = _control_of(attempt)
    if control.paused_at_ns:
        return
    control.paused_at_ns = turn.now_ns
    control.paused_by = request.identity
    control.pause_reason = request.reason
    # One that a worker runs goes on, and hears of it with its next heartbeat.
    if attempt.state == State.SCHEDULED:
        turn.dequeue(TaskKind.ACTIVITY, pending.scheduled_event_id)
    attempt.state = TABLE.next(attempt.state, Trigger.PAUSE)


def _unpause(turn: Turn, pending: Activity, attempt: Attempt, request: UnpauseActivityRequest) -> None:
    control = attempt.control
    if control is None or not control.paused_at_ns:
        return
    if request.reset_heartbeat:
        _forget_heartbeat(turn, pending, attempt)
    if request.reset_attempts:
        _begin_again(attempt)
    _resume(turn, pending, attempt)


def _resume(turn: Turn, pending: Activity, attempt: Attempt) -> None:
    control = _control_of(attempt)
    control.paused_at_ns = 0
    control.paused_by = control.pause_reason = ""
    attempt.state = TABLE.next(attempt.state, Trigger.UNPAUSE)
    if attempt.state == State.SCHEDULED:
        attempt.scheduled_at_ns = turn.now_ns
        attempt.last_failure = b""
        activity.queue(turn, pending, attempt)


def _forget_heartbeat(turn: Turn, pending: Activity, attempt: Attempt) -> None:
    """The next attempt knows nothing of those before; what a running one reports until its end is forgotten with it."""
    if attempt.state == State.STARTED:
        _control_of(attempt).heartbeat_reset = True
    else:
        set_details(turn, pending.scheduled_event_id, attempt, b"")


def _begin_again(attempt: Attempt) -> None:
    """The next attempt is a first one; one that a worker runs now counts as the first."""
    if attempt.state == State.STARTED:
        _control_of(attempt).reset_requested = True
    else:
        attempt.attempt = 1


def _reset(turn: Turn, pending: Activity, attempt: Attempt, request: ResetActivityRequest) -> None:
    control = _control_of(attempt)
    if request.reset_heartbeat:
        _forget_heartbeat(turn, pending, attempt)
    if request.restore_original_options:
        _set_options(turn, pending, attempt, None)
    _begin_again(attempt)
    if control.paused_at_ns and not request.keep_paused:
        _resume(turn, pending, attempt)
    elif attempt.state in (State.SCHEDULED, State.BACKING_OFF):
        # Its row names the attempt that it was: another takes its place.
        if attempt.state == State.SCHEDULED:
            turn.dequeue(TaskKind.ACTIVITY, pending.scheduled_event_id)
        attempt.state = TABLE.next(attempt.state, Trigger.RESET)
        attempt.scheduled_at_ns = turn.now_ns
        activity.queue(turn, pending, attempt)


# --- options -------------------------------------------------------------------------------------

_TIMEOUTS = {
    "schedule_to_close_timeout": "schedule_to_close_ns",
    "schedule_to_start_timeout": "schedule_to_start_ns",
    "start_to_close_timeout": "start_to_close_ns",
    "heartbeat_timeout": "heartbeat_ns",
}
"""Field of `ActivityOptions` -> field of `Activity`."""

_RETRY = frozenset(RetryPolicy.__struct_fields__) | {"initial_interval", "maximum_interval"}


def _check_options(found: Found, request: UpdateActivityOptionsRequest) -> None:
    """Raises Rejected INVALID_ARGUMENT unless the options make sense for all that are meant."""
    options = request.activity_options
    for path in request.update_mask.paths:
        head, _, tail = path.partition(".")
        known = path in _TIMEOUTS or path in ("task_queue", "task_queue.name", "retry_policy")
        if not known and not (head == "retry_policy" and tail in _RETRY):
            raise invalid(f"Activity option {path!r} cannot be changed.")
    for name in _TIMEOUTS:
        why = cap(getattr(options, name))
        if why:
            raise invalid(f"invalid {camel(name)}: {why}")
    why = retry.fault(options.retry_policy)
    if why and any(path.startswith("retry_policy") for path in request.update_mask.paths):
        raise invalid(why)
    for pending, attempt in found:
        changed = _changed(activity.effective(pending, attempt), options, request.update_mask.paths)
        if not changed.schedule_to_close_ns and not changed.start_to_close_ns:
            raise invalid("A valid StartToClose or ScheduleToCloseTimeout is not set on the activity.")
        if changed.retry is not None:
            why = retry.fault(backoff.to_message(changed.retry))
            if why:
                raise invalid(why)


def _changed(now: Activity, options: ActivityOptions, paths: Sequence[str]) -> Activity:
    changes: dict[str, Any] = {}
    policy = now.retry
    for path in paths:
        if path in _TIMEOUTS:
            changes[_TIMEOUTS[path]] = duration_ns(getattr(options, path))
        elif path.startswith("task_queue"):
            changes["task_queue"] = options.task_queue.name or now.task_queue
        elif path == "retry_policy" or policy is None:
            policy = backoff.from_message(options.retry_policy)
        else:
            policy = _changed_policy(policy, backoff.from_message(options.retry_policy), path.partition(".")[2])
    return msgspec.structs.replace(now, retry=policy, **changes)


def _changed_policy(now: RetryPolicy, wanted: RetryPolicy, field: str) -> RetryPolicy:
    name = f"{field}_ns" if field in ("initial_interval", "maximum_interval") else field
    return msgspec.structs.replace(now, **{name: getattr(wanted, name)})


def _change(turn: Turn, pending: Activity, attempt: Attempt, request: UpdateActivityOptionsRequest) -> None:
    if request.restore_original:
        _set_options(turn, pending, attempt, None)
    else:
        now = activity.effective(pending, attempt)
        _set_options(turn, pending, attempt, _changed(now, request.activity_options, request.update_mask.paths))


def _set_options(turn: Turn, pending: Activity, attempt: Attempt, options: Activity | None) -> None:
    """None: those of history. What waits for its next attempt waits as the new options say."""
    before = activity.effective(pending, attempt)
    _control_of(attempt).options = options
    after = activity.effective(pending, attempt)
    # The row may lie on the queue that it had before.
    if attempt.state == State.SCHEDULED:
        turn.dequeue(TaskKind.ACTIVITY, pending.scheduled_event_id)
        activity.queue(turn, pending, attempt)
    elif attempt.state == State.BACKING_OFF and before.retry is not None and after.retry is not None:
        # The back-off lasts as long as the new policy would have made it, counted from when it began.
        tried = attempt.attempt - 1
        moved_ns = backoff.backoff_ns(after.retry, tried) - backoff.backoff_ns(before.retry, tried)
        attempt.scheduled_at_ns = max(attempt.scheduled_at_ns + moved_ns, turn.now_ns)
    deadline_ns = activity.next_deadline(pending, attempt)
    if deadline_ns is not None:
        turn.lower(deadline_ns)

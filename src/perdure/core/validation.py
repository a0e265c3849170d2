"""Whether a worker's commands may be applied, judged all together before the first event is written.

Causes and wording are Temporal's, so that its SDKs and users recognise them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from temporalio.api.command.v1 import Command as CommandMessage
from temporalio.api.common.v1 import RetryPolicy as RetryPolicyMessage
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause

from perdure.api import enums
from perdure.api.times import duration_ns
from perdure.core.limits import Limits
from perdure.core.state import Execution
from perdure.core.turn import Turn


class BadCommand(Exception):
    """A command that cannot be applied: fails the workflow task with this cause."""

    def __init__(self, cause: enums.WorkflowTaskFailedCause, why: str) -> None:
        name = WorkflowTaskFailedCause.Name(cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
        self.cause = cause
        self.message = f"{_camel(name)}: {why}" if why else _camel(name)
        super().__init__(self.message)


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


@dataclass(slots=True)
class Draft:
    """What the commands judged so far would have changed."""

    execution: Execution
    limits: Limits
    activity_ids: set[str] = field(default_factory=set[str])
    started_timers: set[str] = field(default_factory=set[str])
    canceled_timers: set[str] = field(default_factory=set[str])
    closed: bool = False


def validate(turn: Turn, commands: Sequence[CommandMessage]) -> None:
    """Raises BadCommand for the first command that cannot be applied after those before it."""
    draft = Draft(turn.execution, turn.limits)
    for message in commands:
        judge = _JUDGES.get(message.command_type)
        if judge is None:
            raise _unsupported(message)
        if draft.closed:
            raise BadCommand(enums.FAILED_UNHANDLED_COMMAND, "A command follows the one that closes the workflow.")
        judge(draft, message)
    if draft.closed and turn.execution.facts.buffered:
        raise BadCommand(enums.FAILED_UNHANDLED_COMMAND, "")


_UNSUPPORTED = {
    CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: "BAD_CONTINUE_AS_NEW_ATTRIBUTES",
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: "BAD_START_CHILD_EXECUTION_ATTRIBUTES",
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: "BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES",
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: (
        "BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES"
    ),
    CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE: "BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE",
    CommandType.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION: "BAD_SCHEDULE_NEXUS_OPERATION_ATTRIBUTES",
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_NEXUS_OPERATION: "BAD_REQUEST_CANCEL_NEXUS_OPERATION_ATTRIBUTES",
}
"""Commands of Temporal's that this version has no entity for, and the cause that names them."""


def _unsupported(message: CommandMessage) -> BadCommand:
    cause = _UNSUPPORTED.get(message.command_type, "FEATURE_DISABLED")
    number = WorkflowTaskFailedCause.Value(f"WORKFLOW_TASK_FAILED_CAUSE_{cause}")
    return BadCommand(number, f"This version of perdure does not support command type {message.command_type}.")


def _check_id(draft: Draft, cause: enums.WorkflowTaskFailedCause, name: str, value: str) -> None:
    if not value:
        raise BadCommand(cause, f"{name} is not set on command.")
    if len(value) > draft.limits.id_length:
        raise BadCommand(cause, f"{name} exceeds length limit. Length={len(value)} Limit={draft.limits.id_length}")


def _check_blob(draft: Draft, cause: enums.WorkflowTaskFailedCause, name: str, value: Message) -> None:
    size = value.ByteSize()
    if size > draft.limits.blob_bytes:
        raise BadCommand(cause, f"{name} is {size} bytes, more than the limit of {draft.limits.blob_bytes}.")


def _judge_activity(draft: Draft, message: CommandMessage) -> None:
    command = message.schedule_activity_task_command_attributes
    cause = enums.BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
    activity_id = command.activity_id
    _check_id(draft, cause, "ActivityId", activity_id)
    _check_id(draft, cause, "ActivityType", command.activity_type.name)
    if len(command.task_queue.name) > draft.limits.id_length:
        raise BadCommand(cause, "TaskQueue exceeds length limit.")
    to_close = duration_ns(command.schedule_to_close_timeout)
    start_to_close = duration_ns(command.start_to_close_timeout)
    to_start = duration_ns(command.schedule_to_start_timeout)
    if to_close < 0 or start_to_close < 0 or to_start < 0 or duration_ns(command.heartbeat_timeout) < 0:
        raise BadCommand(cause, "A timeout is negative.")
    if not to_close and not start_to_close:
        raise BadCommand(
            cause,
            "A valid StartToClose or ScheduleToCloseTimeout is not set on command."
            f" ActivityId={activity_id} ActivityType={command.activity_type.name}",
        )
    if command.HasField("retry_policy"):
        _check_retry_policy(cause, command.retry_policy)
    _check_blob(draft, cause, "ScheduleActivityTaskCommandAttributes.Input", command.input)
    execution = draft.execution
    if activity_id in execution.activity_ids or activity_id in draft.activity_ids:
        raise BadCommand(enums.SCHEDULE_ACTIVITY_DUPLICATE_ID, f"ActivityId={activity_id} is pending already.")
    draft.activity_ids.add(activity_id)
    if len(execution.activities) + len(draft.activity_ids) > draft.limits.pending_activities:
        raise BadCommand(
            enums.PENDING_ACTIVITIES_LIMIT_EXCEEDED,
            f"the number of pending activities, {len(execution.activities)}, has reached the per-workflow limit of "
            f"{draft.limits.pending_activities}",
        )


def _check_retry_policy(cause: enums.WorkflowTaskFailedCause, policy: RetryPolicyMessage) -> None:
    initial = duration_ns(policy.initial_interval)
    maximum = duration_ns(policy.maximum_interval)
    why = ""
    if initial < 0:
        why = "InitialInterval cannot be negative on retry policy."
    elif policy.backoff_coefficient and policy.backoff_coefficient < 1:
        why = "BackoffCoefficient cannot be less than 1 on retry policy."
    elif maximum < 0:
        why = "MaximumInterval cannot be negative on retry policy."
    elif maximum and maximum < initial:
        why = "MaximumInterval cannot be less than InitialInterval on retry policy."
    elif policy.maximum_attempts < 0:
        why = "MaximumAttempts cannot be negative on retry policy."
    if why:
        raise BadCommand(cause, why)


def _judge_cancel_activity(draft: Draft, message: CommandMessage) -> None:
    event_id = message.request_cancel_activity_task_command_attributes.scheduled_event_id
    if event_id not in draft.execution.activities:
        raise BadCommand(
            enums.BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES,
            f"ScheduledEventId={event_id} is not a pending activity.",
        )


def _judge_start_timer(draft: Draft, message: CommandMessage) -> None:
    command = message.start_timer_command_attributes
    timer_id = command.timer_id
    _check_id(draft, enums.BAD_START_TIMER_ATTRIBUTES, "TimerId", timer_id)
    if duration_ns(command.start_to_fire_timeout) <= 0:
        raise BadCommand(
            enums.BAD_START_TIMER_ATTRIBUTES, f"A valid StartToFireTimeout is not set on command. TimerId={timer_id}"
        )
    pending = draft.execution.timers
    if timer_id in draft.started_timers or (timer_id in pending and timer_id not in draft.canceled_timers):
        raise BadCommand(enums.START_TIMER_DUPLICATE_ID, f"TimerId={timer_id} is running already.")
    draft.started_timers.add(timer_id)
    if len(pending) + len(draft.started_timers) - len(draft.canceled_timers) > draft.limits.pending_timers:
        raise BadCommand(
            enums.BAD_START_TIMER_ATTRIBUTES,
            f"the number of pending timers has reached the per-workflow limit of {draft.limits.pending_timers}",
        )


def _judge_cancel_timer(draft: Draft, message: CommandMessage) -> None:
    timer_id = message.cancel_timer_command_attributes.timer_id
    _check_id(draft, enums.BAD_CANCEL_TIMER_ATTRIBUTES, "TimerId", timer_id)
    if timer_id in draft.started_timers:
        draft.started_timers.discard(timer_id)
    elif timer_id in draft.execution.timers and timer_id not in draft.canceled_timers:
        draft.canceled_timers.add(timer_id)
    else:
        raise BadCommand(enums.BAD_CANCEL_TIMER_ATTRIBUTES, f"TimerId={timer_id} is not running.")


def _judge_marker(draft: Draft, message: CommandMessage) -> None:
    command = message.record_marker_command_attributes
    _check_id(draft, enums.BAD_RECORD_MARKER_ATTRIBUTES, "MarkerName", command.marker_name)
    _check_blob(draft, enums.BAD_RECORD_MARKER_ATTRIBUTES, "RecordMarkerCommandAttributes", command)


def _judge_search_attributes(draft: Draft, message: CommandMessage) -> None:
    command = message.upsert_workflow_search_attributes_command_attributes
    _check_blob(draft, enums.BAD_SEARCH_ATTRIBUTES, "SearchAttributes", command.search_attributes)


def _judge_properties(draft: Draft, message: CommandMessage) -> None:
    command = message.modify_workflow_properties_command_attributes
    cause = enums.BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES
    if not command.HasField("upserted_memo"):
        raise BadCommand(cause, "UpsertedMemo is not set on command.")
    _check_blob(draft, cause, "UpsertedMemo", command.upserted_memo)


def _judge_complete(draft: Draft, message: CommandMessage) -> None:
    command = message.complete_workflow_execution_command_attributes
    name = "CompleteWorkflowExecutionCommandAttributes.Result"
    _check_blob(draft, enums.BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES, name, command.result)
    draft.closed = True


def _judge_fail(draft: Draft, message: CommandMessage) -> None:
    command = message.fail_workflow_execution_command_attributes
    cause = enums.BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES
    if not command.HasField("failure"):
        raise BadCommand(cause, "Failure is not set on command.")
    _check_blob(draft, cause, "FailWorkflowExecutionCommandAttributes.Failure", command.failure)
    draft.closed = True


def _judge_cancel(draft: Draft, message: CommandMessage) -> None:
    command = message.cancel_workflow_execution_command_attributes
    name = "CancelWorkflowExecutionCommandAttributes.Details"
    _check_blob(draft, enums.BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES, name, command.details)
    draft.closed = True


_JUDGES: dict[Any, Callable[[Draft, CommandMessage], None]] = {
    enums.COMMAND_SCHEDULE_ACTIVITY_TASK: _judge_activity,
    enums.COMMAND_REQUEST_CANCEL_ACTIVITY_TASK: _judge_cancel_activity,
    enums.COMMAND_START_TIMER: _judge_start_timer,
    enums.COMMAND_CANCEL_TIMER: _judge_cancel_timer,
    enums.COMMAND_RECORD_MARKER: _judge_marker,
    enums.COMMAND_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _judge_search_attributes,
    enums.COMMAND_MODIFY_WORKFLOW_PROPERTIES: _judge_properties,
    enums.COMMAND_COMPLETE_WORKFLOW_EXECUTION: _judge_complete,
    enums.COMMAND_FAIL_WORKFLOW_EXECUTION: _judge_fail,
    enums.COMMAND_CANCEL_WORKFLOW_EXECUTION: _judge_cancel,
}

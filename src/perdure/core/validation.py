"""Whether a worker's commands may be applied, judged all together before the first event is written.

Causes and wording are Temporal's, so that its SDKs and users recognise them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.api.command.v1 import Command as CommandMessage
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause

from perdure.api import bounds, enums
from perdure.api.bounds import cap
from perdure.api.errors import Rejected
from perdure.core import child, external, retry
from perdure.core.bad_command import BadCommand, HistoryTooLong, Overtaken, builder_state
from perdure.core.draft import Draft, check_blob, check_id, check_name, check_search_attributes, check_timeout
from perdure.core.refusals import invalid
from perdure.core.steps import STEP, Steps
from perdure.core.turn import Turn
from perdure.core.update import Inbox

_COUNTED = 20 * STEP
"""Commands of a step in which each is only counted."""


def validate(turn: Turn, commands: Sequence[CommandMessage], inbox: Inbox | None = None) -> Steps[None]:
    """Raises BadCommand for the first command that cannot be applied after those before it,
    Rejected INVALID_ARGUMENT for one that is unknown."""
    context, limits = turn.context, turn.limits
    draft = Draft(turn.execution, limits, context.find_zone, context.attribute_type, inbox)
    entries_max = limits.entries
    if turn.execution.next_event_id + len(commands) > turn.limits.history_events:
        yield from _check_length(turn, commands)
    for number, message in enumerate(commands, 1):
        if number % STEP == 0:
            yield
        kind = message.command_type
        if kind not in _JUDGES:
            raise _unsupported(message)
        # It would happen to a run that has ended.
        if draft.closed:
            raise BadCommand(enums.FAILED_UNHANDLED_COMMAND, "A command follows the one that closes the workflow.")
        judge, cause = _JUDGES[kind]
        # Before anything reads it: is it well formed at all?
        check = _CHECKS[kind]
        if check is not None:
            field, check_numbers = check
            try:
                check_numbers(getattr(message, field), entries_max)
            except bounds.OutOfBounds as fault:
                raise BadCommand(cause, str(fault.within(field))) from fault
        judge(draft, message)
    if inbox is not None:
        inbox.judge_rest()
    # Whoever closes the run must have seen everything. Firings of timers that the same answer cancels go with these.
    facts = turn.execution.facts
    dropped = len(draft.canceled_timers & facts.fired_timers) if facts.fired_timers else 0
    if draft.closed and len(facts.buffered) > dropped:
        raise Overtaken


def _check_length(turn: Turn, commands: Sequence[CommandMessage]) -> Steps[None]:
    """Raises BadCommand, one that ends the run, when its history would be too long: before all that is written."""
    room = turn.limits.history_events - turn.execution.next_event_id
    for begin in range(0, len(commands), _COUNTED):
        if begin:
            yield
        # messages alone may leave no event: an update that is rejected
        some = commands[begin : begin + _COUNTED]
        room -= sum(command.command_type != enums.COMMAND_PROTOCOL_MESSAGE for command in some)
        if room < 0:
            raise HistoryTooLong


_UNSUPPORTED = {
    CommandType.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION: "BAD_SCHEDULE_NEXUS_OPERATION_ATTRIBUTES",
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_NEXUS_OPERATION: "BAD_REQUEST_CANCEL_NEXUS_OPERATION_ATTRIBUTES",
}
"""Commands of Temporal's that this version has no entity for, and the cause that names them."""


def _unsupported(message: CommandMessage) -> BadCommand | Rejected:
    cause = _UNSUPPORTED.get(message.command_type)
    if cause is None:
        return invalid(f"unknown command type: {message.command_type}")
    number = WorkflowTaskFailedCause.Value(f"WORKFLOW_TASK_FAILED_CAUSE_{cause}")
    return BadCommand(number, f"This version of perdure does not support command type {message.command_type}.")


def _judge_activity(draft: Draft, message: CommandMessage) -> None:
    command = message.schedule_activity_task_command_attributes
    cause = enums.BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
    activity_id = command.activity_id
    check_id(draft, cause, "activityId", activity_id)
    check_id(draft, cause, "activityType", command.activity_type.name)
    if command.HasField("retry_policy"):
        why = retry.fault(command.retry_policy)
        if why:
            raise BadCommand(cause, why)
    if len(command.task_queue.name) > draft.limits.id_length:
        raise BadCommand(cause, "TaskQueue exceeds length limit.")
    to_close = check_timeout("ScheduleToCloseTimeout", command.schedule_to_close_timeout, cause)
    start_to_close = check_timeout("StartToCloseTimeout", command.start_to_close_timeout, cause)
    check_timeout("ScheduleToStartTimeout", command.schedule_to_start_timeout, cause)
    check_timeout("HeartbeatTimeout", command.heartbeat_timeout, cause)
    if not to_close and not start_to_close:
        raise BadCommand(
            cause,
            "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity."
            f" ActivityId={activity_id} ActivityType={command.activity_type.name}",
        )
    check_blob(draft, cause, "ScheduleActivityTaskCommandAttributes.Input", command.input)
    # An id is taken by what is pending and by this answer's own commands, of which history holds none yet.
    execution = draft.execution
    if activity_id in execution.activity_ids or activity_id in draft.activity_ids:
        raise builder_state(
            enums.SCHEDULE_ACTIVITY_DUPLICATE_ID, "add-activitytask-scheduled-event", f"ActivityID: {activity_id}"
        )
    draft.activity_ids.add(activity_id)
    if len(execution.activities) + len(draft.activity_ids) > draft.limits.pending_activities:
        raise BadCommand(
            enums.PENDING_ACTIVITIES_LIMIT_EXCEEDED,
            f"the number of pending activities, {draft.limits.pending_activities}, "
            f"has reached the per-workflow limit of {draft.limits.pending_activities}",
        )


def _judge_cancel_activity(draft: Draft, message: CommandMessage) -> None:
    event_id = message.request_cancel_activity_task_command_attributes.scheduled_event_id
    pending = draft.execution.activities.get(event_id)
    if pending is None or pending.cancel_requested_event_id or event_id in draft.canceled_activities:
        raise builder_state(
            enums.BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES,
            "add-activitytask-cancel-requested-event",
            f"ScheduledEventID: {event_id}",
        )
    draft.canceled_activities.add(event_id)


def _judge_start_timer(draft: Draft, message: CommandMessage) -> None:
    command = message.start_timer_command_attributes
    timer_id = command.timer_id
    check_name(draft, enums.BAD_START_TIMER_ATTRIBUTES, "TimerId", timer_id, "StartTimerCommand")
    why = cap(command.start_to_fire_timeout)
    if why:
        why = f"An invalid StartToFireTimeout is set on StartTimerCommand: {why}. TimerId={timer_id}"
        raise BadCommand(enums.BAD_START_TIMER_ATTRIBUTES, why)
    pending = draft.execution.timers
    if timer_id in draft.started_timers or (timer_id in pending and timer_id not in draft.canceled_timers):
        raise builder_state(enums.START_TIMER_DUPLICATE_ID, "add-timer-started-event", f"TimerID: {timer_id}")
    draft.started_timers.add(timer_id)
    if len(pending) + len(draft.started_timers) - len(draft.canceled_timers) > draft.limits.pending_timers:
        raise BadCommand(
            enums.BAD_START_TIMER_ATTRIBUTES,
            f"the number of pending timers has reached the per-workflow limit of {draft.limits.pending_timers}",
        )


def _judge_cancel_timer(draft: Draft, message: CommandMessage) -> None:
    timer_id = message.cancel_timer_command_attributes.timer_id
    check_name(draft, enums.BAD_CANCEL_TIMER_ATTRIBUTES, "TimerId", timer_id, "CancelTimerCommand")
    # Started and cancelled by one answer: both become events, and the id is free again.
    if timer_id in draft.started_timers:
        draft.started_timers.discard(timer_id)
    elif timer_id in draft.execution.timers and timer_id not in draft.canceled_timers:
        draft.canceled_timers.add(timer_id)
    else:
        raise builder_state(enums.BAD_CANCEL_TIMER_ATTRIBUTES, "add-timer-canceled-event", f"TimerID: {timer_id}")


def _judge_marker(draft: Draft, message: CommandMessage) -> None:
    command = message.record_marker_command_attributes
    cause = enums.BAD_RECORD_MARKER_ATTRIBUTES
    check_name(draft, cause, "MarkerName", command.marker_name, "RecordMarkerCommand")
    check_blob(draft, cause, "RecordMarkerCommandAttributes", command)


def _judge_search_attributes(draft: Draft, message: CommandMessage) -> None:
    command = message.upsert_workflow_search_attributes_command_attributes
    check_blob(draft, enums.BAD_SEARCH_ATTRIBUTES, "SearchAttributes", command.search_attributes)
    if not command.search_attributes.indexed_fields:
        raise BadCommand(
            enums.BAD_SEARCH_ATTRIBUTES, "IndexedFields is not set on UpsertWorkflowSearchAttributesCommand."
        )
    check_search_attributes(draft, enums.BAD_SEARCH_ATTRIBUTES, command.search_attributes)


def _judge_properties(draft: Draft, message: CommandMessage) -> None:
    command = message.modify_workflow_properties_command_attributes
    cause = enums.BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES
    if not command.HasField("upserted_memo"):
        raise BadCommand(cause, "UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.")
    check_blob(draft, cause, "UpsertedMemo", command.upserted_memo)
    memo = draft.execution.memo
    # Names that are set a second time, or taken away, do not add up.
    draft.memo_entries.update(name for name in command.upserted_memo.fields if name not in memo)
    entries = len(memo) + len(draft.memo_entries)
    if entries > draft.limits.entries:
        raise BadCommand(cause, f"the memo has too many entries: {entries} > {draft.limits.entries}")


def _judge_protocol_message(draft: Draft, message: CommandMessage) -> None:
    inbox = draft.inbox if draft.inbox is not None else Inbox(draft.execution, (), draft.limits)
    inbox.judge(message.protocol_message_command_attributes.message_id)


def _judge_complete(draft: Draft, message: CommandMessage) -> None:
    command = message.complete_workflow_execution_command_attributes
    name = "CompleteWorkflowExecutionCommandAttributes.Result"
    check_blob(draft, enums.BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES, name, command.result)
    draft.closed = True


def _judge_fail(draft: Draft, message: CommandMessage) -> None:
    command = message.fail_workflow_execution_command_attributes
    cause = enums.BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES
    if not command.HasField("failure"):
        raise BadCommand(cause, "Failure is not set on FailWorkflowExecutionCommand.")
    check_blob(draft, cause, "FailWorkflowExecutionCommandAttributes.Failure", command.failure)
    draft.closed = True


def _judge_cancel(draft: Draft, message: CommandMessage) -> None:
    command = message.cancel_workflow_execution_command_attributes
    name = "CancelWorkflowExecutionCommandAttributes.Details"
    check_blob(draft, enums.BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES, name, command.details)
    draft.closed = True


def _judge_continue_as_new(draft: Draft, message: CommandMessage) -> None:
    command = message.continue_as_new_workflow_execution_command_attributes
    cause = enums.BAD_CONTINUE_AS_NEW_ATTRIBUTES
    if max(len(command.workflow_type.name), len(command.task_queue.name)) > draft.limits.id_length:
        raise BadCommand(cause, "WorkflowType or TaskQueue exceeds length limit.")
    for name, timeout in (
        ("WorkflowRunTimeout", command.workflow_run_timeout),
        ("WorkflowTaskTimeout", command.workflow_task_timeout),
        ("BackoffStartInterval", command.backoff_start_interval),
    ):
        why = cap(timeout)
        if why:
            where = f"WorkflowType={command.workflow_type.name} TaskQueue={command.task_queue.name}"
            raise BadCommand(cause, f"Invalid {name} on ContinueAsNewWorkflowExecutionCommand: {why}. {where}")
    why = retry.fault(command.retry_policy)
    if why:
        raise BadCommand(cause, why)
    check_blob(draft, cause, "ContinueAsNewWorkflowExecutionCommandAttributes.Input", command.input)
    check_blob(draft, cause, "ContinueAsNewWorkflowExecutionCommandAttributes.Memo", command.memo)
    if command.HasField("search_attributes"):
        check_search_attributes(draft, enums.BAD_SEARCH_ATTRIBUTES, command.search_attributes)
    draft.closed = True


_JUDGES: dict[Any, tuple[Callable[[Draft, CommandMessage], None], enums.WorkflowTaskFailedCause]] = {
    enums.COMMAND_SCHEDULE_ACTIVITY_TASK: (_judge_activity, enums.BAD_SCHEDULE_ACTIVITY_ATTRIBUTES),
    enums.COMMAND_REQUEST_CANCEL_ACTIVITY_TASK: (_judge_cancel_activity, enums.BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES),
    enums.COMMAND_START_TIMER: (_judge_start_timer, enums.BAD_START_TIMER_ATTRIBUTES),
    enums.COMMAND_CANCEL_TIMER: (_judge_cancel_timer, enums.BAD_CANCEL_TIMER_ATTRIBUTES),
    enums.COMMAND_RECORD_MARKER: (_judge_marker, enums.BAD_RECORD_MARKER_ATTRIBUTES),
    enums.COMMAND_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: (_judge_search_attributes, enums.BAD_SEARCH_ATTRIBUTES),
    enums.COMMAND_MODIFY_WORKFLOW_PROPERTIES: (_judge_properties, enums.BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES),
    enums.COMMAND_COMPLETE_WORKFLOW_EXECUTION: (_judge_complete, enums.BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES),
    enums.COMMAND_FAIL_WORKFLOW_EXECUTION: (_judge_fail, enums.BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES),
    enums.COMMAND_CANCEL_WORKFLOW_EXECUTION: (_judge_cancel, enums.BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES),
    enums.COMMAND_CONTINUE_AS_NEW: (_judge_continue_as_new, enums.BAD_CONTINUE_AS_NEW_ATTRIBUTES),
    enums.COMMAND_START_CHILD_WORKFLOW_EXECUTION: (child.judge, enums.BAD_START_CHILD_EXECUTION_ATTRIBUTES),
    enums.COMMAND_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: (
        external.judge_signal,
        enums.BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES,
    ),
    enums.COMMAND_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: (
        external.judge_cancel,
        enums.BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES,
    ),
    enums.COMMAND_PROTOCOL_MESSAGE: (_judge_protocol_message, enums.BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE),
}
"""Who judges a command, and the cause that names a fault which any command may have (`perdure.api.bounds`)."""


def _check_of(command_type: Any) -> tuple[str, Callable[[Any, int], None]] | None:
    """The attributes of such a command and what looks at their numbers; None: there is nothing to look at."""
    name = CommandType.Name(command_type).removeprefix("COMMAND_TYPE_").lower() + "_command_attributes"
    check = bounds.check_of(CommandMessage.DESCRIPTOR.fields_by_name[name].message_type)
    return None if check is None else (name, check)


_CHECKS = {command_type: _check_of(command_type) for command_type in _JUDGES}

"""What a worker's answer to a workflow task does: its commands, validated wholly, then applied in order.

A bad command is the workflow's fault, not the engine's: the task fails with Temporal's cause for
it, in history, and the worker's request is refused with INVALID_ARGUMENT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from temporalio.api.command.v1 import Command as CommandMessage
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.api import enums
from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.errors import Rejected, StatusCode
from perdure.api.failures import bounded
from perdure.api.times import duration_ns
from perdure.core import activity, buffer, child, close, external, succession, timer, update, validation, workflow_task
from perdure.core.bad_command import BadCommand, HistoryTooLong, Overtaken
from perdure.core.commands import CompleteWorkflowTask, FailWorkflowTask
from perdure.core.names import TaskKind
from perdure.core.replies import WorkflowTaskCompleted
from perdure.core.started import StartedActivityTask
from perdure.core.state import Execution, WorkflowTask
from perdure.core.steps import STEP, Steps
from perdure.core.turn import Turn

_WITH_COMPLETION = "request-from-RespondWorkflowTaskCompleted"
"""The request id that Temporal writes for a task that goes out with the answer to the one before."""


class Answer(msgspec.Struct, eq=False):
    """One worker's answer while it is applied."""

    turn: Turn
    identity: str
    completed_event_id: int
    inbox: update.Inbox | None
    canceled_unstarted: list[int] = []
    """Scheduled events of activities that no worker held: they are cancelled behind all commands."""
    eager: list[StartedActivityTask] = []

    @property
    def home(self) -> str:
        """The node that its worker dies with (`core.context.Poller`): the task that it answers says so."""
        return self.turn.execution.facts.task_home


def complete(
    turn: Turn, command: CompleteWorkflowTask, messages: Sequence[CommandMessage]
) -> Steps[WorkflowTaskCompleted | Rejected]:
    """Apply a worker's answer. Raises Rejected NOT_FOUND for a stale token; returns (not raises) the
    Rejected of a bad command, because the failed task is in history then.

    `messages`: the request's commands. In a list they are made once, though read twice; but to make one of very many,
    and to be rid of it, takes longer than a step may.
    """
    request = command.request
    execution = turn.execution
    task = workflow_task.require_started(execution, command.token)
    # All is judged before the first event is written: an answer is applied wholly, or it fails the task and does
    # nothing else.
    inbox = update.Inbox(execution, request.messages, turn.limits) if request.messages else None
    try:
        yield from validation.validate(turn, messages, inbox)
    except BadCommand as bad:
        return _fail_for(turn, bad, request.identity)
    # Nothing but rejections came of a task that history does not know of: then nothing has happened.
    if workflow_task.is_speculative(execution) and _leaves_nothing(execution, task, request, inbox):
        return _drop(turn, request, inbox)
    completed_event_id = workflow_task.complete(turn, task, request)
    _remember_sticky(execution, request)
    # The answer is in history from here on, and whatever its commands bring about is written behind it.
    answer = Answer(turn, request.identity, completed_event_id, inbox)
    for number, message in enumerate(messages, 1):
        if number % STEP == 0:
            yield
        # Words to people stand with the first event that comes of their command, and with none of another's.
        speaks = message.HasField("user_metadata") or message.event_group_markers
        turn.command = message if speaks else None
        _APPLY[message.command_type](answer, message)
    turn.command = None
    # Closed: nothing is owed any more. Nothing was held back either, else the answer had been overtaken.
    if not execution.is_open:
        return WorkflowTaskCompleted(None, answer.eager)
    # Behind all commands: an update that one of them accepts was not left unprocessed.
    if execution.facts.updates:
        _settle_updates(turn, request, inbox)
    # What arrived while the worker thought stands behind what it answered; then the activities that nobody held.
    news = buffer.flush(turn)
    for scheduled_event_id in answer.canceled_unstarted:
        activity.cancel_unstarted(turn, scheduled_event_id, answer.identity)
    # The workflow is asked again when it has something new to look at, or wants to be. For updates alone a task will do
    # that perhaps leaves no trace.
    if news or answer.canceled_unstarted or request.force_create_new_workflow_task:
        workflow_task.schedule(turn)
    elif execution.facts.updates:
        workflow_task.speculate(turn)
    # The next task goes back with this answer, and saves the worker a poll.
    started = None
    if request.return_new_workflow_task and workflow_task.is_queued(execution):
        started = workflow_task.take(turn, request.identity, _WITH_COMPLETION)
    return WorkflowTaskCompleted(started, answer.eager)


_UNSEEN_EVENTS_MAX = 10
"""A speculative task that has shown so many new events to a worker is kept: they need not be sent again."""


def _leaves_nothing(
    execution: Execution, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest, inbox: update.Inbox | None
) -> bool:
    """Whether a speculative task may be dropped: nothing but rejections came of it, and nothing else happened."""
    if request.commands or request.force_create_new_workflow_task or execution.facts.buffered:
        return False
    if inbox is not None and not inbox.only_rejections:
        return False
    # Behind the Started event of the last task stand its Completed event, what is new to the worker, and this task.
    unseen = task.scheduled_event_id - execution.started_task_completed - 2
    return unseen == 0 or (
        unseen < _UNSEEN_EVENTS_MAX and request.capabilities.discard_speculative_workflow_task_with_events
    )


def _drop(
    turn: Turn, request: RespondWorkflowTaskCompletedRequest, inbox: update.Inbox | None
) -> WorkflowTaskCompleted:
    execution = turn.execution
    forget_after = workflow_task.drop_speculative(turn)
    _remember_sticky(execution, request)
    _settle_updates(turn, request, inbox)
    started = None
    if execution.facts.updates:
        workflow_task.speculate(turn)
        if request.return_new_workflow_task:
            started = workflow_task.take(turn, request.identity, _WITH_COMPLETION)
    return WorkflowTaskCompleted(started, [], forget_after)


def _settle_updates(turn: Turn, request: RespondWorkflowTaskCompletedRequest, inbox: update.Inbox | None) -> None:
    """Rejections, which need no command; and what was sent and not answered, unless the worker only asks for time."""
    if inbox is not None:
        inbox.apply_rest(turn)
    if not request.force_create_new_workflow_task:
        update.reject_unprocessed(turn)


def _remember_sticky(execution: Execution, request: RespondWorkflowTaskCompletedRequest) -> None:
    if request.HasField("sticky_attributes"):
        sticky = request.sticky_attributes
        timeout_ns = duration_ns(sticky.schedule_to_start_timeout)
        if not 0 <= timeout_ns <= DURATION_MAX_NS:
            timeout_ns = 0 if timeout_ns < 0 else DURATION_MAX_NS
        workflow_task.remember_sticky(execution, sticky.worker_task_queue.name, timeout_ns)
    else:
        workflow_task.remember_sticky(execution, "", 0)


def _fail_for(turn: Turn, bad: BadCommand, identity: str) -> Rejected:
    failure = Failure(message=bad.message)
    failure.server_failure_info.SetInParent()
    if bad.closes:
        said = None if isinstance(bad, HistoryTooLong) else failure  # as Temporal has it: the closing event says why
        workflow_task.fail(turn, bad.cause, said, identity)
        close.terminate(turn, bad.message, None, "history-service")
    else:
        # The worker does not speak of updates as it should, and the next attempt may do no better: callers hear it now.
        if bad.cause == enums.BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE:
            update.abort_unexpected(turn)
        end_failed(turn, bad.cause, failure, identity)
        # An answer that would have closed the run came too late. Signals are put off while the next one tries, else a
        # run that is signalled all the time could never close.
        turn.execution.facts.is_closing = isinstance(bad, Overtaken)
    return Rejected(StatusCode.INVALID_ARGUMENT, bad.message)


def end_failed(turn: Turn, cause: enums.WorkflowTaskFailedCause, failure: Failure | None, identity: str) -> None:
    """The running task failed: what was buffered enters history, and the next attempt is scheduled."""
    workflow_task.fail(turn, cause, failure, identity)
    schedule_next(turn)


def schedule_next(turn: Turn) -> None:
    """After a task that did not complete."""
    # With new events it is another task, and none that has failed yet: a first attempt, in history, at once.
    if buffer.flush(turn):
        workflow_task.reset_attempts(turn.execution)
    workflow_task.schedule(turn)


def fail(turn: Turn, command: FailWorkflowTask) -> None:
    """A worker says that it could not work on the task. Raises Rejected NOT_FOUND for a stale token."""
    workflow_task.require_started(turn.execution, command.token)
    request = command.request
    end_failed(turn, request.cause, request.failure if request.HasField("failure") else None, request.identity)


def time_out(turn: Turn, *, lost: bool = False) -> None:
    """The worker did not answer in time; `lost`: it is known to be dead."""
    workflow_task.time_out(turn, lost=lost)
    schedule_next(turn)


def time_out_sticky(turn: Turn) -> None:
    workflow_task.time_out_sticky(turn)
    workflow_task.schedule(turn)


def _schedule_activity(answer: Answer, message: CommandMessage) -> None:
    turn = answer.turn
    command = message.schedule_activity_task_command_attributes
    event_id = activity.schedule(turn, message, answer.completed_event_id)
    if command.request_eager_execution:
        execution = turn.execution
        # The worker has room for it: the attempt goes back with this answer and was on no queue.
        turn.dequeue(TaskKind.ACTIVITY, event_id)
        attempt = execution.facts.attempts[event_id]
        answer.eager.append(activity.start(turn, execution.activities[event_id], attempt, answer))


def _request_cancel_activity(answer: Answer, message: CommandMessage) -> None:
    scheduled_event_id = message.request_cancel_activity_task_command_attributes.scheduled_event_id
    if activity.request_cancel(answer.turn, scheduled_event_id, answer.completed_event_id):
        answer.canceled_unstarted.append(scheduled_event_id)


def _start_timer(answer: Answer, message: CommandMessage) -> None:
    timer.start(answer.turn, message, answer.completed_event_id)


def _cancel_timer(answer: Answer, message: CommandMessage) -> None:
    timer.cancel(answer.turn, message.cancel_timer_command_attributes, answer.completed_event_id, answer.identity)


def _record_marker(answer: Answer, message: CommandMessage) -> None:
    command = message.record_marker_command_attributes
    event = HistoryEvent(event_type=enums.MARKER_RECORDED)
    attributes = event.marker_recorded_event_attributes
    attributes.marker_name = command.marker_name
    for name, payloads in command.details.items():
        attributes.details[name].CopyFrom(payloads)
    attributes.workflow_task_completed_event_id = answer.completed_event_id
    if command.HasField("header"):
        attributes.header.CopyFrom(command.header)
    if command.HasField("failure"):
        attributes.failure.CopyFrom(bounded(command.failure))
    answer.turn.add(event)


def _upsert_search_attributes(answer: Answer, message: CommandMessage) -> None:
    command = message.upsert_workflow_search_attributes_command_attributes
    event = HistoryEvent(event_type=enums.UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    attributes = event.upsert_workflow_search_attributes_event_attributes
    attributes.workflow_task_completed_event_id = answer.completed_event_id
    attributes.search_attributes.CopyFrom(command.search_attributes)
    answer.turn.add(event)
    answer.turn.commit.index_changed = True


def _modify_properties(answer: Answer, message: CommandMessage) -> None:
    command = message.modify_workflow_properties_command_attributes
    event = HistoryEvent(event_type=enums.WORKFLOW_PROPERTIES_MODIFIED)
    attributes = event.workflow_properties_modified_event_attributes
    attributes.workflow_task_completed_event_id = answer.completed_event_id
    attributes.upserted_memo.CopyFrom(command.upserted_memo)
    answer.turn.add(event)
    answer.turn.commit.index_changed = True


def _protocol_message(answer: Answer, message: CommandMessage) -> None:
    assert answer.inbox is not None, "the command was validated"
    answer.inbox.apply(answer.turn, message.protocol_message_command_attributes.message_id)


def _complete_workflow(answer: Answer, message: CommandMessage) -> None:
    succession.complete(answer.turn, message.complete_workflow_execution_command_attributes, answer.completed_event_id)


def _fail_workflow(answer: Answer, message: CommandMessage) -> None:
    succession.fail(answer.turn, message.fail_workflow_execution_command_attributes, answer.completed_event_id)


def _continue_as_new(answer: Answer, message: CommandMessage) -> None:
    command = message.continue_as_new_workflow_execution_command_attributes
    succession.continue_as_new(answer.turn, command, answer.completed_event_id)


def _cancel_workflow(answer: Answer, message: CommandMessage) -> None:
    close.cancel(answer.turn, message.cancel_workflow_execution_command_attributes, answer.completed_event_id)


def _start_child(answer: Answer, message: CommandMessage) -> None:
    child.initiate(answer.turn, message, answer.completed_event_id)


def _signal_external(answer: Answer, message: CommandMessage) -> None:
    external.initiate_signal(answer.turn, message, answer.completed_event_id)


def _cancel_external(answer: Answer, message: CommandMessage) -> None:
    external.initiate_cancel(answer.turn, message, answer.completed_event_id)


_APPLY: dict[Any, Callable[[Answer, CommandMessage], None]] = {
    enums.COMMAND_SCHEDULE_ACTIVITY_TASK: _schedule_activity,
    enums.COMMAND_REQUEST_CANCEL_ACTIVITY_TASK: _request_cancel_activity,
    enums.COMMAND_START_TIMER: _start_timer,
    enums.COMMAND_CANCEL_TIMER: _cancel_timer,
    enums.COMMAND_RECORD_MARKER: _record_marker,
    enums.COMMAND_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _upsert_search_attributes,
    enums.COMMAND_MODIFY_WORKFLOW_PROPERTIES: _modify_properties,
    enums.COMMAND_COMPLETE_WORKFLOW_EXECUTION: _complete_workflow,
    enums.COMMAND_FAIL_WORKFLOW_EXECUTION: _fail_workflow,
    enums.COMMAND_CANCEL_WORKFLOW_EXECUTION: _cancel_workflow,
    enums.COMMAND_CONTINUE_AS_NEW: _continue_as_new,
    enums.COMMAND_START_CHILD_WORKFLOW_EXECUTION: _start_child,
    enums.COMMAND_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: _signal_external,
    enums.COMMAND_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: _cancel_external,
    enums.COMMAND_PROTOCOL_MESSAGE: _protocol_message,
}

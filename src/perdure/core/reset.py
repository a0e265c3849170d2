"""Reset: a new run that begins with the first part of another's history, and goes on differently.

The copy ends where a workflow task was running; that task is failed, so that the workflow is asked again
from there. What the outside had told the old run after that point, signals and updates, is told to the new
one again. The run that was the current one is terminated in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.update.v1 import Request
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core import (
    activity,
    child,
    close,
    deadlines,
    external,
    options,
    signal,
    update,
    workflow_task,
    workflow_task_events,
)
from perdure.core.commands import ResetWorkflow
from perdure.core.fold import blank
from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.refusals import invalid
from perdure.core.state import Attempt, Control, PendingUpdate
from perdure.core.steps import STEP, Steps
from perdure.core.turn import Turn, begin

_RESETTER = "history-resetter"
_SERVICE = "history-service"


def check(request: ResetWorkflowExecutionRequest, events: Sequence[HistoryEvent]) -> None:
    """`events`: the run's whole history. Raises Rejected INVALID_ARGUMENT when the copy cannot end there."""
    finish = request.workflow_task_finish_event_id
    if not 1 < finish <= len(events):
        raise invalid("Workflow task finish ID must be > 1 && <= workflow last event ID.")
    if not request.request_id:
        raise invalid("RequestId is not set on request.")
    for operation in request.post_reset_operations:
        variant = operation.WhichOneof("variant")
        if variant != "update_workflow_options":
            name = "".join(word.capitalize() for word in str(variant or "unset").split("_"))
            raise invalid(f"unsupported post reset operation: *workflow.PostResetOperation_{name}_")
    if events[finish - 2].event_type not in (enums.WORKFLOW_TASK_STARTED, enums.WORKFLOW_TASK_SCHEDULED):
        if not _is_inside_a_batch(events[finish - 1 :]):
            raise invalid(
                "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: "
                f"{finish}"
            )
        raise invalid(
            f"StateRebuilder unable to Rebuild mutable state to event ID: {finish - 1}, version: 0, "
            "this event must be at the boundary"
        )


def _is_inside_a_batch(following: Sequence[HistoryEvent]) -> bool:
    """Whether the first of these was written together with the event before it, as far as its kind tells."""
    if not following:
        return False
    attributes = getattr(following[0], str(following[0].WhichOneof("attributes")))
    return following[0].event_type in _WRITTEN_BEHIND_ANOTHER or bool(
        getattr(attributes, "workflow_task_completed_event_id", 0)
    )


_WRITTEN_BEHIND_ANOTHER = frozenset(
    {
        enums.WORKFLOW_TASK_SCHEDULED,
        enums.ACTIVITY_TASK_COMPLETED,
        enums.ACTIVITY_TASK_FAILED,
        enums.ACTIVITY_TASK_TIMED_OUT,
    }
)


def require_current(turn: Turn, command: ResetWorkflow) -> None:
    """Raises Rejected ABORTED when the history that the command brings is not the newest any more."""
    execution = turn.execution
    if command.newest_run_id == execution.key.run_id and command.newest_next_event_id != execution.next_event_id:
        raise Rejected(StatusCode.ABORTED, "The workflow has gone on while it was to be reset: try again.")


def reset(current: Turn, command: ResetWorkflow) -> Steps[Turn]:
    """End the current run if it is open, and begin the new one, whose turn is returned."""
    request = command.request
    told_since = list(command.later)
    run_id = current.context.new_id()
    if current.execution.is_open:
        is_base = command.base_run_id == current.execution.key.run_id
        # Children that the copy knows to have started go on, as the new run's.
        inherited = child.started_in(command.copied) if is_base else frozenset[int]()
        close.terminate(current, request.reason, None, _RESETTER, inherited)
        # Its end has just written what was held back: signals among that are for the new run too.
        if command.newest_run_id == current.execution.key.run_id:
            told_since += current.commit.events
    key = current.execution.key
    turn = begin(blank(ExecutionKey(key.namespace, key.workflow_id, run_id)), current.context, 0, current)
    turn.commit.expected_current_run_id = key.run_id
    yield from _copy(turn, command.copied)
    # By this the same request, sent again, finds the run that it made.
    turn.execution.facts.request_id = request.request_id
    turn.execution.facts.reset_at_ns = turn.now_ns
    _fail_task(turn, request, command.base_run_id)
    # First what the outside has said since, then what the run itself still owes: messages, activities, a task.
    for number, event in enumerate(_reapplied(request, told_since), 1):
        _tell_again(turn, event)
        if number % STEP == 0:
            yield
    for operation in request.post_reset_operations:
        chosen = operation.update_workflow_options
        options.change(turn, chosen.workflow_execution_options, chosen.update_mask, "")
    child.send_again(turn, command.copied)
    external.send_again(turn, command.copied, command.base_run_id)
    _resume_activities(turn)
    workflow_task.schedule(turn)
    turn.execution.wake_at_ns = deadlines.earliest(turn.execution)
    return turn


def _copy(turn: Turn, events: Sequence[HistoryEvent]) -> Steps[None]:
    close.TABLE.next(close.State.NONE, close.Trigger.START)
    execution = turn.execution
    for number, event in enumerate(events, 1):
        if number % STEP == 0:
            yield
        turn.add_dated(event)
        # The fold makes no facts: those that go with an event are set beside it.
        if event.event_type == enums.WORKFLOW_EXECUTION_SIGNALED:
            signal.remember(execution, event.workflow_execution_signaled_event_attributes.request_id, turn.limits)
        elif event.event_type == enums.WORKFLOW_EXECUTION_UPDATE_ADMITTED:
            _admit(turn, event.workflow_execution_update_admitted_event_attributes.request)
        elif event.event_type == enums.WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            accepted = event.workflow_execution_update_accepted_event_attributes
            execution.facts.updates.pop(accepted.protocol_instance_id, None)


def _fail_task(turn: Turn, request: ResetWorkflowExecutionRequest, base_run_id: str) -> None:
    """The running task (a scheduled one is started first) fails, with where this run comes from."""
    execution = turn.execution
    task = execution.workflow_task
    assert task is not None, "the copy ends with a workflow task"
    if not task.started_event_id:
        new_id = turn.context.new_id()
        turn.add(workflow_task_events.started_event(execution, turn.limits, task.scheduled_event_id, _SERVICE, new_id))
    workflow_task_events.TABLE.next(workflow_task_events.state_of(execution), workflow_task_events.Trigger.FAIL)
    event = HistoryEvent(event_type=enums.WORKFLOW_TASK_FAILED)
    attributes = event.workflow_task_failed_event_attributes
    attributes.scheduled_event_id = task.scheduled_event_id
    attributes.started_event_id = task.started_event_id
    attributes.cause = enums.FAILED_RESET_WORKFLOW
    attributes.failure.message = request.reason
    attributes.failure.reset_workflow_failure_info.SetInParent()
    attributes.identity = _SERVICE
    attributes.base_run_id = base_run_id
    attributes.new_run_id = execution.key.run_id
    turn.add(event)


def _reapplied(request: ResetWorkflowExecutionRequest, events: Sequence[HistoryEvent]) -> Iterator[HistoryEvent]:
    kind, excluded = request.reset_reapply_type, request.reset_reapply_exclude_types
    if kind == enums.REAPPLY_NONE:
        return
    signals = enums.REAPPLY_EXCLUDE_SIGNAL not in excluded
    updates = kind != enums.REAPPLY_SIGNAL and enums.REAPPLY_EXCLUDE_UPDATE not in excluded
    for event in events:
        if event.event_type == enums.WORKFLOW_EXECUTION_SIGNALED:
            if signals:
                yield event
        elif updates and event.event_type in (
            enums.WORKFLOW_EXECUTION_UPDATE_ADMITTED,
            enums.WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        ):
            yield event


def _tell_again(turn: Turn, event: HistoryEvent) -> None:
    execution = turn.execution
    if event.event_type == enums.WORKFLOW_EXECUTION_SIGNALED:
        request_id = event.workflow_execution_signaled_event_attributes.request_id
        # False: the copy holds that signal.
        if signal.remember(execution, request_id, turn.limits):
            again = HistoryEvent()
            again.CopyFrom(event)
            turn.add(again)
        return
    if event.event_type == enums.WORKFLOW_EXECUTION_UPDATE_ADMITTED:
        request = event.workflow_execution_update_admitted_event_attributes.request
    else:
        accepted = event.workflow_execution_update_accepted_event_attributes
        if not accepted.HasField("accepted_request"):
            return  # its Admitted event was told already
        request = accepted.accepted_request
    if update.state_of(execution, request.meta.update_id) == update.State.NONE:
        turn.add(update.event_of(request))
        _admit(turn, request)


def _admit(turn: Turn, request: Request) -> None:
    update.TABLE.next(update.State.NONE, update.Trigger.ADMIT)
    turn.execution.facts.updates[request.meta.update_id] = PendingUpdate(
        request.SerializeToString(), is_in_history=True
    )


def _resume_activities(turn: Turn) -> None:
    """What was pending at that point is run again, from its first attempt, with its whole time before it."""
    execution = turn.execution
    for event_id, pending in execution.activities.items():
        activity.TABLE.next(activity.State.NONE, activity.Trigger.SCHEDULE)
        attempt = execution.facts.attempts[event_id] = Attempt(activity.State.SCHEDULED, 1, turn.now_ns)
        # That time-out counts from the Scheduled event, which is as old as the copy.
        if pending.schedule_to_close_ns:
            attempt.control = Control(options=msgspec.structs.replace(pending, scheduled_at_ns=turn.now_ns))
        turn.enqueue(TaskKind.ACTIVITY, pending.task_queue, event_id, 1)

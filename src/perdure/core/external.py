"""What a workflow asks of a workflow that is not its own: signals and cancellations, and how that went."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

from temporalio.api.command.v1 import Command
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import RequestCancelWorkflowExecutionRequest, SignalWorkflowExecutionRequest

from perdure.api import enums
from perdure.core import workflow_task
from perdure.core.bad_command import BadCommand
from perdure.core.child import is_to_start
from perdure.core.commands import ResolveExternal
from perdure.core.draft import Draft, check_blob
from perdure.core.fold import folds
from perdure.core.message import CancelExternal, Message, Origin, SignalExternal, message_id
from perdure.core.names import ExecutionKey
from perdure.core.refusals import workflow_completed
from perdure.core.state import Execution, External
from perdure.core.table import Table
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer

ENGINE_IDENTITY = "history-service"
"""Who signals and cancels on a workflow's behalf; Temporal's name for it."""

_RUN_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class State(IntEnum):
    NONE = 0
    INITIATED = 1
    CLOSED = 2


class Trigger(IntEnum):
    INITIATE = 1
    DELIVER = 2
    FAIL = 3
    SENDER_CLOSE = 4


TABLE: Table[State, Trigger] = Table(
    "External request",
    State.NONE,
    {
        (State.NONE, Trigger.INITIATE): State.INITIATED,
        (State.INITIATED, Trigger.DELIVER): State.CLOSED,
        (State.INITIATED, Trigger.FAIL): State.CLOSED,
        (State.INITIATED, Trigger.SENDER_CLOSE): State.CLOSED,
    },
)


def judge_signal(draft: Draft, message: Command) -> None:
    """Raises BadCommand for a signal that can never be sent."""
    command = message.signal_external_workflow_execution_command_attributes
    cause = enums.BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    verb = "SignalExternalWorkflowExecutionCommand"
    execution = command.execution
    where = f"Namespace={command.namespace} RunId={execution.run_id}"
    if not execution.workflow_id:
        raise BadCommand(cause, f"WorkflowId is not set on {verb}. {where} SignalName={command.signal_name}")
    where = f"WorkflowId={execution.workflow_id} {where}"
    if execution.run_id and _RUN_ID.fullmatch(execution.run_id) is None:
        raise BadCommand(cause, f"Invalid RunId set on {verb}. {where} SignalName={command.signal_name}")
    if not command.signal_name:
        raise BadCommand(cause, f"SignalName is not set on {verb}. {where}")
    if max(len(execution.workflow_id), len(command.signal_name)) > draft.limits.id_length:
        raise BadCommand(cause, f"WorkflowId or SignalName on {verb} exceeds length limit. {where}")
    check_blob(draft, cause, "SignalExternalWorkflowExecutionCommandAttributes.Input", command.input)
    _count(draft, enums.PENDING_SIGNALS_LIMIT_EXCEEDED, "signals to external workflows")


def judge_cancel(draft: Draft, message: Command) -> None:
    """Raises BadCommand for a cancellation that can never be requested."""
    command = message.request_cancel_external_workflow_execution_command_attributes
    cause = enums.BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    verb = "RequestCancelExternalWorkflowExecutionCommand"
    if not command.workflow_id:
        raise BadCommand(
            cause, f"WorkflowId is not set on {verb}. Namespace={command.namespace} RunId={command.run_id}"
        )
    where = f"WorkflowId={command.workflow_id} RunId={command.run_id} Namespace={command.namespace}"
    # What is no run id at all is a mistake in the code, and no run that is gone.
    if command.run_id and _RUN_ID.fullmatch(command.run_id) is None:
        raise BadCommand(cause, f"Invalid RunId set on {verb}. {where}")
    if len(command.workflow_id) > draft.limits.id_length or len(command.reason) > draft.limits.id_length:
        raise BadCommand(cause, f"WorkflowId or Reason on {verb} exceeds length limit. {where}")
    # The order to start it goes out with this very answer, so there is nothing yet that could be cancelled.
    if command.workflow_id in draft.started_children:
        why = "Start and RequestCancel for child workflow is not allowed in same workflow task."
        raise BadCommand(cause, f"{why} {where}")
    _count(draft, enums.PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED, "requests to cancel external workflows")


def _count(draft: Draft, cause: enums.WorkflowTaskFailedCause, what: str) -> None:
    draft.externals += 1
    limit = draft.limits.pending_externals
    if len(draft.execution.externals) + draft.externals > limit:
        raise BadCommand(cause, f"the number of pending {what} has reached the per-workflow limit of {limit}")


def initiate_signal(turn: Turn, message: Command, completed_event_id: int) -> None:
    """Write SignalExternalWorkflowExecutionInitiated and send the signal."""
    command = message.signal_external_workflow_execution_command_attributes
    event = HistoryEvent(event_type=enums.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
    said = event.signal_external_workflow_execution_initiated_event_attributes
    said.workflow_task_completed_event_id = completed_event_id
    said.namespace = command.namespace
    said.workflow_execution.CopyFrom(command.execution)
    said.signal_name = command.signal_name
    said.control = command.control
    said.child_workflow_only = command.child_workflow_only
    for name in ("input", "header"):
        if command.HasField(name):
            getattr(said, name).CopyFrom(getattr(command, name))
    TABLE.next(State.NONE, Trigger.INITIATE)
    turn.add(event)
    _send_signal(turn, event, turn.execution.key)


def _send_signal(turn: Turn, event: HistoryEvent, first_key: ExecutionKey) -> None:
    said = event.signal_external_workflow_execution_initiated_event_attributes
    sender, target = _ends(turn, event.event_id)
    # The row is this run's own. The request id is that of the run that asked first: a reset does not signal twice.
    row = message_id(turn.execution.key, event.event_id, "signal")
    request = SignalWorkflowExecutionRequest(
        namespace=target.namespace,
        workflow_execution=said.workflow_execution,
        signal_name=said.signal_name,
        identity=ENGINE_IDENTITY,
        request_id=message_id(first_key, event.event_id, "signal"),
    )
    for name in ("input", "header"):
        if said.HasField(name):
            getattr(request, name).CopyFrom(getattr(said, name))
    body = SignalExternal(request.SerializeToString(), sender, said.child_workflow_only)
    turn.send(Message(row, target.namespace, target.workflow_id, target.run_id, body))


def initiate_cancel(turn: Turn, message: Command, completed_event_id: int) -> None:
    """Write RequestCancelExternalWorkflowExecutionInitiated and send the request."""
    command = message.request_cancel_external_workflow_execution_command_attributes
    event = HistoryEvent(event_type=enums.REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
    said = event.request_cancel_external_workflow_execution_initiated_event_attributes
    said.workflow_task_completed_event_id = completed_event_id
    said.namespace = command.namespace
    said.workflow_execution.workflow_id = command.workflow_id
    said.workflow_execution.run_id = command.run_id
    said.control = command.control
    said.child_workflow_only = command.child_workflow_only
    said.reason = command.reason
    TABLE.next(State.NONE, Trigger.INITIATE)
    turn.add(event)
    _send_cancel(turn, event)


def _send_cancel(turn: Turn, event: HistoryEvent) -> None:
    said = event.request_cancel_external_workflow_execution_initiated_event_attributes
    sender, target = _ends(turn, event.event_id)
    # No such care here: a second request to cancel changes nothing.
    row = message_id(turn.execution.key, event.event_id, "cancel")
    request = RequestCancelWorkflowExecutionRequest(
        namespace=target.namespace, identity=ENGINE_IDENTITY, request_id=row, reason=said.reason
    )
    request.workflow_execution.CopyFrom(said.workflow_execution)
    body = CancelExternal(request.SerializeToString(), sender, said.child_workflow_only)
    turn.send(Message(row, target.namespace, target.workflow_id, target.run_id, body))


def _ends(turn: Turn, event_id: int) -> tuple[Origin, External]:
    """From whom, and to whom."""
    key = turn.execution.key
    return Origin(key.namespace, key.workflow_id, key.run_id, event_id), turn.execution.externals[event_id]


def send_again(turn: Turn, events: Iterable[HistoryEvent], base_run_id: str) -> None:
    """A reset run sends what its copy of history initiated and has no answer to; a signal that the run before it
    delivered is known by its request id and is not told twice."""
    key = turn.execution.key
    for event in events:
        if event.event_id in turn.execution.externals:
            if event.event_type == enums.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
                _send_signal(turn, event, ExecutionKey(key.namespace, key.workflow_id, base_run_id))
            else:
                _send_cancel(turn, event)


def resolve(turn: Turn, command: ResolveExternal) -> bool:
    """The request reached its target, or there is none. A repetition changes nothing.

    Returns False when there is none yet: the sender's child of that id is still to be started.
    Raises Rejected NOT_FOUND when the run is closed.
    """
    execution = turn.execution
    if not execution.is_open:
        raise workflow_completed()
    event_id = command.initiated_event_id
    external = execution.externals.get(event_id)
    # Folded away, or held back behind a workflow task and remembered as settled: told already.
    if external is None or event_id in execution.facts.settled:
        return True
    # Two nodes deliver what two of them committed, so this may overtake the start that it was sent behind.
    was_missed = command.child_only and command.cause == enums.EXTERNAL_NOT_FOUND
    if was_missed and is_to_start(execution, external.namespace, external.workflow_id):
        return False
    TABLE.next(State.INITIATED, Trigger.FAIL if command.cause else Trigger.DELIVER)
    event = _failed_event(external, command.cause) if command.cause else _delivered_event(external)
    # Held back: until the flush this fact keeps a repetition from being written again.
    if not add_or_buffer(turn, event):
        execution.facts.settled.add(event_id)
    turn.settled(command.message_id)
    workflow_task.schedule(turn)
    return True


def _delivered_event(external: External) -> HistoryEvent:
    if external.is_cancel:
        event = HistoryEvent(event_type=enums.EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        attributes = event.external_workflow_execution_cancel_requested_event_attributes
    else:
        event = HistoryEvent(event_type=enums.EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
        attributes = event.external_workflow_execution_signaled_event_attributes
        attributes.control = external.control
    attributes.initiated_event_id = external.initiated_event_id
    attributes.namespace = external.namespace
    attributes.workflow_execution.workflow_id = external.workflow_id
    attributes.workflow_execution.run_id = external.run_id
    return event


def _failed_event(external: External, cause: int) -> HistoryEvent:
    if external.is_cancel:
        event = HistoryEvent(event_type=enums.REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
        attributes = event.request_cancel_external_workflow_execution_failed_event_attributes
        attributes.cause = cause  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
    else:
        event = HistoryEvent(event_type=enums.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
        attributes = event.signal_external_workflow_execution_failed_event_attributes
        attributes.cause = cause  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
        attributes.control = external.control
    attributes.initiated_event_id = external.initiated_event_id
    attributes.namespace = external.namespace
    attributes.workflow_execution.workflow_id = external.workflow_id
    attributes.workflow_execution.run_id = external.run_id
    return event


def sender_closes(turn: Turn) -> None:
    """The run is closing: what it asked for and was not delivered yet is not asked for any more, as in Temporal."""
    execution = turn.execution
    for event_id, external in execution.externals.items():
        # Settled ones have reached their target; their event was only held back.
        if event_id not in execution.facts.settled:
            TABLE.next(State.INITIATED, Trigger.SENDER_CLOSE)
            turn.retract(message_id(execution.key, event_id, "cancel" if external.is_cancel else "signal"))


@folds(enums.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _signal_initiated(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.signal_external_workflow_execution_initiated_event_attributes
    target = attributes.workflow_execution
    execution.externals[event.event_id] = External(
        event.event_id,
        False,
        attributes.namespace or execution.key.namespace,
        target.workflow_id,
        target.run_id,
        attributes.control,
    )


@folds(enums.REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _cancel_initiated(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
    target = attributes.workflow_execution
    execution.externals[event.event_id] = External(
        event.event_id,
        True,
        attributes.namespace or execution.key.namespace,
        target.workflow_id,
        target.run_id,
        attributes.control,
    )


@folds(enums.EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
@folds(enums.EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
@folds(enums.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
@folds(enums.REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _resolved(execution: Execution, event: HistoryEvent) -> None:
    attributes = getattr(event, str(event.WhichOneof("attributes")))
    del execution.externals[attributes.initiated_event_id]

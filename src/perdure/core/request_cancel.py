"""Requests from outside to end a run: cancellation asks the workflow, termination does not."""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.core import close, start, workflow_task
from perdure.core.commands import CloseChild, RequestCancel, Terminate
from perdure.core.fold import folds
from perdure.core.message import Origin
from perdure.core.refusals import AnotherChain, workflow_completed, workflow_not_found
from perdure.core.state import Execution
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer


def request_cancel(turn: Turn, command: RequestCancel) -> None:
    """Tell the workflow. A second request, or one that comes too late, is accepted and changes nothing."""
    request = command.request
    execution = turn.execution
    _require_chain(execution, request.workflow_execution.run_id, request.first_execution_run_id)
    sender = command.sender
    if sender is not None and command.child_only:
        require_parent(execution, sender)
    if not execution.is_open or execution.cancel_requested or _is_buffered(execution):
        return
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_CANCEL_REQUESTED)
    attributes = event.workflow_execution_cancel_requested_event_attributes
    attributes.cause = request.reason
    attributes.identity = request.identity
    if sender is not None:
        attributes.external_initiated_event_id = sender.event_id
        attributes.external_workflow_execution.workflow_id = sender.workflow_id
        attributes.external_workflow_execution.run_id = sender.run_id
    if request.links:
        event.links.extend(request.links)
    _tell(turn, event)


def _tell(turn: Turn, event: HistoryEvent) -> None:
    add_or_buffer(turn, event)
    # A start delay is not cut short: the workflow learns of it when it begins.
    if not start.waits_for_first_task(turn.execution):
        workflow_task.schedule(turn)


def require_parent(execution: Execution, sender: Origin) -> None:
    """Raises Rejected NOT_FOUND when the sender's run is not this one's parent."""
    parent = execution.parent
    if parent is None or (parent.namespace, parent.workflow_id, parent.run_id) != sender_run(sender):
        raise workflow_not_found()


def sender_run(sender: Origin) -> tuple[str, str, str]:
    """Which run sent it, whatever the event."""
    return sender.namespace, sender.workflow_id, sender.run_id


def close_child(turn: Turn, command: CloseChild) -> None:
    """The parent has closed: do what the parent close policy says. Another's child, or a closed run, is left alone."""
    message = command.message
    execution = turn.execution
    parent = message.parent
    if not execution.is_open or execution.parent != parent:
        return
    if message.policy == enums.PARENT_CLOSE_TERMINATE:
        close.terminate(turn, "by parent close policy", None, "history-service")
    elif execution.cancel_requested or _is_buffered(execution):
        return
    else:
        event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        attributes = event.workflow_execution_cancel_requested_event_attributes
        attributes.external_workflow_execution.workflow_id = parent.workflow_id
        attributes.external_workflow_execution.run_id = parent.run_id
        attributes.identity = "history-service"
        _tell(turn, event)
    turn.settled(command.message_id)


def _is_buffered(execution: Execution) -> bool:
    return any(
        HistoryEvent.FromString(data).event_type == enums.WORKFLOW_EXECUTION_CANCEL_REQUESTED
        for data in execution.facts.buffered
    )


_FRONTEND = "frontend-service"
"""Who terminates when the client does not say who it is."""

NO_REASON = "terminated by user via frontend"
"""What Temporal writes when the client gave none."""


def terminate(turn: Turn, command: Terminate) -> None:
    """End the run now: always possible while it is open. Raises Rejected NOT_FOUND when it is closed."""
    request = command.request
    if not turn.execution.is_open:
        raise workflow_completed()
    _require_chain(turn.execution, request.workflow_execution.run_id, request.first_execution_run_id)
    details = request.details if request.HasField("details") else None
    close.terminate(turn, request.reason or NO_REASON, details, request.identity or _FRONTEND, links=request.links)


def _require_chain(execution: Execution, run_id: str, first_run_id: str) -> None:
    """Raises Rejected NOT_FOUND when the request means another run, or another chain of runs."""
    if run_id not in ("", execution.key.run_id):
        raise workflow_not_found()
    if first_run_id not in ("", execution.first_run_id):
        raise AnotherChain


@folds(enums.WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_requested(execution: Execution, event: HistoryEvent) -> None:
    execution.cancel_requested = True

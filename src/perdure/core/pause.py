"""Pause: a run goes on collecting what happens, and is asked for nothing until it is unpaused.

No workflow task is scheduled and no activity attempt begins; timers fire, signals come, what a worker holds it
may end. A pause that comes while a worker has the workflow task waits behind it, as every event does.
"""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core import hold, start, workflow_task
from perdure.core.commands import PauseWorkflow, UnpauseWorkflow
from perdure.core.refusals import workflow_completed, workflow_not_found
from perdure.core.state import Execution
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer


def pause(turn: Turn, command: PauseWorkflow) -> None:
    """Raises Rejected NOT_FOUND when the run is closed or another one is meant, FAILED_PRECONDITION if it is paused."""
    request = command.request
    _require(turn, request.run_id)
    if is_paused(turn.execution):
        paused = turn.execution.paused
        if paused is not None and request.request_id and request.request_id == paused.request_id:
            return  # the same request again
        raise Rejected(StatusCode.FAILED_PRECONDITION, "workflow is already paused.")
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_PAUSED, worker_may_ignore=True)
    attributes = event.workflow_execution_paused_event_attributes
    attributes.identity = request.identity
    attributes.reason = request.reason
    attributes.request_id = request.request_id
    if not turn.execution.task_started:
        hold.hold(turn)
    add_or_buffer(turn, event)


def unpause(turn: Turn, command: UnpauseWorkflow) -> None:
    """Raises Rejected NOT_FOUND when the run is closed or another one is meant, FAILED_PRECONDITION when it runs."""
    request = command.request
    _require(turn, request.run_id)
    if not is_paused(turn.execution):
        raise Rejected(StatusCode.FAILED_PRECONDITION, "workflow is not paused.")
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_UNPAUSED, worker_may_ignore=True)
    attributes = event.workflow_execution_unpaused_event_attributes
    attributes.identity = request.identity
    attributes.reason = request.reason
    attributes.request_id = request.request_id
    if not add_or_buffer(turn, event):
        return
    hold.release(turn)
    execution = turn.execution
    if start.waits_for_first_task(execution):
        turn.lower(start.first_task_deadline(execution))
    else:
        workflow_task.schedule(turn)


def _require(turn: Turn, run_id: str) -> None:
    if run_id not in ("", turn.execution.key.run_id):
        raise workflow_not_found()
    if not turn.execution.is_open:
        raise workflow_completed()


def is_paused(execution: Execution) -> bool:
    """Whether the run is paused, or will be behind its running workflow task."""
    for data in reversed(execution.facts.buffered):
        if any(mark in data for mark in _MARKS):  # of thousands that wait hardly one is read
            kind = HistoryEvent.FromString(data).event_type
            if kind in _KINDS:
                return kind == enums.WORKFLOW_EXECUTION_PAUSED
    return execution.status == enums.PAUSED


_KINDS = (enums.WORKFLOW_EXECUTION_PAUSED, enums.WORKFLOW_EXECUTION_UNPAUSED)
_MARKS = tuple(HistoryEvent(event_type=kind).SerializeToString() for kind in _KINDS)
"""What is in the bytes of such an event, and seldom in another's."""

"""What each kind of history event does to a machine.

Command events are matched with what the code asked for; the others wake it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

if TYPE_CHECKING:
    from perdure.sdk.replay.machine import WorkflowMachine

_E = EventType

COMMAND_EVENTS: Final[frozenset[EventType.ValueType]] = frozenset(
    {
        _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        _E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
        _E.EVENT_TYPE_TIMER_STARTED,
        _E.EVENT_TYPE_TIMER_CANCELED,
        _E.EVENT_TYPE_MARKER_RECORDED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
        _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
        _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        _E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        _E.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
        _E.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED,
        _E.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
    }
)
"""Each is what one command became, in the order of the commands."""


def _activity_completed(machine: WorkflowMachine, event: HistoryEvent) -> None:
    scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).completed(event)


def _activity_failed(machine: WorkflowMachine, event: HistoryEvent) -> None:
    scheduled = event.activity_task_failed_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).failed(event)


def _activity_timed_out(machine: WorkflowMachine, event: HistoryEvent) -> None:
    scheduled = event.activity_task_timed_out_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).timed_out(event)


def _activity_canceled(machine: WorkflowMachine, event: HistoryEvent) -> None:
    scheduled = event.activity_task_canceled_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).canceled(event)


def _timer_fired(machine: WorkflowMachine, event: HistoryEvent) -> None:
    machine.timers[event.timer_fired_event_attributes.timer_id].fired()


def _cancel_requested(machine: WorkflowMachine, event: HistoryEvent) -> None:
    if not machine.cancel_requested:
        machine.cancel_requested = True
        machine.cancel_reason = event.workflow_execution_cancel_requested_event_attributes.cause
        machine.fiber.cancel()


def _signaled(machine: WorkflowMachine, event: HistoryEvent) -> None:
    machine.open_inbox().signaled(event)


def _update_admitted(machine: WorkflowMachine, event: HistoryEvent) -> None:
    machine.open_inbox().admitted(event)


def _child_started(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_started_event_attributes.initiated_event_id
    machine.others[initiated].started(event)


def _child_start_failed(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.start_child_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).start_failed(event)


def _child_completed(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_completed_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


def _child_failed(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


def _child_canceled(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_canceled_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


def _child_timed_out(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_timed_out_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


def _child_terminated(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_terminated_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


def _signal_delivered(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.external_workflow_execution_signaled_event_attributes.initiated_event_id
    machine.others.pop(initiated).delivered(event)


def _signal_refused(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.signal_external_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).refused(event)


def _cancel_delivered(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.external_workflow_execution_cancel_requested_event_attributes.initiated_event_id
    machine.others.pop(initiated).delivered(event)


def _cancel_refused(machine: WorkflowMachine, event: HistoryEvent) -> None:
    initiated = event.request_cancel_external_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).refused(event)


EVENT_HANDLERS: Final[dict[EventType.ValueType, Callable[[WorkflowMachine, HistoryEvent], None]]] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: _activity_completed,
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: _activity_failed,
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: _activity_timed_out,
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: _activity_canceled,
    _E.EVENT_TYPE_TIMER_FIRED: _timer_fired,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _cancel_requested,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _signaled,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: _child_started,
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: _child_start_failed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: _child_completed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: _child_failed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: _child_canceled,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: _child_timed_out,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: _child_terminated,
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: _signal_delivered,
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _signal_refused,
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _cancel_delivered,
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _cancel_refused,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED: _update_admitted,
}

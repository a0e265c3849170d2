"""From a run's closing event to its result, or to the error that says why there is none."""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.convert import Converter, details_of, error_of
from perdure.sdk.errors import (
    CancelledError,
    FailureError,
    TerminatedError,
    TimedOutError,
    TimeoutType,
    WorkflowFailedError,
)

_COMPLETED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
_FAILED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED
_CANCELED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED
_TERMINATED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED
_TIMED_OUT = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT


def next_run_of(event: HistoryEvent) -> str:
    """The run that goes on where this one closed (continued, retried, cron), "" when there is none."""
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            return event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            return event.workflow_execution_completed_event_attributes.new_execution_run_id
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return event.workflow_execution_failed_event_attributes.new_execution_run_id
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            return event.workflow_execution_timed_out_event_attributes.new_execution_run_id
        case _:
            return ""


def result_of(event: HistoryEvent, kind: Any, converter: Converter, workflow_id: str, run_id: str) -> Any:
    """The result of a run by its closing event.

    Raises:
        WorkflowFailedError: it closed without one; the cause says why.
        PayloadError: the result does not decode to `kind`.
    """
    if event.event_type == _COMPLETED:
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        if not payloads:
            return None
        return converter.from_payloads(payloads[:1], (kind,), f"the result of workflow {workflow_id!r}")[0]
    cause = _cause_of(event, converter)
    verb = {_FAILED: "failed", _CANCELED: "was cancelled", _TERMINATED: "was terminated", _TIMED_OUT: "timed out"}
    error = WorkflowFailedError(
        f"workflow {workflow_id!r} {verb.get(event.event_type, 'closed without a result')}: {cause}",
        workflow_id=workflow_id,
        run_id=run_id,
    )
    raise error from cause


def _cause_of(event: HistoryEvent, converter: Converter) -> FailureError:
    if event.event_type == _FAILED:
        return error_of(event.workflow_execution_failed_event_attributes.failure, converter)
    if event.event_type == _CANCELED:
        details = event.workflow_execution_canceled_event_attributes.details.payloads
        return CancelledError("the workflow was cancelled", details=details_of(details, converter))
    if event.event_type == _TERMINATED:
        attributes = event.workflow_execution_terminated_event_attributes
        details = details_of(attributes.details.payloads, converter)
        return TerminatedError(attributes.reason or "no reason was given", details=details)
    if event.event_type == _TIMED_OUT:
        return TimedOutError("the workflow's time was up", timeout_type=TimeoutType.START_TO_CLOSE)
    return FailureError(f"closed by {EventType.Name(event.event_type)}")

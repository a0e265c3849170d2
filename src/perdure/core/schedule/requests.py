"""What a schedule asks of the engine: requests like anybody else's, under a name of its own."""

from __future__ import annotations

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure.api.times import NS_PER_SECOND
from perdure.core.schedule.civil import SECONDS_PER_DAY, date_of
from perdure.core.schedule.state import Running, Start, State

BY_ID = "TemporalScheduledById"
START_TIME = "TemporalScheduledStartTime"
_COPIED = (
    *("workflow_type", "task_queue", "input", "workflow_execution_timeout", "workflow_run_timeout"),
    *("workflow_task_timeout", "retry_policy", "memo", "search_attributes", "header", "user_metadata"),
    *("versioning_override", "priority"),
)
"""Fields that `NewWorkflowExecutionInfo` and a start request have in common."""


def nominal_text(nominal_ns: int) -> str:
    """RFC 3339, in UTC, to the second: `2026-03-02T12:00:00Z`."""
    day, second = divmod(nominal_ns // NS_PER_SECOND, SECONDS_PER_DAY)
    year, month, day_of_month = date_of(day)
    hour, rest = divmod(second, 3600)
    return f"{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{rest // 60:02}:{rest % 60:02}Z"


def workflow_id(schedule: Schedule, start: Start) -> str:
    """The action's own, with the nominal time behind it unless the policies say that it be kept."""
    own = schedule.action.start_workflow.workflow_id
    return own if schedule.policies.keep_original_workflow_id else f"{own}-{nominal_text(start.nominal_ns)}"


def identity(namespace: str, schedule_id: str) -> str:
    """Who starts, cancels and terminates, as histories show it."""
    return f"temporal-scheduler-{namespace}-{schedule_id}"


def request_id(state: State, start: Start) -> str:
    """The same for the same start, whoever carries it out and how often."""
    return f"{state.uid}:{start.number}"


def start_request(
    namespace: str, schedule_id: str, state: State, schedule: Schedule, start: Start
) -> StartWorkflowExecutionRequest:
    """Start the action's workflow; it is told what its predecessor returned, or how it failed."""
    action = schedule.action.start_workflow
    request = StartWorkflowExecutionRequest(
        namespace=namespace,
        workflow_id=workflow_id(schedule, start),
        identity=identity(namespace, schedule_id),
        request_id=request_id(state, start),
    )
    for field in _COPIED:
        if action.HasField(field):  # pyright: ignore[reportArgumentType] - one of the names above
            getattr(request, field).CopyFrom(getattr(action, field))
    attributes = request.search_attributes.indexed_fields
    attributes[BY_ID].CopyFrom(_keyword("Keyword", schedule_id))
    attributes[START_TIME].CopyFrom(_keyword("Datetime", nominal_text(start.nominal_ns)))
    if state.last_result:
        request.last_completion_result.CopyFrom(Payloads.FromString(state.last_result))
    if state.last_failure:
        request.continued_failure.CopyFrom(Failure.FromString(state.last_failure))
    return request


def _keyword(type_name: str, text: str) -> Payload:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return Payload(metadata={"encoding": b"json/plain", "type": type_name.encode()}, data=f'"{quoted}"'.encode())


def cancel_request(namespace: str, schedule_id: str, run: Running) -> RequestCancelWorkflowExecutionRequest:
    """Because another one is to start, and the overlap policy says so."""
    request = RequestCancelWorkflowExecutionRequest(
        namespace=namespace,
        identity=identity(namespace, schedule_id),
        request_id=f"{run.run_id}:overlap",
        reason="cancelled by schedule overlap policy",
        first_execution_run_id=run.run_id,
    )
    request.workflow_execution.workflow_id = run.workflow_id
    return request


def terminate_request(namespace: str, schedule_id: str, run: Running) -> TerminateWorkflowExecutionRequest:
    """As `cancel_request`, by force."""
    request = TerminateWorkflowExecutionRequest(
        namespace=namespace,
        identity=identity(namespace, schedule_id),
        reason="terminated by schedule overlap policy",
        first_execution_run_id=run.run_id,
    )
    request.workflow_execution.workflow_id = run.workflow_id
    return request


def outcome(event: HistoryEvent) -> tuple[bytes, bytes, str]:
    """Of an event that closes a run: serialised result, serialised failure, and the failure's message."""
    if event.HasField("workflow_execution_completed_event_attributes"):
        return event.workflow_execution_completed_event_attributes.result.SerializeToString(), b"", ""
    if event.HasField("workflow_execution_failed_event_attributes"):
        failure = event.workflow_execution_failed_event_attributes.failure
        return b"", failure.SerializeToString(), failure.message
    if event.HasField("workflow_execution_timed_out_event_attributes"):
        failure = Failure(message="workflow timeout")
        failure.timeout_failure_info.SetInParent()
        return b"", failure.SerializeToString(), ""
    return b"", b"", ""

"""Starting a run, and what a start means when the workflow id is in use or was used before."""

from __future__ import annotations

from enum import IntEnum

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import duration, duration_ns, timestamp, timestamp_ns
from perdure.core import close, workflow_task
from perdure.core.commit import Started
from perdure.core.fold import folds
from perdure.core.limits import Limits
from perdure.core.state import Execution
from perdure.core.turn import Turn


class Standing(IntEnum):
    """How the workflow id stands."""

    NONE = 0
    OPEN = 1
    COMPLETED = 2
    UNSUCCESSFUL = 3
    """Failed, cancelled, terminated or timed out."""


class Action(IntEnum):
    """What a start does."""

    START = 1
    REFUSE = 2
    USE_EXISTING = 3
    TERMINATE_AND_START = 4


CLOSED_POLICY: dict[tuple[Standing, int], Action] = {
    (Standing.COMPLETED, enums.REUSE_ALLOW_DUPLICATE): Action.START,
    (Standing.COMPLETED, enums.REUSE_ALLOW_DUPLICATE_FAILED_ONLY): Action.REFUSE,
    (Standing.COMPLETED, enums.REUSE_REJECT_DUPLICATE): Action.REFUSE,
    (Standing.COMPLETED, enums.REUSE_TERMINATE_IF_RUNNING): Action.START,
    (Standing.UNSUCCESSFUL, enums.REUSE_ALLOW_DUPLICATE): Action.START,
    (Standing.UNSUCCESSFUL, enums.REUSE_ALLOW_DUPLICATE_FAILED_ONLY): Action.START,
    (Standing.UNSUCCESSFUL, enums.REUSE_REJECT_DUPLICATE): Action.REFUSE,
    (Standing.UNSUCCESSFUL, enums.REUSE_TERMINATE_IF_RUNNING): Action.START,
}
"""(standing, WorkflowIdReusePolicy) -> action, when the newest run is closed."""

OPEN_POLICY: dict[int, Action] = {
    enums.CONFLICT_FAIL: Action.REFUSE,
    enums.CONFLICT_USE_EXISTING: Action.USE_EXISTING,
    enums.CONFLICT_TERMINATE_EXISTING: Action.TERMINATE_AND_START,
}
"""WorkflowIdConflictPolicy -> action, when the newest run is open."""


def standing(execution: Execution | None) -> Standing:
    if execution is None:
        return Standing.NONE
    if execution.is_open:
        return Standing.OPEN
    return Standing.COMPLETED if execution.status == enums.COMPLETED else Standing.UNSUCCESSFUL


def choose(existing: Execution | None, request: StartWorkflowExecutionRequest) -> Action:
    """What this start does, given the newest run of its workflow id."""
    now = standing(existing)
    if existing is None:
        return Action.START
    if request.request_id and request.request_id == existing.facts.request_id:
        return Action.USE_EXISTING
    reuse = request.workflow_id_reuse_policy or enums.REUSE_ALLOW_DUPLICATE
    if now == Standing.OPEN:
        conflict = request.workflow_id_conflict_policy
        if reuse == enums.REUSE_TERMINATE_IF_RUNNING:
            conflict = enums.CONFLICT_TERMINATE_EXISTING
        return OPEN_POLICY[conflict or enums.CONFLICT_FAIL]
    return CLOSED_POLICY[now, reuse]


def refusal(existing: Execution) -> Rejected:
    """ALREADY_EXISTS, with the detail that clients read the run id from."""
    text = "running" if existing.is_open else "finished successfully"
    if standing(existing) == Standing.UNSUCCESSFUL:
        text = "finished"
    key = existing.key
    return Rejected(
        StatusCode.ALREADY_EXISTS,
        f"Workflow execution is already {text}. WorkflowId: {key.workflow_id}, RunId: {key.run_id}.",
        WorkflowExecutionAlreadyStartedFailure(start_request_id=existing.facts.request_id, run_id=key.run_id),
    )


def existing_run(existing: Execution) -> Started:
    """The reply that names the run there is."""
    return Started(existing.key.run_id, False, existing.status)


def terminate_existing(turn: Turn, new_run_id: str) -> None:
    """Conflict policy TERMINATE_EXISTING, worded as Temporal words it."""
    details = Payloads(
        payloads=[
            Payload(metadata={"encoding": b"json/plain"}, data=f'"terminated by new runID: {new_run_id}"'.encode())
        ]
    )
    close.terminate(turn, "TerminateIfRunning WorkflowIdReusePolicy", details, "history-service")


def validate(request: StartWorkflowExecutionRequest, limits: Limits) -> None:
    """Raises Rejected INVALID_ARGUMENT when the request can never be started."""
    for name, value in (
        ("WorkflowId", request.workflow_id),
        ("WorkflowType", request.workflow_type.name),
        ("TaskQueue", request.task_queue.name),
    ):
        if not value:
            raise _invalid(f"{name} is not set on request.")
        if len(value) > limits.id_length:
            raise _invalid(f"{name} length exceeds limit of {limits.id_length} characters.")
    if len(request.request_id) > limits.id_length:
        raise _invalid(f"RequestId length exceeds limit of {limits.id_length} characters.")
    for name, field in (
        ("WorkflowExecutionTimeout", request.workflow_execution_timeout),
        ("WorkflowRunTimeout", request.workflow_run_timeout),
        ("WorkflowTaskTimeout", request.workflow_task_timeout),
        ("WorkflowStartDelay", request.workflow_start_delay),
    ):
        if duration_ns(field) < 0:
            raise _invalid(f"{name} is negative.")
    if request.input.ByteSize() > limits.blob_bytes:
        raise _invalid(f"Workflow input is bigger than {limits.blob_bytes} bytes.")
    if request.memo.ByteSize() > limits.memo_bytes:
        raise _invalid(f"Memo is bigger than {limits.memo_bytes} bytes.")
    if request.cron_schedule:
        raise Rejected(StatusCode.UNIMPLEMENTED, "cron_schedule is not supported yet: use a schedule.")
    conflict, reuse = request.workflow_id_conflict_policy, request.workflow_id_reuse_policy
    if conflict and reuse == enums.REUSE_TERMINATE_IF_RUNNING:
        raise _invalid(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together "
            "with a WorkflowIDConflictPolicy."
        )
    if conflict == enums.CONFLICT_TERMINATE_EXISTING and reuse == enums.REUSE_REJECT_DUPLICATE:
        raise _invalid(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together "
            "with WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING"
        )


def _invalid(message: str) -> Rejected:
    return Rejected(StatusCode.INVALID_ARGUMENT, message)


def begin(turn: Turn, request: StartWorkflowExecutionRequest) -> Started:
    """Write WorkflowExecutionStarted into a blank execution, and the first workflow task unless it is delayed."""
    execution = turn.execution
    close.TABLE.next(close.State.NONE, close.Trigger.START)
    turn.add(_started_event(turn, request))
    execution.facts.request_id = request.request_id
    deadline_ns = close.run_deadline(execution)
    if deadline_ns is not None:
        turn.lower(deadline_ns)
    if execution.first_task_backoff_ns:
        turn.lower(execution.started_at_ns + execution.first_task_backoff_ns)
    else:
        workflow_task.schedule(turn)
    return Started(execution.key.run_id, True, execution.status)


def _started_event(turn: Turn, request: StartWorkflowExecutionRequest) -> HistoryEvent:
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_STARTED)
    attributes = event.workflow_execution_started_event_attributes
    run_id = turn.execution.key.run_id
    attributes.workflow_type.name = request.workflow_type.name
    attributes.task_queue.name = request.task_queue.name
    attributes.task_queue.kind = enums.QUEUE_NORMAL
    if request.HasField("input"):
        attributes.input.CopyFrom(request.input)
    execution_ns = duration_ns(request.workflow_execution_timeout)
    run_ns = duration_ns(request.workflow_run_timeout)
    if execution_ns and (not run_ns or run_ns > execution_ns):
        run_ns = execution_ns
    task_ns = duration_ns(request.workflow_task_timeout) or turn.limits.task_timeout_ns
    task_ns = min(task_ns, turn.limits.task_timeout_max_ns, run_ns or task_ns)
    backoff_ns = duration_ns(request.workflow_start_delay)
    attributes.workflow_execution_timeout.CopyFrom(duration(execution_ns))
    attributes.workflow_run_timeout.CopyFrom(duration(run_ns))
    attributes.workflow_task_timeout.CopyFrom(duration(task_ns))
    attributes.first_workflow_task_backoff.CopyFrom(duration(backoff_ns))
    if execution_ns:
        expires_at_ns = turn.now_ns + backoff_ns + execution_ns
        attributes.workflow_execution_expiration_time.CopyFrom(timestamp(expires_at_ns))
    attributes.original_execution_run_id = run_id
    attributes.first_execution_run_id = run_id
    attributes.workflow_id = request.workflow_id
    attributes.identity = request.identity
    attributes.attempt = 1
    if request.HasField("retry_policy"):
        attributes.retry_policy.CopyFrom(request.retry_policy)
    if request.HasField("memo"):
        attributes.memo.CopyFrom(request.memo)
    if request.HasField("search_attributes"):
        attributes.search_attributes.CopyFrom(request.search_attributes)
    if request.HasField("header"):
        attributes.header.CopyFrom(request.header)
    if request.HasField("priority"):
        attributes.priority.CopyFrom(request.priority)
    if request.HasField("user_metadata"):
        event.user_metadata.CopyFrom(request.user_metadata)
    if request.links:
        event.links.extend(request.links)
    return event


def first_task_if_due(turn: Turn) -> None:
    """The start delay is over: schedule the first workflow task."""
    execution = turn.execution
    if waits_for_first_task(execution) and first_task_deadline(execution) <= turn.now_ns:
        workflow_task.schedule(turn)


def waits_for_first_task(execution: Execution) -> bool:
    """Whether the start delay holds back the first workflow task."""
    return (
        execution.first_task_backoff_ns > 0
        and not execution.started_task_completed
        and execution.current_task is None
        and execution.is_open
    )


def first_task_deadline(execution: Execution) -> int:
    return execution.started_at_ns + execution.first_task_backoff_ns


@folds(enums.WORKFLOW_EXECUTION_STARTED)
def _started(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_started_event_attributes
    execution.workflow_type = attributes.workflow_type.name
    execution.task_queue = attributes.task_queue.name
    execution.status = enums.RUNNING
    execution.started_at_ns = timestamp_ns(event.event_time)
    execution.first_run_id = attributes.first_execution_run_id
    execution.task_timeout_ns = duration_ns(attributes.workflow_task_timeout)
    execution.execution_timeout_ns = duration_ns(attributes.workflow_execution_timeout)
    execution.run_timeout_ns = duration_ns(attributes.workflow_run_timeout)
    execution.execution_expires_at_ns = timestamp_ns(attributes.workflow_execution_expiration_time)
    execution.first_task_backoff_ns = duration_ns(attributes.first_workflow_task_backoff)

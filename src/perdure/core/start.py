"""Starting a run, and what a start means when the workflow id is in use or was used before."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api import backoff, enums
from perdure.api.bounds import cap
from perdure.api.errors import Rejected, StatusCode
from perdure.api.failures import bounded
from perdure.api.times import duration, duration_ns, later, timestamp, timestamp_ns
from perdure.core import close, cron, properties, retry, search_attributes, workflow_task
from perdure.core.commands import StartWorkflow
from perdure.core.fold import folds
from perdure.core.limits import Limits
from perdure.core.message import Origin
from perdure.core.refusals import invalid
from perdure.core.replies import Started
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

REUSE_POLICIES = frozenset(policy for _, policy in CLOSED_POLICY)

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
    # The same request again: its answer got lost on the way, so no policy is asked.
    if request.request_id and request.request_id == existing.facts.request_id:
        return Action.USE_EXISTING
    reuse = request.workflow_id_reuse_policy or enums.REUSE_ALLOW_DUPLICATE
    if now == Standing.OPEN:
        conflict = request.workflow_id_conflict_policy
        # An older spelling of the conflict policy.
        if reuse == enums.REUSE_TERMINATE_IF_RUNNING:
            conflict = enums.CONFLICT_TERMINATE_EXISTING
        return OPEN_POLICY[conflict or enums.CONFLICT_FAIL]
    return CLOSED_POLICY[now, reuse]


def refusal(existing: Execution, request: StartWorkflowExecutionRequest) -> Rejected:
    """ALREADY_EXISTS, with the detail that clients read the run id from."""
    key = existing.key
    detail = WorkflowExecutionAlreadyStartedFailure(
        start_request_id=existing.facts.request_id, run_id=key.run_id, first_execution_run_id=existing.first_run_id
    )
    run = f"WorkflowId: {key.workflow_id}, RunId: {key.run_id}."
    if existing.is_open:
        text = f"Workflow execution is already running. {run}"
    elif request.workflow_id_reuse_policy == enums.REUSE_REJECT_DUPLICATE:
        text = f"Workflow execution already finished. {run} Workflow Id reuse policy: reject duplicate workflow Id."
    else:
        text = (
            f"Workflow execution already finished successfully. {run} Workflow Id reuse policy: "
            "allow duplicate workflow Id if last run failed."
        )
    return Rejected(StatusCode.ALREADY_EXISTS, text, detail)


def existing_run(existing: Execution) -> Started:
    """The reply that names the run there is."""
    return Started(existing.key.run_id, False, existing.status, existing.first_run_id)


def answer_again(existing: Execution, is_same: bool, is_attached: bool) -> Started:
    """The reply to a start that did not begin a run. `is_same`: it is the very request that began this one."""
    run_id, first_run_id = existing.key.run_id, existing.first_run_id
    return Started(run_id, is_same, existing.status, first_run_id, is_attached=is_attached)


def terminate_existing(turn: Turn, new_run_id: str) -> None:
    """Conflict policy TERMINATE_EXISTING, worded as Temporal words it."""
    details = Payloads(
        payloads=[
            Payload(metadata={"encoding": b"json/plain"}, data=f'"terminated by new runID: {new_run_id}"'.encode())
        ]
    )
    close.terminate(turn, "TerminateIfRunning WorkflowIdReusePolicy", details, "history-service")


def validate(request: StartWorkflowExecutionRequest, limits: Limits, find_zone: cron.FindZone) -> None:
    """Raises Rejected INVALID_ARGUMENT when the request can never be started, UNIMPLEMENTED for what is to come."""
    _check_names(request, limits.id_length)
    for name, field in (
        ("WorkflowExecutionTimeoutSeconds", request.workflow_execution_timeout),
        ("WorkflowRunTimeoutSeconds", request.workflow_run_timeout),
        ("WorkflowTaskTimeoutSeconds", request.workflow_task_timeout),
        ("WorkflowStartDelaySeconds", request.workflow_start_delay),
    ):
        why = cap(field)
        if why:
            raise invalid(f"An invalid {name} is set on request. cause: {why}")
    if request.input.ByteSize() > limits.blob_bytes or request.memo.ByteSize() > limits.memo_bytes:
        raise invalid("Blob data size exceeds limit.")
    if request.cron_schedule:
        if request.HasField("workflow_start_delay"):
            raise invalid("CronSchedule and WorkflowStartDelay may not be used together.")
        cron.check(request.cron_schedule, find_zone)
    if request.completion_callbacks:
        raise Rejected(StatusCode.UNIMPLEMENTED, "completion_callbacks are not supported yet.")
    if request.HasField("retry_policy"):
        why = retry.fault(request.retry_policy)
        if why:
            raise invalid(why)
    _check_policies(request.workflow_id_conflict_policy, request.workflow_id_reuse_policy)


def check_search_attributes(request: StartWorkflowExecutionRequest, type_of: Callable[[str, str, int], int]) -> None:
    """Write their types beside the values. Raises Rejected INVALID_ARGUMENT when one cannot be set."""
    try:
        search_attributes.check(request.search_attributes.indexed_fields, request.namespace, type_of)
    except search_attributes.BadSearchAttribute as bad:
        raise invalid(str(bad)) from bad


def _check_names(request: StartWorkflowExecutionRequest, limit: int) -> None:
    if not request.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if len(request.workflow_id) > limit:
        raise invalid(f"WorkflowId exceeds maximum allowed length ({len(request.workflow_id)}/{limit})")
    if not request.workflow_type.name:
        raise invalid("WorkflowType is not set on request.")
    if len(request.workflow_type.name) > limit:
        raise invalid("WorkflowType length exceeds limit.")
    if not request.task_queue.name:
        raise invalid("missing task queue name" if request.HasField("task_queue") else "taskQueue is not set")
    if len(request.task_queue.name) > limit:
        raise invalid("taskQueue length exceeds limit")
    if len(request.request_id) > limit:
        raise invalid("RequestId length exceeds limit.")


def _check_policies(conflict: int, reuse: int) -> None:
    if conflict and reuse == enums.REUSE_TERMINATE_IF_RUNNING:
        raise invalid(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together "
            "with a WorkflowIDConflictPolicy"
        )
    if conflict == enums.CONFLICT_TERMINATE_EXISTING and reuse == enums.REUSE_REJECT_DUPLICATE:
        raise invalid(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together "
            "with WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING"
        )
    if reuse and reuse not in REUSE_POLICIES:
        raise invalid(f"unknown WorkflowIdReusePolicy: {reuse}")
    if conflict and conflict not in OPEN_POLICY:
        raise invalid(f"unknown WorkflowIdConflictPolicy: {conflict}")


def start(turn: Turn, request: StartWorkflowExecutionRequest, signaled: HistoryEvent | None = None) -> Started:
    """Begin the first run of a chain. `signaled`: the signal that its first task is to know."""
    event = _started_event(turn, request)
    # What begins later has no task that could be given away with the answer.
    is_delayed = request.cron_schedule or duration_ns(request.workflow_start_delay)
    is_eager = request.request_eager_execution and not is_delayed
    if is_eager:
        event.workflow_execution_started_event_attributes.eager_execution_accepted = True
    begin(turn, event, request.request_id, signaled)
    task = workflow_task.take(turn, request.identity) if is_eager else None
    execution = turn.execution
    return Started(execution.key.run_id, True, execution.status, execution.first_run_id, task)


def start_child(turn: Turn, command: StartWorkflow, parent: Origin) -> Started:
    """Begin the first run of a child's chain."""
    event = _started_event(turn, command.request)
    attributes = event.workflow_execution_started_event_attributes
    # A parent says both time-outs even when there is none.
    attributes.workflow_run_timeout.SetInParent()
    attributes.parent_workflow_namespace = parent.namespace
    attributes.parent_workflow_execution.workflow_id = parent.workflow_id
    attributes.parent_workflow_execution.run_id = parent.run_id
    attributes.parent_initiated_event_id = parent.event_id
    attributes.root_workflow_execution.workflow_id = command.root_workflow_id
    attributes.root_workflow_execution.run_id = command.root_run_id
    begin(turn, event, command.request.request_id)
    execution = turn.execution
    return Started(execution.key.run_id, True, execution.status, execution.first_run_id)


def begin(turn: Turn, started: HistoryEvent, request_id: str, signaled: HistoryEvent | None = None) -> None:
    """Append WorkflowExecutionStarted to a blank execution, and the first workflow task unless it is delayed."""
    execution = turn.execution
    close.TABLE.next(close.State.NONE, close.Trigger.START)
    turn.add(started)
    # Before the first workflow task, so that the code sees it when it first runs.
    if signaled is not None:
        turn.add(signaled)
    execution.facts.request_id = request_id
    deadline_ns = close.run_deadline(execution)
    if deadline_ns is not None:
        turn.lower(deadline_ns)
    if execution.first_task_backoff_ns:
        turn.lower(first_task_deadline(execution))
    else:
        workflow_task.schedule(turn)


def bounded_task_timeout_ns(limits: Limits, task_ns: int, run_ns: int) -> int:
    """Workflow task start-to-close as used: the default if 0, never more than the run has or a limit allows."""
    return min(task_ns or limits.task_timeout_ns, limits.task_timeout_max_ns, run_ns or limits.task_timeout_max_ns)


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
    # A run has no more time than its execution, and all of it if nothing else was said.
    if execution_ns and (not run_ns or run_ns > execution_ns):
        run_ns = execution_ns
    task_ns = bounded_task_timeout_ns(turn.limits, duration_ns(request.workflow_task_timeout), run_ns)
    backoff_ns = duration_ns(request.workflow_start_delay)
    if request.cron_schedule:
        attributes.cron_schedule = request.cron_schedule
        attributes.initiator = enums.INITIATOR_CRON_SCHEDULE
        # The first run, too, waits for a time that the schedule names.
        backoff_ns = cron.first_backoff_ns(request.cron_schedule, turn.context.find_zone, turn.now_ns)
    # A time-out that nobody asked for is left out, as Temporal does: only a parent says both (`start_child`).
    if execution_ns:
        attributes.workflow_execution_timeout.CopyFrom(duration(execution_ns))
    if run_ns:
        attributes.workflow_run_timeout.CopyFrom(duration(run_ns))
    attributes.workflow_task_timeout.CopyFrom(duration(task_ns))
    attributes.first_workflow_task_backoff.CopyFrom(duration(backoff_ns))
    if execution_ns:
        # A start delay is no part of the time there is; a chain of runs shares one such moment.
        expires_at_ns = later(turn.now_ns + backoff_ns, execution_ns)
        attributes.workflow_execution_expiration_time.CopyFrom(timestamp(expires_at_ns))
    # It begins a chain: runs that follow keep the first run's id, and each names the one before it.
    attributes.original_execution_run_id = run_id
    attributes.first_execution_run_id = run_id
    attributes.workflow_id = request.workflow_id
    attributes.identity = request.identity
    attributes.attempt = 1
    if request.HasField("retry_policy"):
        attributes.retry_policy.CopyFrom(retry.filled(request.retry_policy))
    if request.HasField("last_completion_result"):
        attributes.last_completion_result.CopyFrom(request.last_completion_result)
    if request.HasField("continued_failure"):
        attributes.continued_failure.CopyFrom(bounded(request.continued_failure))
    if request.HasField("memo"):
        attributes.memo.CopyFrom(request.memo)
    if request.HasField("search_attributes"):
        attributes.search_attributes.CopyFrom(request.search_attributes)
    if request.HasField("header"):
        attributes.header.CopyFrom(request.header)
    if request.HasField("priority"):
        attributes.priority.CopyFrom(request.priority)
    if request.HasField("versioning_override"):
        attributes.versioning_override.CopyFrom(request.versioning_override)
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
        and execution.status == enums.RUNNING
    )


def first_task_deadline(execution: Execution) -> int:
    """When the start delay is over; a clock that was set back does not make it longer."""
    return later(execution.started_at_ns, execution.first_task_backoff_ns) + min(0, execution.facts.run_moved_ns)


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
    execution.attempt = attributes.attempt
    if attributes.HasField("parent_workflow_execution"):
        parent, root = attributes.parent_workflow_execution, attributes.root_workflow_execution
        execution.parent = Origin(
            attributes.parent_workflow_namespace,
            parent.workflow_id,
            parent.run_id,
            attributes.parent_initiated_event_id,
        )
        execution.root_workflow_id = root.workflow_id
        execution.root_run_id = root.run_id
    properties.begin(execution, attributes)
    if attributes.HasField("versioning_override"):
        execution.versioning_override = attributes.versioning_override.SerializeToString()
    if attributes.HasField("priority"):
        execution.priority = attributes.priority.SerializeToString()
    if attributes.HasField("retry_policy"):
        execution.retry = backoff.from_message(attributes.retry_policy)
    if execution.retry is not None or attributes.cron_schedule:
        execution.first_event = attributes.SerializeToString()

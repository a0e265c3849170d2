"""Workflow executions: start, describe, request cancellation, terminate."""

from __future__ import annotations

import logging

from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState, TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.enums import WORKFLOW_EXECUTION_OPTIONS_UPDATED, WORKFLOW_EXECUTION_STARTED
from perdure.api.errors import Rejected
from perdure.api.failures import bounded
from perdure.api.times import duration, timestamp
from perdure.core import options
from perdure.core.activity import effective
from perdure.core.commands import RequestCancel, StartWorkflow, Terminate
from perdure.core.execution import Execution
from perdure.core.replies import Started
from perdure.core.started import StartedWorkflowTask
from perdure.core.state import Activity, Attempt, AttemptState
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, check_length, found, named
from perdure.frontend.infos import fill_info, fill_sizes
from perdure.frontend.responses import workflow_task_response

_log = logging.getLogger(__name__)


class Workflows:
    """The RPCs about a whole execution."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(
        self, request: service.StartWorkflowExecutionRequest, call: Call
    ) -> service.StartWorkflowExecutionResponse:
        """StartWorkflowExecution: the same request id again is answered with the run that it began.

        Core judges the request itself: it must hold for any caller.

        Raises Rejected ALREADY_EXISTS as the id policies say, INVALID_ARGUMENT.
        """
        started: Started = await self._engine.submit(
            request.namespace, request.workflow_id, None, StartWorkflow(request)
        )
        response = start_response(started, request.namespace, request.workflow_id, request.request_id)
        if started.workflow_task is not None:
            await self._add_first_task(response, started.workflow_task)
        return response

    async def _add_first_task(
        self, response: service.StartWorkflowExecutionResponse, task: StartedWorkflowTask
    ) -> None:
        """For a starter that is a worker. The start stands even if its history cannot be read now."""
        try:
            response.eager_workflow_task.CopyFrom(await workflow_task_response(self._engine, task))
        except Rejected as error:
            _log.warning("a first workflow task is left to its time-out: %s", error)

    async def request_cancel(
        self, request: service.RequestCancelWorkflowExecutionRequest, call: Call
    ) -> service.RequestCancelWorkflowExecutionResponse:
        """RequestCancelWorkflowExecution. Raises Rejected NOT_FOUND when no such run is open."""
        execution = request.workflow_execution
        check_execution(call, execution, request.HasField("workflow_execution"))
        await self._submit(request.namespace, execution, RequestCancel(request))
        return service.RequestCancelWorkflowExecutionResponse()

    async def terminate(
        self, request: service.TerminateWorkflowExecutionRequest, call: Call
    ) -> service.TerminateWorkflowExecutionResponse:
        """TerminateWorkflowExecution. Raises Rejected NOT_FOUND when no such run is open."""
        execution = request.workflow_execution
        check_execution(call, execution, request.HasField("workflow_execution"))
        check_length(call, "Reason", request.reason)
        await self._submit(request.namespace, execution, Terminate(request))
        return service.TerminateWorkflowExecutionResponse()

    async def _submit(self, namespace: str, execution: WorkflowExecution, command: RequestCancel | Terminate) -> None:
        try:
            await self._engine.submit(namespace, execution.workflow_id, execution.run_id, command)
        except Rejected as error:
            raise named(error, execution) from error

    async def describe(
        self, request: service.DescribeWorkflowExecutionRequest, call: Call
    ) -> service.DescribeWorkflowExecutionResponse:
        """DescribeWorkflowExecution. Raises Rejected NOT_FOUND."""
        engine, workflow_id = self._engine, request.execution.workflow_id
        check_execution(call, request.execution, request.HasField("execution"))

        def look(execution: Execution | None) -> tuple[service.DescribeWorkflowExecutionResponse, Execution]:
            execution = found(execution, workflow_id, request.execution.run_id)
            return _describe(execution, engine.clock.now_ns()), execution

        response, execution = await engine.read(request.namespace, workflow_id, request.execution.run_id, look)
        if execution.parent is not None:
            response.workflow_execution_info.parent_namespace_id = engine.namespaces.id_of(execution.parent)
        first = await engine.histories.event(execution.key, 1)
        if first.HasField("user_metadata"):
            response.execution_config.user_metadata.CopyFrom(first.user_metadata)
        return response


def start_response(
    started: Started, namespace: str, workflow_id: str, request_id: str
) -> service.StartWorkflowExecutionResponse:
    """What a start is answered with."""
    response = service.StartWorkflowExecutionResponse(
        run_id=started.run_id,
        started=started.created,
        status=started.status,  # pyright: ignore[reportArgumentType] - the enum's number
        first_execution_run_id=started.first_run_id,
    )
    link = response.link.workflow_event
    link.namespace = namespace
    link.workflow_id = workflow_id
    link.run_id = started.run_id
    if started.is_attached:
        link.request_id_ref.request_id = request_id
        link.request_id_ref.event_type = WORKFLOW_EXECUTION_OPTIONS_UPDATED
    else:
        link.event_ref.event_id = 1
        link.event_ref.event_type = WORKFLOW_EXECUTION_STARTED
    return response


_DETAILS_BYTES_MAX = 2 << 20
"""Of heartbeats in one description: what does not fit is left out, for there is no page behind it."""


def _describe(execution: Execution, now_ns: int) -> service.DescribeWorkflowExecutionResponse:
    response = service.DescribeWorkflowExecutionResponse()
    config = response.execution_config
    config.task_queue.name = execution.task_queue
    config.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
    if execution.execution_timeout_ns:
        config.workflow_execution_timeout.CopyFrom(duration(execution.execution_timeout_ns))
    if execution.run_timeout_ns:
        config.workflow_run_timeout.CopyFrom(duration(execution.run_timeout_ns))
    config.default_workflow_task_timeout.CopyFrom(duration(execution.task_timeout_ns))
    info = response.workflow_execution_info
    fill_info(info, execution)
    fill_sizes(info, execution)
    info.first_run_id = execution.first_run_id
    extended = response.workflow_extended_info
    extended.cancel_requested = execution.cancel_requested
    if execution.priority is not None:
        info.priority.SetInParent()
        info.priority.MergeFromString(execution.priority)
    override = options.describe(execution)
    if override is not None:
        info.versioning_info.versioning_override.CopyFrom(override)
    if execution.paused is not None:
        extended.pause_info.identity = execution.paused.identity
        extended.pause_info.reason = execution.paused.reason
        extended.pause_info.paused_time.CopyFrom(timestamp(execution.paused.at_ns))
    if execution.facts.request_id:
        began = extended.request_id_infos[execution.facts.request_id]
        began.event_type = WORKFLOW_EXECUTION_STARTED
        began.event_id = 1
    for request_id, event_id in execution.attached.items():
        attached = extended.request_id_infos[request_id]
        attached.event_type = WORKFLOW_EXECUTION_OPTIONS_UPDATED
        attached.event_id = event_id
    extended.original_start_time.CopyFrom(info.start_time)
    if execution.execution_expires_at_ns:
        extended.execution_expiration_time.CopyFrom(timestamp(execution.execution_expires_at_ns))
    if execution.run_timeout_ns:
        expires_at_ns = execution.started_at_ns + execution.first_task_backoff_ns + execution.run_timeout_ns
        extended.run_expiration_time.CopyFrom(timestamp(expires_at_ns))
    if execution.closed_at_ns is None:
        _describe_pending(response, execution, now_ns)
    return response


def _describe_pending(response: service.DescribeWorkflowExecutionResponse, execution: Execution, now_ns: int) -> None:
    room = _DETAILS_BYTES_MAX
    for scheduled_event_id, activity in execution.activities.items():
        attempt = execution.facts.attempts.get(scheduled_event_id)
        info = _pending_activity(activity, attempt, now_ns)
        if attempt is not None and attempt.heartbeat_details and len(attempt.heartbeat_details) <= room:
            room -= len(attempt.heartbeat_details)
            info.heartbeat_details.CopyFrom(Payloads.FromString(attempt.heartbeat_details))
        response.pending_activities.append(info)
    for child in execution.children.values():
        response.pending_children.add(
            workflow_id=child.workflow_id,
            run_id=child.run_id,
            workflow_type_name=child.workflow_type,
            initiated_id=child.initiated_event_id,
            parent_close_policy=child.parent_close_policy,
        )
    task = execution.current_task
    if task is not None:
        info = PendingWorkflowTaskInfo(
            state=PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
            if task.started_event_id
            else PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED,
            scheduled_time=timestamp(task.scheduled_at_ns),
            original_scheduled_time=timestamp(task.scheduled_at_ns),
            attempt=task.attempt,
        )
        if task.started_event_id:
            info.started_time.CopyFrom(timestamp(task.started_at_ns))
        response.pending_workflow_task.CopyFrom(info)


def _pending_activity(activity: Activity, attempt: Attempt | None, now_ns: int) -> PendingActivityInfo:
    info = PendingActivityInfo(
        activity_id=activity.activity_id, state=PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    )
    info.activity_type.name = activity.activity_type
    options = activity if attempt is None else effective(activity, attempt)
    if options.schedule_to_close_ns:
        info.expiration_time.CopyFrom(timestamp(options.scheduled_at_ns + options.schedule_to_close_ns))
    describe_options(info.activity_options, options)
    info.priority.ParseFromString(activity.priority)
    info.activity_options.priority.ParseFromString(options.priority)
    if options.retry is not None:
        info.maximum_attempts = options.retry.maximum_attempts
    if attempt is not None:
        _add_attempt(info, attempt, now_ns)
        _add_pause(info, attempt)
    if activity.cancel_requested_event_id:
        info.state = PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
    return info


def _add_pause(info: PendingActivityInfo, attempt: Attempt) -> None:
    control = attempt.control
    if control is None or not control.paused_at_ns:
        return
    info.paused = True
    info.state = (
        PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
        if attempt.state == AttemptState.STARTED
        else PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED
    )
    info.pause_info.pause_time.CopyFrom(timestamp(control.paused_at_ns))
    info.pause_info.manual.identity = control.paused_by
    info.pause_info.manual.reason = control.pause_reason


def describe_options(options: ActivityOptions, activity: Activity) -> None:
    """Fill in the options that an activity has."""
    options.task_queue.name = options.task_queue.normal_name = activity.task_queue
    options.schedule_to_close_timeout.CopyFrom(duration(activity.schedule_to_close_ns))
    options.schedule_to_start_timeout.CopyFrom(duration(activity.schedule_to_start_ns))
    options.start_to_close_timeout.CopyFrom(duration(activity.start_to_close_ns))
    options.heartbeat_timeout.CopyFrom(duration(activity.heartbeat_ns))
    retry = activity.retry
    if retry is not None:
        policy = options.retry_policy
        policy.initial_interval.CopyFrom(duration(retry.initial_interval_ns))
        policy.backoff_coefficient = retry.backoff_coefficient
        policy.maximum_interval.CopyFrom(duration(retry.maximum_interval_ns))
        policy.maximum_attempts = retry.maximum_attempts
        policy.non_retryable_error_types.extend(retry.non_retryable_error_types)


def _add_attempt(info: PendingActivityInfo, attempt: Attempt, now_ns: int) -> None:
    """Times of the present attempt: when it was or will be on the queue, when it was started."""
    control = attempt.control
    is_paused = control is not None and control.paused_at_ns != 0
    info.attempt = 1 if control is not None and control.reset_requested else attempt.attempt
    info.last_worker_identity = attempt.identity or attempt.last_worker_identity
    info.scheduled_time.CopyFrom(timestamp(attempt.scheduled_at_ns))
    if attempt.state == AttemptState.STARTED:
        info.state = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        info.last_started_time.CopyFrom(timestamp(attempt.started_at_ns))
    elif attempt.scheduled_at_ns > now_ns and not is_paused:
        info.next_attempt_schedule_time.CopyFrom(timestamp(attempt.scheduled_at_ns))
    if attempt.completed_at_ns:
        info.last_attempt_complete_time.CopyFrom(timestamp(attempt.completed_at_ns))
        if attempt.state != AttemptState.STARTED and not is_paused:
            info.current_retry_interval.CopyFrom(duration(attempt.scheduled_at_ns - attempt.completed_at_ns))
    if attempt.heartbeat_at_ns not in (0, attempt.started_at_ns):  # until the first heartbeat the start stands for it
        info.last_heartbeat_time.CopyFrom(timestamp(attempt.heartbeat_at_ns))
    if attempt.last_failure:
        info.last_failure.CopyFrom(bounded(Failure.FromString(attempt.last_failure)))

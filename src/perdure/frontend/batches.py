"""Batch operations: start, stop, describe, list; and what an operation of each kind does to one execution."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.api.batch.v1 import BatchOperationInfo, BatchOperationReset
from temporalio.api.common.v1 import Execution as ExecutionMessage
from temporalio.api.enums.v1 import EventType, ExecutionType, ResetReapplyType, ResetType
from temporalio.api.workflowservice import v1 as service

from perdure.api.bounds import rate_fault
from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import timestamp
from perdure.core import batch as law
from perdure.core.batch import Batch
from perdure.core.execution import Execution
from perdure.core.principal import Principal
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call, Origin
from perdure.frontend.edge import check_execution, check_length, found, invalid
from perdure.frontend.page_tokens import decode_name, encode_name

_PAGE_DEFAULT = 100
_PAGE_MAX = 1000
_LISTED_MAX = 1000
"""Executions that one request may list."""
_WORKFLOW = ExecutionType.EXECUTION_TYPE_WORKFLOW
_REQUIRED = (
    "must provide required parameters: BatchType,Reason,Namespace, AND one of (Query OR Executions OR TargetExecutions)"
)


class Batches:
    """The RPCs. `rpcs` are those of single executions, by name: what a batch does goes through them."""

    def __init__(self, engine: Engine, rpcs: object) -> None:
        self._engine = engine
        self._rpcs = rpcs

    # --- the noun -------------------------------------------------------------------------------

    async def start(
        self, request: service.StartBatchOperationRequest, call: Call
    ) -> service.StartBatchOperationResponse:
        """StartBatchOperation. Raises Rejected INVALID_ARGUMENT, ALREADY_EXISTS, RESOURCE_EXHAUSTED, UNIMPLEMENTED."""
        _check(request, call)
        self._rpc(_BUILDERS[law.operation_of(request)](request)[0])
        await self._engine.batches.start(request, call.principal)
        return service.StartBatchOperationResponse()

    async def stop(self, request: service.StopBatchOperationRequest, call: Call) -> service.StopBatchOperationResponse:
        """StopBatchOperation: what was done stays done. Raises Rejected NOT_FOUND when it does not run."""
        _check_job_id(request.job_id, call)
        if not request.reason:
            raise invalid("Reason is not set on request.")
        await self._engine.batches.stop(request.namespace, request.job_id, request.reason)
        return service.StopBatchOperationResponse()

    async def describe(
        self, request: service.DescribeBatchOperationRequest, call: Call
    ) -> service.DescribeBatchOperationResponse:
        """DescribeBatchOperation. Raises Rejected NOT_FOUND."""
        _check_job_id(request.job_id, call)
        return _described(request.job_id, await self._engine.batches.get(request.namespace, request.job_id))

    async def list(
        self, request: service.ListBatchOperationsRequest, call: Call
    ) -> service.ListBatchOperationsResponse:
        """ListBatchOperations, in order of their ids. Those that ended are kept as long as executions are."""
        limit = min(request.page_size, _PAGE_MAX) if request.page_size > 0 else _PAGE_DEFAULT
        after_id = decode_name(request.next_page_token)
        page = await self._engine.batches.page(request.namespace, after_id, limit)
        token = encode_name(page[-1][0]) if page and page.more else b""
        return service.ListBatchOperationsResponse(
            operation_info=[_info(job_id, batch) for job_id, batch in page], next_page_token=token
        )

    # --- what is done to one execution ----------------------------------------------------------

    async def perform(
        self,
        principal: Principal,
        request: service.StartBatchOperationRequest,
        workflow_id: str,
        run_id: str,
        request_id: str,
    ) -> None:
        """Raises Rejected as the RPC of a single execution does, called by the principal."""
        operation = law.operation_of(request)
        rpc, made = _BUILDERS[operation](request)
        made.namespace = request.namespace
        execution = made.execution if operation in _ON_ACTIVITIES else made.workflow_execution
        execution.workflow_id, execution.run_id = workflow_id, run_id
        if "request_id" in made.DESCRIPTOR.fields_by_name:
            made.request_id = request_id
        if operation == "reset_operation":
            finish = await self._reset_point(request, workflow_id, run_id)
            made.workflow_task_finish_event_id = finish
        serve = self._rpc(rpc)
        await serve(made, Call(serve.__name__, Origin.RECORD, principal))

    def _rpc(self, name: str) -> Callable[[Any, Call], Awaitable[Any]]:
        rpc: Callable[[Any, Call], Awaitable[Any]] | None = getattr(self._rpcs, name, None)
        if rpc is None:
            raise Rejected(StatusCode.UNIMPLEMENTED, f"{name} is not supported by this server.")
        return rpc

    async def _reset_point(self, request: service.StartBatchOperationRequest, workflow_id: str, run_id: str) -> int:
        """The event of a run with which the workflow task ended that is to be done anew."""
        options, engine = request.reset_operation.options, self._engine
        if options.WhichOneof("target") == "workflow_task_id":
            return options.workflow_task_id

        def look(execution: Execution | None) -> tuple[Any, int]:
            execution = found(execution, workflow_id, run_id)
            return execution.key, execution.next_event_id - 1

        key, last_event_id = await engine.read(request.namespace, workflow_id, run_id, look)
        is_first = _is_first(request.reset_operation)
        point, event_id = 0, 1
        while event_id <= last_event_id:
            for event in await engine.histories.page(key, event_id, last_event_id):
                event_id = event.event_id + 1
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                    point = event.event_id
                    if is_first:
                        return point
        if not point:
            raise invalid(f"workflow {workflow_id!r} has completed no workflow task yet")
        return point


# --- requests -------------------------------------------------------------------------------------


def _check(request: service.StartBatchOperationRequest, call: Call) -> None:
    """Raises Rejected INVALID_ARGUMENT, UNIMPLEMENTED."""
    ways = [bool(request.visibility_query), bool(request.executions), bool(request.target_executions)]
    operation = law.operation_of(request)
    if not operation or not request.reason or not any(ways):
        raise invalid(_REQUIRED)
    if sum(ways) > 1:
        raise invalid("visibility query, executions, and target executions are mutually exclusive")
    _check_job_id(request.job_id, call)
    check_length(call, "Reason", request.reason)
    if len(request.executions) + len(request.target_executions) > _LISTED_MAX:
        raise invalid(f"too many executions: at most {_LISTED_MAX} may be listed")
    for execution in request.executions:
        check_execution(call, execution)
    why = rate_fault(request.max_operations_per_second)
    if why:
        raise invalid(f"max_operations_per_second {why}")
    if operation not in law.TYPES or any(one.type not in (0, _WORKFLOW) for one in request.target_executions):
        raise Rejected(StatusCode.UNIMPLEMENTED, f"{operation} is not supported by this server.")
    if operation == "signal_operation" and not request.signal_operation.signal:
        raise invalid("must provide signal name")
    if operation == "reset_operation":
        _check_reset(request.reset_operation)


def _check_reset(reset: BatchOperationReset) -> None:
    target = reset.options.WhichOneof("target")
    if target == "build_id":
        raise Rejected(StatusCode.UNIMPLEMENTED, "A reset by build id is not supported by this server.")
    if not target and reset.reset_type not in (
        ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK,
        ResetType.RESET_TYPE_LAST_WORKFLOW_TASK,
    ):
        raise invalid("unknown batch reset type Unspecified")


def _is_first(reset: BatchOperationReset) -> bool:
    target = reset.options.WhichOneof("target")
    return target == "first_workflow_task" or (
        not target and reset.reset_type == ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK
    )


def _check_job_id(job_id: str, call: Call) -> None:
    if not job_id:
        raise invalid("JobId is not set on request.")
    check_length(call, "JobId", job_id)


# --- operations -----------------------------------------------------------------------------------


def _terminate(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.termination_operation
    made = service.TerminateWorkflowExecutionRequest(reason=request.reason, identity=said.identity)
    if said.HasField("details"):
        made.details.CopyFrom(said.details)
    return "terminate_workflow_execution", made


def _cancel(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    identity = request.cancellation_operation.identity
    made = service.RequestCancelWorkflowExecutionRequest(reason=request.reason, identity=identity)
    return "request_cancel_workflow_execution", made


def _signal(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.signal_operation
    made = service.SignalWorkflowExecutionRequest(signal_name=said.signal, identity=said.identity)
    if said.HasField("input"):
        made.input.CopyFrom(said.input)
    if said.HasField("header"):
        made.header.CopyFrom(said.header)
    return "signal_workflow_execution", made


def _delete(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    return "delete_workflow_execution", service.DeleteWorkflowExecutionRequest()


def _reset(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.reset_operation
    made = service.ResetWorkflowExecutionRequest(reason=request.reason, identity=said.identity)
    made.post_reset_operations.extend(said.post_reset_operations)
    options = said.options
    if options.WhichOneof("target"):
        made.reset_reapply_type = options.reset_reapply_type or ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE
        made.reset_reapply_exclude_types.extend(options.reset_reapply_exclude_types)
    else:
        made.reset_reapply_type = said.reset_reapply_type
    return "reset_workflow_execution", made


def _update_options(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.update_workflow_options_operation
    made = service.UpdateWorkflowExecutionOptionsRequest(
        workflow_execution_options=said.workflow_execution_options, update_mask=said.update_mask
    )
    return "update_workflow_execution_options", made


def _unpause_activities(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.unpause_activities_operation
    made = service.UnpauseActivityRequest(
        identity=said.identity, reset_attempts=said.reset_attempts, reset_heartbeat=said.reset_heartbeat
    )
    made.jitter.CopyFrom(said.jitter)
    if said.match_all:
        made.unpause_all = True
    else:
        made.type = said.type
    return "unpause_activity", made


def _reset_activities(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.reset_activities_operation
    made = service.ResetActivityRequest(
        identity=said.identity,
        reset_heartbeat=said.reset_heartbeat,
        keep_paused=said.keep_paused,
        restore_original_options=said.restore_original_options,
    )
    made.jitter.CopyFrom(said.jitter)
    if said.match_all:
        made.match_all = True
    else:
        made.type = said.type
    return "reset_activity", made


def _update_activities(request: service.StartBatchOperationRequest) -> tuple[str, Any]:
    said = request.update_activity_options_operation
    made = service.UpdateActivityOptionsRequest(identity=said.identity, restore_original=said.restore_original)
    if said.HasField("activity_options"):
        made.activity_options.CopyFrom(said.activity_options)
    if said.HasField("update_mask"):
        made.update_mask.CopyFrom(said.update_mask)
    if said.match_all:
        made.match_all = True
    else:
        made.type = said.type
    return "update_activity_options", made


_BUILDERS: dict[str, Callable[[service.StartBatchOperationRequest], tuple[str, Any]]] = {
    "termination_operation": _terminate,
    "cancellation_operation": _cancel,
    "signal_operation": _signal,
    "deletion_operation": _delete,
    "reset_operation": _reset,
    "update_workflow_options_operation": _update_options,
    "unpause_activities_operation": _unpause_activities,
    "reset_activities_operation": _reset_activities,
    "update_activity_options_operation": _update_activities,
}
_ON_ACTIVITIES = frozenset(
    {"unpause_activities_operation", "reset_activities_operation", "update_activity_options_operation"}
)


# --- responses ------------------------------------------------------------------------------------


def _described(job_id: str, batch: Batch) -> service.DescribeBatchOperationResponse:
    request = service.StartBatchOperationRequest.FromString(batch.request)
    response = service.DescribeBatchOperationResponse(
        operation_type=law.TYPES.get(law.operation_of(request), 0),  # pyright: ignore[reportArgumentType] - its number
        job_id=job_id,
        state=batch.state,  # pyright: ignore[reportArgumentType] - its number
        start_time=timestamp(batch.started_at_ns),
        total_operation_count=batch.total,
        complete_operation_count=batch.complete,
        failure_operation_count=batch.failed,
        identity=law.identity_of(request),
        reason=batch.stop_reason or request.reason,
        query=request.visibility_query,
        executions=request.target_executions,
    )
    for one in request.executions:
        response.executions.append(ExecutionMessage(type=_WORKFLOW, business_id=one.workflow_id, run_id=one.run_id))
    if batch.closed_at_ns:
        response.close_time.CopyFrom(timestamp(batch.closed_at_ns))
    return response


def _info(job_id: str, batch: Batch) -> BatchOperationInfo:
    request = service.StartBatchOperationRequest.FromString(batch.request)
    info = BatchOperationInfo(
        job_id=job_id,
        state=batch.state,  # pyright: ignore[reportArgumentType] - its number
        start_time=timestamp(batch.started_at_ns),
        operation_type=law.TYPES.get(law.operation_of(request), 0),  # pyright: ignore[reportArgumentType] - its number
    )
    if batch.closed_at_ns:
        info.close_time.CopyFrom(timestamp(batch.closed_at_ns))
    return info

"""Signals, queries and updates, as a client sends them.

A signal is told and forgotten: the server has it, durably. A query asks and changes nothing. An
update does both: it is accepted or rejected, recorded, and answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as Stage
from temporalio.api.errordetails.v1 import QueryFailedFailure
from temporalio.api.update.v1 import Outcome
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.sdk.client import enlisting, inquiry
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.convert import error_of
from perdure.sdk.declare.handlers import addressed, return_type_of
from perdure.sdk.errors import QueryFailedError, UpdateFailedError
from perdure.sdk.interceptors import (
    CancelWorkflowInput,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
    put_headers,
)
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import SECOND_NS, Duration, optional_duration
from perdure.sdk.policies import WaitFor, waited_for

R = TypeVar("R")

STAGES: dict[str, Stage.ValueType] = {
    "accepted": Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED,
    "completed": Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
}


async def signal(
    reach: Reach,
    execution: WorkflowExecution,
    message: Any,
    args: tuple[Any, ...],
    named: Mapping[str, Any],
    request_id: str | None = None,
    connection: Any = None,
) -> None:
    """Raises WorkflowNotFoundError, PayloadError, EngineError, TypeError."""
    name, args = addressed("signal", message, args, named, ("request_id", "connection"))
    given = SignalWorkflowInput(
        execution.workflow_id, execution.run_id or None, name, args, request_id, connection=connection
    )
    if reach.outbound is None:
        await send_signal(reach, given)
    else:
        await reach.outbound.signal_workflow(given)


async def send_signal(reach: Reach, given: SignalWorkflowInput) -> None:
    """`signal`, behind the interceptors."""
    name, execution = given.signal, execution_of(given.id, given.run_id)
    request = service.SignalWorkflowExecutionRequest(
        namespace=reach.namespace,
        workflow_execution=execution,
        signal_name=name,
        identity=reach.identity,
        request_id=given.request_id or reach.new_id(),
    )
    request.input.payloads.extend(reach.converter.to_payloads(given.args, f"the arguments of signal {name}"))
    if given.headers:
        put_headers(request.header, given.headers)
    what = f"signal {name!r} to workflow {execution.workflow_id!r}"
    if given.connection is not None:
        await enlisting.enlist_or_explain(reach, given.connection, request, what)
        return
    await reach.ask(reach.connection.signal_workflow_execution, request, what)


async def query(
    reach: Reach,
    execution: WorkflowExecution,
    message: Any,
    args: tuple[Any, ...],
    named: Mapping[str, Any],
    returns: Any,
) -> Any:
    """Raises QueryFailedError, WorkflowNotFoundError, PayloadError, EngineError, TypeError."""
    name, args = addressed("query", message, args, named, ("returns",))
    kind = returns_of(message, returns)
    given = QueryWorkflowInput(execution.workflow_id, execution.run_id or None, name, args, kind)
    return await (send_query(reach, given) if reach.outbound is None else reach.outbound.query_workflow(given))


async def send_query(reach: Reach, given: QueryWorkflowInput) -> Any:
    """`query`, behind the interceptors."""
    name, execution = given.query, execution_of(given.id, given.run_id)
    request = service.QueryWorkflowRequest(namespace=reach.namespace, execution=execution)
    request.query.query_type = name
    request.query.query_args.payloads.extend(reach.converter.to_payloads(given.args, f"the arguments of query {name}"))
    if given.headers:
        put_headers(request.query.header, given.headers)
    what = f"query {name!r} of workflow {execution.workflow_id!r}"
    try:
        response = await reach.call(reach.connection.query_workflow, request)
    except Rejected as rejected:
        if not isinstance(rejected.detail, QueryFailedFailure):
            raise await inquiry.refusal(reach, rejected, what, execution.workflow_id) from rejected
        error = QueryFailedError(f"{what} failed: {rejected.message}", query=name)
        detail = rejected.detail
        raise error from error_of(detail.failure, reach.converter) if detail.HasField("failure") else rejected
    payloads = response.query_result.payloads
    values = reach.converter.from_payloads(payloads, (given.returns,), f"the answer to query {name}")
    return values[0] if values else None


@lists_options
@sends_texts
class AsyncUpdateHandle(Generic[R]):
    """An update that a workflow has accepted.

    Attributes:
        id: the update's.
        workflow_id, run_id: of the workflow that it was sent to.
    """

    def __init__(
        self,
        reach: Reach,
        update_id: str,
        name: str,
        execution: WorkflowExecution,
        returns: Any,
        outcome: Outcome | None,
    ) -> None:
        self._reach = reach
        self._name = name
        self._returns = returns
        self._outcome = outcome
        self.id = update_id
        self.workflow_id = execution.workflow_id
        self.run_id = execution.run_id

    def __repr__(self) -> str:
        return f"<AsyncUpdateHandle {self._name} {self.id!r} of {self.workflow_id!r}>"

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for the handler's answer.

        Raises:
            UpdateFailedError: it was rejected, or its handler raised; the cause says why.
            TimeoutError: the builtin one; `timeout` passed, the update goes on.
        """
        limit_ns = optional_duration(timeout, "timeout")
        if limit_ns is None or timeout is None:
            return await self._result()
        try:
            async with asyncio.timeout(limit_ns / SECOND_NS):
                return await self._result()
        except TimeoutError:
            pass  # what it waits for is asked for outside of the handler, so that the error has no other behind it
        what = f"update {self._name!r} of workflow {self.workflow_id!r} has not ended"
        raise await inquiry.timed_out(self._reach, self.workflow_id, what, timeout)

    async def _result(self) -> R:
        reach = self._reach
        what = f"the result of update {self._name!r} of workflow {self.workflow_id!r}"
        while self._outcome is None:
            request = service.PollWorkflowExecutionUpdateRequest(namespace=reach.namespace, identity=reach.identity)
            request.update_ref.workflow_execution.workflow_id = self.workflow_id
            request.update_ref.workflow_execution.run_id = self.run_id
            request.update_ref.update_id = self.id
            request.wait_policy.lifecycle_stage = STAGES["completed"]
            response = await reach.ask(reach.connection.poll_workflow_execution_update, request, what)
            if response.HasField("outcome"):
                self._outcome = response.outcome
        outcome = self._outcome
        if outcome.HasField("failure"):
            cause = error_of(outcome.failure, reach.converter)
            text = f"update {self._name!r} of workflow {self.workflow_id!r} failed: {cause}"
            raise UpdateFailedError(text, update=self._name, update_id=self.id) from cause
        values = reach.converter.from_payloads(outcome.success.payloads, (self._returns,), what)
        return cast(R, values[0] if values else None)


async def start_update(reach: Reach, given: StartWorkflowUpdateInput) -> AsyncUpdateHandle[Any]:
    """`WorkflowHandle.update`, behind the interceptors: until the workflow has accepted it."""
    execution = execution_of(given.id, given.run_id)
    args = tuple(given.args)
    request = update_request(reach, execution, given.update, args, {}, given.update_id, given.wait_for)
    if given.headers:
        put_headers(request.request.input.header, given.headers)
    return await update(reach, request, given.returns)


async def request_cancel(reach: Reach, given: CancelWorkflowInput) -> None:
    """Raises WorkflowNotFoundError, EngineError."""
    request = service.RequestCancelWorkflowExecutionRequest(
        namespace=reach.namespace,
        workflow_execution=execution_of(given.id, given.run_id),
        identity=reach.identity,
        request_id=reach.new_id(),
        reason=given.reason,
    )
    what = f"cancellation of workflow {given.id!r}"
    await reach.ask(reach.connection.request_cancel_workflow_execution, request, what)


async def terminate(reach: Reach, given: TerminateWorkflowInput) -> None:
    """Raises WorkflowNotFoundError, EngineError."""
    request = service.TerminateWorkflowExecutionRequest(
        namespace=reach.namespace,
        workflow_execution=execution_of(given.id, given.run_id),
        identity=reach.identity,
        reason=given.reason,
    )
    what = f"termination of workflow {given.id!r}"
    await reach.ask(reach.connection.terminate_workflow_execution, request, what)


def execution_of(id: str, run_id: str | None) -> WorkflowExecution:
    """As the wire names a run; None: the current one."""
    return WorkflowExecution(workflow_id=id, run_id=run_id or "")


def update_request(
    reach: Reach,
    execution: WorkflowExecution,
    message: Any,
    args: tuple[Any, ...],
    named: Mapping[str, Any],
    update_id: str | None,
    wait_for: WaitFor | str,
) -> service.UpdateWorkflowExecutionRequest:
    """Raises ValueError, PayloadError, DefinitionError, TypeError."""
    stage = waited_for(wait_for)
    name, args = addressed("update", message, args, named, ("update_id", "wait_for", "returns"))
    request = service.UpdateWorkflowExecutionRequest(namespace=reach.namespace, workflow_execution=execution)
    request.wait_policy.lifecycle_stage = STAGES[stage]
    request.request.meta.update_id = update_id or reach.new_id()
    request.request.meta.identity = reach.identity
    request.request.input.name = name
    payloads = reach.converter.to_payloads(args, f"the arguments of update {name}")
    request.request.input.args.payloads.extend(payloads)
    return request


async def update(reach: Reach, request: service.UpdateWorkflowExecutionRequest, returns: Any) -> AsyncUpdateHandle[Any]:
    """Send until the workflow has accepted or rejected it. Raises WorkflowNotFoundError, EngineError."""
    name, workflow_id = request.request.input.name, request.workflow_execution.workflow_id
    what = f"update {name!r} of workflow {workflow_id!r}"
    while True:
        try:
            response = await reach.call(reach.connection.update_workflow_execution, request)
        except Rejected as rejected:
            raise await inquiry.refusal(reach, rejected, what, workflow_id) from rejected
        # A server lets go of a caller after a while: the same id asks again after the same update.
        if response.HasField("outcome") or response.stage >= STAGES["accepted"]:
            return handle_of(reach, request, response, returns)


def handle_of(
    reach: Reach,
    request: service.UpdateWorkflowExecutionRequest,
    response: service.UpdateWorkflowExecutionResponse,
    returns: Any,
) -> AsyncUpdateHandle[Any]:
    """The handle to an update that was answered, perhaps with its outcome already."""
    execution = WorkflowExecution(workflow_id=request.workflow_execution.workflow_id)
    execution.run_id = response.update_ref.workflow_execution.run_id or request.workflow_execution.run_id
    outcome = response.outcome if response.HasField("outcome") else None
    return AsyncUpdateHandle(
        reach, request.request.meta.update_id, request.request.input.name, execution, returns, outcome
    )


def returns_of(message: Any, returns: Any) -> Any:
    """What an answer is decoded to: as given, or by the annotation of the method that is named."""
    return return_type_of(message) if returns is Any else returns

"""Pause and unpause of whole workflows."""

from __future__ import annotations

from temporalio.api.workflowservice import v1 as service

from perdure.core.commands import PauseWorkflow, UnpauseWorkflow
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_ids, check_length


class Pauses:
    """The RPCs that hold a workflow still. Each raises Rejected NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def pause(
        self, request: service.PauseWorkflowExecutionRequest, call: Call
    ) -> service.PauseWorkflowExecutionResponse:
        """PauseWorkflowExecution."""
        self._check(call, request.workflow_id, request.run_id, request.reason)
        await self._engine.submit(
            request.namespace, request.workflow_id, request.run_id or None, PauseWorkflow(request)
        )
        return service.PauseWorkflowExecutionResponse()

    async def unpause(
        self, request: service.UnpauseWorkflowExecutionRequest, call: Call
    ) -> service.UnpauseWorkflowExecutionResponse:
        """UnpauseWorkflowExecution."""
        self._check(call, request.workflow_id, request.run_id, request.reason)
        await self._engine.submit(
            request.namespace, request.workflow_id, request.run_id or None, UnpauseWorkflow(request)
        )
        return service.UnpauseWorkflowExecutionResponse()

    def _check(self, call: Call, workflow_id: str, run_id: str, reason: str) -> None:
        check_ids(call, workflow_id, run_id)
        check_length(call, "Reason", reason)

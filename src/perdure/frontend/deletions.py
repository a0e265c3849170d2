"""Deleting an execution: its history, its tasks, and whatever it could be found by."""

from __future__ import annotations

from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import Terminate
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, found, invalid


class Deletions:
    """The RPC that deletes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def delete(
        self, request: service.DeleteWorkflowExecutionRequest, call: Call
    ) -> service.DeleteWorkflowExecutionResponse:
        """DeleteWorkflowExecution: an open one is terminated first; it is gone when this returns.

        Raises Rejected NOT_FOUND, INVALID_ARGUMENT.
        """
        execution, engine = request.workflow_execution, self._engine
        if not request.HasField("workflow_execution"):
            raise invalid("Execution is not set on request.")
        check_execution(call, execution)

        def look(stored: Execution | None) -> tuple[ExecutionKey, bool]:
            stored = found(stored, execution.workflow_id, execution.run_id)
            return stored.key, stored.is_open

        key, is_open = await engine.read(request.namespace, execution.workflow_id, execution.run_id, look)
        if is_open:
            await self._terminate(key)
        await engine.delete([key])
        return service.DeleteWorkflowExecutionResponse()

    async def _terminate(self, key: ExecutionKey) -> None:
        request = service.TerminateWorkflowExecutionRequest(reason="Delete workflow execution", identity="perdure")
        try:
            await self._engine.submit(key.namespace, key.workflow_id, key.run_id, Terminate(request))
        except Rejected as error:
            if error.code is not StatusCode.NOT_FOUND:  # it has just ended by itself: all the better
                raise

"""UpdateWorkflowExecutionOptions: what may be changed of a run that goes."""

from __future__ import annotations

from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice import v1 as service

from perdure.core.commands import UpdateOptions
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, naming


class WorkflowOptions:
    """The RPC that changes a run's options."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def update(
        self, request: service.UpdateWorkflowExecutionOptionsRequest, call: Call
    ) -> service.UpdateWorkflowExecutionOptionsResponse:
        """UpdateWorkflowExecutionOptions: those that `update_mask` names, answered with all that hold then.

        Raises Rejected NOT_FOUND when no such run is open, INVALID_ARGUMENT, FAILED_PRECONDITION.
        """
        execution = request.workflow_execution
        check_execution(call, execution)
        with naming(execution.workflow_id, execution.run_id):
            options: WorkflowExecutionOptions = await self._engine.submit(
                request.namespace, execution.workflow_id, execution.run_id or None, UpdateOptions(request)
            )
        return service.UpdateWorkflowExecutionOptionsResponse(workflow_execution_options=options)

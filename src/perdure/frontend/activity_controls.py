"""Activity controls: pause, unpause, reset, other options."""

from __future__ import annotations

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service

from perdure.api.enums import QUEUE_NORMAL
from perdure.core.commands import ControlActivities
from perdure.core.state import Activity
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, invalid, naming
from perdure.frontend.workflows import describe_options

Request = (
    service.PauseActivityRequest
    | service.UnpauseActivityRequest
    | service.ResetActivityRequest
    | service.UpdateActivityOptionsRequest
)


class ActivityControls:
    """The RPCs with which operators change pending activities. Each raises Rejected NOT_FOUND, INVALID_ARGUMENT.

    What is asked for is done at once: `jitter` is allowed, and is 0.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def pause(self, request: service.PauseActivityRequest, call: Call) -> service.PauseActivityResponse:
        """PauseActivity: no further attempt begins; a running one is told with its next heartbeat."""
        await self._control(call, request.execution, request)
        return service.PauseActivityResponse()

    async def unpause(self, request: service.UnpauseActivityRequest, call: Call) -> service.UnpauseActivityResponse:
        """UnpauseActivity: the next attempt begins now."""
        await self._control(call, request.execution, request)
        return service.UnpauseActivityResponse()

    async def reset(self, request: service.ResetActivityRequest, call: Call) -> service.ResetActivityResponse:
        """ResetActivity: attempts count from 1 again, and the next begins now."""
        await self._control(call, request.execution, request)
        return service.ResetActivityResponse()

    async def update_options(
        self, request: service.UpdateActivityOptionsRequest, call: Call
    ) -> service.UpdateActivityOptionsResponse:
        """UpdateActivityOptions: those that `update_mask` names, answered with all that hold then."""
        if not request.HasField("activity_options") and not request.restore_original:
            raise invalid("ActivityOptions are not provided")
        changed = await self._control(call, request.execution, request)
        response = service.UpdateActivityOptionsResponse()
        if changed:
            options = response.activity_options
            describe_options(options, changed[0])
            options.task_queue.kind, options.task_queue.normal_name = QUEUE_NORMAL, ""
            options.priority.ParseFromString(changed[0].priority)
        return response

    async def _control(self, call: Call, execution: WorkflowExecution, request: Request) -> list[Activity]:
        check_execution(call, execution)
        with naming(execution.workflow_id, execution.run_id):
            return await self._engine.submit(
                call.namespace, execution.workflow_id, execution.run_id or None, ControlActivities(request)
            )

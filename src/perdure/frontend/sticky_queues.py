"""Sticky task queues: a run forgets the one worker that has it in memory."""

from __future__ import annotations

from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.core.commands import ForgetSticky
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, named


class StickyQueues:
    """The RPC about sticky queues."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def reset(
        self, request: service.ResetStickyTaskQueueRequest, call: Call
    ) -> service.ResetStickyTaskQueueResponse:
        """ResetStickyTaskQueue: the next workflow task goes to the normal queue. Raises Rejected NOT_FOUND."""
        execution = request.execution
        check_execution(call, execution, request.HasField("execution"))
        try:
            await self._engine.submit(request.namespace, execution.workflow_id, execution.run_id, ForgetSticky())
        except Rejected as error:
            raise named(error, execution) from error
        return service.ResetStickyTaskQueueResponse()

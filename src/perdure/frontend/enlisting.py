"""Requests that are to be made when a transaction of the caller's is committed. No RPCs: a caller in this process.

What can be judged now is judged now, as the RPC would: a request that is refused here is written nowhere, and the
caller can still decide. Whether it can be done is decided again when it is done: by then others may have been there.
"""

from __future__ import annotations

from temporalio.api.workflowservice import v1 as service

from perdure.api.enlistment import Enlistment, Standing
from perdure.core import signal, start
from perdure.core.execution import Execution
from perdure.core.start import Action
from perdure.engine.engine import Engine
from perdure.engine.node.zones import find_zone
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution
from perdure.frontend.workflows import start_response


class Enlisting:
    """See the module's text."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(
        self, request: service.StartWorkflowExecutionRequest, call: Call
    ) -> Enlistment | service.StartWorkflowExecutionResponse:
        """As StartWorkflowExecution; the response names the run that is there, where the policies attach to it.

        Raises Rejected UNIMPLEMENTED when the store cannot do this, and as the RPC.
        """
        existing = await self._judged(request)
        return existing or await self._engine.requests.enlist(request)

    async def signal_with_start(
        self, request: service.SignalWithStartWorkflowExecutionRequest, call: Call
    ) -> Enlistment:
        """As SignalWithStartWorkflowExecution. Raises as `start`."""
        limits = self._engine.config.limits
        signal.check(limits, request.signal_name, request.signal_input, request.request_id)
        await self._judged(signal.start_request_of(request))
        return await self._engine.requests.enlist(request)

    async def signal(self, request: service.SignalWorkflowExecutionRequest, call: Call) -> Enlistment:
        """As SignalWorkflowExecution; the workflow may be one that the same transaction starts. Raises as `start`."""
        check_execution(call, request.workflow_execution, request.HasField("workflow_execution"))
        signal.check(self._engine.config.limits, request.signal_name, request.input, request.request_id)
        return await self._engine.requests.enlist(request)

    async def standing(self, namespace: str, name: str, transaction: str) -> tuple[Standing, str]:
        """See `perdure.engine.records.requests.Requests.standing`."""
        return await self._engine.requests.standing(namespace, name, transaction)

    async def _judged(
        self, request: service.StartWorkflowExecutionRequest
    ) -> service.StartWorkflowExecutionResponse | None:
        """The run that is to be used, None: one is to be started. Raises Rejected."""
        engine = self._engine
        start.validate(request, engine.config.limits, find_zone)
        if request.HasField("search_attributes"):
            start.check_search_attributes(request, engine.namespaces.attribute_type)

        def look(existing: Execution | None) -> service.StartWorkflowExecutionResponse | None:
            action = start.choose(existing, request)
            if existing is None or action in (Action.START, Action.TERMINATE_AND_START):
                return None
            if action is Action.REFUSE:
                raise start.refusal(existing, request)
            found = start.existing_run(existing)
            return start_response(found, request.namespace, request.workflow_id, request.request_id)

        return await engine.read(request.namespace, request.workflow_id, None, look)

"""Signals: to a run that is there, or to one that is started if none is."""

from __future__ import annotations

from temporalio.api.common.v1 import Link
from temporalio.api.workflowservice import v1 as service

from perdure.api.enums import WORKFLOW_EXECUTION_SIGNALED
from perdure.api.errors import Rejected
from perdure.core.commands import Signal, SignalWithStart
from perdure.core.replies import Started
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, named


class Signals:
    """The RPCs that tell a workflow something. Answered when the signal is durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def signal(
        self, request: service.SignalWorkflowExecutionRequest, call: Call
    ) -> service.SignalWorkflowExecutionResponse:
        """SignalWorkflowExecution. The same request id again is answered and changes nothing.

        Raises Rejected NOT_FOUND when no such run is open, INVALID_ARGUMENT.
        """
        execution = request.workflow_execution
        check_execution(call, execution, request.HasField("workflow_execution"))
        try:
            run_id: str = await self._engine.submit(
                request.namespace, execution.workflow_id, execution.run_id, Signal(request)
            )
        except Rejected as error:
            raise named(error, execution) from error
        response = service.SignalWorkflowExecutionResponse()
        _link(response.link, request.namespace, execution.workflow_id, run_id, request.request_id)
        return response

    async def signal_with_start(
        self, request: service.SignalWithStartWorkflowExecutionRequest, call: Call
    ) -> service.SignalWithStartWorkflowExecutionResponse:
        """SignalWithStartWorkflowExecution: in one transaction, so there is never a run without its signal.

        Raises Rejected ALREADY_EXISTS when the reuse policy forbids a new run, INVALID_ARGUMENT.
        """
        started: Started = await self._engine.submit(
            request.namespace, request.workflow_id, None, SignalWithStart(request)
        )
        response = service.SignalWithStartWorkflowExecutionResponse(
            run_id=started.run_id, started=started.created, first_execution_run_id=started.first_run_id
        )
        _link(response.signal_link, request.namespace, request.workflow_id, started.run_id, request.request_id)
        return response


def _link(link: Link, namespace: str, workflow_id: str, run_id: str, request_id: str) -> None:
    """Where the signal went; its event may not have an id yet."""
    event = link.workflow_event
    event.namespace = namespace
    event.workflow_id = workflow_id
    event.run_id = run_id
    event.request_id_ref.request_id = request_id
    event.request_id_ref.event_type = WORKFLOW_EXECUTION_SIGNALED

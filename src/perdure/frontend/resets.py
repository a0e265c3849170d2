"""ResetWorkflowExecution: reads the history that is to be copied, and has core begin the new run with it."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core import reset
from perdure.core.commands import ResetWorkflow
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, check_length, found, invalid

_TRIES_MAX = 10
"""A workflow that goes on all the time may be faster than the reading of its history, but not always."""


class Resets:
    """The RPC that begins a run with the history of another."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def reset(
        self, request: service.ResetWorkflowExecutionRequest, call: Call
    ) -> service.ResetWorkflowExecutionResponse:
        """ResetWorkflowExecution. The same request id again is answered with the run that it began.

        Raises Rejected NOT_FOUND, INVALID_ARGUMENT, ABORTED when the workflow goes on too fast.
        """
        if not request.request_id:
            raise invalid("RequestId is not set on request.")
        check_execution(call, request.workflow_execution, request.HasField("workflow_execution"))
        check_length(call, "Reason", request.reason)
        for attempt in range(_TRIES_MAX):
            try:
                return await self._try(request)
            except Rejected as refused:
                if refused.code != StatusCode.ABORTED or attempt == _TRIES_MAX - 1:
                    raise
        raise AssertionError("the last try has returned or raised")

    async def _try(self, request: service.ResetWorkflowExecutionRequest) -> service.ResetWorkflowExecutionResponse:
        execution = request.workflow_execution
        base, events = await self._history(request.namespace, execution.workflow_id, execution.run_id)
        reset.check(request, events)
        finish = request.workflow_task_finish_event_id
        later = list(events[finish - 1 :])
        newest, newest_events = base, events
        while newest_events[-1].event_type == enums.WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            closing = newest_events[-1].workflow_execution_continued_as_new_event_attributes
            newest, newest_events = await self._history(
                request.namespace, execution.workflow_id, closing.new_execution_run_id
            )
            later += newest_events
        command = ResetWorkflow(
            request, base.run_id, list(events[: finish - 1]), later, newest.run_id, len(newest_events) + 1
        )
        run_id: str = await self._engine.submit(request.namespace, execution.workflow_id, None, command)
        return service.ResetWorkflowExecutionResponse(run_id=run_id)

    async def _history(
        self, namespace: str, workflow_id: str, run_id: str
    ) -> tuple[ExecutionKey, Sequence[HistoryEvent]]:
        """All events of a run as it stands."""
        engine = self._engine

        def look(execution: Execution | None) -> tuple[ExecutionKey, int]:
            execution = found(execution, workflow_id, run_id)
            return execution.key, execution.next_event_id - 1

        key, last_event_id = await engine.read(namespace, workflow_id, run_id, look)
        events: list[HistoryEvent] = []
        while len(events) < last_event_id:
            events += await engine.histories.page(key, len(events) + 1, last_event_id)
        return key, events

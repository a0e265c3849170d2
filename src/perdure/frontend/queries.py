"""Queries: a client's question, the task that brings it to a worker, and the worker's answer."""

from __future__ import annotations

import msgspec
from temporalio.api.query.v1 import QueryRejected
from temporalio.api.workflowservice import v1 as service

from perdure.api.enums import QUEUE_NORMAL
from perdure.api.errors import Rejected
from perdure.engine.engine import Engine
from perdure.engine.matching.query_task import QueryTask, QueryToken
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, invalid, named
from perdure.frontend.page_tokens import HistoryToken, encode_history

_encode_token = msgspec.msgpack.Encoder().encode


class Queries:
    """The RPCs about queries."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def query(self, request: service.QueryWorkflowRequest, call: Call) -> service.QueryWorkflowResponse:
        """QueryWorkflow: waits for a worker's answer. Raises Rejected as `Queries.ask` of the engine does."""
        execution = request.execution
        check_execution(call, execution, request.HasField("execution"))
        if not request.query.query_type:
            raise invalid("QueryType is not set on request.")
        try:
            answer = await self._engine.queries.ask(
                request.namespace,
                execution.workflow_id,
                execution.run_id,
                request.query,
                request.query_reject_condition,
            )
        except Rejected as error:
            raise named(error, execution) from error
        if isinstance(answer, QueryRejected):
            return service.QueryWorkflowResponse(query_rejected=answer)
        return service.QueryWorkflowResponse(query_result=answer)

    async def completed(
        self, request: service.RespondQueryTaskCompletedRequest, call: Call
    ) -> service.RespondQueryTaskCompletedResponse:
        """RespondQueryTaskCompleted. Raises Rejected NOT_FOUND when nobody waits for the answer any more."""
        token = call.token
        assert isinstance(token, QueryToken)
        self._engine.queries.answer(
            token, request.completed_type, request.query_result, request.error_message, request.failure
        )
        return service.RespondQueryTaskCompletedResponse()


async def query_task_response(engine: Engine, task: QueryTask) -> service.PollWorkflowTaskQueueResponse:
    """The question as a worker gets it: with the whole history, unless the worker has the workflow in memory.

    Raises Rejected when the history cannot be read.
    """
    key = task.key
    response = service.PollWorkflowTaskQueueResponse(
        task_token=_encode_token(task.token),
        query=task.query,
        previous_started_event_id=task.previous_started_event_id,
        attempt=1,
    )
    response.workflow_execution.workflow_id = key.workflow_id
    response.workflow_execution.run_id = key.run_id
    response.workflow_type.name = task.workflow_type
    response.workflow_execution_task_queue.name = task.task_queue
    response.workflow_execution_task_queue.kind = QUEUE_NORMAL
    response.history.SetInParent()  # SDKs take a task without this field for a broken one
    if not task.sticky:
        events = engine.histories.recent(key, 1, task.last_event_id)
        if events is None:
            events = await engine.histories.page(key, 1, task.last_event_id)
        response.history.events.extend(events)
        if len(events) < task.last_event_id:
            token = HistoryToken(key.run_id, len(events) + 1, task.last_event_id)
            response.next_page_token = encode_history(token)
    return response

"""GetWorkflowExecutionHistory: pages, the closing event alone, and the long poll for what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.engine.engine import Engine
from perdure.engine.submission import Age
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, found, invalid
from perdure.frontend.page_tokens import REFUSAL, HistoryToken, decode_history, encode_history, transient_events

CLOSE_EVENT = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


class _Sight(NamedTuple):
    """What the state says of the history at one moment."""

    key: ExecutionKey
    last_event_id: int
    is_open: bool
    wait: asyncio.Future[bool] | None
    """Registered in the same moment, when there is nothing to serve yet."""


class Histories:
    """The RPC about event histories."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(
        self, request: service.GetWorkflowExecutionHistoryRequest, call: Call
    ) -> service.GetWorkflowExecutionHistoryResponse:
        """GetWorkflowExecutionHistory.

        Without `wait_new_event`: a page, and `next_page_token` while there is more. With it: waits at
        the end of an open run's history, and answers with no event but a token when nothing came.
        The closing event alone: nothing while the run is open.
        Raises Rejected NOT_FOUND, INVALID_ARGUMENT.
        """
        check_execution(call, request.execution, request.HasField("execution"))
        token = _token(request)
        if token.last_event_id:
            return await self._workers_page(request, token)
        only_close = request.history_event_filter_type == CLOSE_EVENT
        sight = await self._see(request, call, token, only_close)
        response = service.GetWorkflowExecutionHistoryResponse()
        response.history.SetInParent()
        next_event_id = token.next_event_id
        if only_close:
            if not sight.is_open:
                response.history.events.append(await self._engine.histories.event(sight.key, sight.last_event_id))
        elif next_event_id <= sight.last_event_id:
            events = await self._page(request, sight.key, next_event_id, sight.last_event_id)
            response.history.events.extend(events)
            next_event_id += len(events)
        more = next_event_id <= sight.last_event_id and not only_close
        if more or (request.wait_new_event and sight.is_open):
            response.next_page_token = encode_history(HistoryToken(sight.key.run_id, next_event_id))
        return response

    async def _see(
        self, request: service.GetWorkflowExecutionHistoryRequest, call: Call, token: HistoryToken, only_close: bool
    ) -> _Sight:
        """The run as it stands, after a wait if it has nothing to serve and the caller wants to wait."""
        engine, workflow_id = self._engine, request.execution.workflow_id
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.bounded(engine.config.history_wait_ns)

        def look(execution: Execution | None) -> _Sight:
            execution = found(execution, workflow_id, token.run_id)
            is_open = execution.closed_at_ns is None
            last_event_id = execution.next_event_id - 1
            wait = None
            if request.wait_new_event and is_open and (only_close or token.next_event_id > last_event_id):
                wait = engine.watchers.add(execution.key.run_id, only_close, deadline - loop.time())
            return _Sight(execution.key, last_event_id, is_open, wait)

        run_id = token.run_id
        age = Age.NOW
        if request.wait_new_event:  # who asks again may have waited for something that nobody will tell of
            age = Age.ENDED if request.next_page_token else Age.TOLD
        while True:
            sight = await engine.read(request.namespace, workflow_id, run_id, look, age)
            if sight.wait is None:
                return sight
            changed = await sight.wait
            if not changed and (loop.time() >= deadline or not engine.is_started):
                return sight
            run_id = sight.key.run_id
            age = Age.ENDED

    async def _workers_page(
        self, request: service.GetWorkflowExecutionHistoryRequest, token: HistoryToken
    ) -> service.GetWorkflowExecutionHistoryResponse:
        """The next page of a workflow task's history, whose bounds were fixed when the task was given out.

        Raises Rejected NOT_FOUND, and INVALID_ARGUMENT for a token of events that there are not.
        """
        workflow_id = request.execution.workflow_id

        def look(execution: Execution | None) -> tuple[ExecutionKey, int]:
            execution = found(execution, workflow_id, token.run_id)
            return execution.key, execution.next_event_id - 1

        key, newest = await self._engine.read(request.namespace, workflow_id, token.run_id, look)
        if token.last_event_id > newest:
            raise invalid(REFUSAL)
        events = await self._page(request, key, token.next_event_id, token.last_event_id)
        response = service.GetWorkflowExecutionHistoryResponse()
        response.history.events.extend(events)
        next_event_id = token.next_event_id + len(events)
        if next_event_id <= token.last_event_id:
            following = HistoryToken(key.run_id, next_event_id, token.last_event_id, token.transient_events)
            response.next_page_token = encode_history(following)
        elif token.transient_events:
            response.history.events.extend(transient_events(token).events)
        return response

    async def _page(
        self,
        request: service.GetWorkflowExecutionHistoryRequest,
        key: ExecutionKey,
        first_event_id: int,
        last_event_id: int,
    ) -> Sequence[HistoryEvent]:
        if request.maximum_page_size > 0:
            last_event_id = min(last_event_id, first_event_id + request.maximum_page_size - 1)
        return await self._engine.histories.page(key, first_event_id, last_event_id)


def _token(request: service.GetWorkflowExecutionHistoryRequest) -> HistoryToken:
    """Where to go on, or the beginning. Raises Rejected INVALID_ARGUMENT."""
    run_id = request.execution.run_id
    if not request.next_page_token:
        return HistoryToken(run_id, 1)
    token = decode_history(request.next_page_token)
    if run_id and token.run_id != run_id:
        raise invalid("RunId does not match with NextPageToken.")
    if token.next_event_id < 1:
        raise invalid(REFUSAL)
    return token

"""GetWorkflowExecutionHistoryReverse: the newest events first, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, found, invalid
from perdure.frontend.page_tokens import REFUSAL, HistoryToken, decode_history, encode_history

PAGE_SIZE_MAX = 256
"""Events of a page; also when the request names no size."""


class ReverseHistories:
    """The RPC about histories from their end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(
        self, request: service.GetWorkflowExecutionHistoryReverseRequest, call: Call
    ) -> service.GetWorkflowExecutionHistoryReverseResponse:
        """GetWorkflowExecutionHistoryReverse: of what there was when the first page was asked for.

        Raises Rejected NOT_FOUND, INVALID_ARGUMENT.
        """
        check_execution(call, request.execution, request.HasField("execution"))
        key, last_event_id = await self._end(request)
        size = request.maximum_page_size
        size = min(size, PAGE_SIZE_MAX) if size > 0 else PAGE_SIZE_MAX
        events = await self._page(key, max(1, last_event_id - size + 1), last_event_id)
        response = service.GetWorkflowExecutionHistoryReverseResponse()
        response.history.events.extend(reversed(events))
        following = last_event_id - len(events)
        if following >= 1:
            response.next_page_token = encode_history(HistoryToken(key.run_id, following))
        return response

    async def _end(self, request: service.GetWorkflowExecutionHistoryReverseRequest) -> tuple[ExecutionKey, int]:
        """The run, and the newest event that is still to be told."""
        execution = request.execution
        if request.next_page_token:
            token = decode_history(request.next_page_token)
            if execution.run_id and token.run_id != execution.run_id:
                raise invalid("RunId does not match with NextPageToken.")
            run_id, bound = token.run_id, token.next_event_id
        else:
            run_id, bound = execution.run_id, 0

        def look(state: Execution | None) -> tuple[ExecutionKey, int]:
            state = found(state, execution.workflow_id, run_id)
            return state.key, state.next_event_id - 1

        key, newest = await self._engine.read(request.namespace, execution.workflow_id, run_id, look)
        if not 0 <= bound <= newest:
            raise invalid(REFUSAL)
        return key, bound or newest

    async def _page(self, key: ExecutionKey, first_event_id: int, last_event_id: int) -> Sequence[HistoryEvent]:
        """As many of the newest as are read in one go: a page of the store ends after so many bytes."""
        while True:
            events = await self._engine.histories.page(key, first_event_id, last_event_id)
            if first_event_id + len(events) > last_event_id:
                return events
            first_event_id = (first_event_id + last_event_id + 1) // 2

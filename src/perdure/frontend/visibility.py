"""Lists and counts of executions, by Temporal's list filter.

What a filter means is said in `perdure.stores.visibility`; here its text is read with the search attributes
of the namespace, and what was found is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.api.filter.v1 import StartTimeFilter, WorkflowExecutionFilter, WorkflowTypeFilter
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.status import CLOSED, OPEN
from perdure.api.times import LONG_MAX, LONG_MIN, timestamp_ns
from perdure.core.search_attributes import IndexedType
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import invalid
from perdure.frontend.infos import listed_info
from perdure.frontend.page_tokens import REFUSAL, decode_cells, encode_cells
from perdure.stores.visibility import AllOf, Attribute, Condition, Query, QueryError, bind, parse
from perdure.stores.visibility.binding import STATUSES
from perdure.stores.visibility.evaluation import Cursor

PAGE_SIZE_MAX = 1_000
QUERY_BYTES_MAX = 64 * 1024

_STATUS = Attribute("ExecutionStatus", IndexedType.KEYWORD)
_STATUS_NAMES = {number: name for name, number in STATUSES.items()}


class Visibility:
    """The RPCs over many executions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(
        self, request: service.ListWorkflowExecutionsRequest, call: Call
    ) -> service.ListWorkflowExecutionsResponse:
        """ListWorkflowExecutions: open ones first, the newest first, or as ORDER BY says.

        Raises Rejected INVALID_ARGUMENT for a query that is not understood, in Temporal's words.
        """
        query = self._query(request.namespace, request.query)
        infos, token = await self._page(request.namespace, query, request.page_size, request.next_page_token)
        return service.ListWorkflowExecutionsResponse(executions=infos, next_page_token=token)

    async def scan(
        self, request: service.ScanWorkflowExecutionsRequest, call: Call
    ) -> service.ScanWorkflowExecutionsResponse:
        """ScanWorkflowExecutions: the same list."""
        query = self._query(request.namespace, request.query)
        infos, token = await self._page(request.namespace, query, request.page_size, request.next_page_token)
        return service.ScanWorkflowExecutionsResponse(executions=infos, next_page_token=token)

    async def count(
        self, request: service.CountWorkflowExecutionsRequest, call: Call
    ) -> service.CountWorkflowExecutionsResponse:
        """CountWorkflowExecutions, also by `GROUP BY ExecutionStatus`. Raises Rejected INVALID_ARGUMENT likewise."""
        query = self._query(request.namespace, request.query)
        if query.order:
            raise invalid("invalid query: operation is not supported: 'ORDER BY' clause")
        counts = await self._engine.count_executions(request.namespace, query)
        response = service.CountWorkflowExecutionsResponse(count=sum(counts.values()))
        if query.group_by == _STATUS:
            for status in sorted(counts):
                response.groups.add(group_values=[_keyword(_STATUS_NAMES[status])], count=counts[status])
        elif query.group_by is not None:
            response.groups.add(group_values=[_keyword("")], count=response.count)
        return response

    async def list_open(
        self, request: service.ListOpenWorkflowExecutionsRequest, call: Call
    ) -> service.ListOpenWorkflowExecutionsResponse:
        """ListOpenWorkflowExecutions. Raises Rejected INVALID_ARGUMENT."""
        terms = [Condition(_STATUS, "IN", OPEN), *_started(request.start_time_filter), *_named(request)]
        infos, token = await self._page(
            request.namespace, Query(AllOf(tuple(terms))), request.maximum_page_size, request.next_page_token
        )
        return service.ListOpenWorkflowExecutionsResponse(executions=infos, next_page_token=token)

    async def list_closed(
        self, request: service.ListClosedWorkflowExecutionsRequest, call: Call
    ) -> service.ListClosedWorkflowExecutionsResponse:
        """ListClosedWorkflowExecutions. Raises Rejected INVALID_ARGUMENT."""
        statuses: tuple[int, ...] = CLOSED
        if request.HasField("status_filter"):
            if request.status_filter.status not in statuses:
                raise invalid("StatusFilter must be specified and must be not Running.")
            statuses = (request.status_filter.status,)
        terms = [Condition(_STATUS, "IN", statuses), *_started(request.start_time_filter), *_named(request)]
        infos, token = await self._page(
            request.namespace, Query(AllOf(tuple(terms))), request.maximum_page_size, request.next_page_token
        )
        return service.ListClosedWorkflowExecutionsResponse(executions=infos, next_page_token=token)

    async def list_archived(
        self, request: service.ListArchivedWorkflowExecutionsRequest, call: Call
    ) -> service.ListArchivedWorkflowExecutionsResponse:
        """ListArchivedWorkflowExecutions: always refused, INVALID_ARGUMENT; there is no archive."""
        raise invalid("Cluster is not configured for visibility archival.")

    def _query(self, namespace: str, text: str) -> Query:
        if len(text) > QUERY_BYTES_MAX:
            raise invalid(f"invalid query: it is longer than {QUERY_BYTES_MAX} characters")
        try:
            return bind(parse(text), self._engine.namespaces.search_attributes(namespace))
        except QueryError as error:
            raise invalid(f"invalid query: {error}") from error

    async def _page(
        self, namespace: str, query: Query, size: int, token: bytes
    ) -> tuple[list[WorkflowExecutionInfo], bytes]:
        """A page, bounded by number and by bytes, and the token of the next one; empty when this is the last."""
        limit = min(size, PAGE_SIZE_MAX) if size > 0 else PAGE_SIZE_MAX
        after = _decode_cursor(query, token) if token else None
        found = await self._engine.find_executions(namespace, query, after, limit)
        infos = [listed_info(one.execution, self._engine.namespaces.id_of(one.execution.parent)) for one in found]
        return infos, encode_cells(found[-1].cursor) if found and found.more else b""


def _started(started: StartTimeFilter) -> Iterable[Condition]:
    """Raises Rejected INVALID_ARGUMENT when the times are the wrong way round."""
    earliest_ns, latest_ns = timestamp_ns(started.earliest_time), timestamp_ns(started.latest_time)
    if started.HasField("latest_time") and earliest_ns > latest_ns:
        raise invalid("EarliestTime in StartTimeFilter should not be larger than LatestTime.")
    start_time = Attribute("StartTime", IndexedType.DATETIME)
    if started.HasField("earliest_time"):
        yield Condition(start_time, ">=", (earliest_ns,))
    if started.HasField("latest_time"):
        yield Condition(start_time, "<=", (latest_ns,))


def _named(
    request: service.ListOpenWorkflowExecutionsRequest | service.ListClosedWorkflowExecutionsRequest,
) -> Iterable[Condition]:
    execution: WorkflowExecutionFilter = request.execution_filter
    of_type: WorkflowTypeFilter = request.type_filter
    for name, value in (
        ("WorkflowId", execution.workflow_id),
        ("RunId", execution.run_id),
        ("WorkflowType", of_type.name),
    ):
        if value:
            yield Condition(Attribute(name, IndexedType.KEYWORD), "=", (value,))


def _keyword(text: str) -> Payload:
    data = msgspec.json.encode(text)
    return Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=data)


_PYTHON_TYPES: dict[IndexedType, type[Any]] = {
    IndexedType.KEYWORD: str,
    IndexedType.INT: int,
    IndexedType.DOUBLE: float,
    IndexedType.BOOL: bool,
    IndexedType.DATETIME: int,
}


def _decode_cursor(query: Query, token: bytes) -> Cursor:
    """Raises Rejected INVALID_ARGUMENT when the bytes are no token of such a list."""
    cursor = tuple(decode_cells(token))
    types = [int if term.attribute == _STATUS else _PYTHON_TYPES[term.attribute.type] for term in query.order]
    types = [*types, int] if types else [int, int, int]
    if len(cursor) != len(types) or not all(
        (type(value) is expected and _is_storable(value)) or (value is None and place < len(query.order))
        for place, (value, expected) in enumerate(zip(cursor, types, strict=True))
    ):
        raise invalid(REFUSAL)
    return cursor


def _is_storable(value: Any) -> bool:
    """Whether a column can hold it."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or LONG_MIN <= value <= LONG_MAX

"""Lists and counts of executions.

The query language comes with the search index; what can be asked until then is refused or answered
exactly, never approximately: `ExecutionStatus = "…"`, `WorkflowType = "…"`, joined by AND.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.times import timestamp
from perdure.engine.engine import Engine
from perdure.frontend.edge import check_namespace, decode_key_token, encode_page_token, invalid
from perdure.stores.api import Summary

PAGE_SIZE_MAX = 1_000
RUNNING = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING

STATUS_NAMES = {
    "Running": RUNNING,
    "Completed": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    "Failed": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
    "Canceled": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
    "Terminated": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    "ContinuedAsNew": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
    "Paused": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
    "TimedOut": WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
}
"""As the query language spells them."""

_TERM = re.compile(r"""\s*(ExecutionStatus|WorkflowType)\s*(!?=)\s*(["'])([^"']*)\3\s*""")
_GROUPED = re.compile(r"(.*?)\s*GROUP\s+BY\s+ExecutionStatus\s*", re.IGNORECASE | re.DOTALL)


class Filter(NamedTuple):
    """What a query asks for; None: anything."""

    status: int | None = None
    is_open: bool | None = None
    workflow_type: str | None = None


class Visibility:
    """The RPCs over many executions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: service.ListWorkflowExecutionsRequest) -> service.ListWorkflowExecutionsResponse:
        """ListWorkflowExecutions, in key order. Raises Rejected INVALID_ARGUMENT for a query beyond the above."""
        check_namespace(self._engine, request.namespace)
        if request.page_size < 0:
            raise invalid("PageSize is negative.")
        wanted = parse_query(request.query)
        if wanted.status is not None and wanted.status != RUNNING:
            raise _unsupported(request.query)
        limit = min(request.page_size or PAGE_SIZE_MAX, PAGE_SIZE_MAX)
        page = await self._engine.list_executions(
            request.namespace,
            open_only=wanted.is_open,
            workflow_type=wanted.workflow_type,
            after=decode_key_token(request.next_page_token) if request.next_page_token else None,
            limit=limit,
        )
        response = service.ListWorkflowExecutionsResponse(executions=[_info(summary) for summary in page])
        if len(page) == limit:
            response.next_page_token = encode_page_token(page[-1].key)
        return response

    async def count(self, request: service.CountWorkflowExecutionsRequest) -> service.CountWorkflowExecutionsResponse:
        """CountWorkflowExecutions, also `GROUP BY ExecutionStatus`. Raises Rejected INVALID_ARGUMENT likewise."""
        check_namespace(self._engine, request.namespace)
        grouped = _GROUPED.fullmatch(request.query)
        wanted = parse_query(grouped.group(1) if grouped else request.query)
        if wanted.workflow_type is not None:
            raise _unsupported(request.query)
        counts = await self._engine.count_executions(request.namespace)
        counts = {status: count for status, count in counts.items() if _matches(status, wanted)}
        response = service.CountWorkflowExecutionsResponse(count=sum(counts.values()))
        if grouped:
            names: dict[int, str] = {number: name for name, number in STATUS_NAMES.items()}
            for status in sorted(counts):
                value = Payload(
                    metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=f'"{names[status]}"'.encode()
                )
                response.groups.add(group_values=[value], count=counts[status])
        return response


def parse_query(query: str) -> Filter:
    """Raises Rejected INVALID_ARGUMENT when it asks for more than a status and a type."""
    wanted = Filter()
    if not query.strip():
        return wanted
    for part in re.split(r"\s+AND\s+", query, flags=re.IGNORECASE):
        term = _TERM.fullmatch(part)
        if term is None:
            raise _unsupported(query)
        field, operator, value = term.group(1), term.group(2), term.group(4)
        if field == "WorkflowType" and operator == "=" and wanted.workflow_type in (None, value):
            wanted = wanted._replace(workflow_type=value)
        elif field == "ExecutionStatus" and wanted.is_open is None and wanted.status is None:
            wanted = _status_term(wanted, operator, value, query)
        else:
            raise _unsupported(query)
    return wanted


def _status_term(wanted: Filter, operator: str, value: str, query: str) -> Filter:
    status = STATUS_NAMES.get(value)
    if status is None:
        names = ", ".join(STATUS_NAMES)
        raise invalid(f"invalid query: invalid expression: invalid ExecutionStatus value {value!r}: one of {names}.")
    if operator == "!=":
        if status != RUNNING:
            raise _unsupported(query)
        return wanted._replace(is_open=False)
    return wanted._replace(status=status, is_open=True if status == RUNNING else None)


def _unsupported(query: str) -> Exception:
    return invalid(
        f'invalid query: {query!r} is not supported: use ExecutionStatus = "Running", ExecutionStatus != "Running" '
        'or WorkflowType = "…", joined by AND; counts also take any other ExecutionStatus.'
    )


def _matches(status: int, wanted: Filter) -> bool:
    if wanted.status is not None:
        return status == wanted.status
    return wanted.is_open is None or (status == RUNNING) == wanted.is_open


def _info(summary: Summary) -> WorkflowExecutionInfo:
    info = WorkflowExecutionInfo(
        start_time=timestamp(summary.started_at_ns),
        execution_time=timestamp(summary.started_at_ns),
        status=summary.status,  # pyright: ignore[reportArgumentType] - the enum's number
        history_length=summary.history_length,
        task_queue=summary.task_queue,
    )
    info.execution.workflow_id = summary.key.workflow_id
    info.execution.run_id = summary.key.run_id
    info.type.name = summary.workflow_type
    if summary.closed_at_ns is not None:
        info.close_time.CopyFrom(timestamp(summary.closed_at_ns))
    return info

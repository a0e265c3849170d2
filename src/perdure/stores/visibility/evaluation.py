"""A list filter on one execution: the meaning of every operator, in the fewest words.

The memory store finds executions with it, and the suite holds SQLite's compiled filters to it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cmp_to_key
from typing import Any

from perdure.api.times import LONG_MAX, later
from perdure.core.execution import Execution
from perdure.core.search_attributes import SYSTEM, IndexedType, Row, Value, index_rows
from perdure.stores.visibility.query import AllOf, Attribute, Condition, Query, Where

Document = Mapping[tuple[str, int], list[Value]]
"""The values of an execution's attributes, by name and type."""
Cursor = tuple[Value | None, ...]
"""Where a page ended: what the last execution was ordered by, and its number."""

OPEN_FOR_EVER_NS = LONG_MAX
"""The close time of an open execution, when executions are put in order."""


def system_values(execution: Execution) -> dict[str, Value | None]:
    """The facts of a run. Of an open one its size is not told: it is known when it closes, as on Temporal's server."""
    key, closed = execution.key, execution.closed_at_ns
    first_task_at_ns = later(execution.started_at_ns, execution.first_task_backoff_ns)
    parent = execution.parent
    is_closed = closed is not None
    return {
        "WorkflowId": key.workflow_id,
        "RunId": key.run_id,
        "WorkflowType": execution.workflow_type,
        "TaskQueue": execution.task_queue,
        "ExecutionStatus": execution.status,
        "StartTime": execution.started_at_ns,
        "ExecutionTime": first_task_at_ns,
        "CloseTime": closed,
        "ExecutionDuration": closed - first_task_at_ns if closed is not None else None,
        "HistoryLength": execution.next_event_id - 1 if is_closed else None,
        "HistorySizeBytes": execution.history_bytes if is_closed else None,
        "StateTransitionCount": execution.version if is_closed else None,
        "ParentWorkflowId": parent.workflow_id if parent else None,
        "ParentRunId": parent.run_id if parent else None,
        "RootWorkflowId": execution.root_workflow_id or key.workflow_id,
        "RootRunId": execution.root_run_id or key.run_id,
    }


def uncommon_rows(execution: Execution) -> list[Row]:
    """What an index must hold of a run beside the columns that every run has: for an ordinary one, nothing."""
    rows = index_rows(execution.search_attributes) if execution.search_attributes else []
    rows.extend(("PerdureMemoKeys", IndexedType.KEYWORD_LIST, name) for name in execution.memo)
    if execution.first_task_backoff_ns:
        first_task_at_ns = later(execution.started_at_ns, execution.first_task_backoff_ns)
        rows.append(("ExecutionTime", IndexedType.DATETIME, first_task_at_ns))
    if execution.parent is not None:
        rows.append(("ParentWorkflowId", IndexedType.KEYWORD, execution.parent.workflow_id))
        rows.append(("ParentRunId", IndexedType.KEYWORD, execution.parent.run_id))
    if execution.root_workflow_id:
        rows.append(("RootWorkflowId", IndexedType.KEYWORD, execution.root_workflow_id))
        rows.append(("RootRunId", IndexedType.KEYWORD, execution.root_run_id))
    return rows


def document_of(execution: Execution) -> Document:
    """All that an execution can be found by."""
    document: dict[tuple[str, int], list[Value]] = {}
    for name, value in system_values(execution).items():
        if value is not None:
            document[name, SYSTEM[name]] = [value]
    for name in execution.memo:
        document.setdefault(("PerdureMemoKeys", IndexedType.KEYWORD_LIST), []).append(name)
    for name, of, value in index_rows(execution.search_attributes):
        document.setdefault((name, of), []).append(value)
    return document


def holds(where: Where, document: Document) -> bool:
    """Whether the execution is found."""
    if isinstance(where, Condition):
        return _condition_holds(where, document.get((where.attribute.name, where.attribute.type), []))
    verdicts = (holds(term, document) for term in where.terms)
    return all(verdicts) if isinstance(where, AllOf) else any(verdicts)


def _condition_holds(condition: Condition, values: list[Value]) -> bool:
    if condition.operator in ("IS NULL", "IS NOT NULL"):
        return bool(values) is (condition.operator == "IS NOT NULL")
    if condition.is_of_many:
        common = any(value in condition.values for value in values)
        return common is (condition.operator in ("=", "IN"))
    return bool(values) and _TESTS[condition.operator](values[0], condition.values)


def _compares(compare: Callable[[Any, Any], bool]) -> Callable[[Any, tuple[Any, ...]], bool]:
    return lambda value, values: compare(value, values[0])


_TESTS: Mapping[str, Callable[[Any, tuple[Any, ...]], bool]] = {
    "=": _compares(operator.eq),
    "!=": _compares(operator.ne),
    "<": _compares(operator.lt),
    "<=": _compares(operator.le),
    ">": _compares(operator.gt),
    ">=": _compares(operator.ge),
    "IN": lambda value, values: value in values,
    "NOT IN": lambda value, values: value not in values,
    "BETWEEN": lambda value, values: values[0] <= value <= values[1],
    "NOT BETWEEN": lambda value, values: not values[0] <= value <= values[1],
    "STARTS_WITH": lambda value, values: value.startswith(values[0]),
    "NOT STARTS_WITH": lambda value, values: not value.startswith(values[0]),
}


def cursor_of(query: Query, document: Document, number: int) -> Cursor:
    """What puts an execution in its place; of those that are equal the one with the highest number is first."""
    if not query.order:
        return (_first(document, _CLOSE_TIME) or OPEN_FOR_EVER_NS, _first(document, _START_TIME) or 0, number)
    return (*(_first(document, term.attribute) for term in query.order), number)


_CLOSE_TIME = Attribute("CloseTime", IndexedType.DATETIME)
_START_TIME = Attribute("StartTime", IndexedType.DATETIME)


def _first(document: Document, attribute: Attribute) -> Value | None:
    values = document.get((attribute.name, attribute.type))
    return values[0] if values else None


def order_key(query: Query) -> Callable[[Cursor], Any]:
    """A sort key on cursors."""
    descending = [True, True] if not query.order else [term.descending for term in query.order]
    descending.append(True)

    def compare(one: Cursor, other: Cursor) -> int:
        for ours, theirs, down in zip(one, other, descending, strict=True):
            if ours != theirs:
                return _compare(ours, theirs, down)
        return 0

    return cmp_to_key(compare)


def _compare(one: Any, other: Any, down: bool) -> int:
    if one is None or other is None:
        return 1 if one is None else -1
    return 1 if (one < other) is down else -1

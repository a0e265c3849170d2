"""Compiles a list filter to SQL: fixed fragments and numbered parameters, nothing of the user's text.

A list is found on one of three ways, whichever reads least:

* along the index of statuses and times, in the order of the answer, so that a page ends the walk. One
  branch for each status that may match, merged as they come;
* by workflow id, where the filter demands one;
* by the index of search attributes, where it demands a value of one.

Facts that every run has are columns. What only some have (a parent, a start delay, attributes of their own)
is in `search_attributes`; an ordinary run has no row there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perdure.core.search_attributes import SYSTEM, IndexedType, Value
from perdure.stores.visibility.evaluation import OPEN_FOR_EVER_NS, Cursor
from perdure.stores.visibility.query import AllOf, Attribute, Condition, Order, Query, Where

_UNCOMMON = "(SELECT a.value FROM search_attributes AS a WHERE a.execution_id = e.id AND a.name = '{}' AND a.type = {})"
_CLOSED = f"coalesce(e.closed_at_ns, {OPEN_FOR_EVER_NS})"
_EXECUTION_TIME = f"coalesce({_UNCOMMON.format('ExecutionTime', int(IndexedType.DATETIME))}, e.started_at_ns)"

_EXPRESSIONS: Mapping[str, str] = {
    "WorkflowId": "e.workflow_id",
    "RunId": "e.run_id",
    "WorkflowType": "e.workflow_type",
    "TaskQueue": "e.task_queue",
    "ExecutionStatus": "e.status",
    "StartTime": "e.started_at_ns",
    "CloseTime": "e.closed_at_ns",
    "ExecutionTime": _EXECUTION_TIME,
    "ExecutionDuration": f"(e.closed_at_ns - {_EXECUTION_TIME})",
    "HistoryLength": "iif(e.closed_at_ns IS NULL, NULL, e.history_length)",
    "HistorySizeBytes": "iif(e.closed_at_ns IS NULL, NULL, e.history_bytes)",
    "StateTransitionCount": "iif(e.closed_at_ns IS NULL, NULL, e.version)",
    "RootWorkflowId": f"coalesce({_UNCOMMON.format('RootWorkflowId', int(IndexedType.KEYWORD))}, e.workflow_id)",
    "RootRunId": f"coalesce({_UNCOMMON.format('RootRunId', int(IndexedType.KEYWORD))}, e.run_id)",
}
"""What a system attribute is of the row `e`; those that are missing here are in `search_attributes` alone."""

_STATUSES = range(1, 9)
_SELECTIVE = ("=", "IN", "STARTS_WITH", "<", "<=", ">", ">=", "BETWEEN")
_DEMANDED = ("=", "IN", "STARTS_WITH")


@dataclass(slots=True)
class Statement:
    """SQL and its parameters."""

    sql: str
    parameters: list[Value | None]


@dataclass(slots=True)
class _Compiler:
    """Numbers the parameters as fragments are made: `?1` is the namespace."""

    parameters: list[Value | None] = field(default_factory=list[Value | None])

    def bind(self, value: Value | None) -> str:
        if isinstance(value, bool):
            value = int(value)
        self.parameters.append(value)
        return f"?{len(self.parameters)}"

    def order_value(self, attribute: Attribute) -> str:
        """What executions are ordered by."""
        if attribute.name in _EXPRESSIONS:
            return _EXPRESSIONS[attribute.name]
        return (
            "(SELECT a.value FROM search_attributes AS a WHERE a.execution_id = e.id "
            f"AND a.name = {self.bind(attribute.name)} AND a.type = {int(attribute.type)})"
        )

    def where(self, where: Where) -> str:
        if isinstance(where, Condition):
            return self._condition(where)
        word, empty = (" AND ", "1") if isinstance(where, AllOf) else (" OR ", "0")
        return f"({word.join(self.where(term) for term in where.terms)})" if where.terms else empty

    def _condition(self, condition: Condition) -> str:
        name = condition.attribute.name
        if name == "CloseTime" and not condition.operator.startswith("IS "):
            return f"(e.closed_at_ns IS NOT NULL AND {self._test(_CLOSED, condition)})"
        if name in _EXPRESSIONS:
            return self._test(_EXPRESSIONS[name], condition)
        return self._uncommon(condition)

    def _uncommon(self, condition: Condition) -> str:
        """Of an attribute that only some executions have."""
        attribute, operator = condition.attribute, condition.operator
        named = f"a.name = {self.bind(attribute.name)} AND a.type = {int(attribute.type)}"
        here = f"SELECT 1 FROM search_attributes AS a WHERE a.execution_id = e.id AND {named}"
        if operator == "IS NULL":
            return f"NOT EXISTS ({here})"
        if operator == "IS NOT NULL":
            return f"EXISTS ({here})"
        if condition.is_of_many and operator in ("!=", "NOT IN"):
            return f"NOT EXISTS ({here} AND {self._test('a.value', condition.opposite())})"
        test = self._test("a.value", condition)
        if operator in _SELECTIVE:
            return f"e.id IN (SELECT a.execution_id FROM search_attributes AS a WHERE {named} AND {test})"
        return f"EXISTS ({here} AND {test})"

    def _test(self, expression: str, condition: Condition) -> str:
        operator, values = condition.operator, condition.values
        if operator.startswith("IS "):
            return f"{expression} {operator}"
        if operator.endswith("STARTS_WITH"):
            return self._prefix_test(expression, str(values[0]), operator == "STARTS_WITH")
        if operator.endswith("IN"):
            return f"{expression} {operator} ({', '.join(self.bind(value) for value in values)})"
        if operator.endswith("BETWEEN"):
            return f"({expression} {operator} {self.bind(values[0])} AND {self.bind(values[1])})"
        return f"{expression} {operator} {self.bind(values[0])}"

    def _prefix_test(self, expression: str, prefix: str, wanted: bool) -> str:
        """As a range, which an index can answer."""
        low, beyond = self.bind(prefix), _beyond(prefix)
        if beyond is None:
            return f"{expression} {'>=' if wanted else '<'} {low}"
        high = self.bind(beyond)
        if wanted:
            return f"({expression} >= {low} AND {expression} < {high})"
        return f"({expression} < {low} OR {expression} >= {high})"


def _beyond(prefix: str) -> str | None:
    """The least text behind all those that begin so; None: there is none."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        prefix = prefix[:-1]
    return None


def find(namespace: str, query: Query, after: Cursor | None, limit: int) -> Statement:
    """One row of JSON: an array of cursors, in order."""
    compiler = _Compiler([namespace])
    where = compiler.where(query.where)
    if query.order:
        keys = [compiler.order_value(term.attribute) for term in query.order]
        down = [term.descending for term in query.order]
    else:
        keys, down = [_CLOSED, "e.started_at_ns"], [True, True]
    if after is not None:
        where = f"{where} AND {_past(compiler, keys, down, after, nullable=bool(query.order))}"
    shown = ", ".join(
        f"{key} AS k{place}, {key} IS NULL AS n{place}" if query.order else f"{key} AS k{place}"
        for place, key in enumerate(keys)
    )
    ordered = ", ".join(
        f"n{place}, k{place} {'DESC' if down[place] else 'ASC'}" if query.order else f"k{place} DESC"
        for place in range(len(keys))
    )
    branches = [f"SELECT {shown}, e.id AS id FROM {source} AND {where}" for source in _sources(query)]
    columns = ", ".join(_exact(f"k{place}", query.order[place] if query.order else None) for place in range(len(keys)))
    sql = (
        f"SELECT json_group_array(json_array({columns}, id)) FROM ("
        f"{' UNION ALL '.join(branches)} ORDER BY {ordered}, id DESC LIMIT {compiler.bind(limit)})"
    )
    return Statement(sql, compiler.parameters)


def count(namespace: str, query: Query) -> Statement:
    """Rows of a status and how many executions have it."""
    compiler = _Compiler([namespace])
    where = compiler.where(query.where)
    branches = [
        f"SELECT e.status AS status, count(*) AS number FROM {source} AND {where} GROUP BY e.status"
        for source in _sources(query)
    ]
    return Statement(" UNION ALL ".join(branches), compiler.parameters)


def _sources(query: Query) -> list[str]:
    """Where rows come from, each with a WHERE that more can be added to."""
    demanded = [condition for condition in query.required() if condition.operator in _DEMANDED]
    if any(condition.attribute.name == "WorkflowId" for condition in demanded):
        return ["executions AS e INDEXED BY executions_key WHERE e.namespace = ?1"]
    if any(condition.attribute.name not in _EXPRESSIONS for condition in demanded):
        return ["executions AS e WHERE +e.namespace = ?1"]  # the plus: no index of namespaces, but the rows' numbers
    return [
        f"executions AS e INDEXED BY executions_visibility WHERE e.namespace = ?1 AND e.status = {status}"
        for status in _possible_statuses(query)
    ] or ["executions AS e WHERE e.namespace = ?1 AND 0"]


def _possible_statuses(query: Query) -> Sequence[int]:
    statuses = set(_STATUSES)
    for condition in query.required():
        if condition.attribute.name == "ExecutionStatus":
            if condition.operator == "=":
                statuses &= {int(condition.values[0])}
            elif condition.operator == "IN":
                statuses &= {int(value) for value in condition.values}
            elif condition.operator == "!=":
                statuses -= {int(condition.values[0])}
    return sorted(statuses)


def _exact(column: str, term: Order | None) -> str:
    """JSON would round a float."""
    if term is None or term.attribute.type is not IndexedType.DOUBLE:
        return column
    return f"iif({column} IS NULL, NULL, printf('%!.17g', {column}))"


def cursors(query: Query, text: str) -> list[Cursor]:
    """What `find`'s row says."""
    doubles = [term.attribute.type is IndexedType.DOUBLE for term in query.order]
    rows: list[list[Value | None]] = json.loads(text)
    if not any(doubles):
        return [tuple(row) for row in rows]
    return [
        tuple(
            float(value) if is_double and value is not None else value
            for value, is_double in zip(row, (*doubles, False), strict=True)
        )
        for row in rows
    ]


def _past(compiler: _Compiler, keys: list[str], down: list[bool], after: Cursor, nullable: bool) -> str:
    """The rows that come behind the cursor."""
    places = [compiler.bind(value) for value in after]
    if not nullable:
        return f"{keys[0]} <= {places[0]} AND ({keys[0]}, {keys[1]}, e.id) < ({', '.join(places)})"
    alternatives: list[str] = []
    equal: list[str] = []
    for key, descends, place, value in zip(keys, down, places[:-1], after[:-1], strict=True):
        if value is not None:
            behind = f"({key} {'<' if descends else '>'} {place} OR {key} IS NULL)"
            alternatives.append(" AND ".join([*equal, behind]))
        equal.append(f"{key} IS {place}")
    alternatives.append(" AND ".join([*equal, f"e.id < {places[-1]}"]))
    return f"({' OR '.join(f'({alternative})' for alternative in alternatives)})"


assert set(_EXPRESSIONS) | {"ParentWorkflowId", "ParentRunId"} == set(SYSTEM)

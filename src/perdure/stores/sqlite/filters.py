"""Compiles a list filter to SQL: fixed fragments and numbered parameters, nothing of the user's text.

A list is found on one of two ways, whichever reads less:

* along the index of statuses and times, in the order of the answer, so that a page ends the walk. One
  branch for each status that may match, merged as they come;
* by row numbers, where the filter demands a workflow id, a run id, or a value of a search attribute: other
  indexes give the numbers.

Facts that every run has are columns. What only some have (a parent, a start delay, attributes of their own)
is in `search_attributes`; an ordinary run has no row there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perdure.api.status import ALL, CLOSED, OPEN
from perdure.core.search_attributes import SYSTEM, IndexedType, Value
from perdure.stores.visibility.evaluation import OPEN_FOR_EVER_NS, Cursor
from perdure.stores.visibility.query import AllOf, Attribute, Condition, Order, Query, Where

_UNCOMMON = "(SELECT a.value FROM search_attributes AS a WHERE a.execution_id = e.id AND a.name = '{}' AND a.type = {})"
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

_IDS = {"WorkflowId": "workflow_id", "RunId": "run_id"}
_ROOTS = {"RootWorkflowId": "WorkflowId", "RootRunId": "RunId"}
_NUMBERED = re.compile(r"\?(\d+)")
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

    def statement(self, sql: str) -> Statement:
        """With parameters in the order of their places: Python's sqlite3 takes numbered ones for named ones."""
        order = [int(number) - 1 for number in _NUMBERED.findall(sql)]
        return Statement(_NUMBERED.sub("?", sql), [self.parameters[number] for number in order])

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
        if name in _IDS and condition.operator in _DEMANDED:
            return f"e.id IN ({self._named(condition)})"
        if name in _ROOTS and condition.operator in _DEMANDED:
            return f"e.id IN ({self._in_tree(condition)})"
        if name in _EXPRESSIONS:
            return self._test(_EXPRESSIONS[name], condition)
        return self._uncommon(condition)

    def _named(self, condition: Condition) -> str:
        """Row numbers by workflow or run id, from an index alone."""
        test = self._test(f"k.{_IDS[condition.attribute.name]}", condition)
        return f"SELECT k.id FROM executions AS k INDEXED BY executions_key WHERE k.namespace = ?1 AND {test}"

    def _in_tree(self, condition: Condition) -> str:
        """Row numbers of a tree of children: those that name their root, and the root, which does not."""
        attribute = condition.attribute
        naming = f"a.name = '{attribute.name}' AND a.type = {int(attribute.type)}"
        own = Condition(Attribute(_ROOTS[attribute.name], attribute.type), condition.operator, condition.values)
        return (
            f"SELECT a.execution_id FROM search_attributes AS a WHERE {naming} AND {self._test('a.value', condition)} "
            f"UNION ALL {self._named(own)} "
            f"AND NOT EXISTS (SELECT 1 FROM search_attributes AS a WHERE a.execution_id = k.id AND {naming})"
        )

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


@dataclass(slots=True, frozen=True)
class _Source:
    """Where rows come from: a FROM and a WHERE that more can be added to, and when they closed there."""

    sql: str
    closed_at: str
    is_open: bool | None = None
    """Whether only open ones, or only closed ones, come from there."""


def find(namespace: str, query: Query, after: Cursor | None, limit: int) -> list[Statement]:
    """Statements to ask one after another until there are `limit` rows; each gives a JSON array of cursors, in order.

    Open executions stand before closed ones, in a list that nobody asked another order of, so they are asked for first.
    """
    sources = _sources(query)
    if query.order:
        return [_ordered(namespace, query, sources, after, limit)]
    parts = [[source for source in sources if source.is_open is is_open] for is_open in (True, False, None)]
    return [_newest_first(namespace, query, part, after, limit) for part in parts if part]


def _newest_first(
    namespace: str, query: Query, sources: Sequence[_Source], after: Cursor | None, limit: int
) -> Statement:
    """The order of the index."""
    compiler = _Compiler([namespace])
    where = compiler.where(query.where)
    places = [compiler.bind(value) for value in after or ()]
    branches: list[str] = []
    for source in sources:
        past = ""
        if after is not None:
            past = (
                f" AND {source.closed_at} <= {places[0]}"
                f" AND ({source.closed_at}, e.started_at_ns, e.id) < ({', '.join(places)})"
            )
        branches.append(
            f"SELECT {source.closed_at} AS k0, e.started_at_ns AS k1, e.id AS id FROM {source.sql} AND {where}{past}"
        )
    order = "k1 DESC, id DESC" if sources[0].is_open else "k0 DESC, k1 DESC, id DESC"
    return _statement(compiler, ["k0", "k1"], branches, order, limit)


def _statement(compiler: _Compiler, columns: list[str], branches: list[str], order: str, limit: int) -> Statement:
    sql = (
        f"SELECT json_group_array(json_array({', '.join(columns)}, id)) FROM ("
        f"{' UNION ALL '.join(branches)} ORDER BY {order} LIMIT {compiler.bind(limit)})"
    )
    return compiler.statement(sql)


def _ordered(namespace: str, query: Query, sources: Sequence[_Source], after: Cursor | None, limit: int) -> Statement:
    """As ORDER BY says, executions without a value last."""
    compiler = _Compiler([namespace])
    where = compiler.where(query.where)
    values = [compiler.order_value(term.attribute) for term in query.order]
    down = [term.descending for term in query.order]
    if after is not None:
        where = f"{where} AND {_past(compiler, values, down, after)}"
    shown = ", ".join(f"{value} AS k{place}, {value} IS NULL AS n{place}" for place, value in enumerate(values))
    branches = [f"SELECT {shown}, e.id AS id FROM {source.sql} AND {where}" for source in sources]
    order = "".join(f"n{place}, k{place} {'DESC' if descends else 'ASC'}, " for place, descends in enumerate(down))
    columns = [_exact(f"k{place}", term) for place, term in enumerate(query.order)]
    return _statement(compiler, columns, branches, f"{order}id DESC", limit)


def count(namespace: str, query: Query) -> Statement:
    """Rows of a status and how many executions have it."""
    compiler = _Compiler([namespace])
    where = compiler.where(query.where)
    branches = [
        f"SELECT e.status AS status, count(*) AS number FROM {source.sql} AND {where} GROUP BY e.status"
        for source in _sources(query)
    ]
    return compiler.statement(" UNION ALL ".join(branches))


def _sources(query: Query) -> list[_Source]:
    by_number = _Source(
        "executions AS e WHERE +e.namespace = ?1",  # the plus: no index of namespaces
        f"coalesce(e.closed_at_ns, {OPEN_FOR_EVER_NS})",
    )
    if any(_gives_numbers(condition) for condition in query.required()):
        return [by_number]
    return [
        _Source(
            f"executions AS e INDEXED BY executions_visibility WHERE e.namespace = ?1 AND e.status = {status}"
            + (" AND e.closed_at_ns IS NULL" if status in OPEN else ""),
            str(OPEN_FOR_EVER_NS) if status in OPEN else "e.closed_at_ns",
            status in OPEN,
        )
        for status in _possible_statuses(query)
    ] or [_Source(f"{by_number.sql} AND 0", by_number.closed_at)]


def _gives_numbers(condition: Condition) -> bool:
    """Whether the condition is a short list of row numbers."""
    name = condition.attribute.name
    return condition.operator in _DEMANDED and (name in _IDS or name in _ROOTS or name not in _EXPRESSIONS)


def _possible_statuses(query: Query) -> Sequence[int]:
    statuses = set(ALL)
    for condition in query.required():
        if condition.attribute.name == "ExecutionStatus":
            if condition.operator == "=":
                statuses &= {int(condition.values[0])}
            elif condition.operator == "IN":
                statuses &= {int(value) for value in condition.values}
            elif condition.operator == "!=":
                statuses -= {int(condition.values[0])}
        elif condition.attribute.name == "CloseTime" and condition.operator in ("IS NULL", "IS NOT NULL"):
            statuses &= set(OPEN if condition.operator == "IS NULL" else CLOSED)
    return sorted(statuses)


def _exact(column: str, term: Order) -> str:
    """JSON would round a float."""
    if term.attribute.type is not IndexedType.DOUBLE:
        return column
    return f"iif({column} IS NULL, NULL, printf('%!.17g', {column}))"


def cursors(query: Query, text: str) -> list[Cursor]:
    """What the row of a statement of `find` says."""
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


def _past(compiler: _Compiler, values: list[str], down: list[bool], after: Cursor) -> str:
    """The rows that come behind the cursor."""
    places = [compiler.bind(value) for value in after]
    alternatives: list[str] = []
    equal: list[str] = []
    for value, descends, place, last in zip(values, down, places[:-1], after[:-1], strict=True):
        if last is not None:
            behind = f"({value} {'<' if descends else '>'} {place} OR {value} IS NULL)"
            alternatives.append(" AND ".join([*equal, behind]))
        equal.append(f"{value} IS {place}")
    alternatives.append(" AND ".join([*equal, f"e.id < {places[-1]}"]))
    return f"({' OR '.join(f'({alternative})' for alternative in alternatives)})"


assert set(_EXPRESSIONS) | {"ParentWorkflowId", "ParentRunId", "PerdureMemoKeys"} == set(SYSTEM)

"""Compiles a list filter to SQL: fixed fragments and numbered parameters, nothing of the user's text.

A list is found on one of two ways, whichever reads less:

* along the index of statuses and times, in the order of the answer, so that a page ends the walk. One
  branch for each status that may match, merged as they come;
* by row numbers, where the filter demands a workflow id, a run id, or a value of a search attribute: other
  indexes give the numbers.

Facts that every run has are columns. What only some have (a parent, a start delay, attributes of their own)
is in `search_attributes`; an ordinary run has no row there. How a database spells it is its dialect's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perdure.api.status import ALL, CLOSED, OPEN
from perdure.core.search_attributes import SYSTEM, IndexedType, Value
from perdure.stores.partitions import partition_of
from perdure.stores.sql.dialects import Dialect, Statement
from perdure.stores.visibility.evaluation import OPEN_FOR_EVER_NS, Cursor
from perdure.stores.visibility.query import AllOf, Attribute, Condition, Query, Where

_COLUMNS: Mapping[str, str] = {
    "WorkflowId": "e.workflow_id",
    "RunId": "e.run_id",
    "WorkflowType": "e.workflow_type",
    "TaskQueue": "e.task_queue",
    "ExecutionStatus": "e.status",
    "StartTime": "e.started_at_ns",
    "CloseTime": "e.closed_at_ns",
}
"""Of the row `e`."""
_ONCE_CLOSED: Mapping[str, str] = {
    "HistoryLength": "e.history_length",
    "HistorySizeBytes": "e.history_bytes",
    "StateTransitionCount": "e.version",
}
_UNLESS_SAID: Mapping[str, str] = {
    "ExecutionTime": "e.started_at_ns",
    "RootWorkflowId": "e.workflow_id",
    "RootRunId": "e.run_id",
}
"""What an execution has that says nothing else in `search_attributes`."""
_EXPRESSIONS = {*_COLUMNS, *_ONCE_CLOSED, *_UNLESS_SAID, "ExecutionDuration"}
"""System attributes that the row `e` decides; the others are in `search_attributes` alone."""

_IDS = {"WorkflowId": "workflow_id", "RunId": "run_id"}
_ROOTS = {"RootWorkflowId": "WorkflowId", "RootRunId": "RunId"}
_SELECTIVE = ("=", "IN", "STARTS_WITH", "<", "<=", ">", ">=", "BETWEEN")
_DEMANDED = ("=", "IN", "STARTS_WITH")


class _Compiler:
    """Numbers the parameters as fragments are made: `?1` is the namespace."""

    def __init__(self, dialect: Dialect, namespace: str) -> None:
        self.dialect = dialect
        self.parameters: list[Value | None] = []
        self._namespace = namespace
        self.namespace = self.bind(namespace, IndexedType.KEYWORD)
        self._owned = " AND ".join(
            f"a.{owner} = {{0}}.{key}" for owner, key in zip(dialect.owner, dialect.key, strict=True)
        )
        self._owner = ", ".join(f"a.{name}" for name in dialect.owner)
        self._named_key = ", ".join(f"k.{name}" for name in dialect.key)

    def bind(self, value: Value | None, type: IndexedType = IndexedType.INT) -> str:
        if isinstance(value, bool):
            value = int(value)
        self.parameters.append(value)
        return self.dialect.parameter(len(self.parameters), type)

    def statement(self, sql: str) -> Statement:
        return self.dialect.statement(sql, self.parameters)

    def expression(self, attribute: Attribute) -> str:
        """The value that the row `e` has of an attribute of which it has one at most."""
        name = attribute.name
        if name in _COLUMNS:
            return _COLUMNS[name]
        if name in _ONCE_CLOSED:
            return f"CASE WHEN e.closed_at_ns IS NULL THEN NULL ELSE {_ONCE_CLOSED[name]} END"
        if name in _UNLESS_SAID:
            return f"coalesce({self._said(attribute, repr(name))}, {_UNLESS_SAID[name]})"
        if name == "ExecutionDuration":
            return f"(e.closed_at_ns - {self.expression(_EXECUTION_TIME)})"
        return self._said(attribute, self.bind(name, IndexedType.KEYWORD))

    def _said(self, attribute: Attribute, name: str) -> str:
        """The value in `search_attributes`."""
        return (
            f"(SELECT a.{self.dialect.value(attribute.type)} FROM search_attributes AS a "
            f"WHERE {self._owned.format('e')} AND a.name = {name} AND a.type = {int(attribute.type)})"
        )

    def where(self, where: Where) -> str:
        if isinstance(where, Condition):
            return self._condition(where)
        is_all = isinstance(where, AllOf)
        if not where.terms:
            return self.dialect.always if is_all else self.dialect.never
        return f"({(' AND ' if is_all else ' OR ').join(self.where(term) for term in where.terms)})"

    def _condition(self, condition: Condition) -> str:
        name = condition.attribute.name
        if name in _IDS and condition.operator in _DEMANDED:
            return self._is_among(self._named(condition))
        if name in _ROOTS and condition.operator in _DEMANDED:
            return self._is_among(self._in_tree(condition))
        if name in _EXPRESSIONS:
            return self._test(self.expression(condition.attribute), condition)
        return self._uncommon(condition)

    def _is_among(self, numbers: str) -> str:
        """Whether the row is one of those that a SELECT names."""
        names = ", ".join(f"e.{name}" for name in self.dialect.key)
        return f"{names if len(self.dialect.key) == 1 else f'({names})'} IN ({numbers})"

    def _named(self, condition: Condition) -> str:
        """Row numbers by workflow or run id, from an index alone."""
        test = self._test(f"k.{_IDS[condition.attribute.name]}", condition)
        if (
            self.dialect.is_partitioned
            and condition.attribute.name == "WorkflowId"
            and condition.operator in ("=", "IN")
        ):
            partitions = {partition_of(self._namespace, str(value)) for value in condition.values}
            test = f"k.{self.dialect.key[0]} IN ({', '.join(map(str, sorted(partitions)))}) AND {test}"
        return (
            f"SELECT {self._named_key} FROM executions AS k{self.dialect.by_index('executions_key')} "
            f"WHERE k.namespace = {self.namespace} AND {test}"
        )

    def _in_tree(self, condition: Condition) -> str:
        """Row numbers of a tree of children: those that name their root, and the root, which does not."""
        attribute = condition.attribute
        naming = f"a.name = '{attribute.name}' AND a.type = {int(attribute.type)}"
        own = Condition(Attribute(_ROOTS[attribute.name], attribute.type), condition.operator, condition.values)
        test = self._test(f"a.{self.dialect.value(attribute.type)}", condition)
        return self.dialect.numbers(
            f"SELECT {self._owner} FROM search_attributes AS a WHERE {naming} AND {test} "
            f"UNION ALL {self._named(own)} "
            f"AND NOT EXISTS (SELECT 1 FROM search_attributes AS a WHERE {self._owned.format('k')} AND {naming})"
        )

    def _uncommon(self, condition: Condition) -> str:
        """Of an attribute that only some executions have."""
        attribute, operator = condition.attribute, condition.operator
        named = f"a.name = {self.bind(attribute.name, IndexedType.KEYWORD)} AND a.type = {int(attribute.type)}"
        here = f"SELECT 1 FROM search_attributes AS a WHERE {self._owned.format('e')} AND {named}"
        value = f"a.{self.dialect.value(attribute.type)}"
        if operator == "IS NULL":
            return f"NOT EXISTS ({here})"
        if operator == "IS NOT NULL":
            return f"EXISTS ({here})"
        if condition.is_of_many and operator in ("!=", "NOT IN"):
            return f"NOT EXISTS ({here} AND {self._test(value, condition.opposite())})"
        test = self._test(value, condition)
        if operator in _SELECTIVE:
            return self._is_among(f"SELECT {self._owner} FROM search_attributes AS a WHERE {named} AND {test}")
        return f"EXISTS ({here} AND {test})"

    def _test(self, expression: str, condition: Condition) -> str:
        operator, values, type = condition.operator, condition.values, _held_as(condition.attribute)
        if operator.startswith("IS "):
            return f"{expression} {operator}"
        if operator.endswith("STARTS_WITH"):
            return self._prefix_test(expression, str(values[0]), operator == "STARTS_WITH")
        if operator.endswith("IN"):
            return f"{expression} {operator} ({', '.join(self.bind(value, type) for value in values)})"
        if operator.endswith("BETWEEN"):
            return f"({expression} {operator} {self.bind(values[0], type)} AND {self.bind(values[1], type)})"
        return f"{expression} {operator} {self.bind(values[0], type)}"

    def _prefix_test(self, expression: str, prefix: str, wanted: bool) -> str:
        """As a range, which an index can answer."""
        low, beyond = self.bind(prefix, IndexedType.KEYWORD), _beyond(prefix)
        if beyond is None:
            return f"{expression} {'>=' if wanted else '<'} {low}"
        high = self.bind(beyond, IndexedType.KEYWORD)
        if wanted:
            return f"({expression} >= {low} AND {expression} < {high})"
        return f"({expression} < {low} OR {expression} >= {high})"


def _held_as(attribute: Attribute) -> IndexedType:
    """The type of the values that stand for it: a status is a number."""
    return IndexedType.INT if attribute.name == "ExecutionStatus" else attribute.type


_EXECUTION_TIME = Attribute("ExecutionTime", IndexedType.DATETIME)


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


def find(dialect: Dialect, namespace: str, query: Query, after: Cursor | None, limit: int) -> list[Statement]:
    """Statements to ask one after another until there are `limit` rows; each gives the places of rows, in order.

    What a place ends with is the row's key (`Dialect.key`); `shown` makes a cursor of it, such as `after`.
    Open executions stand before closed ones, in a list that nobody asked another order of, so they are asked for first.
    """
    if after is not None and dialect.is_partitioned:
        after = (*after[:-1], _NO_PARTITION, after[-1])
    if query.order:
        return [_ordered(_Compiler(dialect, namespace), query, after, limit)]
    kinds = dict.fromkeys(source.is_open for source in _sources(_Compiler(dialect, namespace), query))
    return [
        _newest_first(_Compiler(dialect, namespace), query, is_open, after, limit)
        for is_open in (True, False, None)
        if is_open in kinds
    ]


_NO_PARTITION = -1
"""Before all partitions: a number is one row's, whatever its partition, so nothing comes between."""


def shown(dialect: Dialect, place: Cursor) -> Cursor:
    """A place as lists are continued from it: behind the values the row's number, and where it lies is no matter."""
    return (*place[:-2], place[-1]) if dialect.is_partitioned else place


def _newest_first(
    compiler: _Compiler, query: Query, is_open: bool | None, after: Cursor | None, limit: int
) -> Statement:
    """The order of the index."""
    where = compiler.where(query.where)
    keys = ", ".join(f"e.{name} AS {name}" for name in compiler.dialect.key)
    places = [compiler.bind(value) for value in after or ()]
    branches: list[str] = []
    for source in _sources(compiler, query):
        if source.is_open is is_open:
            past = _past_newest(compiler, source, places) if places else ""
            branches.append(
                f"SELECT {source.closed_at} AS k0, e.started_at_ns AS k1, {keys} FROM {source.sql} AND {where}{past}"
            )
    times = ["k1 DESC"] if is_open else ["k0 DESC", "k1 DESC"]
    return _statement(compiler, [("k0", False), ("k1", False)], branches, times, limit)


def _past_newest(compiler: _Compiler, source: _Source, places: list[str]) -> str:
    """The rows that come behind the cursor, with a bound that the index knows."""
    closed_at, started_at, *key = places
    names = ["e.started_at_ns", *(f"e.{name}" for name in reversed(compiler.dialect.key))]
    values = [started_at, *reversed(key)]
    is_not_before = f" AND {source.closed_at} <= {closed_at}"
    if source.is_open:  # all of them close at the same time, which is never
        is_not_before += f" AND e.started_at_ns <= {started_at}"
    else:
        names, values = [source.closed_at, *names], [closed_at, *values]
    return f"{is_not_before} AND ({', '.join(names)}) < ({', '.join(values)})"


def _statement(
    compiler: _Compiler, columns: list[tuple[str, bool]], branches: list[str], order: list[str], limit: int
) -> Statement:
    key = compiler.dialect.key
    whole = [*columns, *((name, False) for name in key)]
    terms = ", ".join([*order, *(f"{name} DESC" for name in reversed(key))])
    return compiler.statement(compiler.dialect.page(whole, branches, terms, compiler.bind(limit)))


def _ordered(compiler: _Compiler, query: Query, after: Cursor | None, limit: int) -> Statement:
    """As ORDER BY says, executions without a value last."""
    where = compiler.where(query.where)
    values = [compiler.expression(term.attribute) for term in query.order]
    if after is not None:
        where = f"{where} AND {_past(compiler, query, values, after)}"
    shown = ", ".join(f"{value} AS k{place}, {value} IS NULL AS n{place}" for place, value in enumerate(values))
    keys = ", ".join(f"e.{name} AS {name}" for name in compiler.dialect.key)
    branches = [f"SELECT {shown}, {keys} FROM {source.sql} AND {where}" for source in _sources(compiler, query)]
    order = [f"n{place}, k{place} {'DESC' if term.descending else 'ASC'}" for place, term in enumerate(query.order)]
    columns = [(f"k{place}", term.attribute.type is IndexedType.DOUBLE) for place, term in enumerate(query.order)]
    return _statement(compiler, columns, branches, order, limit)


def count(dialect: Dialect, namespace: str, query: Query) -> Statement:
    """Rows of a status and how many executions have it."""
    compiler = _Compiler(dialect, namespace)
    where = compiler.where(query.where)
    branches = [
        f"SELECT e.status AS status, count(*) AS number FROM {source.sql} AND {where} GROUP BY e.status"
        for source in _sources(compiler, query)
    ]
    return compiler.statement(" UNION ALL ".join(branches))


def _sources(compiler: _Compiler, query: Query) -> list[_Source]:
    dialect = compiler.dialect
    by_number = _Source(
        f"executions AS e WHERE {dialect.unindexed}e.namespace = {compiler.namespace}",  # other indexes give the rows
        f"coalesce(e.closed_at_ns, {OPEN_FOR_EVER_NS})",
    )
    if any(_gives_numbers(condition) for condition in query.required()):
        return [by_number]
    walked = f"executions AS e{dialect.by_index('executions_visibility')} WHERE e.namespace = {compiler.namespace}"
    return [
        _Source(
            f"{walked} AND e.status = {status}" + (" AND e.closed_at_ns IS NULL" if status in OPEN else ""),
            str(OPEN_FOR_EVER_NS) if status in OPEN else "e.closed_at_ns",
            status in OPEN,
        )
        for status in _possible_statuses(query)
    ] or [_Source(f"{by_number.sql} AND {dialect.never}", by_number.closed_at)]


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


def _past(compiler: _Compiler, query: Query, values: list[str], after: Cursor) -> str:
    """The rows that come behind the cursor."""
    alternatives: list[str] = []
    equal: list[str] = []
    for term, value, last in zip(query.order, values, after[: len(values)], strict=True):
        place = compiler.bind(last, _held_as(term.attribute))
        if last is not None:
            behind = f"({value} {'<' if term.descending else '>'} {place} OR {value} IS NULL)"
            alternatives.append(" AND ".join([*equal, behind]))
        equal.append(compiler.dialect.same(value, place))
    key = list(zip(compiler.dialect.key, after[len(values) :], strict=True))[::-1]
    names = ", ".join(f"e.{name}" for name, _ in key)
    places = ", ".join(compiler.bind(value) for _, value in key)
    alternatives.append(" AND ".join([*equal, f"({names}) < ({places})"]))
    return f"({' OR '.join(f'({alternative})' for alternative in alternatives)})"


def cursors(rows: Iterable[Sequence[Value | bytes | None]]) -> list[Cursor]:
    """What the rows of a statement of `find` say, where each cursor is a row and text may come as bytes."""
    return [tuple(value.decode() if isinstance(value, bytes) else value for value in row) for row in rows]


assert _EXPRESSIONS | {"ParentWorkflowId", "ParentRunId", "PerdureMemoKeys"} == set(SYSTEM)

"""Which schedules a query of ListSchedules and CountSchedules means.

The language is that of execution lists; the names are those that a schedule has: `ScheduleId`,
`TemporalSchedulePaused`, and the search attributes of the namespace. Schedules are few beside executions, so each is
looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from temporalio.api.common.v1 import SearchAttributes

from perdure.core.schedule.machine import Machine
from perdure.core.search_attributes import IndexedType, Value, index_rows
from perdure.engine.engine import Engine
from perdure.frontend.edge import invalid
from perdure.stores.visibility import Attribute, Condition, QueryError, Where, bind, parse
from perdure.stores.visibility.evaluation import holds

Accepts = Callable[[str, Machine], bool]

SCHEDULE_ID = Attribute("ScheduleId", IndexedType.KEYWORD)
PAUSED = Attribute("TemporalSchedulePaused", IndexedType.BOOL)
QUERY_LENGTH_MAX = 64 * 1024


def schedule_filter(engine: Engine, namespace: str, text: str) -> Accepts:
    """Raises Rejected INVALID_ARGUMENT for a query that is not understood, in Temporal's words."""
    if len(text) > QUERY_LENGTH_MAX:
        raise invalid(f"invalid query: it is longer than {QUERY_LENGTH_MAX} characters")
    custom = engine.namespaces.get(namespace).search_attributes
    try:
        query = bind(parse(text), {**custom, SCHEDULE_ID.name: int(SCHEDULE_ID.type)})
    except QueryError as error:
        raise invalid(f"invalid query: {error}") from error
    if query.order or query.group_by:
        clause = "ORDER BY" if query.order else "GROUP BY"
        raise invalid(f"invalid query: operation is not supported: '{clause}' clause")
    for name in _names(query.where):
        if name not in custom and name not in (SCHEDULE_ID.name, PAUSED.name):
            raise invalid(f'invalid query filter for schedules: cannot filter on "{name}"')

    def accepts(schedule_id: str, machine: Machine) -> bool:
        return holds(query.where, _document(schedule_id, machine))

    return accepts


def _names(where: Where) -> Iterator[str]:
    if isinstance(where, Condition):
        yield where.attribute.name
    else:
        for term in where.terms:
            yield from _names(term)


def _document(schedule_id: str, machine: Machine) -> dict[tuple[str, int], list[Value]]:
    document: dict[tuple[str, int], list[Value]] = {
        (SCHEDULE_ID.name, SCHEDULE_ID.type): [schedule_id],
        (PAUSED.name, PAUSED.type): [machine.schedule.state.paused],
    }
    fields = SearchAttributes.FromString(machine.state.search_attributes).indexed_fields
    for name, of, value in index_rows({name: payload.SerializeToString() for name, payload in fields.items()}):
        document.setdefault((name, of), []).append(value)
    return document

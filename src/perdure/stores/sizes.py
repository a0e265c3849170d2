"""What a store takes: its tables and indexes, what an execution costs in them, and the longest histories.

How many rows a table has is an estimate where the database keeps one and to count them would cost a look at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perdure.api.status import CLOSED, OPEN
from perdure.core.search_attributes import IndexedType
from perdure.stores.api import HistorySize, ReadTooLong, Store, TableSize
from perdure.stores.visibility.query import Attribute, Condition, Query

LOOKED_AT = 1000
"""Open executions of each namespace, the newest, by which an open one is judged."""
_OPEN = Query(Condition(Attribute("CloseTime", IndexedType.DATETIME), "IS NULL"))


@dataclass(slots=True)
class Sizes:
    """Of one store. Bytes throughout."""

    tables: Sequence[TableSize] = ()
    """The largest first."""
    open_executions: int | None = None
    """None: to count them took too long."""
    closed_executions: int | None = None
    open_looked_at: int = 0
    """So many of the open ones were looked at for the two figures that follow."""
    open_state_bytes: float = 0.0
    """Of one open execution, in the mean: its state."""
    open_history_bytes: float = 0.0
    """And its history."""
    largest: Sequence[HistorySize] | None = field(default_factory=list[HistorySize])
    """The histories with the most events, of open and of closed executions; None: to find them took too long."""

    @property
    def bytes(self) -> int:
        """Of all tables and their indexes."""
        return sum(table.all_bytes for table in self.tables)

    @property
    def executions(self) -> int | None:
        """Open and closed."""
        if self.open_executions is None or self.closed_executions is None:
            return None
        return self.open_executions + self.closed_executions

    @property
    def bytes_per_execution(self) -> float | None:
        """Everything, shared out among the executions; None: there is none, or they were not counted."""
        return self.bytes / self.executions if self.executions else None


async def measure(store: Store, largest: int) -> Sizes:
    """Look at an open store, with so many of its longest histories. Raises StoreError."""
    sizes = Sizes(sorted(await store.table_sizes(), key=lambda table: -table.all_bytes))
    namespaces = [namespace.name for namespace in await store.namespaces()]
    try:
        counts = [await store.count_executions(name) for name in namespaces]
    except ReadTooLong:
        pass  # what is not counted is told as that
    else:
        sizes.open_executions = _sum(counts, OPEN)
        sizes.closed_executions = _sum(counts, CLOSED)
    await _look_at_open(store, namespaces, sizes)
    try:
        sizes.largest = await store.largest_histories(largest)
    except ReadTooLong:
        sizes.largest = None
    return sizes


def _sum(counts: Sequence[Mapping[int, int]], statuses: Sequence[int]) -> int:
    return sum(count.get(status, 0) for count in counts for status in statuses)


async def _look_at_open(store: Store, namespaces: Sequence[str], sizes: Sizes) -> None:
    state = history = 0
    for name in namespaces:
        for found in await store.find_executions(name, _OPEN, limit=LOOKED_AT):
            sizes.open_looked_at += 1
            state += found.execution.facts.state_bytes
            history += found.execution.history_bytes
    if sizes.open_looked_at:
        sizes.open_state_bytes = state / sizes.open_looked_at
        sizes.open_history_bytes = history / sizes.open_looked_at

"""How large the tables are, and which histories are the longest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from heapq import nlargest
from typing import Any

from perdure.stores.api import HistorySize, TableSize
from perdure.stores.partitions import PARTITIONS
from perdure.stores.postgres.reader import key_of

SLICES = 16
"""Statements in which all states are looked at: each is shorter than a statement may take for longer."""


def tables_of(rows: Sequence[Sequence[Any]]) -> list[TableSize]:
    """From a row for each table and each index: its name, its table's (None: it is a table), bytes and rows."""
    indexes: dict[str, dict[str, int]] = {}
    for name, table, size, _ in rows:
        if table is not None:
            indexes.setdefault(table, {})[name] = size
    tables = ((name, count, size) for name, table, size, count in rows if table is None)
    return [TableSize(name, count, True, size, indexes.get(name, {})) for name, count, size in tables]


async def largest_histories(
    scan: Callable[..., Awaitable[Sequence[Sequence[Any]]]], limit: int
) -> Sequence[HistorySize]:
    """See `Store.largest_histories`. `scan(name, *parameters)`: the rows of a statement."""
    longest: list[Sequence[Any]] = []
    step = PARTITIONS // SLICES
    for begin in range(0, PARTITIONS, step):
        found = await scan("list_longest", begin, begin + step, limit)
        longest = nlargest(limit, [*longest, *found], key=lambda row: row[2])
    sizes: list[HistorySize] = []
    for partition, number, events in longest:
        for row in await scan("weigh_history", partition, number):
            sizes.append(HistorySize(key_of(row), events, row[3]))
    return sizes

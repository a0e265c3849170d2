"""How large the tables are, and which histories are the longest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from heapq import nlargest

from perdure.stores.api import HistorySize, TableSize
from perdure.stores.mysql.literals import Rows, statement
from perdure.stores.mysql.reader import key_of
from perdure.stores.partitions import PARTITIONS

SLICES = 16
"""Statements in which all states are looked at: each is shorter than a statement may take for longer."""
_Scan = Callable[[bytes], Awaitable[Rows]]


async def table_sizes(scan: _Scan) -> list[TableSize]:
    """See `Store.table_sizes`. What a single index takes only a database administrator may ask."""
    tables: list[TableSize] = []
    for name, count, size, index_size in await scan(statement("list_table_sizes")()):
        indexes = {"all indexes": int(index_size)} if index_size else {}
        tables.append(TableSize(name.decode(), int(count), True, int(size), indexes))
    return tables


async def largest_histories(scan: _Scan, limit: int) -> list[HistorySize]:
    """See `Store.largest_histories`."""
    longest: list[tuple[int, int, int]] = []
    step = PARTITIONS // SLICES
    for begin in range(0, PARTITIONS, step):
        for partition, number, events in await scan(statement("list_longest")(begin, begin + step, limit)):
            longest.append((events, partition, number))
        longest = nlargest(limit, longest)
    sizes: list[HistorySize] = []
    for events, partition, number in longest:
        for row in await scan(statement("weigh_history")(partition, number, partition, number)):
            sizes.append(HistorySize(key_of(row), events, int(row[3])))
    return sizes

"""How large the tables are, and which histories are the longest."""

from __future__ import annotations

import sqlite3

from perdure.core.names import ExecutionKey
from perdure.stores.api import HistorySize, StoreError, TableSize
from perdure.stores.sqlite.queries import query

_LIST_TABLE_SIZES = query("list_table_sizes")
_LIST_LONGEST = query("list_longest")
_WEIGH_HISTORY = query("weigh_history")


def table_sizes(connection: sqlite3.Connection) -> list[TableSize]:
    """See `Store.table_sizes`; users' own tables too. Raises StoreError where SQLite was built without `dbstat`."""
    try:
        rows = connection.execute(_LIST_TABLE_SIZES).fetchall()
    except sqlite3.OperationalError as error:
        if "dbstat" not in str(error):
            raise
        raise StoreError(
            "This Python's SQLite cannot tell how large tables are (it was built without SQLITE_ENABLE_DBSTAT_VTAB): "
            "ask with another Python, or the sqlite3_analyzer program."
        ) from error
    indexes: dict[str, dict[str, int]] = {}
    for name, table, size, *_ in rows:
        if table is not None:
            indexes.setdefault(table, {})[name] = size
    return [
        TableSize(name, leaves + (signposts if by_key else 0), False, size, indexes.get(name, {}))
        for name, table, size, leaves, signposts, by_key in rows
        if table is None
    ]


def largest_histories(connection: sqlite3.Connection, limit: int) -> list[HistorySize]:
    """See `Store.largest_histories`."""
    return [
        HistorySize(ExecutionKey(*key), events, connection.execute(_WEIGH_HISTORY, (number,)).fetchone()[0])
        for number, *key, events in connection.execute(_LIST_LONGEST, (limit,)).fetchall()
    ]

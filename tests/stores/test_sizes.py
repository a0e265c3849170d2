"""What a store says of its own size, held against what was put in."""

from __future__ import annotations

import psycopg

from perdure.stores.api import HistorySize, Namespace, ReadTooLong, Store
from perdure.stores.memory import MemoryStore
from perdure.stores.postgres import PostgresStore
from perdure.stores.sizes import measure
from perdure.stores.visibility.query import ALL, Query
from tests.servers.fixtures import conninfo
from tests.servers.server import Server
from tests.stores.given import APPLIED, COMPLETED, Run

SMALL = 300


async def _fill(store: Store) -> tuple[Run, Run]:
    """Small ones that are open, a long one that is open, and a longer one that is closed."""
    await store.put_namespace(Namespace("default", "id", 86_400_000_000_000))
    runs = [Run(f"order-{number}", f"run-{number}") for number in range(SMALL)]
    long, longer = Run("long", "run-long"), Run("longer", "run-longer")
    assert set(await store.commit([run.commit() for run in [*runs, long, longer]])) == {APPLIED}
    await store.commit([long.commit(48), longer.commit(60, wake_at_ns=1)])
    await store.commit([longer.commit(8, close_as=COMPLETED)])
    return long, longer


async def test_sizes_are_of_what_is_there(store: Store) -> None:
    long, longer = await _fill(store)
    kept = {run: sum(len(batch.data) for batch in await store.history(run.key)) for run in (long, longer)}

    sizes = await measure(store, 2)

    assert (sizes.open_executions, sizes.closed_executions) == (SMALL + 1, 1)
    assert sizes.largest == [HistorySize(longer.key, 70, kept[longer]), HistorySize(long.key, 50, kept[long])]
    assert sizes.open_looked_at == SMALL + 1
    assert sizes.open_state_bytes > 0
    assert sizes.bytes_per_execution == sizes.bytes / (SMALL + 2)
    tables = {table.name: table for table in sizes.tables}
    assert {"executions", "history", "tasks", "messages", "records"} <= set(tables)
    assert tables["history"].bytes >= sum(kept.values())
    assert [table.all_bytes for table in sizes.tables] == sorted((t.all_bytes for t in sizes.tables), reverse=True)
    for table in tables.values():
        assert table.all_bytes == table.bytes + sum(table.indexes.values())
    counted = [table for table in tables.values() if not table.is_estimate]
    assert all(table.rows == SMALL + 2 for table in counted if table.name in ("executions", "current_runs"))
    assert all(table.rows == SMALL + 5 for table in counted if table.name == "history")


async def test_rows_that_nobody_counted_are_as_the_databases_statistics_have_them(
    postgres: PostgresStore, postgres_server: Server, store_database: str
) -> None:
    await postgres.open()
    try:
        await _fill(postgres)
        with psycopg.connect(conninfo(postgres_server, store_database), autocommit=True) as connection:
            connection.execute("ANALYZE perdure.states, perdure.history")
            tables = {table.name: table for table in await postgres.table_sizes()}
    finally:
        await postgres.close()
    assert (tables["states"].rows, tables["history"].rows) == (SMALL + 2, SMALL + 5)
    assert set(tables["history"].indexes) == {"history_pkey"}
    assert set(tables["wakes"].indexes) == {"wakes_pkey", "wakes_at"}
    assert not [name for name in tables if name.startswith("history_")]


class _Slow(MemoryStore):
    """One whose lists and counts take too long."""

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        raise ReadTooLong("a count")

    async def largest_histories(self, limit: int) -> list[HistorySize]:
        raise ReadTooLong("a list")


async def test_what_takes_too_long_is_left_out() -> None:
    slow = _Slow()
    await slow.open()
    await _fill(slow)

    sizes = await measure(slow, 2)

    assert sizes.executions is None and sizes.bytes_per_execution is None and sizes.largest is None
    assert sizes.bytes > 0

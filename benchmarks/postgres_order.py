"""The order workflow on perdure, embedded on PostgreSQL, and what the database did for it.

usage: python -m benchmarks.postgres_order STYLE COUNT CONCURRENCY URL

URL names an empty database on a server of one's own, where nobody else works: transactions, write-ahead log and updates
are counted for all of it. STYLE is as in `perdure_order`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import asyncpg

from benchmarks.load import Stopwatch, from_loop, from_threads
from benchmarks.perdure_order import fulfill, fulfill_async
from perdure import AsyncEngine, Engine
from perdure.embedded.loop_thread import new_event_loop

_COUNTS = """
SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()) AS transactions,
    pg_current_wal_lsn() - '0/0'::pg_lsn AS wal_bytes,
    (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = 'perdure' AND c.relkind = 'r') AS bytes,
    (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'states' AND schemaname = 'perdure') AS updates,
    (SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'states' AND schemaname = 'perdure') AS hot_updates
"""


async def counts(url: str) -> dict[str, float]:
    """What the database has done so far, as far as it tells."""
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(_COUNTS)
        settings = await connection.fetchrow("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        assert tuple(settings) == ("on", "on"), "nothing is measured that would not be durable"
        return {name: float(value or 0) for name, value in row.items()}
    finally:
        await connection.close()


def figures(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    """By workflow."""
    gained = {name: after[name] - before[name] for name in after}
    return {
        "transactions_per_workflow": round(gained["transactions"] / count, 2),
        "wal_bytes_per_workflow": round(gained["wal_bytes"] / count),
        "bytes_per_workflow": round(gained["bytes"] / count),
        "hot_updates": round(gained["hot_updates"] / max(1.0, gained["updates"]), 3),
    }


def measure_def(url: str, count: int, concurrency: int, watch: Stopwatch) -> None:
    with Engine(url) as engine:
        from_threads(lambda i: engine.run(fulfill, {"id": i}, id=f"order-{i}"), count, concurrency, watch)


async def measure_async(url: str, count: int, concurrency: int, watch: Stopwatch) -> None:
    async with AsyncEngine(url) as engine:
        await from_loop(lambda i: engine.run(fulfill_async, {"id": i}, id=f"order-{i}"), count, concurrency, watch)


async def _prepare(url: str) -> None:
    async with AsyncEngine(url):
        pass


def main(style: str, count: int, concurrency: int, url: str) -> dict[str, Any]:
    asyncio.run(_prepare(url))
    before = asyncio.run(counts(url))
    watch = Stopwatch()
    if style == "def":
        measure_def(url, count, concurrency, watch)
    else:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(measure_async(url, count, concurrency, watch))
    time.sleep(1.0)  # PostgreSQL tells its counters once a second
    row = watch.row(f"perdure {style} on PostgreSQL", concurrency, "")
    return {"row": str(row), **figures(before, asyncio.run(counts(url)), count)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]), indent=1))

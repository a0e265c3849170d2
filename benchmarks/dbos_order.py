"""The order workflow on DBOS, on SQLite or PostgreSQL.

usage: python -m benchmarks.dbos_order STYLE COUNT CONCURRENCY PLACE

PLACE is an empty directory for a SQLite file, or the URL of an empty database. STYLE `def`: `def` workflow and steps,
called from threads; `async`: coroutines throughout, on uvloop. On PostgreSQL the pool has the size at which each style
was fastest here, of 20 (its default) and 50.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from importlib.metadata import version
from typing import Any

import uvloop

from benchmarks.load import Stopwatch, emit, from_loop, from_threads

DBOS: Any = importlib.import_module("dbos").DBOS
"""Found at run time: types are checked without the rival installed."""
POOL = {"def": 50, "async": 20}
Order = dict[str, Any]


@DBOS.step()
def charge(order: Order) -> dict[str, Any]:
    return {"ok": True, "amount": 42}


@DBOS.step()
def reserve(order: Order) -> bool:
    return True


@DBOS.step()
def ship(order: Order) -> str:
    return "trk"


@DBOS.step()
def notify(order: Order) -> None:
    return None


@DBOS.workflow()
def fulfill(order: Order) -> str:
    charge(order)
    reserve(order)
    tracking = ship(order)
    notify(order)
    return tracking


@DBOS.step()
async def charge_async(order: Order) -> dict[str, Any]:
    return {"ok": True, "amount": 42}


@DBOS.step()
async def reserve_async(order: Order) -> bool:
    return True


@DBOS.step()
async def ship_async(order: Order) -> str:
    return "trk"


@DBOS.step()
async def notify_async(order: Order) -> None:
    return None


@DBOS.workflow()
async def fulfill_async(order: Order) -> str:
    await charge_async(order)
    await reserve_async(order)
    tracking = await ship_async(order)
    await notify_async(order)
    return tracking


def durability(dbos: Any) -> str:
    """What DBOS's own connection says of when a commit is durable."""
    with dbos._sys_db.engine.connect() as connection:

        def say(sql: str) -> Any:
            return connection.exec_driver_sql(sql).scalar()

        if connection.dialect.name == "sqlite":
            return f"journal_mode={say('PRAGMA journal_mode')} synchronous={say('PRAGMA synchronous')}"
        return f"fsync={say('SHOW fsync')} synchronous_commit={say('SHOW synchronous_commit')}"


def measure_def(dbos: Any, count: int, concurrency: int, note: str) -> None:
    watch = Stopwatch()
    DBOS.launch()
    from_threads(lambda i: fulfill({"id": i}), count, concurrency, watch)
    emit(watch.row("dbos", concurrency, f"def workflow, def steps, called from threads; {note}; {durability(dbos)}"))


async def measure_async(dbos: Any, count: int, concurrency: int, note: str) -> None:
    watch = Stopwatch()
    DBOS.launch()
    await from_loop(lambda i: fulfill_async({"id": i}), count, concurrency, watch)
    emit(watch.row("dbos async", concurrency, f"coroutines throughout, on uvloop; {note}; {durability(dbos)}"))


def main(style: str, count: int, concurrency: int, place: str) -> None:
    config: dict[str, Any] = {"name": "bench", "log_level": "ERROR"}
    note = f"DBOS {version('dbos')}"
    if "://" in place:
        config |= {"system_database_url": place, "sys_db_pool_size": POOL[style]}
        note += f", {POOL[style]} connections"
    else:
        config |= {"system_database_url": f"sqlite:///{place}/dbos.sqlite"}
    dbos = DBOS(config=config)
    if style == "def":
        measure_def(dbos, count, concurrency, note)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure_async(dbos, count, concurrency, note))
            os._exit(0)
    os._exit(0)  # its background threads would outlive the measurement


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

"""The order workflow on perdure, embedded on SQLite, PostgreSQL or MariaDB.

usage: python -m benchmarks.perdure_order STYLE COUNT CONCURRENCY PLACE

PLACE is an empty directory for a SQLite file, or the URL of an empty database.

STYLE `def` is the rival's own shape: `def` workflow, `def` activities (thread pool), called from
threads. STYLE `async` is coroutines throughout: `async def` workflow and activities, called from
the loop that the engine runs on.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from benchmarks.inside import store_of
from benchmarks.load import Stopwatch, emit, from_loop, from_threads
from perdure import AsyncEngine, Engine, activity, call, start, workflow
from perdure.embedded.loop_thread import new_event_loop

Order = dict[str, Any]


@activity(start_to_close_timeout="30s")
def charge(order: Order) -> dict[str, Any]:
    return {"ok": True, "amount": 42}


@activity(start_to_close_timeout="30s")
def reserve(order: Order) -> bool:
    return True


@activity(start_to_close_timeout="30s")
def ship(order: Order) -> str:
    return "trk"


@activity(start_to_close_timeout="30s")
def notify(order: Order) -> None:
    return None


@workflow
def fulfill(order: Order) -> str:
    call(charge, order)
    call(reserve, order)
    tracking = call(ship, order)
    call(notify, order)
    return tracking


@activity(start_to_close_timeout="30s")
async def charge_async(order: Order) -> dict[str, Any]:
    return {"ok": True, "amount": 42}


@activity(start_to_close_timeout="30s")
async def reserve_async(order: Order) -> bool:
    return True


@activity(start_to_close_timeout="30s")
async def ship_async(order: Order) -> str:
    return "trk"


@activity(start_to_close_timeout="30s")
async def notify_async(order: Order) -> None:
    return None


@workflow
async def fulfill_async(order: Order) -> str:
    await start(charge_async, order)
    await start(reserve_async, order)
    tracking = await start(ship_async, order)
    await start(notify_async, order)
    return tracking


def durability(engine: AsyncEngine) -> str:
    """The journal mode and fsync level of a SQLite file; of a server whoever started it has asked."""
    if not engine.url.startswith("sqlite:"):
        return engine.url.partition(":")[0]
    connection = store_of(engine)._file.connection
    journal, synchronous = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS)
    return f"journal_mode={journal} synchronous={synchronous}"


PRAGMAS = ("journal_mode", "synchronous")


def measure_def(url: str, count: int, concurrency: int) -> None:
    watch = Stopwatch()
    with Engine(url) as engine:
        from_threads(lambda i: engine.run(fulfill, {"id": i}, id=f"order-{i}"), count, concurrency, watch)
        note = f"def workflow, def activities in threads, called from threads; {durability(engine._engine)}"
        emit(watch.row("perdure", concurrency, note))


async def measure_async(url: str, count: int, concurrency: int) -> None:
    watch = Stopwatch()
    async with Engine(url) as engine:
        await from_loop(lambda i: engine.run(fulfill_async, {"id": i}, id=f"order-{i}"), count, concurrency, watch)
        note = f"coroutines throughout, on the engine's loop; {durability(engine)}"
        emit(watch.row("perdure async", concurrency, note))


def main(style: str, count: int, concurrency: int, place: str) -> None:
    url = place if "://" in place else f"sqlite:///{place}/perdure.db"
    if style == "def":
        measure_def(url, count, concurrency)
    else:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(measure_async(url, count, concurrency))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

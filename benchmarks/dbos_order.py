"""The order workflow on DBOS with SQLite: `def` workflow, `def` steps, called from threads.

usage: python -m benchmarks.dbos_order COUNT CONCURRENCY DIRECTORY
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from benchmarks.load import Stopwatch, emit, from_threads

DBOS: Any = importlib.import_module("dbos").DBOS
"""Found at run time: types are checked without the rival installed."""


@DBOS.step()
def charge(order: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "amount": 42}


@DBOS.step()
def reserve(order: dict[str, Any]) -> bool:
    return True


@DBOS.step()
def ship(order: dict[str, Any]) -> str:
    return "trk"


@DBOS.step()
def notify(order: dict[str, Any]) -> None:
    return None


@DBOS.workflow()
def fulfill(order: dict[str, Any]) -> str:
    charge(order)
    reserve(order)
    tracking = ship(order)
    notify(order)
    return tracking


def durability(dbos: Any) -> str:
    """The journal mode and fsync level that DBOS runs its database at."""
    with dbos._sys_db.engine.connect() as connection:
        journal, synchronous = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        )
    return f"journal_mode={journal} synchronous={synchronous}"


def main(count: int, concurrency: int, directory: str) -> None:
    url = f"sqlite:///{directory}/dbos.sqlite"
    dbos = DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()
    watch = Stopwatch()
    from_threads(lambda i: fulfill({"id": i}), count, concurrency, watch)
    emit(watch.row("dbos", concurrency, f"def workflow, def steps, called from threads; {durability(dbos)}"))
    os._exit(0)  # its background threads would outlive the measurement


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

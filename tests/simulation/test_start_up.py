"""What an engine reads when it opens a store in which many sleep: as much as among a few."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.sleeper_workflow import sleeper
from perdure import AsyncEngine
from tests.servers.fixtures import conninfo, empty_postgres, url
from tests.servers.server import Server

FEW, MANY = 50, 2_000


async def put_to_sleep(address: str, count: int) -> None:
    """Each waits for its first task, for a year."""
    async with AsyncEngine(address, workflows=[sleeper], activities=[]) as engine:
        starts = [
            engine.start(sleeper, number, 4e9, id=f"sleeper-{number}", start_delay="365d") for number in range(count)
        ]
        await asyncio.gather(*starts)


async def open_and_close(address: str) -> None:
    async with AsyncEngine(address, workflows=[sleeper], activities=[]):
        pass


@contextmanager
def steps_of_sqlite(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many instructions of its machine SQLite runs meanwhile, on whichever connection."""
    steps = [0]
    connect = sqlite3.connect

    def count() -> int:
        steps[0] += 1
        return 0

    def counted(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_progress_handler(count, 1)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", counted)
        yield steps


def test_on_sqlite_an_engine_that_opens_looks_at_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[int] = []
    for count in (FEW, MANY):
        address = f"sqlite:///{tmp_path / f'{count}.db'}"
        asyncio.run(put_to_sleep(address, count))
        with steps_of_sqlite(monkeypatch) as steps:
            asyncio.run(open_and_close(address))
        spent += steps
    assert 0 < spent[1] < spent[0] + FEW


def rows_read(server: Server, database: str) -> int:
    """Rows that were read of all tables, by everybody who has left."""
    with psycopg.connect(conninfo(server, database)) as connection:
        row = connection.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables"
        ).fetchone()
    assert row is not None
    return row[0]


def test_on_postgresql_an_engine_that_opens_looks_at_none(postgres_server: Server, postgres_database: str) -> None:
    spent: list[int] = []
    for count in (FEW, MANY):
        empty_postgres(postgres_server, postgres_database)
        address = url(postgres_server, postgres_database)
        asyncio.run(put_to_sleep(address, count))
        before = rows_read(postgres_server, postgres_database)
        asyncio.run(open_and_close(address))
        spent.append(rows_read(postgres_server, postgres_database) - before)
    assert spent[1] < spent[0] + FEW

"""Lists and counts that look at much: they have an end, and short ones do not wait for them."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable

import pytest

from perdure.stores.api import ReadsBusy, ReadTooLong, StoreError
from perdure.stores.sqlite import SqliteStore, scans
from perdure.stores.visibility.query import ALL
from tests.stores.given import APPLIED, Run

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def endless(connection: sqlite3.Connection) -> int:
    return connection.execute(ENDLESS).fetchone()[0]


def one(connection: sqlite3.Connection) -> int:
    return connection.execute("SELECT 1").fetchone()[0]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """How long a read may take."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr(scans, "READ_S_MAX", seconds)

    return set_to


async def test_what_takes_too_long_is_ended_and_told(sqlite: SqliteStore, patience: Callable[[float], None]) -> None:
    patience(0.2)
    await sqlite.open()
    with pytest.raises(ReadTooLong, match=r"ended after 0\.2 s: narrow its filter"):
        await sqlite._scan(endless)
    assert await sqlite._scan(one) == 1
    await sqlite.close()


async def test_a_short_list_does_not_wait_for_long_ones(sqlite: SqliteStore, patience: Callable[[float], None]) -> None:
    patience(60)
    await sqlite.open()
    long = [asyncio.create_task(sqlite._scan(endless)) for _ in range(scans.LONG_MAX)]
    await asyncio.sleep(0)
    for _ in range(10):
        begin = time.monotonic()
        assert await sqlite._scan(one) == 1
        assert time.monotonic() - begin < 5, "it waits for a slice of one of them, and for no end of any"
    assert not any(task.done() for task in long)
    for task in long:
        task.cancel()
    await asyncio.wait(long)
    await sqlite.close()


async def test_a_read_ends_when_nobody_waits_for_it(sqlite: SqliteStore, patience: Callable[[float], None]) -> None:
    patience(60)
    await sqlite.open()
    for _ in range(2 * scans.LONG_MAX):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sqlite._scan(endless), 0.15)
    threads = sqlite._opened().scans._threads
    await asyncio.wait_for(asyncio.gather(*[asyncio.wrap_future(threads.submit(int)) for _ in range(50)]), 10)
    await sqlite.close()


async def test_there_are_not_too_many_long_ones(
    sqlite: SqliteStore, patience: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(60)
    monkeypatch.setattr(scans, "LONG_MAX", 2)
    await sqlite.open()
    long = [asyncio.create_task(sqlite._scan(endless)) for _ in range(3)]
    done, waiting = await asyncio.wait(long, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(ReadsBusy):
        done.pop().result()
    assert len(waiting) == 2
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await sqlite.close()


async def test_closing_the_store_ends_them(sqlite: SqliteStore, patience: Callable[[float], None]) -> None:
    patience(60)
    await sqlite.open()
    long = asyncio.create_task(sqlite._scan(endless))
    await asyncio.sleep(0)
    await asyncio.wait_for(sqlite.close(), 30)
    with pytest.raises(StoreError, match="was closed"):
        await long
    await sqlite.open()
    assert await sqlite.commit([Run().commit()]) == [APPLIED]
    assert await sqlite.count_executions("default", ALL) == {1: 1}
    await sqlite.close()

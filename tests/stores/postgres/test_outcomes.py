"""A connection that breaks at a commit: what became of it is found out, and never guessed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from perdure.stores.api import OutcomeUnknown, RecordChange, StoreError
from perdure.stores.postgres import PostgresStore, lane
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, CONFLICT, Run, stored
from tests.stores.postgres.proxy import Proxy, proxied

COMMIT = b"UPDATE"
"""In the text of every statement that commits, when it is first sent."""
WARM_BY = 3


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[tuple[Proxy, PostgresStore]]:
    async with proxied(address) as (proxy, through):
        store = PostgresStore(f"{through}?timeout=20")
        await store.open()
        try:
            yield proxy, store
        finally:
            proxy.cut_at, proxy.refuses = None, False
            await store.close()


@pytest.fixture
def address(postgres_server: Server, postgres_database: str) -> str:
    return url(postgres_server, postgres_database)


MARK = b"a mark that a test can find"


def marked(run: Run) -> Run:
    """What is sent of it can be recognised on the wire."""
    run.execution.task_queue = MARK.decode()
    return run


@pytest.mark.parametrize("carries_last", [True, False], ids=["answer lost", "request lost"])
async def test_a_commit_whose_connection_broke_is_applied_once_and_told_so(address: str, carries_last: bool) -> None:
    async with opened(address) as (proxy, store):
        run, beside = marked(Run()), Run("order-2", "run-2")
        await store.commit([beside.commit(events=1)])
        proxy.cut_at, proxy.carries_last = MARK, carries_last
        late = beside.behind().commit(events=5)
        assert await store.commit([run.commit(events=2), late]) == [APPLIED, CONFLICT]
        assert proxy.cuts == 1
        assert await stored(store, run) == (1, [1, 2])
        assert await stored(store, beside) == (1, [1])
        assert await store.commit([run.commit(events=1)]) == [APPLIED], "it goes on from there"


@pytest.mark.parametrize("carries_last", [True, False], ids=["answer lost", "request lost"])
async def test_a_change_of_a_record_whose_connection_broke_is_made_once(address: str, carries_last: bool) -> None:
    async with opened(address) as (proxy, store):
        await store.put_records([RecordChange("note", "", "b", 0, b"1")])
        proxy.cut_at, proxy.carries_last = MARK, carries_last
        changes = [RecordChange("note", "", "a", 0, MARK), RecordChange("note", "", "b", 7, b"2")]
        assert await store.put_records(changes) == [APPLIED, CONFLICT]
        assert proxy.cuts == 1
        found = await store.records("note")
        assert [(record.name, record.version) for record in found] == [("a", 1), ("b", 1)]


async def test_while_the_database_stays_away_nothing_is_said_that_is_not_known(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "UNKNOWN_S", 0.3)
    monkeypatch.setattr(lane, "PATIENCE_S", 0.1)
    async with opened(address) as (proxy, store):
        run = marked(Run())
        proxy.cut_at = MARK
        proxy.refuses = True
        with pytest.raises(OutcomeUnknown, match="not known"):
            await store.commit([run.commit(events=2)])
        with pytest.raises(StoreError, match="cannot be reached") as refused:
            await store.commit([Run("order-2").commit()])
        assert not isinstance(refused.value, OutcomeUnknown), "it was not even sent"
        proxy.refuses = False
        again = marked(Run()).commit(events=2)
        assert await store.commit([again]) == [CONFLICT], "it was applied, as is seen now"
        assert await store.commit([run.commit(events=1)]) == [APPLIED]
        assert await stored(store, run) == (2, [1, 2, 3])
        assert await stored(store, Run("order-2")) == (0, [])


async def test_a_statement_of_before_that_is_still_running_is_applied_once_or_not_at_all(
    address: str, postgres_server: Server, postgres_database: str
) -> None:
    """It waits for a row that somebody has locked, when its connection breaks; its successor comes and waits too."""
    async with opened(address) as (proxy, store):
        run = marked(Run())
        await store.commit([run.commit(events=1)])
        at_database = conninfo(postgres_server, postgres_database)
        with psycopg.connect(at_database) as holder, psycopg.connect(at_database, autocommit=True) as watcher:
            holder.execute("SELECT * FROM perdure.states FOR UPDATE")
            writing = asyncio.ensure_future(store.commit([run.commit(events=1)]))
            await until_waiting(watcher, 1)
            proxy.cut_all()
            await until_waiting(watcher, 2)
            holder.rollback()
            assert await writing == [APPLIED]
        assert await stored(store, run) == (2, [1, 2])


async def until_waiting(watcher: psycopg.Connection, statements: int) -> None:
    """So many statements wait for a lock."""
    for _ in range(600):
        found = watcher.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
        if found == (statements,):
            return
        await asyncio.sleep(0.05)  # the database is asked, there is nothing to wait for
    raise AssertionError(f"{statements} statements never waited")


async def test_a_store_that_forgot_its_writer_says_so(
    address: str, postgres_server: Server, postgres_database: str
) -> None:
    """A backup was restored behind an engine: what it was told before is not there."""
    async with opened(address) as (proxy, store):
        await store.commit([Run("order-2").commit()])
        proxy.cut_at, proxy.carries_last = MARK, False
        with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as other:
            other.execute("DELETE FROM perdure.writers")
        with pytest.raises(OutcomeUnknown, match="has forgotten this engine"):
            await store.commit([marked(Run()).commit()])
        assert await store.commit([Run("order-3").commit()]) == [APPLIED]


async def test_a_writer_whose_row_is_gone_begins_anew(
    address: str, postgres_server: Server, postgres_database: str
) -> None:
    async with opened(address) as (_, store):
        with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as other:
            other.execute("DELETE FROM perdure.writers")
        assert await store.commit([Run().commit()]) == [APPLIED]
        assert await store.put_records([RecordChange("note", "", "a", 0, b"")]) == [APPLIED]


async def test_reads_go_on_when_connections_were_cut(address: str) -> None:
    async with opened(address) as (proxy, store):
        await store.commit([Run().commit()])
        for _ in range(3):
            assert (await stored(store, Run()))[0] == 1
            proxy.cut_all()


async def test_a_server_that_takes_no_commits_any_more_is_left_for_the_one_that_does(address: str) -> None:
    """As one that a proxy has led to a stand-by, or whose leader was deposed: nothing was done there."""
    async with opened(address) as (_, store):
        run = Run()
        connection = store._open().commits._connection
        assert connection is not None
        await connection.execute("SET default_transaction_read_only = on")
        assert await store.commit([run.commit(events=2)]) == [APPLIED]
        assert connection.is_closed()
        assert await stored(store, run) == (1, [1, 2])


async def test_while_only_a_stand_by_answers_it_is_known_that_nothing_was_done(
    address: str, postgres_server: Server, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "PATIENCE_S", 0.2)
    async with opened(address) as (proxy, store):
        with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as other:
            other.execute(f"ALTER DATABASE {postgres_database} SET default_transaction_read_only = on".encode())
            try:
                proxy.cut_all()
                with pytest.raises(StoreError, match="is a stand-by, or is read-only") as refused:
                    await store.commit([Run().commit()])
                assert not isinstance(refused.value, OutcomeUnknown)
            finally:
                other.execute("SET default_transaction_read_only = off")
                other.execute(f"ALTER DATABASE {postgres_database} RESET default_transaction_read_only".encode())
        assert await store.commit([Run().commit()]) == [APPLIED]


async def test_both_ends_let_go_of_a_connection_that_nobody_acknowledges(address: str) -> None:
    async with opened(address) as (_, store):
        connection: Any = store._open().commits._connection
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert await connection.fetchval("SHOW tcp_user_timeout") in ("5000", "5s")

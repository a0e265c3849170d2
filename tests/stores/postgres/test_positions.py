"""Rows whose place is not settled: a transaction that began before theirs may still put others before them."""

from __future__ import annotations

import asyncio

import psycopg

from perdure.stores.api import BEGINNING
from perdure.stores.postgres import PostgresStore
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.given import QUEUE, Run, message_id


async def test_a_row_is_shown_once_what_began_before_it_is_over_and_is_not_forgotten(
    postgres: PostgresStore, postgres_server: Server, postgres_database: str
) -> None:
    await postgres.open()
    run = Run()
    await postgres.commit([run.commit(add=[run.task(1)], send=["a"])])
    with psycopg.connect(conninfo(postgres_server, postgres_database)) as earlier:
        earlier.execute("SELECT pg_current_xact_id()")
        await postgres.commit([run.commit(add=[run.task(2)], send=["b"])])
        reading = asyncio.ensure_future(postgres.tasks(QUEUE, BEGINNING, 10))
        await asyncio.wait([reading], timeout=0.3)
        assert not reading.done(), "a short page would say that there are no others"
        assert [message_id(row) for row in await postgres.pending_messages(BEGINNING, 10)] == ["a"]
        earlier.rollback()
        assert [row.task.scheduled_event_id for row in await reading] == [1, 2]
    assert [message_id(row) for row in await postgres.pending_messages(BEGINNING, 10)] == ["a", "b"]
    await postgres.close()


async def test_a_transaction_of_somebody_else_delays_rows_and_stops_none(
    postgres_server: Server, postgres_database: str
) -> None:
    """Ours are over after so long as a statement may take; that of others is none of our concern."""
    store = PostgresStore(url(postgres_server, postgres_database) + "?timeout=1")
    await store.open()
    run = Run()
    with psycopg.connect(conninfo(postgres_server, postgres_database)) as earlier:
        earlier.execute("SELECT pg_current_xact_id()")
        await store.commit([run.commit(add=[run.task(1)])])
        assert [row.task.scheduled_event_id for row in await store.tasks(QUEUE, BEGINNING, 10)] == [1]
        earlier.rollback()
    await store.close()

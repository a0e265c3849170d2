"""The tables: made once however many come, brought forward, and left alone when they are newer."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from perdure.stores.api import BEGINNING, StoreError
from perdure.stores.postgres import PostgresStore, schema
from perdure.stores.postgres.door import Door
from perdure.stores.postgres.texts import escape, in_schema, unescape
from perdure.stores.postgres.url import read_url
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, QUEUE, Run, message_id, stored


def at(server: Server, database: str) -> psycopg.Connection:
    return psycopg.connect(conninfo(server, database), autocommit=True)


async def test_many_nodes_may_start_at_once(postgres_server: Server, postgres_database: str) -> None:
    stores = [PostgresStore(url(postgres_server, postgres_database)) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    runs = [Run(f"order-{number}") for number in range(6)]
    outcomes = await asyncio.gather(*(store.commit([run.commit()]) for store, run in zip(stores, runs, strict=True)))
    assert outcomes == [[APPLIED]] * 6
    for store in stores:
        assert [(await stored(store, run))[0] for run in runs] == [1] * 6
        await store.close()


async def test_schemas_of_one_database_are_stores_of_their_own(postgres_server: Server, postgres_database: str) -> None:
    address = url(postgres_server, postgres_database)
    one, other = PostgresStore(address), PostgresStore(f"{address}?schema=Other_1")
    await one.open()
    await other.open()
    assert await one.commit([Run().commit()]) == [APPLIED]
    assert await stored(other, Run()) == (0, [])
    assert await other.commit([Run().commit()]) == [APPLIED]
    await one.close()
    await other.close()
    with at(postgres_server, postgres_database) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert found == (0,), "nothing lies beside the schema"


async def _ensure(server: Server, database: str, migrations: dict[int, str]) -> None:
    settings = read_url(url(server, database))
    connection = await Door(settings).connect("schema")
    try:
        await schema.ensure(connection, settings, migrations)
    finally:
        await connection.close()


async def test_older_tables_are_brought_forward_once(postgres_server: Server, postgres_database: str) -> None:
    migrations = {
        2: "ALTER TABLE records ADD COLUMN colour text;",
        3: "CREATE INDEX records_colour ON records (colour); UPDATE records SET colour = 'red';",
    }
    await _ensure(postgres_server, postgres_database, {})
    await asyncio.gather(*(_ensure(postgres_server, postgres_database, migrations) for _ in range(4)))
    with at(postgres_server, postgres_database) as connection:
        row = connection.execute("SELECT version FROM perdure.perdure_store").fetchone()
        assert row == (3,)
        connection.execute("SELECT colour FROM perdure.records")


async def test_a_migration_that_fails_leaves_nothing_behind(postgres_server: Server, postgres_database: str) -> None:
    await _ensure(postgres_server, postgres_database, {})
    with pytest.raises(Exception, match="nowhere"):
        await _ensure(postgres_server, postgres_database, {2: "CREATE TABLE t (); SELECT 1 FROM nowhere;"})
    with at(postgres_server, postgres_database) as connection:
        assert connection.execute("SELECT version FROM perdure.perdure_store").fetchone() == (1,)
        assert connection.execute("SELECT to_regclass('perdure.t'), to_regclass('public.t')").fetchone() == (None, None)


async def test_newer_tables_are_left_alone_or_worked_on_as_they_say(
    postgres: PostgresStore, postgres_server: Server, postgres_database: str
) -> None:
    await postgres.open()
    await postgres.close()
    with at(postgres_server, postgres_database) as connection:
        connection.execute("UPDATE perdure.perdure_store SET version = 99")
        await postgres.open()
        assert await postgres.commit([Run().commit()]) == [APPLIED], "what is new is only more"
        await postgres.close()
        connection.execute("UPDATE perdure.perdure_store SET serves = 98")
    with pytest.raises(StoreError, match=r"newer perdure \(schema 99.*upgrade perdure"):
        await postgres.open()


async def test_what_was_restored_on_another_server_stands_before_what_comes(
    postgres: PostgresStore, postgres_server: Server, postgres_database: str
) -> None:
    """Its transactions count anew there, so that what comes would stand before what a reader has passed."""
    await postgres.open()
    run = Run()
    await postgres.commit([run.commit(add=[run.task(number) for number in (3, 1)], send=["a", "b"])])
    await postgres.close()
    with at(postgres_server, postgres_database) as connection:
        for table in ("tasks", "messages"):
            text = f"UPDATE perdure.{table} SET transaction = transaction + (1::bigint << 40)"
            connection.execute(text.encode())
    await postgres.open()
    before = await postgres.tasks(QUEUE, BEGINNING, 10)
    assert [row.task.scheduled_event_id for row in before] == [3, 1]
    messages = await postgres.pending_messages(BEGINNING, 10)
    assert [message_id(row) for row in messages] == ["a", "b"]
    await postgres.commit([run.commit(add=[run.task(5)], send=["c"])])
    after = await postgres.tasks(QUEUE, before[-1].position, 10)
    assert [row.task.scheduled_event_id for row in after] == [5]
    assert [message_id(row) for row in await postgres.pending_messages(messages[-1].position, 10)] == ["c"]
    await postgres.close()


def test_the_schema_and_its_migrations_lead_to_the_same() -> None:
    """There is no migration yet: the first one brings the first schema along, and a comparison of both ways."""
    assert schema.read_migrations() == {}
    assert in_schema("CREATE TABLE history_3 PARTITION OF history", "s") == (
        'CREATE TABLE "s".history_3 PARTITION OF "s".history'
    )


@pytest.mark.parametrize("text", ["", "plain", "\0", "\1", "a\0\1b", "\1\1", "\0\0", "\1\2"])
def test_any_text_is_stored_and_found_again(text: str) -> None:
    assert "\0" not in escape(text)
    assert unescape(escape(text)) == text


def test_texts_keep_their_order_and_their_beginnings() -> None:
    texts = ["", "\0", "\0\0", "\0\1", "\1", "\1\0", "\1\1", "\2", "a", "a\0", "a\1", "b"]
    assert sorted(texts, key=escape) == sorted(texts)
    for text in texts:
        for prefix in texts:
            assert escape(text).startswith(escape(prefix)) is text.startswith(prefix)

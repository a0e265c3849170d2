"""What is wrong with a database is said in a sentence that names the fix, and never with a password in it."""

from __future__ import annotations

import socket
from urllib.parse import quote

import asyncpg
import psycopg
import pytest

from perdure.core.commit import Commit
from perdure.stores.api import Damaged, ReadsBusy, ReadTooLong, StoreError, Unstorable
from perdure.stores.open import open_store
from perdure.stores.postgres import PostgresStore, driver, schema
from perdure.stores.postgres.errors import store_error
from perdure.stores.postgres.url import read_url
from perdure.stores.visibility.query import ALL
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, Run, stored


async def refusal(address: str) -> str:
    store = open_store(address)
    with pytest.raises(StoreError) as refused:
        await store.open()
    await store.close()
    assert "hush" not in str(refused.value)
    return str(refused.value)


async def test_a_database_that_is_not_there_is_named(postgres_server: Server) -> None:
    assert "createdb" in await refusal(url(postgres_server, "nowhere").replace("@", ":hush@"))


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        said = await refusal(f"postgresql://me:hush@127.0.0.1:{port}/orders")
    assert "is PostgreSQL running there?" in said
    assert f"me@127.0.0.1:{port}" in said


async def test_a_user_without_rights_is_told_what_it_needs(postgres_server: Server, postgres_database: str) -> None:
    with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS nobody_much")
        admin.execute("CREATE ROLE nobody_much LOGIN")
    address = url(postgres_server, postgres_database)
    said = await refusal(address.replace("//", "//nobody_much:hush@").replace("hush@tester@", "hush@"))
    assert "lacks a right" in said


async def test_a_user_that_may_create_nothing_has_its_schema_made_by_somebody_else(
    postgres_server: Server, postgres_database: str
) -> None:
    """docs/postgresql.md tells how; `CREATE SCHEMA IF NOT EXISTS` is refused to it although the schema is there."""
    with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS creates_nothing")
        admin.execute("CREATE ROLE creates_nothing LOGIN")
        admin.execute("CREATE SCHEMA perdure AUTHORIZATION creates_nothing")
        store = open_store(url(postgres_server, postgres_database).replace("//tester@", "//creates_nothing@"))
        await store.open()
        assert await store.commit([Run().commit()]) == [APPLIED]
        await store.close()
        admin.execute("DROP SCHEMA perdure CASCADE")
        admin.execute("DROP ROLE creates_nothing")


async def test_a_pooler_that_the_url_does_not_tell_of_is_told(
    postgres_server: Server, pgbouncer_server: Server, postgres_database: str
) -> None:
    assert "write pgbouncer=true into the URL" in await refusal(url(pgbouncer_server, postgres_database))


@pytest.mark.parametrize("state", ["26000", "42P05"])
def test_what_a_pooler_that_lets_settings_pass_forgets_is_told_as_well(state: str) -> None:
    error = asyncpg.PostgresError.new({"C": state, "M": "prepared statement does not exist\nHINT: 30 lines"})
    assert "write pgbouncer=true" in str(store_error(error, read_url("postgresql://me@host/orders")))


async def test_options_that_the_server_cannot_follow_are_told(postgres_server: Server, postgres_database: str) -> None:
    address = url(postgres_server, postgres_database)
    said = await refusal(f"{address}?schemas=orders")
    assert "an option that nobody knows" in said and "schemas" in said and "is PostgreSQL running" not in said
    assert "take `sslmode` out" in await refusal(f"{address}?sslmode=require")


async def test_the_url_to_listen_at_is_decoded_once_and_is_what_its_errors_name(
    postgres_server: Server, pgbouncer_server: Server, postgres_database: str
) -> None:
    """A password may have a `/` and a `%` in it, which are percent-encoded in that URL already."""
    pooled = f"{url(pgbouncer_server, postgres_database)}?pgbouncer=true&listen="
    assert read_url(pooled + quote("postgresql://me:%2Fhush%25@host/o", safe="")).listen_dsn == (
        "postgresql://me:%2Fhush%25@host/o"
    )
    with pytest.raises(StoreError, match="`listen` what is no URL"):
        read_url(f"{pooled}host")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        store = open_store(pooled + quote(f"postgresql://me:hush@{nobody}/o", safe=""))
        await store.open()
        with pytest.raises(StoreError, match=f"postgresql://me@{nobody}/o cannot be reached"):
            await store.listen("requests", lambda _: None)
        await store.close()


async def test_an_old_server_is_refused(postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "OLDEST_SERVER", 99_00_00)
    with pytest.raises(StoreError, match="needs 13 or later"):
        await postgres.open()


async def test_a_missing_driver_says_what_to_install(postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)
    with pytest.raises(StoreError, match=r"pip install 'perdure\[postgres\]'"):
        driver.library()
    with pytest.raises(StoreError, match=r"pip install 'perdure\[postgres\]'"):
        await postgres.open()


async def test_a_store_that_is_not_open_says_so(postgres: PostgresStore) -> None:
    with pytest.raises(StoreError, match="not open"):
        await postgres.commit([])
    with pytest.raises(StoreError, match="not open"):
        await postgres.due(0, 1)
    await postgres.open()
    with pytest.raises(StoreError, match="open already"):
        await postgres.open()
    await postgres.close()
    await postgres.close()


def _no_number(run: Run) -> Commit:
    run.execution.next_event_id = 1 << 40
    return run.commit(events=0)


def _too_long_a_name(run: Run) -> Commit:
    import random

    name = "".join(random.Random(1).choices([chr(code) for code in range(0x4E00, 0x9F00)], k=1_500))
    return Run(name).commit()


@pytest.mark.parametrize("bad", [_no_number, _too_long_a_name])
async def test_what_cannot_be_written_is_refused_alone_and_its_neighbours_are_written(
    postgres: PostgresStore, bad: object
) -> None:
    await postgres.open()
    good = [Run(f"order-{number}") for number in range(6)]
    batch = [run.commit() for run in good]
    batch.insert(2, bad(Run("bad")))  # type: ignore[operator]
    outcomes = await postgres.commit(batch)
    refused = outcomes.pop(2)  # type: ignore[attr-defined]
    assert outcomes == [APPLIED] * 6
    assert isinstance(refused, Unstorable)
    assert refused.is_value
    assert await postgres.count_executions("default") == {1: 6}
    assert await postgres.commit([run.commit() for run in good]) == [APPLIED] * 6
    await postgres.close()


async def test_flipped_bits_are_found(postgres: PostgresStore, postgres_server: Server, postgres_database: str) -> None:
    await postgres.open()
    run, sound = Run(), Run("order-2")
    await postgres.commit([run.commit(), sound.commit()])
    with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as other:
        for table in ("states", "history"):
            column = "snapshot" if table == "states" else "data"
            other.execute(
                f"UPDATE perdure.{table} AS t SET {column} = set_bit(t.{column}, 3, 1 - get_bit(t.{column}, 3)) "
                "FROM perdure.executions AS e WHERE e.id = t.execution_id AND e.workflow_id = 'order-1'"
            )
    with pytest.raises(Damaged, match="order-1"):
        await postgres.load([run.reference])
    with pytest.raises(Damaged, match="order-1"):
        await postgres.history(run.key)
    assert await stored(postgres, sound) == (1, [1, 2])
    found = await postgres.find_executions("default", ALL)
    assert [one.execution.key.workflow_id for one in found] == ["order-2"]
    await postgres.close()


async def test_a_list_that_takes_too_long_is_ended(
    postgres_server: Server, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(url(postgres_server, postgres_database) + "?timeout=0.2")
    await store.open()
    await store.commit([Run().commit()])
    with psycopg.connect(conninfo(postgres_server, postgres_database)) as holder:
        holder.execute("LOCK TABLE perdure.executions")
        with pytest.raises(ReadTooLong, match="narrow its filter"):
            await store.count_executions("default")
    assert await store.count_executions("default") == {1: 1}
    monkeypatch.setattr(store._open().scanners, "_waiting_max", 0)
    with pytest.raises(ReadsBusy):
        await store.count_executions("default")
    await store.close()

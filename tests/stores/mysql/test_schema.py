"""The tables: made by whoever comes first, finished if they were made by halves, refused if they are too new."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import pytest

from perdure.stores.api import StoreError
from perdure.stores.mysql import MysqlStore, schema
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.url import read_url
from tests.servers.fixtures import execute_mariadb, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, Run, stored


async def ensure(address: str, migrations: Mapping[int, str] | None = None) -> None:
    settings = read_url(address)
    connection = await Door(settings).connect()
    try:
        await schema.ensure(connection, settings, migrations)
    finally:
        await connection.close()


def shape(server: Server, database: str) -> list[tuple[object, ...]]:
    """Columns and indexes of all tables."""
    columns = (
        "SELECT table_name, column_name, ordinal_position, column_type, is_nullable, column_default, column_key "
        f"FROM information_schema.columns WHERE table_schema = '{database}' ORDER BY 1, 3"
    )
    indexes = (
        "SELECT table_name, index_name, seq_in_index, column_name, sub_part, non_unique "
        f"FROM information_schema.statistics WHERE table_schema = '{database}' ORDER BY 1, 2, 3"
    )
    return [*execute_mariadb(server, columns), *execute_mariadb(server, indexes)]


async def test_nodes_that_start_at_once_make_the_tables_together(mariadb_server: Server, mariadb_database: str) -> None:
    stores = [MysqlStore(url(mariadb_server, mariadb_database)) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await stores[0].commit([Run().commit(events=1)]) == [APPLIED]
    assert await stored(stores[3], Run()) == (1, [1])
    await asyncio.gather(*(store.close() for store in stores))


def test_tables_that_were_made_by_halves_are_finished(mariadb_server: Server, mariadb_database: str) -> None:
    address = url(mariadb_server, mariadb_database)
    asyncio.run(ensure(address))
    whole = shape(mariadb_server, mariadb_database)
    for table in ("perdure_store", "notices", "tasks"):
        execute_mariadb(mariadb_server, f"DROP TABLE {mariadb_database}.{table}")
    asyncio.run(ensure(address))
    assert shape(mariadb_server, mariadb_database) == whole


def test_migrations_are_done_once_and_in_order(mariadb_server: Server, mariadb_database: str) -> None:
    address = url(mariadb_server, mariadb_database)
    asyncio.run(ensure(address, {}))
    migrations = {
        3: "CREATE TABLE second (n INT); -- a comment; and more\nALTER TABLE first ADD COLUMN m INT;",
        2: "CREATE TABLE first (n INT);",
    }
    for _ in range(2):
        asyncio.run(ensure(address, migrations))
    found = execute_mariadb(mariadb_server, f"SELECT version, serves FROM {mariadb_database}.perdure_store")
    assert found == [(3, 1)]
    asyncio.run(ensure(address, {2: migrations[2]}))  # an older perdure beside it, which the new tables serve


def test_tables_of_a_newer_perdure_are_refused_if_they_do_not_serve_this_one(
    mariadb_server: Server, mariadb_database: str
) -> None:
    address = url(mariadb_server, mariadb_database)
    asyncio.run(ensure(address))
    execute_mariadb(mariadb_server, f"UPDATE {mariadb_database}.perdure_store SET version = 99, serves = 98")
    with pytest.raises(StoreError, match=r"newer perdure .schema 99, this one knows up to 1.: upgrade"):
        asyncio.run(MysqlStore(address).open())


def test_a_database_that_is_not_there_is_told(mariadb_server: Server) -> None:
    with pytest.raises(StoreError, match=r"no database for the store .*CREATE DATABASE"):
        asyncio.run(MysqlStore(url(mariadb_server, "nothing_here")).open())


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        asyncio.run(MysqlStore("mysql://root@127.0.0.1:1/orders").open())


def test_a_wrong_password_is_told_and_not_shown(mariadb_server: Server, mariadb_database: str) -> None:
    address = url(mariadb_server, mariadb_database).replace("root@", "nobody:secret@")
    with pytest.raises(StoreError, match=r"user or the password .* is refused") as refused:
        asyncio.run(MysqlStore(address).open())
    assert "secret" not in str(refused.value)


def test_a_user_with_a_password_is_let_in(mariadb_server: Server, mariadb_database: str) -> None:
    """Also by MySQL, whose way to prove one needs RSA where nothing is encrypted."""
    name = mariadb_database
    who = f"{name}@'127.0.0.1'"
    execute_mariadb(mariadb_server, f"CREATE USER {who} IDENTIFIED BY 'secret'; GRANT ALL ON {name}.* TO {who}")
    try:
        asyncio.run(look(url(mariadb_server, name).replace("root@", f"{name}:secret@")))
    finally:
        execute_mariadb(mariadb_server, f"DROP USER {who}")


async def look(address: str) -> None:
    store = MysqlStore(address)
    await store.open()
    assert await store.namespaces() == []
    await store.close()


def test_every_key_begins_with_the_partition() -> None:
    text = re.sub(r"--.*", "", schema.read_schema())
    tables = dict(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\) ENGINE", text, re.DOTALL))
    of_one_partition = {name for name, columns in tables.items() if "partition_id" in columns} - {"messages"}
    assert len(of_one_partition) == 10
    for name in of_one_partition:
        assert re.search(r"PRIMARY KEY \(partition_id, ", tables[name]), name
    # Who takes a message away knows its id alone.
    assert "PRIMARY KEY (id_hash)" in tables["messages"]

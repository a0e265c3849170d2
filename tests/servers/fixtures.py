"""What a test asks for: a server that all processes of the session share, and in it an empty database of its own."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest

from tests.servers.chosen import MYSQL
from tests.servers.kinds import NotAllowed, NotInstalled
from tests.servers.server import Server
from tests.servers.tables import empty_tables

T = TypeVar("T")

_numbers = itertools.count(1)


def hold(make: Callable[..., T], *args: Any, **options: Any) -> T:
    """A server, or the end of the test that wants it: a skip that says what is missing, or a failure where it must be
    and could be.

    For a server of one's own: `hold(Server.private, "postgres")`.
    """
    try:
        return make(*args, **options)
    except NotInstalled as error:
        if os.environ.get("PERDURE_TEST_SERVERS") == "required" and not isinstance(error, NotAllowed):
            pytest.fail(f"PERDURE_TEST_SERVERS=required, and {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """PostgreSQL, as a session shares it."""
    with hold(Server.shared, "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """MariaDB, as a session shares it; MySQL in its place, where the tests are run for that."""
    with hold(Server.shared, MYSQL) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer_server(postgres_server: Server) -> Iterator[Server]:
    """PgBouncer in transaction mode before `postgres_server`: the same databases are to be had through it."""
    with hold(Server.shared, "pgbouncer", behind=postgres_server.address) as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_database(postgres_server: Server) -> str:
    """One for all tests of this process, one after another: to empty it costs less than to make another."""
    name = f"perdure_{os.getpid()}"
    with psycopg.connect(conninfo(postgres_server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return name


@pytest.fixture
def postgres_database(postgres_server: Server, _postgres_database: str) -> str:
    """The name of an empty database, which nobody is connected to, on `postgres_server` and `pgbouncer_server`."""
    empty_postgres(postgres_server, _postgres_database)
    return _postgres_database


def empty_postgres(server: Server, database: str) -> None:
    """Take everything out of it, and everybody."""
    with psycopg.connect(conninfo(server, database), autocommit=True) as connection:
        connection.execute(_EMPTY)


_EMPTY = """
DO $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
END $$
"""


def conninfo(server: Server, database: str = "postgres") -> str:
    """For psycopg: on the server's socket."""
    where = server.address
    return f"host={where['socket']} port={where['port']} user={where['user']} dbname={database}"


def url(server: Server, database: str) -> str:
    """`postgresql://` or `mysql://`, over TCP on loopback."""
    where = server.address
    scheme = "mysql" if server.kind in ("mariadb", "mysql") else "postgresql"
    return f"{scheme}://{where['user']}@{where['host']}:{where['port']}/{database}"


@pytest.fixture
def mariadb_database(mariadb_server: Server) -> Generator[str]:
    """The name of an empty database on `mariadb_server`."""
    with new_mariadb_database(mariadb_server) as name:
        yield name


@pytest.fixture(scope="session")
def _mysql_database(mariadb_server: Server) -> Generator[str]:
    """One for all stores of this process, one after another: to make tables takes a hundred times as long."""
    with new_mariadb_database(mariadb_server) as name:
        yield name


@pytest.fixture
def mysql_url(mariadb_server: Server, _mysql_database: str, empty_mysql: Callable[[], None]) -> str:
    """The URL of a store that is empty, on `mariadb_server`."""
    empty_mysql()
    return url(mariadb_server, _mysql_database)


@pytest.fixture(scope="session")
def empty_mysql(mariadb_server: Server, _mysql_database: str) -> Callable[[], None]:
    """Takes everything out of the store of `mysql_url`."""
    return lambda: empty_tables(url(mariadb_server, _mysql_database))


@contextmanager
def new_mariadb_database(server: Server) -> Generator[str]:
    """One more."""
    name = f"perdure_{os.getpid()}_{next(_numbers)}"
    execute_mariadb(server, f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        execute_mariadb(server, f"DROP DATABASE {name}")


def execute_mariadb(server: Server, sql: str) -> list[Any]:
    """Rows, as the server's administrator."""
    import asyncmy

    async def execute() -> list[Any]:
        where = server.address
        connection = await asyncmy.connect(unix_socket=where["socket"], user=where["user"], autocommit=True)
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(sql)
                return list(await cursor.fetchall()) if cursor.description else []
        finally:
            await connection.ensure_closed()

    return asyncio.run(execute())

"""Every test that asks for `store` runs against every backend.

Tests here may be coroutines: each runs on an event loop of its own, with the store it asks for
opened before and closed after.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from perdure.stores.api import Store
from perdure.stores.memory import MemoryStore
from perdure.stores.mysql import MysqlStore
from perdure.stores.postgres import PostgresStore
from perdure.stores.sqlite import SqliteStore
from tests.servers.chosen import kinds
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.servers.stores import through
from tests.servers.tables import empty_tables


@pytest.fixture(params=kinds("memory", "sqlite", "postgres", "pgbouncer", "mariadb"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, open while a coroutine test runs."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "sqlite":
            return SqliteStore(tmp_path / "store.db")
        case "mariadb" | "mysql":
            return request.getfixturevalue("mysql")
        case database:
            return request.getfixturevalue(database)


@pytest.fixture(scope="session")
def store_database(postgres_server: Server) -> str:
    """One whose tables are made once, by the first store that is opened there."""
    name = f"perdure_stores_{os.getpid()}"
    with psycopg.connect(conninfo(postgres_server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return name


@pytest.fixture(scope="session")
def empty_postgres(postgres_server: Server, store_database: str) -> Callable[[], None]:
    """Takes every row out of the store in `store_database`."""
    return lambda: empty_tables(url(postgres_server, store_database))


@pytest.fixture
def postgres(postgres_server: Server, store_database: str, empty_postgres: Callable[[], None]) -> PostgresStore:
    """An empty PostgreSQL store, not opened."""
    empty_postgres()
    return PostgresStore(url(postgres_server, store_database))


@pytest.fixture
def pgbouncer(
    pgbouncer_server: Server, postgres_server: Server, store_database: str, empty_postgres: Callable[[], None]
) -> PostgresStore:
    """An empty PostgreSQL store behind a pooler, not opened."""
    empty_postgres()
    return PostgresStore(through(pgbouncer_server, postgres_server, store_database))


@pytest.fixture
def mysql(mysql_url: str) -> MysqlStore:
    """An empty MariaDB store, not opened; MySQL where that was chosen."""
    return MysqlStore(mysql_url)


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteStore:
    """An empty SQLite store, not opened."""
    return SqliteStore(tmp_path / "store.db")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test; None leaves an ordinary one to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(_run(pyfuncitem.obj, arguments))
    return True


async def _run(test: Any, arguments: dict[str, Any]) -> None:
    store: Store | None = arguments.get("store")
    if store is not None:
        await store.open()
    try:
        await test(**arguments)
    finally:
        if store is not None:
            await store.close()

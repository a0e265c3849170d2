"""Every test that asks for `store` runs against every backend.

Tests here may be coroutines: each runs on an event loop of its own, with the store it asks for
opened before and closed after.
"""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from perdure.stores.api import Store
from perdure.stores.memory import MemoryStore
from perdure.stores.mysql import MysqlStore
from perdure.stores.postgres import PostgresStore
from perdure.stores.sqlite import SqliteStore
from tests.servers.fixtures import url
from tests.servers.server import Server


@pytest.fixture(params=["memory", "sqlite", "postgres", "mysql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, open while a coroutine test runs."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "sqlite":
            return SqliteStore(tmp_path / "store.db")
        case database:
            return request.getfixturevalue(database)


@pytest.fixture
def postgres(postgres_server: Server, postgres_database: str) -> PostgresStore:
    """An empty PostgreSQL store, not opened."""
    return PostgresStore(url(postgres_server, postgres_database))


@pytest.fixture
def mysql(mysql_url: str) -> MysqlStore:
    """An empty MariaDB store, not opened."""
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

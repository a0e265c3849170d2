"""Every test here that asks for `database` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers.fixtures import conninfo
from tests.servers.server import Server

_numbers = itertools.count(1)


class Database:
    """An empty database, and connections to it."""

    def __init__(self, kind: str, connect: Callable[..., Any]) -> None:
        self.kind = kind
        self._connect = connect
        self._connections: list[Any] = []
        self.mark = "?" if kind == "sqlite" else "%s"

    def connect(self, **options: Any) -> Any:
        connection = self._connect(**options)
        self._connections.append(connection)
        return connection

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        connection = self.connect()
        found = connection.cursor().execute(f"SELECT * FROM {table}").fetchall()
        connection.rollback()
        return [tuple(row) for row in found]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    database = _sqlite(tmp_path) if request.param == "sqlite" else _postgres(request.getfixturevalue("postgres_server"))
    yield database
    database.close()


def _sqlite(directory: Path) -> Database:
    return Database(
        "sqlite", lambda **options: sqlite3.connect(directory / "service.db", check_same_thread=False, **options)
    )


def _postgres(server: Server) -> Database:
    address = conninfo(server)
    name = f"service_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return Database("postgresql", lambda **options: psycopg.connect(address, dbname=name, **options))

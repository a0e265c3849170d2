"""Stores of any kind for tests that see only a URL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.servers.fixtures import conninfo, hold, new_mariadb_database, url
from tests.servers.server import Server

_numbers = itertools.count(1)


@contextmanager
def new_store(kind: str, directory: Path) -> Generator[str]:
    """The URL of an empty store of a kind of `chosen.KINDS`, on a server that the session shares.

    A database is made for it and dropped afterwards; a file is in `directory`. Skips the test, as `hold` does.
    """
    match kind:
        case "memory":
            yield "memory://"
        case "sqlite":
            yield f"sqlite:///{directory / 'store.db'}"
        case "postgres":
            with hold(Server.shared, "postgres") as server, _new_postgres_database(server) as name:
                yield url(server, name)
        case "pgbouncer":
            with (
                hold(Server.shared, "postgres") as server,
                hold(Server.shared, "pgbouncer", behind=server.address) as pooler,
                _new_postgres_database(server) as name,
            ):
                yield through(pooler, server, name)
        case _:
            with hold(Server.shared, kind) as server, new_mariadb_database(server) as name:
                yield url(server, name)


def through(pooler: Server, server: Server, database: str) -> str:
    """The URL of a database behind a pooler."""
    return f"{url(pooler, database)}?pgbouncer=true&listen={quote(url(server, database), safe='')}"


@contextmanager
def _new_postgres_database(server: Server) -> Generator[str]:
    name = f"perdure_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(conninfo(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield name
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

"""Stores of any kind for tests that see only a URL."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

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


def rows_of(url: str) -> dict[str, list[str]]:
    """All rows of all tables of a store, in order, by table; of a file its bytes. Nothing: it is not there.

    Without what nodes say to each other, which is a table on MySQL and lasts a minute.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = Path(unquote(url.removeprefix("sqlite:///")))
        return {str(one): [one.read_bytes().hex()] for one in sorted(path.parent.glob(path.name + "*"))}
    if parts.scheme == "mysql":
        return _mysql_rows(url)
    with psycopg.connect(_behind(url), autocommit=True) as connection:
        names = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'perdure'")]
        return {
            name: sorted(str(row) for row in connection.execute(f"SELECT * FROM perdure.{name}".encode()))
            for name in names
        }


def _behind(url: str) -> str:
    """The database itself, where a URL leads through a pooler."""
    listen = parse_qs(urlsplit(url).query).get("listen")
    return listen[0] if listen else url


def _mysql_rows(url: str) -> dict[str, list[str]]:
    parts = urlsplit(url)
    import asyncmy

    async def read() -> dict[str, list[str]]:
        connection = await asyncmy.connect(
            host=parts.hostname, port=parts.port or 0, user=parts.username, db=parts.path[1:], autocommit=True
        )
        rows: dict[str, list[str]] = {}
        try:
            async with connection.cursor() as cursor:
                await cursor.execute("SHOW TABLES")
                for (name,) in list(await cursor.fetchall()):
                    if name == "notices":
                        continue
                    await cursor.execute(f"SELECT * FROM {name}")
                    rows[name] = sorted(map(str, await cursor.fetchall()))
        finally:
            await connection.ensure_closed()
        return rows

    return asyncio.run(read())

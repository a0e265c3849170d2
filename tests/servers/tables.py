"""The tables of a store, by its URL alone: what is in them, and nothing in them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

Execute = Callable[[str], Awaitable[list[Any]]]


def rows_of(url: str) -> dict[str, list[str]]:
    """All rows of all tables of a store, in order, by table; of a file its bytes. Nothing: it is not there.

    Without what nodes say to each other, which is a table on MySQL and lasts a minute.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = Path(unquote(url.removeprefix("sqlite:///")))
        return {str(one): [one.read_bytes().hex()] for one in sorted(path.parent.glob(path.name + "*"))}
    if parts.scheme == "mysql":
        return asyncio.run(_in_mysql(url, _mysql_rows))
    with psycopg.connect(behind(url), autocommit=True) as connection:
        return {
            name: sorted(str(row) for row in connection.execute(f"SELECT * FROM perdure.{name}".encode()))
            for name in _postgres_tables(connection)
        }


def empty_tables(url: str) -> None:
    """Take every row out of a store in a database: to make tables takes longer than most tests of them."""
    if urlsplit(url).scheme == "mysql":
        asyncio.run(_in_mysql(url, _empty_mysql))
        return
    with psycopg.connect(behind(url), autocommit=True) as connection:
        names = [name for name in _postgres_tables(connection) if name != "perdure_store"]
        connection.execute("".join(f"DELETE FROM perdure.{name};" for name in names).encode())


def behind(url: str) -> str:
    """The database itself, where a URL leads through a pooler."""
    listen = parse_qs(urlsplit(url).query).get("listen")
    return listen[0] if listen else url


def _postgres_tables(connection: psycopg.Connection[Any]) -> list[str]:
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'perdure'")
    return [name for (name,) in found]


async def _in_mysql(url: str, work: Callable[[Execute], Awaitable[Any]]) -> Any:
    import asyncmy

    parts = urlsplit(url)
    connection = await asyncmy.connect(
        host=parts.hostname, port=parts.port or 0, user=parts.username, db=parts.path[1:], autocommit=True
    )

    async def execute(sql: str) -> list[Any]:
        async with connection.cursor() as cursor:
            await cursor.execute(sql)
            return list(await cursor.fetchall()) if cursor.description else []

    try:
        return await work(execute)
    finally:
        await connection.ensure_closed()


async def _mysql_rows(execute: Execute) -> dict[str, list[str]]:
    names = [name for (name,) in await execute("SHOW TABLES") if name != "notices"]
    return {name: sorted(map(str, await execute(f"SELECT * FROM {name}"))) for name in names}


async def _empty_mysql(execute: Execute) -> None:
    kept = ("perdure_store", "counters")
    filled = [name for (name,) in await execute("SHOW TABLES") if name not in kept]
    if filled:
        await execute("; ".join(f"DELETE FROM {name}" for name in filled))

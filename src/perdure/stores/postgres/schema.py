"""Makes the tables of a new store and brings an older one to the newest schema, whoever comes first of many nodes.

The schema's version is a row, written in the transaction that makes the tables. An advisory lock stands around it, so
that nodes may start at once. Nodes that are at work need not stop: a migration only adds, and says from which schema on
a perdure can work on what it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from importlib.resources import files

from perdure.stores.api import StoreError
from perdure.stores.only_reads import missing, outdated
from perdure.stores.postgres.driver import Connection, sqlstate
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.texts import in_schema
from perdure.stores.postgres.url import Settings

FIRST_VERSION = 1
OLDEST_SERVER = 13_00_00
LOCK_S = 60.0
"""How long a node waits for another one that makes or changes the tables."""
_NO_TABLE = ("42P01", "3F000")


def read_schema() -> str:
    """The newest schema, as SQL; its tables are not named by their schema."""
    return files("perdure.stores.postgres").joinpath("schema.sql").read_text(encoding="utf-8")


def read_migrations() -> dict[int, str]:
    """The scripts of `migrations/` by the version that each leads to."""
    folder = files("perdure.stores.postgres").joinpath("migrations")
    scripts = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {int(entry.name.split("_")[0]): entry.read_text(encoding="utf-8") for entry in scripts}


async def ensure(connection: Connection, settings: Settings, migrations: Mapping[int, str] | None = None) -> None:
    """Have the newest schema there. Raises StoreError for a newer one, and the driver's errors."""
    migrations = read_migrations() if migrations is None else migrations
    newest = max(migrations, default=FIRST_VERSION)
    [[server]] = await connection.fetch("SHOW server_version_num")
    if int(server) < OLDEST_SERVER:
        raise StoreError(
            f"The store {settings.shown} is on PostgreSQL {int(server) // 10_000}: perdure needs 13 or later."
        )
    if await _version(connection, settings, newest) == newest:
        await _settle(connection, settings)
        return
    async with asyncio.timeout(LOCK_S), connection.transaction():
        await _be_alone(connection, settings)
        version = await _version(connection, settings, newest, is_alone=True)
        if version == 0:
            # Asked first: IF NOT EXISTS, too, needs the right to create one.
            if not await connection.fetch("SELECT FROM pg_namespace WHERE nspname = $1", settings.schema):
                await connection.execute(f'CREATE SCHEMA "{settings.schema}"')
            await connection.execute(in_schema(read_schema(), settings.schema))
            insert = f"INSERT INTO perdure_store (id, version, serves) VALUES (1, {newest}, {FIRST_VERSION})"
            await connection.execute(in_schema(insert, settings.schema))
        for target in sorted(target for target in migrations if 0 < version < target):
            await connection.execute(in_schema(migrations[target], settings.schema))
            update = f"UPDATE perdure_store SET version = {target}"
            await connection.execute(in_schema(update, settings.schema))


async def find(connection: Connection, settings: Settings) -> None:
    """See that the newest schema is there. Raises StoreError for any other, and the driver's errors."""
    newest = max(read_migrations(), default=FIRST_VERSION)
    version = await _version(connection, settings, newest)
    if version == 0:
        raise missing(settings.shown)
    if version < newest:
        raise outdated(settings.shown, version, newest)


async def _version(connection: Connection, settings: Settings, newest: int, is_alone: bool = False) -> int:
    """The version that is there, 0 when there is none. Raises StoreError for one that is too new."""
    if is_alone:  # an error would end the transaction
        found = await connection.fetch("SELECT to_regclass($1)::text", f'"{settings.schema}".perdure_store')
        if found[0][0] is None:
            return 0
    try:
        rows = await connection.fetch(in_schema("SELECT version, serves FROM perdure_store", settings.schema))
    except Exception as error:
        if sqlstate(error) in _NO_TABLE:
            return 0
        raise
    if not rows:
        raise StoreError(f"The store {settings.shown} was made by halves: drop the schema {settings.schema!r}.")
    version, serves = rows[0]
    if version > newest and serves > newest:
        raise StoreError(
            f"The store {settings.shown} belongs to a newer perdure (schema {version}, this one knows up to {newest}): "
            "upgrade perdure on this node."
        )
    return max(version, 0) if version <= newest else newest


async def _settle(connection: Connection, settings: Settings) -> None:
    """After a restore on another server, whose transactions have other numbers, give rows places before all others."""
    find = in_schema(query("find_strangers"), settings.schema)
    if not any(*await connection.fetch(find)):
        return
    async with asyncio.timeout(LOCK_S), connection.transaction():
        await _be_alone(connection, settings)
        [strangers] = await connection.fetch(find)
        for name, is_strange in zip(("settle_tasks", "settle_messages"), strangers, strict=True):
            if is_strange:
                await connection.execute(in_schema(query(name), settings.schema))


async def _be_alone(connection: Connection, settings: Settings) -> None:
    """Until the transaction ends no other engine changes the tables of this schema."""
    await connection.execute(f"SELECT pg_advisory_xact_lock({_lock(settings.schema)})")


def _lock(schema: str) -> int:
    """The key of the advisory lock."""
    return int.from_bytes(blake2b(f"perdure {schema}".encode(), digest_size=8).digest(), signed=True)

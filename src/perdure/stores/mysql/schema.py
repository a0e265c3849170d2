"""Makes the tables of a new store and brings an older one to the newest schema, whoever comes first of many nodes.

MySQL commits around every DDL statement, so nothing here is one transaction: the row that says the schema's version is
written last, and every statement may be done twice. A named lock stands around it, so that nodes may start at once.
Nodes that are at work need not stop: a migration only adds, and says from which schema on a perdure can work on what it
leaves.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import TypeVar

from perdure.stores.api import StoreError
from perdure.stores.mysql.driver import Connection, errno
from perdure.stores.mysql.errors import DUPLICATE, is_transient
from perdure.stores.mysql.literals import literal
from perdure.stores.mysql.url import Settings
from perdure.stores.only_reads import missing, outdated

FIRST_VERSION = 1
LOCK_S = 60
"""How long a node waits for another one that makes or changes the tables."""
_NO_TABLE = 1146
_TRIES_MAX = 12
_Some = TypeVar("_Some")


def read_schema() -> str:
    """The newest schema, as SQL."""
    return files("perdure.stores.mysql").joinpath("schema.sql").read_text(encoding="utf-8")


def read_migrations() -> dict[int, str]:
    """The scripts of `migrations/` by the version that each leads to."""
    folder = files("perdure.stores.mysql").joinpath("migrations")
    scripts = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {int(entry.name.split("_")[0]): entry.read_text(encoding="utf-8") for entry in scripts}


async def ensure(connection: Connection, settings: Settings, migrations: Mapping[int, str] | None = None) -> None:
    """Have the newest schema there. Raises StoreError for a newer one, and the driver's errors."""
    scripts = read_migrations() if migrations is None else migrations
    await again(lambda: _ensure(connection, settings, scripts))


async def again(work: Callable[[], Awaitable[_Some]]) -> _Some:
    """What some work gives, which is done once more when another node was in its way, or first.

    The lock that keeps nodes apart is one member's in a Galera group. Raises what the work raises.
    """
    for _ in range(_TRIES_MAX):
        try:
            return await work()
        except Exception as error:
            if not (is_transient(error) or errno(error) == DUPLICATE):
                raise
    return await work()


async def _ensure(connection: Connection, settings: Settings, migrations: Mapping[int, str]) -> None:
    newest = max(migrations, default=FIRST_VERSION)
    if await _version(connection, settings, newest) == newest:
        return
    lock = literal(f"perdure {settings.database}"[:64])
    [locked] = await connection.query(b"SELECT GET_LOCK(%b, %d)" % (lock, LOCK_S))
    if locked.rows[0][0] != 1:
        raise StoreError(f"Another engine makes the tables of the store {settings.shown}, and does not end: try again.")
    try:
        version = await _version(connection, settings, newest)
        if version == 0:
            await _run(connection, read_schema())
            insert = b"INSERT INTO perdure_store (id, version, serves) VALUES (1, %d, %d)" % (newest, FIRST_VERSION)
            await connection.query(insert)
        for target in sorted(target for target in migrations if 0 < version < target):
            await _run(connection, migrations[target])
            await connection.query(b"UPDATE perdure_store SET version = %d" % target)
    finally:
        await connection.query(b"SELECT RELEASE_LOCK(%b)" % lock)


async def find(connection: Connection, settings: Settings) -> None:
    """See that the newest schema is there. Raises StoreError for any other, and the driver's errors."""
    newest = max(read_migrations(), default=FIRST_VERSION)
    version = await _version(connection, settings, newest)
    if version == 0:
        raise missing(settings.shown)
    if version < newest:
        raise outdated(settings.shown, version, newest)


async def _run(connection: Connection, script: str) -> None:
    for text in re.sub(r"--.*", "", script).split(";"):
        if text.strip():
            await connection.query(text.encode())


async def _version(connection: Connection, settings: Settings, newest: int) -> int:
    """The version that is there, 0 when there is none. Raises StoreError for one that is too new."""
    try:
        [found] = await connection.query(b"SELECT version, serves FROM perdure_store")
    except Exception as error:
        if errno(error) == _NO_TABLE:
            return 0
        raise
    if not found.rows:
        return 0  # made by halves: the rest is made now
    [(version, serves)] = found.rows
    if version > newest and serves > newest:
        raise StoreError(
            f"The store {settings.shown} belongs to a newer perdure (schema {version}, this one knows up to {newest}): "
            "upgrade perdure on this node."
        )
    return min(version, newest)

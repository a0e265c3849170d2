"""Makes the tables of a new file and brings an older file to the newest schema.

The schema's version is SQLite's `user_version`; `application_id` says that the file is ours at all.
Both are written in the same transaction as the tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from perdure.stores.api import StoreError
from perdure.stores.sqlite import checksums

APPLICATION_ID = 0x70726475
"""ASCII `prdu`: marks a SQLite file as a perdure store."""
FIRST_VERSION = 1


def read_schema() -> str:
    """The newest schema, as SQL."""
    return files("perdure.stores.sqlite").joinpath("schema.sql").read_text(encoding="utf-8")


def read_migrations() -> dict[int, str]:
    """The scripts of `migrations/` by the version that each leads to."""
    folder = files("perdure.stores.sqlite").joinpath("migrations")
    scripts = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {int(entry.name.split("_")[0]): entry.read_text(encoding="utf-8") for entry in scripts}


def identify(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The schema version of the file, 0 when it is empty. Reads only.

    Raises StoreError for a file of another application or of a newer perdure.
    """
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    if application_id != APPLICATION_ID:
        if application_id or version or connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            raise StoreError(
                f"{path} is a SQLite database of another application: perdure leaves it alone; name another file "
                "in the store's URL."
            )
        return 0
    if version > newest:
        raise StoreError(
            f"The store {path} was written by a newer perdure (schema {version}, this one knows up to {newest}): "
            "upgrade perdure, or restore a backup made with this version."
        )
    return version


def migrate(connection: sqlite3.Connection, version: int, migrations: Mapping[int, str]) -> None:
    """Bring a file of that version to the newest: create the tables, or run what is missing, or nothing.

    Raises sqlite3.Error when a script fails, with nothing of that script kept.
    """
    checksums.teach(connection)
    if version == 0:
        newest = max(migrations, default=FIRST_VERSION)
        _run(connection, f"PRAGMA application_id = {APPLICATION_ID};\n{read_schema()}", newest)
        return
    for target in sorted(target for target in migrations if target > version):
        _run(connection, migrations[target], target)


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    """A script and its version number in one transaction."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {version};\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]

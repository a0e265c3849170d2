"""Checksums (`stores/checksums.py`) where SQLite is concerned: what is said of damage, and what a migration asks.

The migration to the schema with checksums computes them by the SQL function `perdure_checksum(data, seed)`.
"""

from __future__ import annotations

import sqlite3
from zlib import crc32

from perdure.stores.api import Damaged

_MASK = 0xFFFFFFFF


def damaged(what: str) -> Damaged:
    """What is said of a row whose checksum does not fit."""
    return Damaged(
        f"The store holds {what} in a damaged form (its checksum does not fit): keep a copy of the file, look at the "
        "disk, and restore a backup (`perdure store restore`); `perdure store check` names all that is damaged."
    )


def teach(connection: sqlite3.Connection) -> None:
    """Make `perdure_checksum` known to a connection that migrates."""

    def checksum(data: bytes, seed: int) -> int:
        return crc32(data, seed & _MASK)

    connection.create_function("perdure_checksum", 2, checksum, deterministic=True)

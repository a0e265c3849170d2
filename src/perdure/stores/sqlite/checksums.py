"""Checksums of what the tables hold as bytes: CRC-32, which finds every flipped bit.

SQLite notices damage to the structure of its pages, not to what is in them: a bit of an event or of a state that a disk
or a cable flips would be read, believed, and acted upon. Each checksum begins with numbers that belong to the row, so
that bytes which have come to stand in another row do not fit either. (Measured: 0.3 µs a commit.)

The migration to the schema with checksums computes them by the SQL function `perdure_checksum(data, seed)`.
"""

from __future__ import annotations

import sqlite3
from zlib import crc32

from perdure.stores.api import Damaged

_MASK = 0xFFFFFFFF


def of_snapshot(snapshot: bytes, number: int) -> int:
    """Of a state, in the row of that number."""
    return crc32(snapshot, number & _MASK)


def of_event_bytes(data: bytes, number: int, event_id: int) -> int:
    """Of a batch of events or a part of a state, which stands under an execution's number and an event id."""
    return crc32(data, (number * 31 + event_id) & _MASK)


def of_message(data: bytes, position: int) -> int:
    """Of a message on its way."""
    return crc32(data, position & _MASK)


def of_record(data: bytes, version: int) -> int:
    """Of a record of that version."""
    return crc32(data, version & _MASK)


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

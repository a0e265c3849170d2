"""How far acknowledged commits went, said outside of the write-ahead log: a log that is missing is noticed at start.

What was acknowledged since the last checkpoint is in the log alone. Without the log (it was deleted after a crash, or
left behind when somebody copied one file) SQLite opens the database as it was at that checkpoint, and nothing tells.
So after a transaction the store's lock file is told by which row it can be known: the execution that was
written last, and its version, which only grows. At start that row is looked up. When it is not there, or is older, then
what was acknowledged is not there either.

The mark is written once the transaction is durable, at most some ten times a second, and is not synchronised. So it may
lag behind what is durable (by a moment; after a power cut by more), and is never ahead of it; a crash at any moment
gives no false alarm. A transaction without
commits (records, deletions, namespaces) counts itself in a row of its own, and that count is in the mark too: a
database whose count is higher has seen all that the mark speaks of, whether or not the execution was deleted since.
A checkpoint, VACUUM and a clean end leave rows and versions as they are; a clean end, which leaves nothing in
the log, takes the mark away, so that an older copy may be put in the store's place. A backup has a lineage of its own:
no mark of the store that it was made of is about it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from perdure.stores.sqlite.queries import query

_FIND_LINEAGE = query("find_lineage")
_FIND_VERSION = query("find_version")

MARKED_SINCE = 6
"""Schema from which on a store says how far it has come."""
_WORD = b"mark"
MARK_BYTES = 128
"""A mark with its padding."""


class Mark(NamedTuple):
    """See the module's text."""

    lineage: str
    changes: int
    number: int
    """The execution's; 0: none has been written since the last transaction without commits."""
    version: int

    def encode(self) -> bytes:
        """A line of text, of a length that does not change."""
        text = b"%b %b %d %d %d" % (_WORD, self.lineage.encode(), self.changes, self.number, self.version)
        return (b"%b %08x" % (text, crc32(text))).ljust(MARK_BYTES - 1) + b"\n"


NO_MARK = b" " * (MARK_BYTES - 1) + b"\n"


def decode(line: bytes) -> Mark | None:
    """None: there is no mark, or it is not whole; then nothing is known."""
    words = line.split()
    if len(words) != 6 or words[0] != _WORD:
        return None
    if b"%08x" % crc32(b" ".join(words[:5])) != words[5]:
        return None
    return Mark(words[1].decode(), int(words[2]), int(words[3]), int(words[4]))


def missing(connection: sqlite3.Connection, mark: Mark) -> str | None:
    """What the database lacks that was acknowledged, in words; None: it has all that the mark speaks of."""
    lineage, changes = connection.execute(_FIND_LINEAGE).fetchone()
    if lineage != mark.lineage or changes > mark.changes:
        return None
    if changes < mark.changes:
        return f"{mark.changes - changes} of its latest changes"
    if not mark.number:
        return None
    row = connection.execute(_FIND_VERSION, (mark.number,)).fetchone()
    if row is None:
        return f"executions, number {mark.number} among them"
    if row[0] < mark.version:
        return f"commits: one of its executions is at version {row[0]} and had come to {mark.version}"
    return None


def refusal(path: Path, lacks: str) -> str:
    """What is said of a store that lacks something."""
    return (
        f"The store {path} lacks {lacks}: all of it was acknowledged, and was in its write-ahead log {path}-wal, which "
        "is missing or incomplete. Put the log back beside the store, or restore a backup (`perdure store restore`). "
        f"To go on without what is lost: `perdure store accept-loss --store {path}`."
    )

"""Opens the database file, or says in one sentence why not.

Three connections on one file: one writes, one answers small reads on the event loop, one is for
reads that scan and run in a thread. In WAL mode readers see what is committed and nobody waits for
anybody. Caches are small and bounded; the operating system caches the file.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from perdure.stores.api import StoreError

_MAGIC = b"SQLite format 3\x00"
"""How every SQLite file begins (https://www.sqlite.org/fileformat.html)."""
PRIVATE = 0o600
"""Rights of every file of a store."""
_WRITER_CACHE_KIB = 16 << 10
_READER_CACHE_KIB = 4 << 10
CHECKPOINT_PAGES = 4000
"""The write-ahead log is copied into the file when it is this long (16 MB): hot pages are copied once."""
_LOG_KEPT_BYTES = 64 << 20
"""A log that a long backup made grow is cut to this length afterwards."""


def check_path(path: Path) -> None:
    """Raises StoreError for a place where a store cannot be: no directory, no right, another kind of file."""
    directory = path.parent
    if not directory.is_dir():
        raise StoreError(
            f"The store {path} cannot be opened, its directory {directory} does not exist: create it with "
            f"`mkdir -p {directory}`, or correct the store's URL."
        )
    if path.is_dir():
        raise StoreError(f"The store {path} cannot be opened, it is a directory: name a file in the store's URL.")
    if not _may(directory, os.W_OK | os.X_OK) or (path.exists() and not _may(path, os.R_OK | os.W_OK)):
        raise StoreError(f"The store {path} is read-only: make the file and its directory writable for this user.")


def refuse_other_names(path: Path) -> None:
    """Raises StoreError for a file that has a second name, a hard link.

    Log, lock and socket stand beside a name. Whoever opens the file by another one finds none of them, becomes a second
    owner, and the file is destroyed (https://www.sqlite.org/howtocorrupt.html, "Multiple links to the same file").
    """
    if path.exists() and (links := path.stat().st_nlink) > 1:
        raise StoreError(
            f"The store {path} has {links} names (hard links), and log and lock stand beside one of them alone: two "
            f"engines would destroy it. Find them with `find DIRECTORY -samefile {path}`, and remove those without a "
            "log beside them; to copy a store there is `perdure store backup`."
        )


def check_kind(path: Path) -> None:
    """Raises StoreError for a file of another kind.

    Never asked of a file that this process has open: closing it here would take SQLite's locks away.
    """
    if path.exists() and not _begins_like_sqlite(path):
        raise StoreError(
            f"{path} is not a SQLite database: name another file in the store's URL, or move this one away."
        )


def refuse_a_lone_log(path: Path) -> None:
    """Raises StoreError for a log without its store, which SQLite would silently throw away."""
    log = path.with_name(path.name + "-wal")
    if not path.exists() and log.exists() and log.stat().st_size:
        raise StoreError(
            f"The store {path} is gone and its write-ahead log {log} is there, with what was acknowledged last: put "
            "the store back, or restore a backup (`perdure store restore`); to begin anew, move the log away."
        )


def make_private(path: Path) -> bool:
    """Make an empty file that only its owner may read and write, whatever the umask says; one that exists is left.

    Returns whether it was made.
    SQLite gives the log and its index the rights of the file.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    except FileExistsError:
        return False
    try:
        os.fchmod(file, PRIVATE)
    finally:
        os.close(file)
    return True


def take_rights_away(path: Path) -> None:
    """From a store that an older perdure made: others than its owner may not read it any more."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        file = path.with_name(path.name + suffix)
        if file.exists() and file.stat().st_uid == os.geteuid():
            file.chmod(PRIVATE)


def _may(path: Path, rights: int) -> bool:
    """Whether this process has the rights, asked for the user that it acts as where the system can tell."""
    return os.access(path, rights, effective_ids=os.access in os.supports_effective_ids)


def _begins_like_sqlite(path: Path) -> bool:
    """An empty file is a database without tables."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) in (_MAGIC, b"")


OPEN_WAIT_S = 5.0
"""How long who opens a file, in a thread, waits for a lock: behind a crash even a reader may have it locked for a
moment, for whoever comes first puts the log in order."""


def connect_writer(path: Path, wait_s: float = 0.0) -> sqlite3.Connection:
    """The connection that writes, with nothing changed in the file yet.

    By itself it never waits for a lock (it runs on the event loop): a busy file is an error at once. With `wait_s` it
    does, until `wait_no_more`.
    """
    return _connect(path, _WRITER_CACHE_KIB, wait_s)


def wait_no_more(connection: sqlite3.Connection) -> None:
    """A lock is an error at once from now on."""
    connection.execute("PRAGMA busy_timeout = 0").fetchone()


def make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """From now on every commit is synchronised to disk before it returns. Raises StoreError when it cannot be."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"The store {path} cannot keep a write-ahead log here: use a local disk, not a network one.")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the platters
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT_BYTES}")


def connect_reader(path: Path, wait_s: float = 0.0) -> sqlite3.Connection:
    """A connection that cannot write; `wait_s` as for the one that can."""
    connection = _connect(path, _READER_CACHE_KIB, wait_s)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path, cache_kib: int, wait_s: float) -> sqlite3.Connection:
    """On a file that exists: none is made here, in the place of one that was deleted."""
    connection = sqlite3.connect(
        f"file:{quote(os.fspath(path))}?mode=rw",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA mmap_size = 0")
    except BaseException:  # a damaged file is noticed here; who asked gets no connection to close
        connection.close()
        raise
    return connection

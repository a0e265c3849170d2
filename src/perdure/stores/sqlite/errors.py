"""SQLite's errors as sentences that name the file and the fix.

SQLite says what went wrong by a number (https://www.sqlite.org/rescode.html); its low byte is the
kind of error, the rest the detail.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from perdure.stores.api import StoreError, Unstorable
from perdure.stores.encoding import unstorable

_KIND = 0xFF
_BUSY_KINDS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FSYNC_ERRORS = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)

_SENTENCES = {
    sqlite3.SQLITE_FULL: (
        "The disk is full: the store {path} could not write. Nothing of the transaction was kept; "
        "free some space and it serves again."
    ),
    sqlite3.SQLITE_READONLY: ("The store {path} is read-only: make the file and its directory writable for this user."),
    sqlite3.SQLITE_CORRUPT: (
        "The store {path} is damaged ({error}): stop the engine, keep a copy of the file, and restore a backup "
        "or save what can be read with `sqlite3 {path} .recover`."
    ),
    sqlite3.SQLITE_NOTADB: (
        "{path} is not a SQLite database: name another file in the store's URL, or move this one away."
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "The store {path} cannot be opened: check that its directory exists, that this user may read and write both, "
        "and that the process has descriptors left (`ulimit -n`)."
    ),
    sqlite3.SQLITE_PERM: "This user may not access the store {path}: make the file and its directory writable for it.",
    sqlite3.SQLITE_IOERR: (
        "The disk under the store {path} failed ({error}): nothing of the transaction was kept; check the disk, its "
        "quota and the system's log."
    ),
    sqlite3.SQLITE_BUSY: "The store {path} is locked by another program: close what has the file open for writing.",
    sqlite3.SQLITE_LOCKED: "The store {path} is locked by another program: close what has the file open for writing.",
    sqlite3.SQLITE_NOMEM: "The store {path} ran out of memory: give the process more, or lower its memory limit.",
    sqlite3.SQLITE_TOOBIG: (
        "A value is too big for the store {path} (SQLite's limit is 1 GB): keep such data elsewhere and pass a "
        "reference."
    ),
    sqlite3.SQLITE_PROTOCOL: "The store {path} could not be locked: use a local disk, not a network file system.",
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 when the error is Python's own."""
    return getattr(error, "sqlite_errorcode", 0)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock just now: the one error that waiting cures."""
    return _code(error) & _KIND in _BUSY_KINDS


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged."""
    return _code(error) & _KIND in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_interrupt(error: sqlite3.Error) -> bool:
    """Whether a statement was ended because it was told to."""
    return _code(error) & _KIND == sqlite3.SQLITE_INTERRUPT


def is_fsync_failure(error: sqlite3.Error) -> bool:
    """Whether what was written may or may not be on disk, and only reading it back can tell."""
    return _code(error) in _FSYNC_ERRORS


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """The same error as a sentence. Raise it `from error`."""
    code = _code(error)
    sentence = _SENTENCES.get(code & _KIND, "The store {path} failed: {error}.")
    detail = f"{error}, {error.sqlite_errorname}" if code else str(error)
    return StoreError(sentence.format(path=path, error=detail))


def is_of_the_store(error: Exception) -> bool:
    """Whether the file, the disk or the machine is to blame, and not one of the commits that were written.

    A commit is to blame for a value that cannot be bound (OverflowError, UnicodeError, sqlite3.InterfaceError, ...),
    is too big (DataError), or contradicts a constraint (IntegrityError).
    """
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)):
        return False
    return isinstance(error, (sqlite3.Error, MemoryError, OSError))


def set_apart(error: Exception, what: str) -> Unstorable:
    """One of a batch as refused for an error of its own. Raises the error when the store as a whole is to blame."""
    if is_of_the_store(error):
        raise error
    refused = unstorable(error, what)
    refused.is_value = refused.is_value or isinstance(error, sqlite3.DataError)
    return refused


@contextmanager
def as_store_error(path: Path) -> Generator[None]:
    """Raise SQLite's errors as StoreErrors."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(error, path) from error

"""Copies a live store to another file.

SQLite's backup begins anew whenever another connection commits, so beside a busy engine it would
never end. The copying connection therefore holds a read transaction: it copies the file as it was
when the copy began, and the writer goes on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from perdure.stores.api import StoreError
from perdure.stores.sqlite import mark
from perdure.stores.sqlite.connection import make_private
from perdure.stores.sqlite.errors import as_store_error
from perdure.stores.sqlite.queries import query

_RENEW_LINEAGE = query("renew_lineage")
_PAGES_PER_STEP = 1024
"""4 MB between two chances for other threads to run."""


Progress = Callable[[int, int], None]
"""Told pages copied and pages in all, after every step, in the copying thread."""


def copy(source: sqlite3.Connection, path: Path, progress: Progress | None) -> None:
    """Write `source`, as it is now, to a new file at `path`; all of it or nothing."""
    with new_file(path) as partial:
        copy_pages(source, partial, progress)


@contextmanager
def new_file(path: Path) -> Generator[Path]:
    """A file to write, which is at `path`, durable and whole, when this ends well, and otherwise nowhere.

    Raises StoreError when something is there already, or it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    for file in (path, partial):
        if file.exists():
            raise _would_overwrite(file)
    if not path.parent.is_dir():
        raise StoreError(f"The backup's directory {path.parent} does not exist: create it, or name another file.")
    try:
        with as_store_error(path):
            yield partial
        synchronise(partial)
        os.link(partial, path)
        synchronise(path.parent)
    except FileExistsError:
        raise _would_overwrite(path) from None
    except OSError as error:
        raise StoreError(f"The backup {path} cannot be written ({error.strerror}): choose another place.") from error
    finally:
        partial.unlink(missing_ok=True)


def _would_overwrite(file: Path) -> StoreError:
    return StoreError(
        f"The backup would overwrite {file}, which exists already: name a new file, or move that one away."
    )


def copy_pages(source: sqlite3.Connection, partial: Path, progress: Progress | None = None) -> None:
    """Write `source`, as it is now, to a file that only its owner may read; what is there is begun anew."""

    def step(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    partial.unlink(missing_ok=True)
    make_private(partial)
    with as_store_error(partial):
        target = sqlite3.connect(partial, isolation_level=None)
        try:
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema").fetchone()
            source.backup(target, pages=_PAGES_PER_STEP, progress=step)
            _make_independent(target)
        finally:
            target.close()
            source.rollback()


def _make_independent(copy: sqlite3.Connection) -> None:
    """One file that needs no log beside it, and a lineage of its own: what is said of the store is not said of it."""
    copy.execute("PRAGMA journal_mode = DELETE")
    if copy.execute("PRAGMA user_version").fetchone()[0] >= mark.MARKED_SINCE:
        copy.execute(_RENEW_LINEAGE)


def synchronise(path: Path) -> None:
    """Have a file, or a directory's entries, on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

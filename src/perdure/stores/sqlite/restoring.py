"""Puts a backup in the place of a store, whole or not at all; and goes on with a store that has lost something.

The backup is copied beside the place and renamed into it once it is durable. What is there is owned meanwhile, so no
engine is on it; its log is copied into it first, for a log that is left behind would be taken for the new file's.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from perdure.stores.api import StoreError
from perdure.stores.sqlite import backup, checking
from perdure.stores.sqlite.connection import check_path, connect_writer
from perdure.stores.sqlite.mark import Mark, missing
from perdure.stores.sqlite.ownership import Ownership
from perdure.stores.sqlite.read_only import ReadOnlyFile

_log = logging.getLogger(__name__)

_TOLD_MAX = 3
"""Of what is damaged, in an error."""


def restore(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """Make `target` a copy of the store in `source`, after everything in that was checked.

    Raises StoreError when `source` is no sound store, when an engine has `target` open, or when something is there
    and `overwrite` is not said; then `target` is as it was.
    """
    reading = ReadOnlyFile(source, any_version=True)
    try:
        damage = reading.read(checking.check)
        if damage:
            raise StoreError(f"{source} is damaged, nothing was restored: {_few(damage)}.")
        check_path(target)
        if target.exists() and target.samefile(source):
            raise StoreError(f"{source} is the store itself: name a backup of it.")
        ownership = Ownership(target)
        try:
            _refuse_to_overwrite(target, overwrite)
            _put_in_place(reading, target)
            ownership.forget_mark()
        finally:
            ownership.release()
    finally:
        reading.close()


def accept_loss(path: Path) -> str | None:
    """Have the next engine go on with what the store holds; returns what had kept it from that, if anything had.

    Raises StoreError when an engine has it open.
    """
    if not path.is_file():
        raise StoreError(f"There is no store {path}: correct the URL.")
    ownership = Ownership(path)
    try:
        newest = ownership.read_mark()
        lacks = None if newest is None else _lacks(path, newest)
        if lacks is not None:
            ownership.forget_mark()
        return lacks
    finally:
        ownership.release()


def _lacks(path: Path, newest: Mark) -> str | None:
    if not path.stat().st_size:
        return "everything: it is an empty file"
    with closing(ReadOnlyFile(path)) as reading:
        return reading.read(missing, newest)


def _few(problems: list[str]) -> str:
    more = len(problems) - _TOLD_MAX
    return "; ".join(problems[:_TOLD_MAX]) + (f"; and {more} more" if more > 0 else "")


def _refuse_to_overwrite(target: Path, overwrite: bool) -> None:
    for file in (target, _log_of(target)):
        if file.exists() and not overwrite:
            raise StoreError(
                f"{file} exists already: name another place, or say --overwrite to put the backup in its place."
            )


def _put_in_place(reading: ReadOnlyFile, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    try:
        reading.read(backup.copy_pages, partial)
        backup.synchronise(partial)
        _settle_log(target)
        os.replace(partial, target)
        backup.synchronise(target.parent)
    except OSError as error:
        raise StoreError(f"The store {target} cannot be written ({error.strerror}): choose another place.") from error
    finally:
        partial.unlink(missing_ok=True)


def _settle_log(target: Path) -> None:
    """Have what is there whole in one file, as far as that can be; no log of it is left."""
    if target.exists():
        try:
            with closing(connect_writer(target)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.warning("what was at %s is replaced without its log, for it is damaged: %s", target, error)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")

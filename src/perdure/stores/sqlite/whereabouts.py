"""Whether the names of a store's files still lead to the files that are open.

A file that is deleted, moved or replaced under a running engine can be written to as before, but no name leads to what
is written: it would be acknowledged and lost. SQLite does not look, so the store does: the inode behind each name is
compared with the one that was there when the file was opened. An inode of an open file is never given to another one.

Names are looked at with `stat` alone. To open and close one of these files would take away the record locks that
SQLite, and `ownership.py`, hold on it: POSIX drops them when a process closes any descriptor of the file.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger(__name__)

_EVERY_S = 0.5

_SENTENCES = {
    "": (
        "The store {path} was {what} while the engine had it open: what is written now would be in a file that no name "
        "leads to, so nothing more is taken. Stop the engine; put the file back, or restore a backup (`perdure store "
        "restore`); then start it again."
    ),
    "-wal": (
        "The write-ahead log {path}-wal was {what} while the engine had the store open, so nothing more is taken. Stop "
        "the engine in an orderly way (not by SIGKILL): it then copies what the log holds into the store. Then start "
        "it again."
    ),
    "-shm": (
        "The index {path}-shm of the write-ahead log was {what} while the engine had the store open, so nothing more "
        "is taken: another program could not see what this one writes. Stop the engine, and start it again."
    ),
    ".lock": (
        "The lock file {path}.lock was {what} while the engine had the store open, so nothing more is taken: another "
        "engine could own the store beside this one. Stop the engine, and start it again."
    ),
}
"""By what stands behind the store's name."""


class Whereabouts:
    """The files of a store that has just been opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        real = path.resolve()  # SQLite keeps its log beside the file itself, not beside a symbolic link to it
        names = {suffix: real.with_name(real.name + suffix) if suffix else path for suffix in _SENTENCES}
        found = {suffix: _identity(name) for suffix, name in names.items()}
        self._known = {suffix: (os.fspath(names[suffix]), at) for suffix, at in found.items() if at is not None}

    def fault(self) -> str | None:
        """What has happened to them, in a sentence; None: they are where they were."""
        for suffix, (name, known) in self._known.items():
            try:
                found = os.stat(name)
            except (FileNotFoundError, NotADirectoryError):
                return _SENTENCES[suffix].format(path=self._path, what="deleted or moved away")
            except OSError:
                continue  # it cannot be told (a right was taken away): no proof that anything happened
            if (found.st_dev, found.st_ino) != known:
                return _SENTENCES[suffix].format(path=self._path, what="replaced by another file")
        return None


def _identity(name: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Watch:
    """Looks twice a second, in a thread of its own, for an engine that has nothing to write. `stop` it."""

    def __init__(self, look: Callable[[], bool]) -> None:
        """`look` says whether there is a reason to look again."""
        self._look = look
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="perdure-watch", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be had: every commit looks too
            self._stopped.set()
            _log.warning("the files of a store are looked at when something is written, and not in between: %s", error)

    def stop(self) -> None:
        """Returns when it does not look any more. Idempotent."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()

    def _run(self) -> None:
        goes_on = True
        while goes_on and not self._stopped.wait(_EVERY_S):
            goes_on = self._look()

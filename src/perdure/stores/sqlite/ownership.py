"""One process owns a database file, and a second one is told who.

The engine caches what the store holds, so two engines on one file would trip over each other on every commit. The owner
holds the lock of `lock_file.py`, and says in the file who it is. Who comes second may ask the owner for everything
(`perdure.embedded.shared_file`), if both speak the same protocol.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import msgspec

from perdure.stores.api import StoreError
from perdure.stores.sqlite import mark
from perdure.stores.sqlite.lock_file import LockFile, lock_path, open_lock_file
from perdure.stores.sqlite.mark import Mark

_log = logging.getLogger(__name__)

_owned: dict[Path, int] = {}
"""Files owned in this process, and its pid: after a fork the child sees its parent's."""
_owned_guard = Lock()
_MARK_AT = 512
"""Where the mark stands in the lock file, behind its owner."""
PROTOCOL = 1
"""How processes share a file: the socket beside it, and what a worker's key means. 0: they do not."""


class OwnedError(StoreError):
    """The store has an owner already, here or in another process."""


class Owner(msgspec.Struct):
    """What the lock file says about who holds it."""

    pid: int
    host: str
    since: str
    """ISO 8601, UTC."""
    version: str = ""
    """Of its perdure."""
    protocol: int = 0

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"


class Ownership:
    """Holds `path` for this process until `release`."""

    def __init__(self, path: Path) -> None:
        """Raises OwnedError naming the owner when there is one already; StoreError when there can be none."""
        self._path = path.resolve()
        self._mark: Mark | None = None
        self._can_mark = True
        self.lock_path = lock_path(self._path)
        with _owned_guard:
            if _owned.get(self._path) == os.getpid():
                raise OwnedError(
                    f"The store {path} is open already in this process (pid {_owned[self._path]}): "
                    "share that engine, close it first, or use another file."
                )
            self._file: LockFile | None = self._lock(path)
            _owned[self._path] = os.getpid()

    def _lock(self, path: Path) -> LockFile:
        try:
            file = open_lock_file(self._path, make=True)
        except OSError as error:
            raise StoreError(
                f"The store {path} cannot be owned, its lock file {self.lock_path} cannot be written "
                f"({error.strerror}): make the file and its directory writable for this user."
            ) from error
        try:
            if not file.take():
                owner = _read_owner(file)
                raise OwnedError(
                    f"The store {path} is owned by another process, {owner or _STARTING}: stop that process, or use "
                    "another file."
                )
            self._mark = mark.decode(os.pread(file.file, mark.MARK_BYTES, _MARK_AT))
            os.pwrite(file.file, _describe_this_process().ljust(_MARK_AT), 0)
        except OSError as error:
            file.leave()
            file.close()
            raise StoreError(
                f"The store {path} cannot be owned, locking {self.lock_path} failed ({error.strerror}): use a local "
                "disk with room on it, not a network file system."
            ) from error
        except BaseException:
            file.close()
            raise
        return file

    def read_mark(self) -> Mark | None:
        """How far the store had come, as the process before this one left it written."""
        return self._mark

    def write_mark(self, newest: Mark) -> None:
        """So far it has come, durably. A mark that cannot be written stays behind, which harms nobody."""
        if newest != self._mark:
            self._mark = newest
            self._put_mark(newest.encode())

    def forget_mark(self) -> None:
        """All that was acknowledged is in the file itself."""
        self._mark = None
        self._put_mark(mark.NO_MARK)

    def _put_mark(self, line: bytes) -> None:
        if self._can_mark and self._file is not None:
            try:
                os.pwrite(self._file.file, line, _MARK_AT)
            except OSError as error:
                self._can_mark = False
                _log.warning("a missing log of %s would not be noticed at the next start: %s", self._path, error)

    def release(self) -> None:
        """Let another process own the file. Idempotent."""
        with _owned_guard:
            file, self._file = self._file, None
            if file is not None and _owned.get(self._path) == os.getpid():
                del _owned[self._path]
                file.leave()
                file.close()


def mark_beside(path: Path) -> Mark | None:
    """How far the store at `path` has come, as its engine left it written; None: that is not known here."""
    path = path.resolve()
    if is_owned_here(path):
        return None  # who owns it knows better
    try:
        file = open_lock_file(path, make=False)
    except OSError:
        return None
    with closing(file):
        return mark.decode(os.pread(file.file, mark.MARK_BYTES, _MARK_AT))


def is_owned_here(path: Path) -> bool:
    """Whether this process owns the store."""
    with _owned_guard:
        return _owned.get(path.resolve()) == os.getpid()


def owner_of(path: Path) -> str | None:
    """Who owns the store at `path` now, in words; None: nobody. Neither takes the lock nor makes its file."""
    if is_owned_here(path):
        return f"this process, pid {os.getpid()}"
    try:
        file = open_lock_file(path.resolve(), make=False)
    except OSError:
        return None  # no engine was ever here, or another user's: then its file could not be read either
    with closing(file):
        return f"another process, {_read_owner(file) or _STARTING}" if file.is_taken() else None


def read_owner(path: Path) -> Owner | None:
    """Who owns the store, or owned it last; None: that is not written, or half written just now."""
    try:
        file = open_lock_file(path.resolve(), make=False)
    except OSError:
        return None
    with closing(file):
        return _read_owner(file)


_STARTING = "which is just starting"


@cache
def _version() -> str:
    return version("perdure")


def _describe_this_process() -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = Owner(os.getpid(), socket.gethostname(), since, _version(), PROTOCOL)
    return msgspec.json.encode(owner) + b"\n"


def _read_owner(file: LockFile) -> Owner | None:
    """Who wrote the lock file; None: it may be half written just now."""
    try:
        return msgspec.json.decode(os.pread(file.file, _MARK_AT, 0), type=Owner)
    except msgspec.MsgspecError:
        return None

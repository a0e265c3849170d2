"""One process owns a database file, and a second one is told who.

The engine caches what the store holds, so two engines on one file would trip over each other on
every commit. The owner holds a POSIX record lock on `<file>.lock`: the kernel lets go of it however
the process ends, SIGKILL included, and a forked child (a process pool for activities) does not
inherit it, as it would inherit `flock`. A record lock says nothing within one process, so a set of
the files owned here stands beside it. The lock file is left behind on purpose: deleting it would
let two processes lock two files of one name.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import msgspec

from perdure.stores.api import StoreError
from perdure.stores.sqlite import mark
from perdure.stores.sqlite.connection import make_private
from perdure.stores.sqlite.mark import Mark

_log = logging.getLogger(__name__)

_owned: dict[Path, int] = {}
"""Files owned in this process, and its pid: after a fork the child sees its parent's."""
_owned_guard = Lock()
_MARK_AT = 512
"""Where the mark stands in the lock file, behind its owner."""
_FLOCK = "hhqqi4x"
"""`struct flock` of 64-bit Linux: kind, whence, start, length, pid."""


class Owner(msgspec.Struct):
    """What the lock file says about who holds it."""

    pid: int
    host: str
    since: str
    """ISO 8601, UTC."""


class Ownership:
    """Holds `path` for this process until `release`."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError naming the owner when there is one already."""
        self._path = path.resolve()
        self._mark: Mark | None = None
        self._can_mark = True
        self.lock_path = self._path.with_name(self._path.name + ".lock")
        with _owned_guard:
            if self._path in _owned:
                raise StoreError(
                    f"The store {path} is open already in this process (pid {_owned[self._path]}): "
                    "share that engine, close it first, or use another file."
                )
            self._file = self._lock(path)
            _owned[self._path] = os.getpid()

    def _lock(self, path: Path) -> int:
        try:
            make_private(self.lock_path)
            file = os.open(self.lock_path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(
                f"The store {path} cannot be owned, its lock file {self.lock_path} cannot be written "
                f"({error.strerror}): make the file and its directory writable for this user."
            ) from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._mark = mark.decode(os.pread(file, mark.MARK_BYTES, _MARK_AT))
            os.pwrite(file, _describe_this_process().ljust(_MARK_AT), 0)
        except BlockingIOError:
            owner = _read_owner(file)
            os.close(file)
            raise StoreError(
                f"The store {path} is owned by another process, {owner}: stop that process, or use another file."
            ) from None
        except OSError as error:
            os.close(file)
            raise StoreError(
                f"The store {path} cannot be owned, locking {self.lock_path} failed ({error.strerror}): use a local "
                "disk with room on it, not a network file system."
            ) from error
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
        if self._can_mark:
            try:
                os.pwrite(self._file, line, _MARK_AT)
            except OSError as error:
                self._can_mark = False
                _log.warning("a missing log of %s would not be noticed at the next start: %s", self._path, error)

    def release(self) -> None:
        """Let another process own the file. Idempotent."""
        with _owned_guard:
            if _owned.get(self._path) == os.getpid() and self._file >= 0:
                del _owned[self._path]
                os.close(self._file)
                self._file = -1


def mark_beside(path: Path) -> Mark | None:
    """How far the store at `path` has come, as its engine left it written; None: that is not known here."""
    path = path.resolve()
    with _owned_guard:
        if path in _owned:  # see `owner_of`
            return None
        try:
            file = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return mark.decode(os.pread(file, mark.MARK_BYTES, _MARK_AT))
        finally:
            os.close(file)


def is_owned_here(path: Path) -> bool:
    """Whether this process owns the store."""
    with _owned_guard:
        return path.resolve() in _owned


def owner_of(path: Path) -> str | None:
    """Who owns the store at `path` now, in words; None: nobody. Neither takes the lock nor makes its file."""
    path = path.resolve()
    with _owned_guard:
        if path in _owned:
            # Not looked at: the kernel takes a process's record locks away when it closes any descriptor of the file.
            return f"this process, pid {_owned[path]}"
        try:
            file = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None  # no engine was ever here, or another user's: then its file could not be read either
        try:
            whole_file = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, whole_file))[0]
            return None if kind == fcntl.F_UNLCK else f"another process, {_read_owner(file)}"
        finally:
            os.close(file)


def _describe_this_process() -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return msgspec.json.encode(Owner(os.getpid(), socket.gethostname(), since)) + b"\n"


def _read_owner(file: int) -> str:
    """Who wrote the lock file, in words; it may be half written just now."""
    try:
        owner = msgspec.json.decode(os.pread(file, _MARK_AT, 0), type=Owner)
    except msgspec.MsgspecError:
        return "which is just starting"
    return f"pid {owner.pid} on {owner.host} since {owner.since}"

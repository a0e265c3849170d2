"""The lock file beside a store, and the locks on its bytes: who owns the store, and which workers of it live.

Locks are POSIX record locks: the kernel lets go of them however the process ends, SIGKILL included, and a forked child
(a process pool for activities) does not inherit them, as it would inherit `flock`. Two things follow, and are why all
of it is in this one place. A process loses its record locks when it closes any descriptor of the file, so a process
has the file open once, however many engines in it need it. And a lock says nothing to the process that holds it, so
what is held here is noted here too. The file is left behind on purpose: deleting it would let two processes lock two
files of one name.

The owner's lock is on the first bytes. Each worker in another process has one byte far behind them, at the number that
its key is (`perdure.api.presence`); nothing is written there.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from threading import RLock

from perdure.api import presence
from perdure.stores.sqlite.connection import make_private

_OWNER_BYTES = 1 << 40
_WORKERS_AT = 1 << 61
_WORKERS = 1 << presence.BITS
_FLOCK = "hhqqi4x"
"""`struct flock` of 64-bit Linux: kind, whence, start, length, pid."""


class LockFile:
    """One lock file, open in this process. `open_lock_file` gives it, `close` gives it back."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self.file = file
        """The descriptor, for reading and writing what the file says. Nobody else may close it."""
        self.pid = os.getpid()
        self.is_owner = False
        """This process owns the store."""
        self._users = 1
        self._present: set[str] = set()

    def take(self) -> bool:
        """Own the store; False: another process does. Raises OSError when the file system has no locks."""
        with _guard:
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, _OWNER_BYTES)
            except (BlockingIOError, PermissionError):  # POSIX lets a system say either
                return False
            self.is_owner = True
            return True

    def leave(self) -> None:
        """Own it no more. Idempotent."""
        with _guard:
            if self.is_owner:
                self.is_owner = False
                fcntl.lockf(self.file, fcntl.LOCK_UN, _OWNER_BYTES)

    def is_taken(self) -> bool:
        """Whether another process owns the store."""
        return self._conflict(0, _OWNER_BYTES) is not None

    def enter(self, key: str) -> None:
        """A worker of this process lives, until `go` or the end of the process."""
        with _guard:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _WORKERS_AT + presence.number_of(key))
            self._present.add(key)

    def go(self, key: str) -> None:
        """The worker has ended. Idempotent."""
        with _guard:
            if key in self._present:
                self._present.discard(key)
                fcntl.lockf(self.file, fcntl.LOCK_UN, 1, _WORKERS_AT + presence.number_of(key))

    def living(self) -> frozenset[str]:
        """The keys of all workers that live, in this process and in others. Two system calls a worker."""
        found = set(self._present)
        ranges = [(_WORKERS_AT, _WORKERS_AT + _WORKERS)]
        while ranges:
            start, end = ranges.pop()
            conflict = self._conflict(start, end - start)
            if conflict is None:
                continue
            at, length = conflict
            # Neighbours that one process holds are one lock to the kernel, so every byte of it counts.
            first, last = max(at, start), min(at + length, end) if length else end
            found.update(presence.presence(byte - _WORKERS_AT) for byte in range(first, last))
            ranges += [(low, high) for low, high in ((start, first), (last, end)) if low < high]
        return frozenset(found)

    def _conflict(self, start: int, length: int) -> tuple[int, int] | None:
        """Start and length of a lock that another process has in this range; None: there is none."""
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        kind, _, at, held, _ = struct.unpack(_FLOCK, fcntl.fcntl(self.file, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else (at, held)

    def close(self) -> None:
        """Give it back: with its last user the file is closed, and whatever this process locked in it is free."""
        with _guard:
            self._users -= 1
            if not self._users and self.pid == os.getpid():
                os.close(self.file)
                if _open.get(self.path) is self:
                    del _open[self.path]

    def share(self) -> LockFile:
        """The same file, for one more user."""
        self._users += 1
        return self


_open: dict[Path, LockFile] = {}
"""By the path of the store. After a fork the child sees its parent's, which are not its own."""
_guard = RLock()


def lock_path(store: Path) -> Path:
    """Where the lock file of a store is."""
    return store.with_name(store.name + ".lock")


def open_lock_file(store: Path, *, make: bool) -> LockFile:
    """The lock file of a store, open once in this process. `close` it.

    Args:
        store: the store's file, resolved.
        make: make the file if there is none, and open it for writing.

    Raises OSError.
    """
    with _guard:
        known = _known(store)
        if known is not None:
            return known
        path = lock_path(store)
        if make:
            make_private(path)
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            if make:
                raise
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = _open[store] = LockFile(store, file)
        return found


def _known(store: Path) -> LockFile | None:
    """The lock file, if this process has it open."""
    known = _open.get(store)
    if known is None or known.pid != os.getpid() or not _is_there(known):
        return None
    return known.share()


def _is_there(known: LockFile) -> bool:
    """Whether the name still leads to the file that is open."""
    try:
        named = os.stat(lock_path(known.path))
    except OSError:
        return False
    held = os.fstat(known.file)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

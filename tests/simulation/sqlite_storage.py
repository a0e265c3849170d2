"""A machine with a disk: a power cut leaves the bytes of the database file and of its log, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

from perdure.stores.api import Store
from perdure.stores.sqlite.store import SqliteStore
from tests.simulation.blocking import BlockingStore


class SqliteStorage:
    """Each boot finds, in a directory of its own, the files as the life before left them at its end.

    What the dead process still held open it closes afterwards, on files that nobody reads any more.
    Use it as a context manager, so that the last store is closed too.
    """

    serves_many = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._boots = 0
        self._running: BlockingStore | None = None

    def boot(self) -> Store:
        """See `Storage.boot`."""
        before = self._directory / str(self._boots)
        self._boots += 1
        now = self._directory / str(self._boots)
        now.mkdir()
        for file in before.glob("orders.db*") if self._running else ():
            if not file.name.endswith(("-shm", ".lock", ".owner")):
                shutil.copy(file, now)
        self._end()
        self._running = BlockingStore(lambda: SqliteStore(now / "orders.db"))
        return cast(Store, self._running)

    def _end(self) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None

    def __enter__(self) -> SqliteStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

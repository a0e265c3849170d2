"""A store's file, looked at from outside: nothing in it is written, and no file appears beside it.

SQLite makes two files beside a database in WAL mode for whoever opens it, readers too, and a reader cannot take them
away again. So while no write-ahead log is there, and thus nobody has the file open, it is read as one that does not
change (`immutable`), which needs neither; after every read a look tells whether that was still true. When an
engine has opened the file meanwhile, the read is done again beside it, in the ordinary way.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Concatenate, NamedTuple, NoReturn, ParamSpec, TypeVar

from perdure.stores.api import StoreError
from perdure.stores.only_reads import missing, outdated
from perdure.stores.sqlite import schema
from perdure.stores.sqlite.errors import as_store_error
from perdure.stores.sqlite.store import SqliteStore

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_NEWEST_SCHEMA = max(schema.read_migrations(), default=schema.FIRST_VERSION)
_LOCKED_WAIT_S = 5.0


class _Stamp(NamedTuple):
    """What changes when somebody writes a file."""

    device: int
    inode: int
    bytes: int
    modified_ns: int


class ReadOnlyFile:
    """The file at `path`, open for reading until `close`. Raises StoreError throughout, for a missing file too.

    `any_version`: also one that an older perdure wrote, which is not read by its present statements.
    """

    def __init__(self, path: Path, any_version: bool = False) -> None:
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        if not path.is_file():
            raise missing(path)
        self._at_rest = self._stamp_at_rest()
        self._connection = self._connect()
        try:
            self.read(self._check_schema, any_version)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._connection.close()

    def read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """What `read(connection, …)` gives back; it may be called twice."""
        with as_store_error(self.path):
            if self._at_rest is not None:
                try:
                    result = read(self._connection, *args, **kwargs)
                except sqlite3.Error:
                    if self._stamp_at_rest() == self._at_rest:
                        raise
                else:
                    if self._stamp_at_rest() == self._at_rest:
                        return result
                self._at_rest = None
                self._connection.close()
                self._connection = self._connect()
            return read(self._connection, *args, **kwargs)

    def _stamp_at_rest(self) -> _Stamp | None:
        """None: a write-ahead log is there, so somebody has the file open, or died with it."""
        if self._log.exists() and self._log.stat().st_size:
            return None
        found = os.stat(self.path)
        return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def _connect(self) -> sqlite3.Connection:
        mode = "mode=ro" if self._at_rest is None else "mode=ro&immutable=1"
        with as_store_error(self.path):
            return sqlite3.connect(
                f"{self.path.resolve().as_uri()}?{mode}",
                uri=True,
                isolation_level=None,
                timeout=_LOCKED_WAIT_S,
                check_same_thread=False,
            )

    def _check_schema(self, connection: sqlite3.Connection, any_version: bool) -> None:
        version = schema.identify(connection, self.path, _NEWEST_SCHEMA)
        if version != _NEWEST_SCHEMA and not (any_version and version):
            raise outdated(self.path, version, _NEWEST_SCHEMA)


class ReadOnlyStore(SqliteStore):
    """A `Store` that answers reads from a file that others may own, and refuses whatever would write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._reading: ReadOnlyFile | None = None

    async def open(self) -> None:
        """Open the file for reading; it is not owned. Raises StoreError when it is not there."""
        self._reading = ReadOnlyFile(self.path)

    async def close(self) -> None:
        """See `Store.close`."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()

    def _opened(self) -> NoReturn:
        raise StoreError(f"The store {self.path} is open for reading alone: nothing can be changed through it.")

    def _paging(self) -> AbstractAsyncContextManager[object]:
        """Nobody else reads through this."""
        return nullcontext()

    def _read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        if self._reading is None:
            raise StoreError(f"The store {self.path} is not open: call `open()` before using it.")
        return self._reading.read(read, *args, **kwargs)

    async def _scan(
        self,
        read: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        return self._read(read, *args, **kwargs)

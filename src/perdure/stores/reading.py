"""Reading a store's file from outside, beside the engine that owns it or when none does.

For the command line, for checks, for people who want to see for themselves. Nothing here writes, takes
ownership, or asks an engine: what it tells is what is on disk.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.api.history import decode_batch
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey, QueueName, Task
from perdure.stores import copying, folding
from perdure.stores.api import BEGINNING, Reference, StoreError
from perdure.stores.open import shown_url, sqlite_path
from perdure.stores.sqlite import backup, checking, reader
from perdure.stores.sqlite.mark import missing
from perdure.stores.sqlite.ownership import mark_beside
from perdure.stores.sqlite.read_only import ReadOnlyFile
from perdure.stores.summary import Summary
from perdure.stores.visibility import QueryError, bind, parse
from perdure.stores.visibility.evaluation import uncommon_rows

_PAGE = 1000
_ALL_BYTES = 1 << 62
_ALL_ROWS = 1 << 62


def __getattr__(name: str) -> Any:
    """What lay here in the version before, when the page that shows histories took it from here."""
    if name not in ("differences", "fold"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    old, new = f"{__name__}.{name}", f"{folding.__name__}.{name}"
    warnings.warn(f"{old} is deprecated: write {new}", DeprecationWarning, stacklevel=2)
    return getattr(folding, name)


def path_of(url: str) -> Path:
    """The file that a `sqlite:///` URL names; a plain path is taken as it is.

    Raises StoreError for another kind of store.
    """
    if url.startswith("sqlite:"):
        return sqlite_path(url)
    if "://" in url:
        raise StoreError(f"{shown_url(url)} is no file: name a SQLite store, as in sqlite:///orders.db.")
    return Path(url)


class StoreFile:
    """A store's SQLite file, opened for reading; use as a context manager. Raises StoreError throughout."""

    def __init__(self, url: str) -> None:
        self.path = path_of(url)
        self._file = ReadOnlyFile(self.path)

    def __enter__(self) -> StoreFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def load(self, workflow_id: str, run_id: str | None = None, namespace: str = "default") -> Execution | None:
        """The stored state of a run, the newest one of its workflow id when `run_id` is None."""
        try:
            return self._file.read(reader.load, Reference(namespace, workflow_id, run_id))
        except msgspec.MsgspecError as error:
            raise StoreError(f"The stored state of {workflow_id!r} in {self.path} is damaged: {error}.") from error

    def history(self, key: ExecutionKey) -> list[HistoryEvent]:
        """Every event of a run, in order."""
        batches = self._file.read(reader.read_history, key, 1, _ALL_BYTES)
        return list(decode_batch(b"".join(batch.data for batch in batches)))

    def executions(
        self,
        namespace: str = "default",
        *,
        open_only: bool | None = None,
        workflow_type: str | None = None,
        after: ExecutionKey | None = None,
        limit: int = _ALL_ROWS,
    ) -> Sequence[Summary]:
        """Summaries in order of workflow id and run id, past `after`."""
        return self._file.read(reader.list_executions, namespace, open_only, workflow_type, after, limit)

    def open_executions(self, namespace: str, workflow_type: str | None) -> Iterator[Summary]:
        """Every open execution, in order of workflow id; a page of them is in memory."""
        after = None
        while True:
            page = self.executions(namespace, open_only=True, workflow_type=workflow_type, after=after, limit=_PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].key

    def find(self, query: str, namespace: str = "default", limit: int = _ALL_ROWS) -> Sequence[Summary]:
        """Summaries of what a list filter finds, in its order. Raises StoreError also for what is no filter."""
        return self._file.read(_find, query, namespace, limit)

    def index_differs(self, key: ExecutionKey) -> bool:
        """Whether lists would find an execution by something else than its stored state says."""
        return self._file.read(_index_differs, key)

    def check(self) -> list[str]:
        """What is wrong with the store, a sentence each; nothing when it is sound. Reads all of it."""
        mark = mark_beside(self.path)  # first: an engine may be writing
        found = self._file.read(checking.check)
        if self._file.read(reader.find_record, *copying.MARK) is not None:
            found.insert(0, copying.UNFINISHED)
        lacks = None if mark is None else self._file.read(missing, mark)
        return found if lacks is None else [f"it lacks {lacks}: its write-ahead log is missing or incomplete", *found]

    def namespaces(self) -> list[str]:
        """The names of all namespaces."""
        return [namespace.name for namespace in self._file.read(reader.list_namespaces)]

    def rows(self) -> dict[ExecutionKey, list[Task]]:
        """All task rows, by the execution that owes them."""
        rows: dict[ExecutionKey, list[Task]] = {}
        for queue in self._file.read(reader.list_queues):
            for row in self._file.read(reader.list_tasks, queue, BEGINNING, _ALL_ROWS):
                rows.setdefault(row.task.key, []).append(row.task)
        return rows

    def waiting_tasks(self) -> dict[QueueName, int]:
        """How many tasks wait on each queue for a worker."""
        queues = self._file.read(reader.list_queues)
        return Counter({queue: self._file.read(reader.count_tasks, queue) for queue in queues})

    def backup(self, target: Path) -> None:
        """Copy the store to a new file, whole and consistent, while the engine goes on."""
        with backup.new_file(target) as partial:
            self._file.read(backup.copy_pages, partial)


def _find(connection: sqlite3.Connection, query: str, namespace: str, limit: int) -> list[Summary]:
    custom: dict[str, int] = {}
    for one in reader.list_namespaces(connection):
        if one.name == namespace:
            custom.update(one.search_attributes)
    try:
        filter = bind(parse(query), custom)
    except QueryError as error:
        raise StoreError(f"invalid query: {error}") from error
    cursors = reader.find_executions(connection, namespace, filter, None, limit)
    rows = [reader.load_numbered(connection, cast(int, cursor[-1])) for cursor in cursors]
    return [summary_of(execution) for execution in rows if execution is not None]


def _index_differs(connection: sqlite3.Connection, key: ExecutionKey) -> bool:
    connection.execute("BEGIN")  # both reads see the same moment
    try:
        stored = reader.load(connection, Reference(key.namespace, key.workflow_id, key.run_id))
        rows = reader.list_search_attributes(connection, key)
    finally:
        connection.execute("COMMIT")
    return stored is not None and rows != set(uncommon_rows(stored))


def summary_of(execution: Execution) -> Summary:
    """A stored state as a line of a list."""
    return Summary(
        key=execution.key,
        workflow_type=execution.workflow_type,
        task_queue=execution.task_queue,
        status=execution.status,
        started_at_ns=execution.started_at_ns,
        closed_at_ns=execution.closed_at_ns,
        history_length=execution.next_event_id - 1,
    )


class FileSight:
    """A store's file, as a check sees it: `checking.Sight`."""

    def __init__(self, file: StoreFile, namespaces: Sequence[str]) -> None:
        self._file = file
        self.all_keys = [summary.key for namespace in namespaces for summary in file.executions(namespace)]

    async def keys(self) -> AsyncIterator[ExecutionKey]:
        """See `Sight`."""
        for key in self.all_keys:
            yield key

    async def state(self, key: ExecutionKey) -> Execution | None:
        """See `Sight`."""
        return self._file.load(key.workflow_id, key.run_id, key.namespace)

    async def events(self, key: ExecutionKey) -> Sequence[HistoryEvent]:
        """See `Sight`."""
        return self._file.history(key)

    async def rows(self) -> dict[ExecutionKey, list[Task]]:
        """See `Sight`."""
        return self._file.rows()

    async def beside(self, key: ExecutionKey) -> list[str]:
        """See `Sight`."""
        return ["its index says something else than its state"] if self._file.index_differs(key) else []

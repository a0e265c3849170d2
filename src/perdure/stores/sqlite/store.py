"""The SQLite store: one file, durable when `commit` returns, for one process on one machine.

Statements run on the event loop and only the wait for the disk runs in a thread. Python's sqlite3
gives up the interpreter lock around every statement; a thread that executes a batch of two hundred
commits beside a busy event loop has to win it back four hundred times, up to 5 ms each. The loop
itself wins it back at once, and some ten microseconds of its time per commit buy a transaction that
waits for nothing but the disk (docs/adr/0002-sqlite-writer.md has the figures).

One transaction at a time: the next batch waits for the one that is being synchronised.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from perdure.core.commit import Commit
from perdure.core.execution import Execution, decode
from perdure.core.names import ExecutionKey, QueueName
from perdure.stores.api import (
    PAGE_BYTES,
    Batch,
    Damaged,
    Deferred,
    Found,
    Hear,
    HistorySize,
    Namespace,
    Outcome,
    Page,
    PendingMessage,
    Position,
    QueuedTask,
    Record,
    RecordChange,
    Reference,
    StoreError,
    TableSize,
)
from perdure.stores.encoding import Written, encode_chains, encode_namespace, put_back
from perdure.stores.partitions import ALL_PARTITIONS, Partitions
from perdure.stores.sqlite import backup, checking, reader, sizes
from perdure.stores.sqlite.errors import as_store_error, store_error
from perdure.stores.sqlite.open_file import OpenFile
from perdure.stores.sqlite.queries import query
from perdure.stores.sqlite.threads import hand_over
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import ALL, Query, conditions

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_PUT_NAMESPACE = query("put_namespace")
_ROWS_A_TURN = 20
"""Of a list, between two looks at what else the event loop has to do."""
_LARGE_ROW_BYTES = 256 << 10
"""Such a row has a turn of its own."""

_log = logging.getLogger(__name__)


class SqliteStore:
    """A store in the file at `path`, which is made when it does not exist; see the module's text."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._file: OpenFile | None = None

    async def open(self) -> None:
        """Own the file, create or migrate its tables. Raises StoreError naming what is wrong and the fix."""
        if self._file is not None:
            raise StoreError(f"The store {self.path} is open already: share that engine, or close it first.")
        self._file = await hand_over(None, lambda: OpenFile(self.path))

    async def close(self) -> None:
        """Finish the transaction under way, close the file and let another process own it. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            async with file.turn:
                await hand_over(None, file.release)

    @property
    def is_shared(self) -> bool:
        """See `Store.is_shared`."""
        return False

    @property
    def enlisting(self) -> None:
        """See `Store.enlisting`: other programs have no transaction here."""
        return None

    @property
    def transactional(self) -> SqliteStore:
        """See `Store.transactional`."""
        return self

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Written]:
        """See `Store.commit`."""
        file = self._opened()
        chains, apart = encode_chains(commits)
        outcomes: Sequence[Written] = []
        if chains:
            outcomes = await file.transact(lambda: file.writer.write(chains), len(chains))
        return put_back(outcomes, apart) if apart else outcomes

    @property
    def is_concurrent(self) -> bool:
        """See `TransactionalStore.is_concurrent`."""
        return False

    async def transact(self, deferred: Sequence[Deferred]) -> Sequence[Outcome | StoreError | None]:
        """See `TransactionalStore.transact`. The functions run in the thread that waits for the disk."""
        file = self._opened()
        return await file.transact_deferred(deferred) if deferred else []

    async def load(self, references: Sequence[Reference]) -> Sequence[Execution | None]:
        """See `Store.load`."""
        return [self._read(reader.load, reference) for reference in references]

    async def history(self, key: ExecutionKey, first_event_id: int = 1, limit_bytes: int = 4 << 20) -> Sequence[Batch]:
        """See `Store.history`."""
        return self._read(reader.read_history, key, first_event_id, limit_bytes)

    async def due(self, now_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS) -> Sequence[ExecutionKey]:
        """See `Store.due`."""
        return self._read(reader.list_due, now_ns, limit, partitions)

    async def next_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_wake_at_ns`."""
        return self._read(reader.find_next_wake, after_ns, partitions)

    async def tasks(self, queue: QueueName, after: Position, limit: int) -> Sequence[QueuedTask]:
        """See `Store.tasks`."""
        return self._read(reader.list_tasks, queue, after, limit)

    async def count_tasks(self, queue: QueueName) -> int:
        """See `Store.count_tasks`."""
        return await self._scan(reader.count_tasks, queue)

    async def pending_messages(
        self, after: Position, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[PendingMessage]:
        """See `Store.pending_messages`."""
        return self._read(reader.list_messages, after, limit, partitions)

    async def remove_messages(self, ids: Sequence[str]) -> None:
        """See `Store.remove_messages`."""
        file = self._opened()
        await file.change(lambda: file.writer.remove_messages(ids))

    async def queues(self) -> Sequence[QueueName]:
        """See `Store.queues`."""
        return self._read(reader.list_queues)

    async def in_flight(
        self, after: ExecutionKey | None, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.in_flight`."""
        return await self._scan(reader.list_in_flight, after, limit, partitions)

    async def find_executions(
        self,
        namespace: str,
        query: Query,
        after: Cursor | None = None,
        limit: int = 100,
        limit_bytes: int = PAGE_BYTES,
    ) -> Page[Found]:
        """See `Store.find_executions`. Places are found in a thread; the rows are read here, a few at a time."""
        places = await self._scan(reader.find_executions, namespace, query, after, limit)
        async with self._paging():
            return await self._load_page(places, limit, limit_bytes)

    def _paging(self) -> AbstractAsyncContextManager[object]:
        """The turn of a list that reads its rows."""
        return self._opened().pages

    async def _load_page(self, places: Sequence[Cursor], limit: int, limit_bytes: int) -> Page[Found]:
        found, size = Page[Found](), 0
        found.more = len(places) >= limit
        for number, cursor in enumerate(places, 1):
            snapshot = self._snapshot_at(cursor)
            if snapshot is None:
                continue
            size += len(snapshot)
            if found and size > limit_bytes:
                found.more = True
                break
            found.append(Found(decode(snapshot), cursor))
            if number % _ROWS_A_TURN == 0 or len(snapshot) > _LARGE_ROW_BYTES:
                await asyncio.sleep(0)
        return found

    def _snapshot_at(self, place: Cursor) -> bytes | None:
        """None: it was deleted meanwhile, or is damaged, which costs its own line and nobody else's."""
        try:
            return self._read(reader.read_numbered, cast(int, place[-1]))
        except Damaged as error:
            _log.error("a list leaves one out: %s", error)
            return None

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """See `Store.count_executions`."""
        return await self._scan(reader.count_executions, namespace, query)

    async def table_sizes(self) -> Sequence[TableSize]:
        """See `Store.table_sizes`."""
        return await self._scan(sizes.table_sizes)

    async def largest_histories(self, limit: int) -> Sequence[HistorySize]:
        """See `Store.largest_histories`."""
        return await self._scan(sizes.largest_histories, limit)

    async def closed_before(
        self, namespace: str, closed_before_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.closed_before`."""
        return self._read(reader.list_closed_before, namespace, closed_before_ns, limit, partitions)

    async def delete_executions(self, keys: Sequence[ExecutionKey]) -> int:
        """See `Store.delete_executions`."""
        file = self._opened()
        return await file.change(lambda: file.writer.delete(keys)) if keys else 0

    async def put_records(self, changes: Sequence[RecordChange]) -> Sequence[Written]:
        """See `Store.put_records`."""
        file = self._opened()
        return await file.change(lambda: file.writer.write_records(changes), len(changes)) if changes else []

    async def record(self, kind: str, namespace: str, name: str) -> Record | None:
        """See `Store.record`."""
        return self._read(reader.find_record, kind, namespace, name)

    async def records(
        self,
        kind: str,
        namespace: str | None = None,
        after_name: str = "",
        limit: int = 1000,
        after_namespace: str = "",
        limit_bytes: int = PAGE_BYTES,
        partitions: Partitions = ALL_PARTITIONS,
    ) -> Page[Record]:
        """See `Store.records`."""
        page = (after_name, limit, after_namespace, limit_bytes, partitions)
        return self._read(reader.list_records, kind, namespace, *page)

    async def due_records(
        self, now_ns: int, limit: int, limit_bytes: int = PAGE_BYTES, partitions: Partitions = ALL_PARTITIONS
    ) -> Page[Record]:
        """See `Store.due_records`."""
        return self._read(reader.list_due_records, now_ns, limit, limit_bytes, partitions)

    async def next_record_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_record_wake_at_ns`."""
        return self._read(reader.find_next_record_wake, after_ns, partitions)

    async def put_namespace(self, namespace: Namespace, expected: Namespace | None = None) -> Outcome:
        """See `Store.put_namespace`."""
        file = self._opened()
        row = encode_namespace(namespace)

        def put() -> Outcome:
            if reader.find_namespace(file.connection, namespace.name) != expected:
                return Outcome.CONFLICT
            file.connection.execute(_PUT_NAMESPACE, row)
            return Outcome.APPLIED

        return await file.change(put)

    async def remove_namespace(self, name: str) -> None:
        """See `Store.remove_namespace`."""
        file = self._opened()
        await file.change(lambda: file.writer.remove_namespace(name))

    async def namespaces(self) -> Sequence[Namespace]:
        """See `Store.namespaces`."""
        return self._read(reader.list_namespaces)

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """See `Store.notify`: the file has one owner, so there is nobody to tell."""

    async def listen(self, channel: str, hear: Hear) -> None:
        """See `Store.listen`: there is nobody to hear."""

    async def backup(self, path: str | Path, progress: backup.Progress | None = None) -> None:
        """Copy the store as it is at this moment to a new file at `path`, while it goes on serving.

        `progress` is told pages copied and pages in all, now and then, in a thread of its own. The
        copy is durable and complete when this returns, or there is none. The write-ahead log grows
        while the copy is made. Raises StoreError when something is at `path` already or cannot be
        written there.
        """
        await self._whole(backup.copy, Path(path), progress)

    async def check(self) -> Sequence[str]:
        """What is wrong with the file, a sentence each; nothing when it is sound. Reads all of it."""
        return await self._whole(checking.check)

    def _opened(self) -> OpenFile:
        if self._file is None:
            raise StoreError(f"The store {self.path} is not open: call `open()` before using it.")
        return self._file

    def _read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """A small read, on the event loop."""
        try:
            return read(self._opened().reader, *args, **kwargs)
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error

    async def _scan(
        self,
        read: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """A read of many rows, with an end, in a thread and on a connection of its own."""
        weight = sum(conditions(one.where) for one in args if isinstance(one, Query))
        with as_store_error(self.path):
            return await self._opened().scans.read(lambda connection: read(connection, *args, **kwargs), weight)

    async def _whole(
        self,
        read: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """A read of the whole file, however long it takes, in a thread and on a connection of its own."""
        file = self._opened()

        def scan() -> Result:
            with as_store_error(self.path):
                connection = file.connect()
                try:
                    return read(connection, *args, **kwargs)
                finally:
                    connection.close()

        return await hand_over(None, scan)

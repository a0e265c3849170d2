"""The PostgreSQL store: what many nodes share, each of which may serve any request.

Nothing is owned. A commit is a compare-and-set in one statement; whoever loses it loads again. A few connections read,
one commits, one changes records, one hears and tells notices. All of it is bounded: what waits for a connection, how
long it waits, and how long a statement takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from perdure.api.status import CLOSED
from perdure.core.commit import Commit
from perdure.core.execution import Execution, decode
from perdure.core.names import ExecutionKey, QueueName
from perdure.stores.api import (
    PAGE_BYTES,
    Batch,
    Damaged,
    EnlistingStore,
    Found,
    Hear,
    HistorySize,
    Namespace,
    Outcome,
    Page,
    PendingMessage,
    Position,
    QueuedTask,
    ReadsBusy,
    ReadTooLong,
    Record,
    RecordChange,
    Reference,
    StoreError,
    TableSize,
    TransactionalStore,
    paged,
)
from perdure.stores.encoding import Written, decode_namespace, encode_chains, encode_namespace, put_back
from perdure.stores.partitions import ALL_PARTITIONS, Partitions, partition_of
from perdure.stores.postgres import reader, schema, sizes
from perdure.stores.postgres.door import Door
from perdure.stores.postgres.enlisting import Enlisting
from perdure.stores.postgres.errors import store_error
from perdure.stores.postgres.histories import Histories
from perdure.stores.postgres.lane import Lane
from perdure.stores.postgres.notices import Notices
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.readers import Busy, Readers
from perdure.stores.postgres.texts import escape, in_schema, unescape
from perdure.stores.postgres.transactions import Transactions
from perdure.stores.postgres.url import read_url
from perdure.stores.postgres.writer import CommitWriter, RecordWriter
from perdure.stores.sql import filters
from perdure.stores.sql.dialects import POSTGRES
from perdure.stores.sql.plan import Memory
from perdure.stores.sql.waiting import finish
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import ALL, Query

_log = logging.getLogger(__name__)

_READS_MAX = 2_000
"""Reads that wait for a connection."""
_SCANNERS = 2
_SCANS_MAX = 10
"""Lists and counts that wait for one."""
_SETTLING_S = (0.002, 0.5)
"""Between two looks whether rows are settled: the first pause, and the longest one."""
_FOUND_AT_A_TIME = 20
"""Lines of a list whose states are read in one statement."""


class _Open:
    """What a store has while it is open."""

    def __init__(self, door: Door) -> None:
        self._door = door
        settings = door.settings
        self.memory = Memory()
        self.readers = Readers(door, settings.readers, _READS_MAX)
        self.scanners = Readers(door, _SCANNERS, _SCANS_MAX)
        self.commits = Lane(door, "commits")
        self.changes = Lane(door, "changes")
        self.notices = Notices(door)
        self.writer = CommitWriter(self.commits, self.readers, settings, self.memory)
        self.records = RecordWriter(self.changes, settings)
        self.transactions = Transactions(door, self.readers, self.memory)

    async def close(self) -> None:
        """Wait for what is being written, and let everything go."""
        await self.notices.close()
        await self.transactions.close()
        for lane in (self.commits, self.changes):
            async with lane.turn:
                await lane.close()
        await self.readers.close()
        await self.scanners.close()
        await self._door.reach.close()


class PostgresStore:
    """A store in the database that a URL names (`stores/postgres/url.py`); see the module's text."""

    def __init__(self, url: str, *, creates: bool = True) -> None:
        self._settings = read_url(url)
        self._creates = creates
        self._opened: _Open | None = None
        self._sql: dict[str, str] = {}
        self._enlisting = Enlisting(self._settings, self._read)
        self._histories = Histories(partial(self._read, "read_history"))

    @property
    def is_shared(self) -> bool:
        """See `Store.is_shared`."""
        return True

    async def open(self) -> None:
        """Connect; create or migrate the tables, if it is to. Raises StoreError naming what is wrong and the fix."""
        if self._opened is not None:
            raise StoreError(f"The store {self._settings.shown} is open already: share that engine, or close it first.")
        door = Door(self._settings)
        opened = _Open(door)
        try:
            connection = await door.connect("schema")
            try:
                await (schema.ensure if self._creates else schema.find)(connection, self._settings)
            finally:
                await connection.close(timeout=2.0)
            if self._creates:  # else they are opened when something is to be written
                await opened.commits.open()
                await opened.changes.open()
        except BaseException as error:
            await opened.close()
            if isinstance(error, Exception):
                raise store_error(error, self._settings) from error
            raise
        self._opened = opened

    async def close(self) -> None:
        """Finish what is being written and let the database go. Idempotent."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    @property
    def enlisting(self) -> EnlistingStore:
        """See `Store.enlisting`."""
        return self._enlisting

    @property
    def transactional(self) -> TransactionalStore:
        """See `Store.transactional`. Raises StoreError when it is not open."""
        return self._open().transactions

    # --- commits --------------------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Written]:
        """See `Store.commit`."""
        opened = self._open()
        chains, apart = encode_chains(commits)
        outcomes: Sequence[Written] = []
        if chains:
            outcomes = await finish(asyncio.create_task(opened.writer.write(chains)))
        return put_back(outcomes, apart) if apart else outcomes

    async def delete_executions(self, keys: Sequence[ExecutionKey]) -> int:
        """See `Store.delete_executions`."""
        if not keys:
            return 0
        ordered = sorted(keys)
        for key in ordered:
            self._open().memory.forget(key)
        [[number]] = await self._change("delete_executions", *reader.keys_parameters(ordered))
        return number

    async def remove_messages(self, ids: Sequence[str]) -> None:
        """See `Store.remove_messages`."""
        self._open()
        if ids:
            await self._change("remove_messages", [escape(message_id) for message_id in ids])

    async def put_records(self, changes: Sequence[RecordChange]) -> Sequence[Written]:
        """See `Store.put_records`."""
        opened = self._open()
        return await finish(asyncio.create_task(opened.records.write(changes))) if changes else []

    async def put_namespace(self, namespace: Namespace, expected: Namespace | None = None) -> Outcome:
        """See `Store.put_namespace`."""
        opened = self._open()
        name, id, retention_ns, description, details = encode_namespace(namespace)
        row = (escape(name), escape(id), retention_ns, escape(description), details)
        find, add, replace = map(self._query, ("find_namespace", "add_namespace", "replace_namespace"))
        with self._as_store_error():
            async with opened.changes.turn, opened.changes.transaction() as connection:
                found = await connection.fetch(find, row[0])
                if (_namespace_of(found[0]) if found else None) != expected:
                    return Outcome.CONFLICT
                done = await connection.execute(replace if found else add, *row)
                return Outcome.APPLIED if done.endswith(" 1") else Outcome.CONFLICT

    async def remove_namespace(self, name: str) -> None:
        """See `Store.remove_namespace`."""
        await self._change("remove_namespace", escape(name))

    # --- executions -----------------------------------------------------------------------------

    async def load(self, references: Sequence[Reference]) -> Sequence[Execution | None]:
        """See `Store.load`."""
        loaded: list[Execution | None] = [None] * len(references)
        memory = self._open().memory
        for row in await self._read("load", *reader.keys_parameters(references)) if references else ():
            place: int = row[0] - 1
            number, partition, execution = reader.state_of(row, references[place])
            memory.learn_state(number, partition, execution)
            loaded[place] = execution
        return loaded

    async def history(self, key: ExecutionKey, first_event_id: int = 1, limit_bytes: int = 4 << 20) -> Sequence[Batch]:
        """See `Store.history`."""
        self._open()
        return await self._histories.read(key, first_event_id, limit_bytes)

    async def due(self, now_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS) -> Sequence[ExecutionKey]:
        """See `Store.due`."""
        return [reader.key_of(row) for row in await self._read("list_due", now_ns, reader.bits_of(partitions), limit)]

    async def next_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_wake_at_ns`."""
        rows = await self._read("find_next_wake", after_ns, reader.bits_of(partitions))
        return rows[0][0] if rows else None

    async def in_flight(
        self, after: ExecutionKey | None, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.in_flight`."""
        past = (after.namespace, after.workflow_id, after.run_id) if after else ("", "", "")
        rows = await self._read("list_in_flight", *map(escape, past), reader.bits_of(partitions), limit)
        return [reader.key_of(row) for row in rows]

    async def closed_before(
        self, namespace: str, closed_before_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.closed_before`."""
        found: list[ExecutionKey] = []
        bits = reader.bits_of(partitions)
        for status in CLOSED:
            parameters = (escape(namespace), status, closed_before_ns, bits, limit - len(found))
            found += map(reader.key_of, await self._read("list_closed_before", *parameters))
        return found

    # --- queues and messages --------------------------------------------------------------------

    async def tasks(self, queue: QueueName, after: Position, limit: int) -> Sequence[QueuedTask]:
        """See `Store.tasks`. A page that is short ends the queue: what is there and not settled yet is waited for."""
        parameters = (escape(queue.namespace), escape(queue.name), queue.kind, *after, limit, self._settled_after_s)
        pause_s, last = _SETTLING_S[0], None
        while True:
            rows = await self._read("list_tasks", *parameters)
            shown = reader.settled(rows)
            if last is None and rows:
                last = reader.position_of(rows[-1])
            if len(shown) == len(rows) or last is None or reader.position_of(rows[len(shown)]) > last:
                return [reader.task_of(row, queue) for row in shown]
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _SETTLING_S[1])

    async def count_tasks(self, queue: QueueName) -> int:
        """See `Store.count_tasks`."""
        [[count]] = await self._scan("count_tasks", escape(queue.namespace), escape(queue.name), queue.kind)
        return count

    async def queues(self) -> Sequence[QueueName]:
        """See `Store.queues`."""
        return [reader.queue_of(row) for row in await self._read("list_queues")]

    async def pending_messages(
        self, after: Position, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[PendingMessage]:
        """See `Store.pending_messages`."""
        rows = await self._read("list_messages", *after, reader.bits_of(partitions), limit, self._settled_after_s)
        return [reader.message_of(row) for row in reader.settled(rows)]

    @property
    def _settled_after_s(self) -> float:
        """Statements of any engine that began longer ago are over: this is thrice what one may take."""
        return 3.0 * self._settings.timeout_s

    # --- lists ----------------------------------------------------------------------------------

    async def find_executions(
        self,
        namespace: str,
        query: Query,
        after: Cursor | None = None,
        limit: int = 100,
        limit_bytes: int = PAGE_BYTES,
    ) -> Page[Found]:
        """See `Store.find_executions`."""
        past = after and tuple(escape(value) if isinstance(value, str) else value for value in after)
        places: list[Cursor] = []
        for statement in filters.find(POSTGRES, namespace, query, past, limit):
            places += filters.cursors(await self._scan_filter(statement))
            if len(places) >= limit:
                break
        return await self._load_page(places[:limit], limit, limit_bytes)

    async def _load_page(self, places: Sequence[Cursor], limit: int, limit_bytes: int) -> Page[Found]:
        found, size = Page[Found](), 0
        found.more = len(places) >= limit
        for begin in range(0, len(places), _FOUND_AT_A_TIME):
            some = places[begin : begin + _FOUND_AT_A_TIME]
            rows = await self._read("load_found", [place[-2] for place in some], [place[-1] for place in some])
            for row in sorted(rows, key=_first):
                number: int = row[0]
                place = some[number - 1]
                snapshot = _snapshot_of_a_line(row, place)
                if snapshot is None:
                    continue
                size += len(snapshot)
                if found and size > limit_bytes:
                    found.more = True
                    return found
                cursor = filters.shown(POSTGRES, place)
                shown = tuple(unescape(value) if isinstance(value, str) else value for value in cursor)
                found.append(Found(decode(snapshot), shown))
            await asyncio.sleep(0)
        return found

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """See `Store.count_executions`."""
        rows = await self._scan_filter(filters.count(POSTGRES, namespace, query))
        return {row[0]: row[1] for row in rows}

    async def table_sizes(self) -> Sequence[TableSize]:
        """See `Store.table_sizes`: as PostgreSQL knows them, rows as its statistics have them."""
        return sizes.tables_of(await self._scan("list_table_sizes", self._settings.schema))

    async def largest_histories(self, limit: int) -> Sequence[HistorySize]:
        """See `Store.largest_histories`."""
        return await sizes.largest_histories(self._scan, limit)

    async def _scan_filter(self, statement: Any) -> Sequence[Sequence[Any]]:
        parameters = [escape(value) if isinstance(value, str) else value for value in statement.parameters]
        return await self._scan_sql(in_schema(statement.sql, self._settings.schema), parameters)

    # --- records --------------------------------------------------------------------------------

    async def record(self, kind: str, namespace: str, name: str) -> Record | None:
        """See `Store.record`."""
        partition = partition_of(namespace, name)
        rows = await self._read("find_record", partition, escape(kind), escape(namespace), escape(name))
        return reader.record_of(rows[0]) if rows else None

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
        name = "list_all_records" if namespace is None else "list_records"
        of = after_namespace if namespace is None else namespace
        bits = reader.bits_of(partitions)
        rows = await self._read(name, escape(kind), escape(of), escape(after_name), bits, limit)
        return paged(map(reader.record_of, rows), lambda record: len(record.data), limit, limit_bytes)

    async def due_records(
        self, now_ns: int, limit: int, limit_bytes: int = PAGE_BYTES, partitions: Partitions = ALL_PARTITIONS
    ) -> Page[Record]:
        """See `Store.due_records`."""
        rows = await self._read("list_due_records", now_ns, reader.bits_of(partitions), limit)
        return paged(map(reader.record_of, rows), lambda record: len(record.data), limit, limit_bytes)

    async def next_record_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_record_wake_at_ns`."""
        rows = await self._read("find_next_record_wake", after_ns, reader.bits_of(partitions))
        return rows[0][0] if rows else None

    async def namespaces(self) -> Sequence[Namespace]:
        """See `Store.namespaces`."""
        return [_namespace_of(row) for row in await self._read("list_namespaces")]

    # --- notices --------------------------------------------------------------------------------

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """See `Store.notify`."""
        await self._open().notices.notify(channel, notices)

    async def listen(self, channel: str, hear: Hear) -> None:
        """See `Store.listen`."""
        await self._open().notices.listen(channel, hear)

    # --- statements -----------------------------------------------------------------------------

    def _open(self) -> _Open:
        if self._opened is None:
            raise StoreError(f"The store {self._settings.shown} is not open: call `open()` before using it.")
        return self._opened

    def _query(self, name: str) -> str:
        sql = self._sql.get(name)
        if sql is None:
            sql = self._sql[name] = in_schema(query(name), self._settings.schema)
        return sql

    @contextmanager
    def _as_store_error(self) -> Generator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise store_error(error, self._settings) from error

    async def _read(self, name: str, *args: Any) -> list[Sequence[Any]]:
        """The rows of a small read."""
        opened = self._open()
        with self._as_store_error():
            try:
                return await opened.readers.fetch(self._query(name), *args)
            except Busy as error:
                text = f"Too many requests wait for the store {self._settings.shown}: slow down and try again."
                raise StoreError(text) from error

    async def _scan(self, name: str, *args: Any) -> list[Sequence[Any]]:
        return await self._scan_sql(self._query(name), args)

    async def _scan_sql(self, sql: str, args: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows of a read that may look at very many."""
        opened = self._open()
        with self._as_store_error():
            try:
                return await opened.scanners.fetch(sql, *args)
            except Busy as error:
                text = "Too many lists and counts look at many executions: narrow their filters, or wait."
                raise ReadsBusy(text) from error
            except TimeoutError as error:
                seconds = self._settings.timeout_s
                text = f"A list or count looked at too much and was ended after {seconds:g} s: narrow its filter."
                raise ReadTooLong(text) from error

    async def _change(self, name: str, *args: Any) -> list[Sequence[Any]]:
        """The rows of a change that may be made twice."""
        changes = self._open().changes
        with self._as_store_error():
            async with changes.turn:
                return await changes.repeat(self._query(name), *args)


def _namespace_of(row: Sequence[Any]) -> Namespace:
    name, id, retention_ns, description, details = row
    return decode_namespace(unescape(name), unescape(id), retention_ns, unescape(description), details)


def _first(row: Sequence[Any]) -> int:
    return row[0]


def _snapshot_of_a_line(row: Sequence[Any], place: Cursor) -> bytes | None:
    """None: it is damaged, which costs its own line and nobody else's."""
    number: Any = place[-1]
    try:
        return reader.snapshot_of(row[1:], number, f"number {number}")
    except Damaged as error:
        _log.error("a list leaves one out: %s", error)
        return None

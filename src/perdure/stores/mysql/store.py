"""The MySQL and MariaDB store: what many nodes share, each of which may serve any request.

Nothing is owned. A commit is a compare-and-set in one transaction; whoever loses it loads again. A few connections
read, one commits, one changes records, one hears and tells notices. All of it is bounded: what waits for a connection,
how long it waits, and how long a statement takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from perdure.api.status import CLOSED
from perdure.core.commit import Commit
from perdure.core.execution import Execution, decode
from perdure.core.names import ExecutionKey, QueueName
from perdure.stores.api import (
    PAGE_BYTES,
    Batch,
    Damaged,
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
from perdure.stores.encoding import Written, encode_chains, put_back
from perdure.stores.mysql import deleting, reader, schema, sizes
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.errors import is_late, store_error
from perdure.stores.mysql.lane import Lane
from perdure.stores.mysql.literals import Rows, Statement, hash_of, key_hash, of_partitions, rows, statement
from perdure.stores.mysql.notices import Notices
from perdure.stores.mysql.positions import read_settled
from perdure.stores.mysql.readers import Busy, Readers
from perdure.stores.mysql.statements import Writing, queue_hash
from perdure.stores.mysql.url import read_url
from perdure.stores.mysql.writer import CommitWriter, RecordWriter
from perdure.stores.partitions import ALL_PARTITIONS, Partitions, partition_of
from perdure.stores.sql import dialects, filters
from perdure.stores.sql.dialects import MYSQL
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
_AT_A_TIME = 200
"""Rows that are asked for by their keys in one statement."""
_FOUND_AT_A_TIME = 20
"""Lines of a list whose states are read in one statement."""


class _Open:
    """What a store has while it is open."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.memory = Memory()
        self.readers = Readers(door, door.settings.readers, _READS_MAX)
        self.scanners = Readers(door, _SCANNERS, _SCANS_MAX)
        self.commits = Lane(door)
        self.changes = Lane(door)
        self.notices = Notices(door)
        self.writer = CommitWriter(self.commits, self.readers, door, self.memory)
        self.records = RecordWriter(self.changes, door)

    async def close(self) -> None:
        """Wait for what is being written, and let everything go."""
        await self.notices.close()
        for lane in (self.commits, self.changes):
            async with lane.turn:
                await lane.close()
        await self.readers.close()
        await self.scanners.close()
        await self._door.reach.close()


class MysqlStore:
    """A store in the database that a URL names (`stores/mysql/url.py`); see the module's text."""

    def __init__(self, url: str, *, creates: bool = True) -> None:
        self._settings = read_url(url)
        self._creates = creates
        self._opened: _Open | None = None

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
            connection = await door.connect()
            try:
                if self._creates:
                    await schema.ensure(connection, self._settings)
                    await schema.again(lambda: connection.query(statement("remove_writers")()))
                else:
                    await schema.find(connection, self._settings)
            finally:
                await connection.close()
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
    def enlisting(self) -> None:
        """See `Store.enlisting`: other programs have no transaction here."""
        return None

    @property
    def transactional(self) -> TransactionalStore | None:
        """See `Store.transactional`: not yet."""
        return None

    # --- changes --------------------------------------------------------------------------------

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
        opened = self._open()
        if not keys:
            return 0
        for key in keys:
            opened.memory.forget(key)
        return await self._change(opened, deleting.delete_executions(opened.changes, keys))

    async def remove_messages(self, ids: Sequence[str]) -> None:
        """See `Store.remove_messages`."""
        opened = self._open()
        to = Writing(1 << 19)
        to.delete("messages", "id_hash", ((hash_of(message_id),) for message_id in ids))
        for text in to.statements:
            await self._change(opened, opened.changes.repeat(text))

    async def put_records(self, changes: Sequence[RecordChange]) -> Sequence[Written]:
        """See `Store.put_records`."""
        opened = self._open()
        return await finish(asyncio.create_task(opened.records.write(changes))) if changes else []

    async def put_namespace(self, namespace: Namespace, expected: Namespace | None = None) -> Outcome:
        """See `Store.put_namespace`."""
        opened = self._open()
        return await self._change(opened, deleting.put_namespace(opened.changes, namespace, expected))

    async def remove_namespace(self, name: str) -> None:
        """See `Store.remove_namespace`."""
        opened = self._open()
        removes = [statement(remove)(name) for remove in ("remove_records", "remove_namespace")]
        await self._change(opened, opened.changes.repeat(*removes))

    # --- executions -----------------------------------------------------------------------------

    async def load(self, references: Sequence[Reference]) -> Sequence[Execution | None]:
        """See `Store.load`."""
        loaded: list[Execution | None] = []
        for begin in range(0, len(references), _AT_A_TIME):
            loaded += await self._load(references[begin : begin + _AT_A_TIME])
        return loaded

    async def _load(self, references: Sequence[Reference]) -> list[Execution | None]:
        memory = self._open().memory
        names = [_name_of(reference) for reference in references]
        texts: list[bytes] = []
        for load, is_current in (("load_runs", False), ("load_current_runs", True)):
            wanted = {name for name, of in zip(names, references, strict=True) if (of.run_id is None) is is_current}
            if wanted:
                keys = rows(sorted(wanted))
                texts.append(statement(load)(keys, keys))
        found: dict[tuple[int, bytes], list[reader.Row]] = {}
        for answer in await self._read_many(b";".join(texts)) if texts else ():
            for row in answer:
                found.setdefault((row[0], row[1]), []).append(row)
        loaded: list[Execution | None] = []
        for name, reference in zip(names, references, strict=True):
            execution: Execution | None = None
            if name in found:
                number, partition, execution = reader.state_of(found[name], reference.workflow_id)
                memory.learn_state(number, partition, execution)
            loaded.append(execution)
        return loaded

    async def history(self, key: ExecutionKey, first_event_id: int = 1, limit_bytes: int = 4 << 20) -> Sequence[Batch]:
        """See `Store.history`."""
        partition = partition_of(key.namespace, key.workflow_id)
        text = statement("read_history")(first_event_id, first_event_id, partition, key_hash(key), limit_bytes)
        return reader.batches_of(await self._read(text), key.workflow_id)

    async def due(self, now_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS) -> Sequence[ExecutionKey]:
        """See `Store.due`."""
        return await self._read_keys(of_partitions("list_due", partitions, now_ns, limit))

    async def next_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_wake_at_ns`."""
        found = await self._read(of_partitions("find_next_wake", partitions, after_ns))
        return found[0][0] if found else None

    async def in_flight(
        self, after: ExecutionKey | None, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.in_flight`."""
        past = (after.namespace, after.workflow_id, after.run_id) if after else ("", "", "")
        return await self._read_keys(of_partitions("list_in_flight", partitions, *past, limit))

    async def closed_before(
        self, namespace: str, closed_before_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.closed_before`."""
        found: list[ExecutionKey] = []
        for status in CLOSED:
            values = (namespace, status, closed_before_ns, limit - len(found))
            found += await self._read_keys(of_partitions("list_closed_before", partitions, *values))
        return found

    async def _read_keys(self, text: bytes) -> list[ExecutionKey]:
        return [reader.key_of(row) for row in await self._read(text)]

    # --- queues and messages --------------------------------------------------------------------

    async def tasks(self, queue: QueueName, after: Position, limit: int) -> Sequence[QueuedTask]:
        """See `Store.tasks`."""
        name = queue_hash(queue.namespace, queue.name, queue.kind)
        found = await self._read_settled(statement("list_tasks")(name, after.transaction, *after, limit))
        return [reader.task_of(row, queue) for row in found]

    async def count_tasks(self, queue: QueueName) -> int:
        """See `Store.count_tasks`."""
        text = statement("count_tasks")(queue_hash(queue.namespace, queue.name, queue.kind))
        [[count]] = await self._scan(text)
        return count

    async def queues(self) -> Sequence[QueueName]:
        """See `Store.queues`."""
        return sorted(reader.queue_of(row) for row in await self._read(statement("list_queues")()))

    async def pending_messages(
        self, after: Position, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[PendingMessage]:
        """See `Store.pending_messages`."""
        text = of_partitions("list_messages", partitions, after.transaction, *after, limit)
        if not await self._read(text):  # as mostly: what there is not has no order
            return []
        return [reader.message_of(row) for row in await self._read_settled(text)]

    async def _read_settled(self, text: bytes) -> Rows:
        opened = self._open()
        with self._as_store_error():
            return await read_settled(opened.readers, text)

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
        places: list[Cursor] = []
        for one in filters.find(MYSQL, namespace, query, after, limit):
            places += filters.cursors(await self._scan(_text_of(one)))
            if len(places) >= limit:
                break
        return await self._load_page(places[:limit], limit, limit_bytes)

    async def _load_page(self, places: Sequence[Cursor], limit: int, limit_bytes: int) -> Page[Found]:
        found, size = Page[Found](), 0
        found.more = len(places) >= limit
        for begin in range(0, len(places), _FOUND_AT_A_TIME):
            some = places[begin : begin + _FOUND_AT_A_TIME]
            stored = await self._read(statement("load_found")(rows(place[-2:] for place in some)))
            states = {number: (checksum, snapshot) for number, checksum, snapshot in stored}
            for place in some:
                number: Any = place[-1]
                snapshot = _snapshot_of_a_line(states.get(number), number)
                if snapshot is None:
                    continue
                size += len(snapshot)
                if found and size > limit_bytes:
                    found.more = True
                    return found
                found.append(Found(decode(snapshot), filters.shown(MYSQL, place)))
            await asyncio.sleep(0)
        return found

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """See `Store.count_executions`."""
        return dict(await self._scan(_text_of(filters.count(MYSQL, namespace, query))))

    async def table_sizes(self) -> Sequence[TableSize]:
        """See `Store.table_sizes`: as the database keeps them by heart. MySQL 8 looks once a day, MariaDB each time."""
        return await sizes.table_sizes(self._scan)

    async def largest_histories(self, limit: int) -> Sequence[HistorySize]:
        """See `Store.largest_histories`."""
        return await sizes.largest_histories(self._scan, limit)

    # --- records --------------------------------------------------------------------------------

    async def record(self, kind: str, namespace: str, name: str) -> Record | None:
        """See `Store.record`."""
        partition = partition_of(namespace, name)
        found = await self._read(statement("find_record")(partition, kind, namespace, name))
        return reader.record_of(found[0]) if found else None

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
        if namespace is None:
            past = (after_namespace, after_namespace, after_name)
            text = of_partitions("list_all_records", partitions, kind, *past, limit)
        else:
            text = of_partitions("list_records", partitions, kind, namespace, after_name, limit)
        return await self._read_records(text, limit, limit_bytes)

    async def due_records(
        self, now_ns: int, limit: int, limit_bytes: int = PAGE_BYTES, partitions: Partitions = ALL_PARTITIONS
    ) -> Page[Record]:
        """See `Store.due_records`."""
        return await self._read_records(
            of_partitions("list_due_records", partitions, now_ns, limit), limit, limit_bytes
        )

    async def _read_records(self, text: bytes, limit: int, limit_bytes: int) -> Page[Record]:
        found = await self._read(text)
        return paged(map(reader.record_of, found), lambda record: len(record.data), limit, limit_bytes)

    async def next_record_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_record_wake_at_ns`."""
        found = await self._read(of_partitions("find_next_record_wake", partitions, after_ns))
        return found[0][0] if found else None

    async def namespaces(self) -> Sequence[Namespace]:
        """See `Store.namespaces`."""
        return [deleting.namespace_of(row) for row in await self._read(statement("list_namespaces")())]

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

    @contextmanager
    def _as_store_error(self) -> Generator[None]:
        try:
            yield
        except StoreError:
            raise
        except Busy as error:
            text = f"Too many requests wait for the store {self._settings.shown}: slow down and try again."
            raise StoreError(text) from error
        except Exception as error:
            raise store_error(error, self._settings) from error

    async def _read(self, text: bytes) -> Rows:
        """The rows of a small read."""
        return (await self._read_many(text))[0]

    async def _read_many(self, text: bytes) -> list[Rows]:
        """The rows of several small reads."""
        opened = self._open()
        with self._as_store_error():
            return [answer.rows for answer in await opened.readers.query(text)]

    async def _scan(self, text: bytes) -> Rows:
        """The rows of a read that may look at very many."""
        opened = self._open()
        with self._as_store_error():
            try:
                return (await opened.scanners.query(text))[0].rows
            except Busy as error:
                busy = "Too many lists and counts look at many executions: narrow their filters, or wait."
                raise ReadsBusy(busy) from error
            except Exception as error:
                if not isinstance(error, TimeoutError) and not is_late(error):
                    raise
                seconds = self._settings.timeout_s
                late = f"A list or count looked at too much and was ended after {seconds:g} s: narrow its filter."
                raise ReadTooLong(late) from error

    async def _change(self, opened: _Open, change: Awaitable[Any]) -> Any:
        """A change of something rare."""
        with self._as_store_error():
            async with opened.changes.turn:
                return await change


def _name_of(reference: Reference) -> tuple[int, bytes]:
    """What a run, or a workflow id, is found by."""
    names = [reference.namespace, reference.workflow_id]
    if reference.run_id is not None:
        names.append(reference.run_id)
    return partition_of(*names[:2]), hash_of(*names)


def _text_of(one: dialects.Statement) -> bytes:
    """A compiled filter with its parameters."""
    return Statement(one.sql)(*one.parameters)


def _snapshot_of_a_line(stored: tuple[int, bytes] | None, number: int) -> bytes | None:
    """None: it was deleted meanwhile, or is damaged, which costs its own line and nobody else's."""
    if stored is None:
        return None
    try:
        return reader.snapshot_of(*stored, number, f"execution {number}")
    except Damaged as error:
        _log.error("a list leaves one out: %s", error)
        return None

"""The model of a store: dictionaries, obviously right.

It says in the fewest words what `perdure.stores.api.Store` promises, and the suite holds SQLite to
what it does. Snapshots and batches are kept encoded, exactly as a database would keep them, so that
nothing a caller still holds aliases what is stored. Nothing but lists awaits, so a commit is one step
of the event loop. What was committed survives `close` and is there again after `open`: a simulation
restarts its engine on the same object.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest, nsmallest
from itertools import islice

from perdure.core.commit import Commit
from perdure.core.execution import Execution, decode
from perdure.core.message import decode_message
from perdure.core.names import ExecutionKey, QueueName, TaskKind
from perdure.stores.api import (
    PAGE_BYTES,
    Batch,
    Deferred,
    Found,
    Hear,
    HistorySize,
    Namespace,
    NotKept,
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
    Unstorable,
    is_for,
    paged,
)
from perdure.stores.encoding import (
    EncodedCommit,
    Written,
    check_change,
    encode_chains,
    encode_namespace,
    encode_or_refuse,
    put_back,
    unstorable,
)
from perdure.stores.partitions import ALL_PARTITIONS, Partitions
from perdure.stores.transaction import run_guarded
from perdure.stores.visibility.evaluation import Cursor, Document, cursor_of, document_of, holds, order_key
from perdure.stores.visibility.query import ALL, Query, conditions

_LOOKS_A_TURN = 512
"""Conditions, about, that a list looks at between two turns of the event loop's others."""

WorkflowId = tuple[str, str]
RecordId = tuple[str, str, str]
TaskId = tuple[ExecutionKey, TaskKind, int]


@dataclass(slots=True)
class _Run:
    """One execution as stored: the row, and its history."""

    latest: EncodedCommit
    number: int
    """Ascending, in order of creation."""
    batches: list[Batch] = field(default_factory=list[Batch])
    parts: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """What is kept beside the snapshot, by event."""

    def state(self) -> Execution:
        return decode(self.latest.snapshot, lambda: self.parts)


class MemoryStore:
    """A store in this process's memory; see the module's text."""

    def __init__(self) -> None:
        self._runs: dict[ExecutionKey, _Run] = {}
        self._current: dict[WorkflowId, str] = {}
        self._wakes: dict[ExecutionKey, int] = {}
        self._tasks: dict[TaskId, QueuedTask] = {}
        self._messages: dict[str, PendingMessage] = {}
        """In order of position."""
        self._positions = 0
        self._records: dict[RecordId, Record] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._is_open = False
        self._tables: sqlite3.Connection | None = None
        """What transactional activities write: an SQLite database in memory."""

    async def open(self) -> None:
        """Take the store into use; what it held before is still there."""
        if self._is_open:
            raise StoreError("This memory store is in use by another engine: give each engine a store of its own.")
        self._is_open = True

    async def close(self) -> None:
        """Idempotent; the contents stay."""
        self._is_open = False

    @property
    def is_shared(self) -> bool:
        """See `Store.is_shared`."""
        return False

    @property
    def enlisting(self) -> None:
        """See `Store.enlisting`: other programs have no transaction here."""
        return None

    @property
    def transactional(self) -> MemoryStore:
        """See `Store.transactional`."""
        return self

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Written]:
        """See `Store.commit`."""
        self._check_open()
        chains, apart = encode_chains(commits)
        outcomes = [self._apply(chain) for chain in chains]
        return put_back(outcomes, apart) if apart else outcomes

    @property
    def is_concurrent(self) -> bool:
        """See `TransactionalStore.is_concurrent`."""
        return False

    async def transact(self, deferred: Sequence[Deferred]) -> Sequence[Outcome | StoreError | None]:
        """See `TransactionalStore.transact`. The users' tables are kept beside the executions."""
        self._check_open()
        return [self._transact(one) for one in deferred]

    def _transact(self, one: Deferred) -> Outcome | StoreError | None:
        if self._tables is None:
            self._tables = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._tables.close)
        self._tables.execute("BEGIN")
        outcome: Written | None = None
        try:
            kept = run_guarded(self._tables, one.run)
            if not self._tables.in_transaction:
                return NotKept("The transactional activity rolled its transaction back.") if kept else None
            commit = one.decide() if kept else None
            if commit is not None:
                encoded = encode_or_refuse(commit)
                outcome = encoded if isinstance(encoded, Unstorable) else self._apply(encoded)
            return outcome
        finally:
            if self._tables.in_transaction:
                self._tables.execute("COMMIT" if outcome is Outcome.APPLIED else "ROLLBACK")

    def _apply(self, chain: Sequence[EncodedCommit]) -> Outcome:
        if not self._is_expected(chain):
            return Outcome.CONFLICT
        for link in chain:
            self._write(link)
        return Outcome.APPLIED

    def _is_expected(self, chain: Sequence[EncodedCommit]) -> bool:
        """The compare of compare-and-set, for a commit and the runs that start with it."""
        current: dict[WorkflowId, str | None] = {}
        for link in chain:
            stored = self._runs.get(link.key)
            if (stored.latest.version if stored else 0) != link.expected_version:
                return False
            if link.expected_version == 0:
                workflow = (link.key.namespace, link.key.workflow_id)
                if current.get(workflow, self._current.get(workflow)) != link.expected_current_run_id:
                    return False
                current[workflow] = link.key.run_id
            for ref in link.take_records:
                record = self._records.get((ref.kind, ref.namespace, ref.name))
                if record is None or record.version != ref.version:
                    return False
        return True

    def _write(self, link: EncodedCommit) -> None:
        key = link.key
        if link.expected_version == 0:
            self._positions += 1
            self._runs[key] = _Run(link, self._positions)
            self._current[key.namespace, key.workflow_id] = key.run_id
        run = self._runs[key]
        run.latest = link
        run.batches.extend(link.batches)
        for event_id, part in link.parts:
            run.parts.pop(event_id, None)
            if part:
                run.parts[event_id] = part
        self._wakes.pop(key, None)
        if link.wake_at_ns is not None:
            self._wakes[key] = link.wake_at_ns
        for ref in link.remove_tasks:
            self._tasks.pop((ref.key, ref.kind, ref.scheduled_event_id), None)
        for task in link.add_tasks:
            self._positions += 1
            row = (task.key, task.queue.kind, task.scheduled_event_id)
            self._tasks.pop(row, None)  # so that the dictionary stays in order of position
            self._tasks[row] = QueuedTask(Position(0, self._positions), task)
        for record in link.take_records:
            del self._records[record.kind, record.namespace, record.name]
        for message_id in link.remove_messages:
            self._messages.pop(message_id, None)
        for message_id, data, _, _ in link.messages:
            self._positions += 1
            self._messages.pop(message_id, None)  # so that the dictionary stays in order of position
            self._messages[message_id] = PendingMessage(Position(0, self._positions), decode_message(data))

    async def load(self, references: Sequence[Reference]) -> Sequence[Execution | None]:
        """See `Store.load`."""
        self._check_open()
        return [self._load(reference) for reference in references]

    def _load(self, reference: Reference) -> Execution | None:
        run_id = reference.run_id or self._current.get((reference.namespace, reference.workflow_id), "")
        run = self._runs.get(ExecutionKey(reference.namespace, reference.workflow_id, run_id))
        return run.state() if run else None

    async def history(self, key: ExecutionKey, first_event_id: int = 1, limit_bytes: int = 4 << 20) -> Sequence[Batch]:
        """See `Store.history`."""
        self._check_open()
        run = self._runs.get(key)
        if run is None or first_event_id > run.latest.history_length:
            return []
        ends = [batch.first_event_id for batch in run.batches[1:]] + [run.latest.history_length + 1]
        wanted = (batch for batch, end in zip(run.batches, ends, strict=True) if end > first_event_id)
        return _until(wanted, limit_bytes)

    async def due(self, now_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS) -> Sequence[ExecutionKey]:
        """See `Store.due`."""
        self._check_open()
        return [key for _, key in nsmallest(limit, (wake for wake in self._wakes_of(partitions) if wake[0] <= now_ns))]

    async def next_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_wake_at_ns`."""
        self._check_open()
        return min((at_ns for at_ns, _ in self._wakes_of(partitions) if at_ns > after_ns), default=None)

    def _wakes_of(self, partitions: Partitions) -> Iterator[tuple[int, ExecutionKey]]:
        for key, wake_at_ns in self._wakes.items():
            if partitions.hold(key.namespace, key.workflow_id):
                yield wake_at_ns, key

    async def tasks(self, queue: QueueName, after: Position, limit: int) -> Sequence[QueuedTask]:
        """See `Store.tasks`."""
        self._check_open()
        rows = (row for row in self._tasks.values() if row.task.queue == queue and row.position > after)
        return list(islice(rows, limit))

    async def count_tasks(self, queue: QueueName) -> int:
        """See `Store.count_tasks`."""
        self._check_open()
        return sum(row.task.queue == queue for row in self._tasks.values())

    async def pending_messages(
        self, after: Position, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[PendingMessage]:
        """See `Store.pending_messages`."""
        self._check_open()
        rows = (row for row in self._messages.values() if row.position > after and is_for(row, partitions))
        return list(islice(rows, limit))

    async def remove_messages(self, ids: Sequence[str]) -> None:
        """See `Store.remove_messages`."""
        self._check_open()
        for message_id in ids:
            self._messages.pop(message_id, None)

    async def queues(self) -> Sequence[QueueName]:
        """See `Store.queues`."""
        self._check_open()
        return sorted({row.task.queue for row in self._tasks.values()})

    async def in_flight(
        self, after: ExecutionKey | None, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.in_flight`."""
        self._check_open()
        keys = (key for key, run in self._runs.items() if run.latest.in_flight and (after is None or key > after))
        return nsmallest(limit, (key for key in keys if partitions.hold(key.namespace, key.workflow_id)))

    async def find_executions(
        self,
        namespace: str,
        query: Query,
        after: Cursor | None = None,
        limit: int = 100,
        limit_bytes: int = PAGE_BYTES,
    ) -> Page[Found]:
        """See `Store.find_executions`."""
        self._check_open()
        key = order_key(query)
        places: list[tuple[Cursor, ExecutionKey]] = []
        async for execution, document, number in self._matching(namespace, query):
            cursor = cursor_of(query, document, number)
            if after is None or key(cursor) > key(after):
                places.append((cursor, execution.key))
        first = nsmallest(limit, places, key=lambda place: key(place[0]))
        stored = ((cursor, self._runs[name].latest.snapshot) for cursor, name in first if name in self._runs)
        page = paged(stored, lambda one: len(one[1]), limit, limit_bytes)
        found = Page(Found(decode(snapshot), cursor) for cursor, snapshot in page)
        found.more = page.more or len(first) >= limit
        return found

    async def _matching(self, namespace: str, query: Query) -> AsyncIterator[tuple[Execution, Document, int]]:
        """All runs that a filter means; others have their turn in between, the more often the more is asked of each."""
        in_a_turn = 1 + _LOOKS_A_TURN // (1 + conditions(query.where))
        for looked, (key, run) in enumerate(list(self._runs.items()), 1):
            if looked % in_a_turn == 0:
                await asyncio.sleep(0)
            if key.namespace == namespace:
                execution = decode(run.latest.snapshot)
                document = document_of(execution)
                if holds(query.where, document):
                    yield execution, document, run.number

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """See `Store.count_executions`."""
        self._check_open()
        found: Counter[int] = Counter()
        async for execution, _, _ in self._matching(namespace, query):
            found[execution.status] += 1
        return dict(found)

    async def table_sizes(self) -> Sequence[TableSize]:
        """See `Store.table_sizes`: what is kept as bytes, and of the rest the rows."""
        self._check_open()
        runs = self._runs.values()
        batches = [batch for run in runs for batch in run.batches]
        snapshots = sum(len(run.latest.snapshot) + sum(map(len, run.parts.values())) for run in runs)
        return [
            TableSize("executions", len(runs), False, snapshots),
            TableSize("history", len(batches), False, sum(len(batch.data) for batch in batches)),
            TableSize("tasks", len(self._tasks), False, 0),
            TableSize("messages", len(self._messages), False, 0),
            TableSize("records", len(self._records), False, sum(len(one.data) for one in self._records.values())),
        ]

    async def largest_histories(self, limit: int) -> Sequence[HistorySize]:
        """See `Store.largest_histories`."""
        self._check_open()
        longest = nlargest(limit, self._runs.items(), key=lambda item: item[1].latest.history_length)
        return [
            HistorySize(key, run.latest.history_length, sum(len(batch.data) for batch in run.batches))
            for key, run in longest
        ]

    async def closed_before(
        self, namespace: str, closed_before_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """See `Store.closed_before`."""
        self._check_open()
        runs = ((run.latest.closed_at_ns, key) for key, run in self._runs.items() if key.namespace == namespace)
        closed = (key for at_ns, key in runs if at_ns is not None and at_ns < closed_before_ns)
        return nsmallest(limit, (key for key in closed if partitions.hold(namespace, key.workflow_id)))

    async def delete_executions(self, keys: Sequence[ExecutionKey]) -> int:
        """See `Store.delete_executions`."""
        self._check_open()
        return sum(self._delete(key) for key in keys)

    def _delete(self, key: ExecutionKey) -> bool:
        run = self._runs.get(key)
        if run is None or run.latest.is_open:
            return False
        del self._runs[key]
        self._wakes.pop(key, None)
        self._tasks = {row: task for row, task in self._tasks.items() if row[0] != key}
        workflow = (key.namespace, key.workflow_id)
        if self._current[workflow] == key.run_id:
            others = [other for other in self._runs if (other.namespace, other.workflow_id) == workflow]
            if others:
                self._current[workflow] = max(others, key=lambda other: self._runs[other].number).run_id
            else:
                del self._current[workflow]
        return True

    async def put_records(self, changes: Sequence[RecordChange]) -> Sequence[Written]:
        """See `Store.put_records`."""
        self._check_open()
        return [self._put_record(change) for change in changes]

    def _put_record(self, change: RecordChange) -> Written:
        try:
            check_change(change)
        except Exception as error:
            return unstorable(error, f"{change.kind} {change.name!r}")
        name = (change.kind, change.namespace, change.name)
        stored = self._records.get(name)
        if (stored.version if stored else 0) != change.expected_version:
            return Outcome.CONFLICT
        if change.data is None:
            self._records.pop(name, None)
        else:
            self._records[name] = Record(*name, change.expected_version + 1, change.wake_at_ns, change.data)
        return Outcome.APPLIED

    async def record(self, kind: str, namespace: str, name: str) -> Record | None:
        """See `Store.record`."""
        self._check_open()
        return self._records.get((kind, namespace, name))

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
        self._check_open()
        after = (after_namespace if namespace is None else namespace, after_name)
        names = (
            (of, place, name)
            for of, place, name in self._records
            if of == kind and namespace in (None, place) and (place, name) > after and partitions.hold(place, name)
        )
        return self._record_page(nsmallest(limit, names), limit, limit_bytes)

    def _record_page(self, names: Iterable[RecordId], limit: int, limit_bytes: int) -> Page[Record]:
        return paged((self._records[name] for name in names), lambda record: len(record.data), limit, limit_bytes)

    async def due_records(
        self, now_ns: int, limit: int, limit_bytes: int = PAGE_BYTES, partitions: Partitions = ALL_PARTITIONS
    ) -> Page[Record]:
        """See `Store.due_records`."""
        self._check_open()
        due = (wake for wake in self._record_wakes_of(partitions) if wake[0] <= now_ns)
        return self._record_page((name for _, name in nsmallest(limit, due)), limit, limit_bytes)

    async def next_record_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """See `Store.next_record_wake_at_ns`."""
        self._check_open()
        return min((at_ns for at_ns, _ in self._record_wakes_of(partitions) if at_ns > after_ns), default=None)

    def _record_wakes_of(self, partitions: Partitions) -> Iterator[tuple[int, RecordId]]:
        for name, record in self._records.items():
            if record.wake_at_ns is not None and partitions.hold(record.namespace, record.name):
                yield record.wake_at_ns, name

    async def put_namespace(self, namespace: Namespace, expected: Namespace | None = None) -> Outcome:
        """See `Store.put_namespace`."""
        self._check_open()
        encode_namespace(namespace)
        if self._namespaces.get(namespace.name) != expected:
            return Outcome.CONFLICT
        self._namespaces[namespace.name] = namespace
        return Outcome.APPLIED

    async def remove_namespace(self, name: str) -> None:
        """See `Store.remove_namespace`."""
        self._check_open()
        self._namespaces.pop(name, None)
        self._records = {key: record for key, record in self._records.items() if record.namespace != name}

    async def namespaces(self) -> Sequence[Namespace]:
        """See `Store.namespaces`."""
        self._check_open()
        return [self._namespaces[name] for name in sorted(self._namespaces)]

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """See `Store.notify`: no other engine can open this store while it is open."""
        self._check_open()

    async def listen(self, channel: str, hear: Hear) -> None:
        """See `Store.listen`: there is nobody to hear."""
        self._check_open()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("The memory store is not open: call `open()` before using it.")


def _until(batches: Iterable[Batch], limit_bytes: int) -> list[Batch]:
    """Whole batches until their bytes reach the limit; at least one if there is one."""
    page: list[Batch] = []
    size = 0
    for batch in batches:
        if page and size + len(batch.data) > limit_bytes:
            break
        page.append(batch)
        size += len(batch.data)
    return page

"""The protocol of a store, small on purpose.

A store makes commits durable and answers reads; it decides nothing. Every method may be called
concurrently from one event loop. One suite (`tests/stores/`) holds every backend to this text.

Where a method takes `partitions`, only what belongs to them is looked at (`perdure.stores.partitions`): an execution by
its workflow id, a record by its name, a message by the workflow that it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeVar, final

import msgspec

from perdure.api.enlistment import Enlistment
from perdure.core.commit import Commit
from perdure.core.execution import Execution
from perdure.core.message import Message
from perdure.core.names import ExecutionKey, QueueName, Task
from perdure.stores.partitions import ALL_PARTITIONS, Partitions
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import ALL, Query

Row = TypeVar("Row")


class StoreError(Exception):
    """The store cannot serve: the message says why and what to do."""


class ReadTooLong(StoreError):
    """A list or count looked at so much that it was ended: asked again it takes as long, unless it asks for less."""


class ReadsBusy(StoreError):
    """Too many lists and counts that take long: later there may be room."""


class OutcomeUnknown(StoreError):
    """Whether what was to be written is durable or will be is not known, and the store cannot be asked now.

    What is in memory of it is no proof of anything; what is read later is.
    """


class NotKept(StoreError):
    """The transaction of a user's function could not be kept for what the function did there: nothing of it was."""


@final
class Unstorable(StoreError):
    """What became of one commit or one change of a record that cannot be stored, now or later: its message says why.

    Nothing of it was written, and what was written beside it is not touched.

    Attributes:
        is_value: it holds a value that no store can (a number beyond 64 bits, text that UTF-8 cannot say, a blob that
            is too big), which is its sender's affair; False: it contradicts itself or what is stored, which is a bug.
    """

    def __init__(self, message: str, is_value: bool) -> None:
        super().__init__(message)
        self.is_value = is_value


class Damaged(StoreError):
    """What the store holds of one thing is not what was written: only a backup helps. The others can be read."""


PAGE_BYTES = 2 << 20
"""What a page of rows weighs at most, unless its first one alone is heavier: an answer of lists fits in 4 MB."""


class Page(list[Row]):
    """Some rows of many. `more`: there may be others behind them, left out for their number or their bytes."""

    more = False


def paged(rows: Iterable[Row], weight: Callable[[Row], int], limit: int, limit_bytes: int) -> Page[Row]:
    """Rows up to a number of them and a number of bytes, but at least one if there is one."""
    page, size = Page[Row](), 0
    for row in rows:
        size += weight(row)
        if page and size > limit_bytes:
            page.more = True
            break
        page.append(row)
        if len(page) >= limit:
            page.more = True
            break
    return page


class Outcome(Enum):
    """What became of one commit."""

    APPLIED = "applied"
    CONFLICT = "conflict"
    """The stored version, or the current run, was not the expected one; nothing of it was written."""


@dataclass(slots=True, frozen=True)
class Reference:
    """Names an execution by run, or with `run_id=None` the current (newest) run of a workflow id."""

    namespace: str
    workflow_id: str
    run_id: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """The events of one commit, or some of them, as one serialised `temporal.api.history.v1.History`.

    Batches concatenate into a valid `History`.
    """

    first_event_id: int
    data: bytes


class Position(NamedTuple):
    """The place of a row among the rows of its kind: made by the store, never reused, to be compared and given back.

    A number that a store gives out before it commits is not in the order of commits, so rows stand by their transaction
    first. What a reader may rely on: before the last row of a page nothing will appear any more, so who goes on past
    its position misses nothing. To keep that, a store may hold back a durable row while a transaction that began
    earlier is still open: not all that is durable is on a page yet.
    """

    transaction: int
    """0 in a store that writes one transaction at a time."""
    number: int


BEGINNING = Position(0, 0)
"""Before every row."""


@dataclass(slots=True, frozen=True)
class QueuedTask:
    """A task row with its position in the queue."""

    position: Position
    task: Task


@dataclass(slots=True, frozen=True)
class PendingMessage:
    """A row of the outbox with its position."""

    position: Position
    message: Message | None
    """None: the row is damaged."""


def is_for(row: PendingMessage, partitions: Partitions) -> bool:
    """Whether a message belongs to these partitions: by whom it is for."""
    message = row.message
    return message is None or partitions.hold(message.namespace, message.workflow_id)


@dataclass(slots=True, frozen=True)
class Namespace:
    """A namespace, how long its closed executions are kept, and what its executions may be found by."""

    name: str
    id: str
    retention_ns: int
    description: str = ""
    owner_email: str = ""
    state: int = 1
    """temporal.api.enums.v1.NamespaceState."""
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    search_attributes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Custom ones: name and temporal.api.enums.v1.IndexedValueType."""


@dataclass(slots=True, frozen=True)
class Found:
    """One execution of a list, and the place where it stands in it."""

    execution: Execution
    cursor: Cursor


@dataclass(slots=True, frozen=True)
class TableSize:
    """What one table takes."""

    name: str
    rows: int
    is_estimate: bool
    """`rows` is about right: the database was not asked to count."""
    bytes: int
    """Of the table, with what lies beside its rows because it is large."""
    indexes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Bytes of each index. A key that the rows themselves are kept by is none."""

    @property
    def all_bytes(self) -> int:
        """With the indexes."""
        return self.bytes + sum(self.indexes.values())


class HistorySize(NamedTuple):
    """How long one execution's history is."""

    key: ExecutionKey
    events: int
    bytes: int


@dataclass(slots=True, frozen=True)
class Record:
    """Something named that is kept and is no execution: a schedule, an endpoint, a batch operation, ...

    What `data` says is its owner's business: the store keeps the bytes, and compares versions.
    """

    kind: str
    """Whose it is, such as "schedule"; kinds share nothing."""
    namespace: str
    """Empty for what belongs to no namespace."""
    name: str
    """Unique within kind and namespace."""
    version: int
    """1 when it was made, one more with every change."""
    wake_at_ns: int | None
    """When its owner wants to look at it again; None: never."""
    data: bytes
    damage: str = ""
    """Why `data` is not what was written, if it is not; nothing is to be made of it then."""

    def change(self, data: bytes | None, wake_at_ns: int | None = None) -> RecordChange:
        """The change that replaces this record, or with None deletes it, if it is still as it is here."""
        return RecordChange(self.kind, self.namespace, self.name, self.version, data, wake_at_ns)


@dataclass(slots=True, frozen=True)
class RecordChange:
    """A record is to be made, replaced or, with `data` None, deleted; only if `expected_version` is the stored one."""

    kind: str
    namespace: str
    name: str
    expected_version: int
    """0: there must be none."""
    data: bytes | None
    wake_at_ns: int | None = None

    @property
    def record(self) -> Record | None:
        """What is stored once the change is applied."""
        if self.data is None:
            return None
        return Record(self.kind, self.namespace, self.name, self.expected_version + 1, self.wake_at_ns, self.data)


Hear = Callable[[bytes | None], None]
"""What is called for every notice; None: some may have been lost."""


class Store(Protocol):
    """See the module's text. Raises `StoreError` where nothing else is named."""

    @property
    def is_shared(self) -> bool:
        """Whether other engines may have it open at the same time, and write there."""
        ...

    @property
    def transactional(self) -> TransactionalStore | None:
        """What lets users' functions write in the transactions of commits; None: this store cannot."""
        ...

    @property
    def enlisting(self) -> EnlistingStore | None:
        """What lets records be made in transactions of other programs; None: this store cannot."""
        ...

    async def open(self) -> None:
        """Create or migrate the schema and take ownership, or raise a StoreError that names the fix."""
        ...

    async def close(self) -> None:
        """Finish what is being written and release everything. Idempotent; the store may be opened again.

        Every method but `open` and `close` raises StoreError on a store that is not open.
        """
        ...

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        """Apply each commit entirely or not at all; durable (fsync) when this returns.

        One transaction for the whole batch. A conflict of one commit does not touch the others, and neither
        does one that cannot be encoded or written: that one is `Unstorable`.
        A commit and its `next_run` chain stand or fall together: each link is compared with what
        the links before it would leave. At most one commit per workflow id is in a batch.
        Of a commit, `remove_tasks` are taken out before `add_tasks` go in, so that a row can be
        replaced; an added task replaces the row of the same execution, kind and scheduled event,
        and stands at a new position. `remove_messages` are taken out, of the whole batch, before `messages`
        go in: a message is settled only once it is durable; an id that is not there is no error. `take_records` are
        compared as versions are: one that is not there makes the commit a conflict.

        Everything is encoded before the first `await`: the caller may change its executions as
        soon as it has the coroutine running. If it raises OutcomeUnknown, each commit of the batch may have been
        applied or not; if it raises another StoreError, none was. The store serves on, unless the message says that it
        must be reopened. A commit that changed nothing (`changed` False), and one that names a task of another
        execution, is Unstorable.
        """
        ...

    async def load(self, references: Sequence[Reference]) -> Sequence[Execution | None]:
        """The stored state of each, in order; None where there is none. Every call decodes a fresh object.

        All reads see every commit whose `commit` has returned. Raises Damaged.
        """
        ...

    async def history(self, key: ExecutionKey, first_event_id: int = 1, limit_bytes: int = 4 << 20) -> Sequence[Batch]:
        """Whole batches in order, from the one that holds `first_event_id`; `limit_bytes` in all, but at least one.

        Empty when the run does not exist or has no such event yet. Raises Damaged.
        """
        ...

    async def due(self, now_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS) -> Sequence[ExecutionKey]:
        """Executions whose wake_at_ns <= now_ns, earliest first, at most `limit`."""
        ...

    async def next_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """The earliest stored deadline later than `after_ns`."""
        ...

    async def tasks(self, queue: QueueName, after: Position, limit: int) -> Sequence[QueuedTask]:
        """Task rows of a queue past a position, in order of position: see `Position` for what that means."""
        ...

    async def count_tasks(self, queue: QueueName) -> int:
        """How many task rows a queue has."""
        ...

    async def pending_messages(
        self, after: Position, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[PendingMessage]:
        """Messages that were not delivered yet, past a position, in order of position.

        One that is damaged does not say whom it is for: it belongs to every partition.
        """
        ...

    async def remove_messages(self, ids: Sequence[str]) -> None:
        """Messages that need not be delivered any more, and whose removal rides with no commit."""
        ...

    async def queues(self) -> Sequence[QueueName]:
        """The queues that hold task rows now, in order."""
        ...

    async def in_flight(
        self, after: ExecutionKey | None, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """Open executions with a task in a worker's hands (`Execution.in_flight`), in key order, past `after`."""
        ...

    async def find_executions(
        self,
        namespace: str,
        query: Query,
        after: Cursor | None = None,
        limit: int = 100,
        limit_bytes: int = PAGE_BYTES,
    ) -> Page[Found]:
        """A page of what a list filter finds, in its order, past `after` (the cursor of the last one of a page).

        A cursor holds the values of the order, or when it closed and when it started, and one number of the row.
        States are without what is kept beside their snapshots; `limit_bytes` is of snapshots.
        `after` belongs to a query of the same order. An execution that changes meanwhile may be found
        as it was or as it is. One that is damaged is left out, and logged.
        """
        ...

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """How many of the executions found have each WorkflowExecutionStatus; a status that none has is left out.

        A list or count that would take too long raises ReadTooLong, ReadsBusy when too many such are asked for.
        """
        ...

    async def table_sizes(self) -> Sequence[TableSize]:
        """What each table of the store takes. May read all of it. Raises ReadTooLong."""
        ...

    async def largest_histories(self, limit: int) -> Sequence[HistorySize]:
        """The executions with the most events, the longest first, at most `limit`. Reads all states, in slices.

        Raises ReadTooLong.
        """
        ...

    async def closed_before(
        self, namespace: str, closed_before_ns: int, limit: int, partitions: Partitions = ALL_PARTITIONS
    ) -> Sequence[ExecutionKey]:
        """Executions that closed before that time, at most `limit`."""
        ...

    async def delete_executions(self, keys: Sequence[ExecutionKey]) -> int:
        """Take closed executions out, with their history and their tasks, durably. Returns how many were there.

        What is not there, or is open, is left. If the newest run of a workflow id goes, the newest of the others is
        its current one. Messages that a run has sent are delivered all the same.
        """
        ...

    async def put_records(self, changes: Sequence[RecordChange]) -> Sequence[Outcome | Unstorable]:
        """Make each change or refuse it as a CONFLICT, one after another; durable when this returns.

        One transaction for all of them; a conflict, or a change that cannot be written, does not touch the others.
        A record that is applied has the version after the expected one. A deleted one is gone: made again, it begins
        at 1.
        """
        ...

    async def record(self, kind: str, namespace: str, name: str) -> Record | None:
        """The record as it is stored now."""
        ...

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
        """A page of the records of a kind, by namespace and name (both as UTF-8 orders them).

        Of one namespace those past `after_name`; of all namespaces (None) those past `after_namespace`
        and `after_name` together.
        """
        ...

    async def due_records(
        self, now_ns: int, limit: int, limit_bytes: int = PAGE_BYTES, partitions: Partitions = ALL_PARTITIONS
    ) -> Page[Record]:
        """A page of records of any kind whose wake_at_ns <= now_ns, earliest first."""
        ...

    async def next_record_wake_at_ns(self, after_ns: int = -1, partitions: Partitions = ALL_PARTITIONS) -> int | None:
        """The earliest wake_at_ns of any record later than `after_ns`."""
        ...

    async def put_namespace(self, namespace: Namespace, expected: Namespace | None = None) -> Outcome:
        """Make the namespace, or put it in the place of `expected`, the one of the same name that was read.

        CONFLICT, and nothing is written, when what is stored by that name is not `expected`; None: there must be none.
        Raises Unstorable.
        """
        ...

    async def remove_namespace(self, name: str) -> None:
        """Forget it and its records; its executions stay. It need not exist."""
        ...

    async def namespaces(self) -> Sequence[Namespace]:
        """All namespaces, by name."""
        ...

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """Tell the other engines on this store something, if they listen; durable nowhere.

        A notice comes once, twice or not at all, sooner or later than another. In a store that serves one engine at a
        time there is nobody to tell.
        """
        ...

    async def listen(self, channel: str, hear: Hear) -> None:
        """Until the store is closed, have `hear` called on this event loop with what other engines say on a channel.

        `hear(None)` when some notices may have been lost: whoever listens looks for itself. It must not raise. Any
        number may listen to a channel.
        """
        ...


class Deferred(Protocol):
    """A commit that is decided inside its own transaction, after a user's function has written there."""

    def run(self, transaction: Any) -> bool:
        """The user's function, in any thread; True: keep what it wrote. Must not raise.

        `transaction` is the user's side of the store's write transaction, such as `sqlite.transaction.Transaction`.
        """
        ...

    def decide(self) -> Commit | None:
        """On the event loop, after `run` said True: the commit that stands or falls with its rows. None: drop them."""
        ...


class EnlistingStore(Protocol):
    """A store on a database that others write to as well, in transactions of their own: `Store.enlisting`."""

    async def enlist(self, change: RecordChange, channel: str) -> Enlistment:
        """The statement that makes a record which is not there, by a connection that is not the store's.

        When its transaction is committed, who listens to the channel is given the record's partition (two bytes), or
        finds the record. Raises Unstorable.
        """
        ...

    async def is_committed(self, transaction: str) -> bool | None:
        """Whether a transaction was committed, named as such a statement answers; None: it goes on."""
        ...


class TransactionalStore(Protocol):
    """A store that can let a user's function write in the transaction of a commit: `Store.transactional`."""

    @property
    def is_concurrent(self) -> bool:
        """Whether functions may run beside one another, each in a transaction of its own."""
        ...

    async def transact(self, deferred: Sequence[Deferred]) -> Sequence[Outcome | StoreError | None]:
        """Run and decide each, in turn and in one transaction unless it `is_concurrent`; durable when this returns.

        Of each: APPLIED (its rows and its commit are kept), CONFLICT (neither is, do it again), None (it said that
        nothing is to be kept), or a StoreError, and nothing of it is kept: NotKept, Unstorable, another one where the
        store cannot be reached (OutcomeUnknown: both may be kept, or neither).
        One that fails does not touch the others. At most one of a workflow id. Raises StoreError when nothing
        of the batch was kept.
        """
        ...

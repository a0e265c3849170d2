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
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from perdure.core.commit import Commit, ExecutionKey, QueueName
from perdure.core.execution import Execution
from perdure.stores.api import (
    Batch,
    Deferred,
    Found,
    Namespace,
    Outcome,
    PendingMessage,
    QueuedTask,
    Record,
    RecordChange,
    Reference,
    StoreError,
    Summary,
    Unstorable,
)
from perdure.stores.encoding import Written, encode_chains, encode_namespace, encode_or_refuse, put_back
from perdure.stores.sqlite import backup, reader, schema
from perdure.stores.sqlite.connection import check_path, connect_reader, connect_writer, make_durable
from perdure.stores.sqlite.errors import as_store_error, is_busy, is_fsync_failure, store_error
from perdure.stores.sqlite.ownership import Ownership
from perdure.stores.sqlite.queries import query
from perdure.stores.sqlite.transaction import SAVEPOINT, run_guarded
from perdure.stores.sqlite.writer import Writer
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import ALL, Query

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_PUT_NAMESPACE = query("put_namespace")
_ROWS_A_TURN = 20
"""Of a list, between two looks at what else the event loop has to do."""
_BUSY_PAUSES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, *(0.1,) * 50)
"""How long a transaction waits for a program that has the file locked, before it is refused: about 5 s."""

_QUICK_DISK_S = 0.0005
"""A disk that synchronises a commit in less is waited for on the event loop, when a commit is alone."""
_HICCUP_S = 0.002
"""The most that one commit counts in the average: a checkpoint now and then is no slow disk."""
_LONG_HOLD_S = 0.25
"""A user's function that has the write transaction for longer is named in the log: everybody waits for it."""

_log = logging.getLogger(__name__)


class SqliteStore:
    """A store in the file at `path`, which is made when it does not exist; see the module's text."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._file: _OpenFile | None = None

    async def open(self) -> None:
        """Own the file, create or migrate its tables. Raises StoreError naming what is wrong and the fix."""
        if self._file is not None:
            raise StoreError(f"The store {self.path} is open already: share that engine, or close it first.")
        self._file = await asyncio.get_running_loop().run_in_executor(None, _OpenFile, self.path)

    async def close(self) -> None:
        """Finish the transaction under way, close the file and let another process own it. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            async with file.turn:
                await asyncio.get_running_loop().run_in_executor(None, file.release)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Written]:
        """See `Store.commit`."""
        file = self._opened()
        chains, apart = encode_chains(commits)
        outcomes: Sequence[Written] = []
        if chains:
            outcomes = await file.transact(lambda: file.writer.write(chains), len(chains))
        return put_back(outcomes, apart) if apart else outcomes

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

    async def due(self, now_ns: int, limit: int) -> Sequence[ExecutionKey]:
        """See `Store.due`."""
        return self._read(reader.list_due, now_ns, limit)

    async def next_wake_at_ns(self, after_ns: int = -1) -> int | None:
        """See `Store.next_wake_at_ns`."""
        return self._read(reader.find_next_wake, after_ns)

    async def tasks(self, queue: QueueName, after_position: int, limit: int) -> Sequence[QueuedTask]:
        """See `Store.tasks`."""
        return self._read(reader.list_tasks, queue, after_position, limit)

    async def count_tasks(self, queue: QueueName) -> int:
        """See `Store.count_tasks`."""
        return self._read(reader.count_tasks, queue)

    async def pending_messages(self, after_position: int, limit: int) -> Sequence[PendingMessage]:
        """See `Store.pending_messages`."""
        return self._read(reader.list_messages, after_position, limit)

    async def remove_messages(self, ids: Sequence[str]) -> None:
        """See `Store.remove_messages`."""
        file = self._opened()
        await file.transact(lambda: file.writer.remove_messages(ids), 1)

    async def queues(self) -> Sequence[QueueName]:
        """See `Store.queues`."""
        return self._read(reader.list_queues)

    async def in_flight(self, after: ExecutionKey | None, limit: int) -> Sequence[ExecutionKey]:
        """See `Store.in_flight`."""
        return await self._scan(reader.list_in_flight, after, limit)

    async def list_executions(
        self,
        namespace: str,
        *,
        open_only: bool | None = None,
        workflow_type: str | None = None,
        after: ExecutionKey | None = None,
        limit: int = 100,
    ) -> Sequence[Summary]:
        """See `Store.list_executions`."""
        return await self._scan(reader.list_executions, namespace, open_only, workflow_type, after, limit)

    async def find_executions(
        self, namespace: str, query: Query, after: Cursor | None = None, limit: int = 100
    ) -> Sequence[Found]:
        """See `Store.find_executions`. Places are found in a thread; the rows are read here, a few at a time."""
        found: list[Found] = []
        for cursor in await self._scan(reader.find_executions, namespace, query, after, limit):
            execution = self._read(reader.load_numbered, cast(int, cursor[-1]))
            if execution is not None:
                found.append(Found(execution, cursor))
            if len(found) % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)
        return found

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """See `Store.count_executions`."""
        return await self._scan(reader.count_executions, namespace, query)

    async def closed_before(self, namespace: str, closed_before_ns: int, limit: int) -> Sequence[ExecutionKey]:
        """See `Store.closed_before`."""
        return self._read(reader.list_closed_before, namespace, closed_before_ns, limit)

    async def delete_executions(self, keys: Sequence[ExecutionKey]) -> int:
        """See `Store.delete_executions`."""
        file = self._opened()
        return await file.transact(lambda: file.writer.delete(keys), len(keys)) if keys else 0

    async def put_records(self, changes: Sequence[RecordChange]) -> Sequence[Written]:
        """See `Store.put_records`."""
        file = self._opened()
        return await file.transact(lambda: file.writer.write_records(changes), len(changes)) if changes else []

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
    ) -> Sequence[Record]:
        """See `Store.records`."""
        return self._read(reader.list_records, kind, namespace, after_name, limit, after_namespace)

    async def due_records(self, now_ns: int, limit: int) -> Sequence[Record]:
        """See `Store.due_records`."""
        return self._read(reader.list_due_records, now_ns, limit)

    async def next_record_wake_at_ns(self, after_ns: int = -1) -> int | None:
        """See `Store.next_record_wake_at_ns`."""
        return self._read(reader.find_next_record_wake, after_ns)

    async def put_namespace(self, namespace: Namespace) -> None:
        """See `Store.put_namespace`."""
        file = self._opened()
        row = encode_namespace(namespace)
        await file.transact(lambda: file.connection.execute(_PUT_NAMESPACE, row), 1)

    async def remove_namespace(self, name: str) -> None:
        """See `Store.remove_namespace`."""
        file = self._opened()
        await file.transact(lambda: file.writer.remove_namespace(name), 1)

    async def namespaces(self) -> Sequence[Namespace]:
        """See `Store.namespaces`."""
        return self._read(reader.list_namespaces)

    async def backup(self, path: str | Path, progress: backup.Progress | None = None) -> None:
        """Copy the store as it is at this moment to a new file at `path`, while it goes on serving.

        `progress` is told pages copied and pages in all, now and then, in a thread of its own. The
        copy is durable and complete when this returns, or there is none. The write-ahead log grows
        while the copy is made. Raises StoreError when something is at `path` already or cannot be
        written there.
        """
        await self._scan(backup.copy, Path(path), progress)

    async def check(self) -> Sequence[str]:
        """What is wrong with the file, a sentence each; nothing when it is sound. Reads all of it."""
        return await self._scan(backup.check)

    def _opened(self) -> _OpenFile:
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
        """A read of many rows, in a thread and on a connection of its own."""
        self._opened()

        def scan() -> Result:
            with as_store_error(self.path):
                connection = connect_reader(self.path)
                try:
                    return read(connection, *args, **kwargs)
                finally:
                    connection.close()

        return await asyncio.get_running_loop().run_in_executor(None, scan)


class _OpenFile:
    """A file that is owned and open: the connections on it, and whose turn it is to write."""

    def __init__(self, path: Path) -> None:
        """Everything is held, or nothing and a StoreError is raised."""
        check_path(path)
        self.path = path
        self.turn = asyncio.Lock()
        self._why_broken: str | None = None
        self._ownership = Ownership(path)
        self._connections: list[sqlite3.Connection] = []
        self._disk = Disk()
        self._threads = ThreadPoolExecutor(1, "perdure-disk")
        try:
            with as_store_error(path):
                self._connect()
        except BaseException:
            self.release()
            raise

    def _connect(self) -> None:
        path = self.path
        self.connection = connect_writer(path)
        self._connections.append(self.connection)
        migrations = schema.read_migrations()
        version = schema.identify(self.connection, path, max(migrations, default=schema.FIRST_VERSION))
        make_durable(self.connection, path)
        schema.migrate(self.connection, version, migrations)
        self.writer = Writer(self.connection)
        self.reader = connect_reader(path)
        self._connections.append(self.reader)

    def release(self) -> None:
        """Close what is open, the writer last, so that it copies the log into the file; then disown it."""
        self._threads.shutdown()
        for connection in reversed(self._connections):
            connection.close()
        self._ownership.release()

    async def transact(self, write: Callable[[], Result], size: int) -> Result:
        """One transaction of `size` commits, entirely or not at all, when its turn has come. Raises StoreError."""
        async with self.turn:
            if self._why_broken is not None:
                raise StoreError(self._why_broken)
            try:
                result = await self._begin_and(write)
                if self._disk.is_worth_a_thread(size):
                    await self._finish_in_thread()
                else:
                    self._disk.run(self.writer.finish)
                    self.writer.remember()
            except sqlite3.Error as error:
                raise self._give_up(error) from error
            except BaseException:
                self.writer.abandon()
                raise
            return result

    async def transact_deferred(self, deferred: Sequence[Deferred]) -> Sequence[Outcome | StoreError | None]:
        """One transaction for all of them, each behind a savepoint of its own. Raises StoreError."""
        outcomes: list[Outcome | StoreError | None] = [Outcome.CONFLICT] * len(deferred)
        async with self.turn:
            if self._why_broken is not None:
                raise StoreError(self._why_broken)
            try:
                await self._begin_and(lambda: None)
                for place, one in enumerate(deferred):
                    kept = await self._run_deferred(one)
                    if not self.connection.in_transaction:
                        # All that was written before is gone with it, and is done again.
                        outcomes = [Outcome.CONFLICT] * len(deferred)
                        outcomes[place] = _transaction_lost() if kept else None
                        return outcomes
                    outcomes[place] = self._settle_deferred(one, kept)
                if Outcome.APPLIED in outcomes:
                    await self._finish_in_thread()
                else:
                    self.writer.abandon()
            except sqlite3.Error as error:
                raise self._give_up(error) from error
            except BaseException:
                self.writer.abandon()
                raise
            return outcomes

    async def _run_deferred(self, one: Deferred) -> bool:
        """The user's function behind a savepoint, off the loop: whoever reads or decides need not wait for it."""
        connection = self.connection
        connection.execute(f"SAVEPOINT {SAVEPOINT}")
        begin = time.perf_counter()
        kept: bool = await self._in_thread(lambda: run_guarded(connection, one.run))
        taken_s = time.perf_counter() - begin
        if taken_s > _LONG_HOLD_S:
            _log.warning("a transactional activity kept all commits of the store waiting for %.1f s", taken_s)
        return kept

    def _settle_deferred(self, one: Deferred, kept: bool) -> Written | None:
        """Write the commit that belongs to the rows, or drop both."""
        commit = one.decide() if kept else None
        outcome: Written | None = None
        if commit is not None:
            encoded = encode_or_refuse(commit)
            outcome = encoded if isinstance(encoded, Unstorable) else self.writer.write_alone(encoded)
        if outcome is not Outcome.APPLIED:
            self.connection.execute(f"ROLLBACK TO {SAVEPOINT}")
        self.connection.execute(f"RELEASE {SAVEPOINT}")
        return outcome

    async def _begin_and(self, write: Callable[[], Result]) -> Result:
        """Another program (a person with `sqlite3`, a backup tool) may have the file locked for a moment."""
        for pause_s in _BUSY_PAUSES_S:
            try:
                self.writer.begin()
                return write()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                self.writer.abandon()
            await _pause(pause_s)
        self.writer.begin()
        return write()

    async def _finish_in_thread(self) -> None:
        """Wait for the disk. Who is cancelled meanwhile is cancelled after: the transaction has left already."""

        def finish() -> None:
            self._disk.run(self.writer.finish)

        try:
            await self._in_thread(finish)
        except asyncio.CancelledError:
            self.writer.remember()
            raise
        self.writer.remember()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Run on the store's one thread. A cancellation waits for its end: the connection is in use until then."""
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        _yield_interpreter()
        cancelled: asyncio.CancelledError | None = None
        while not done.done():
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError as error:
                cancelled = error
        result = done.result()
        if cancelled is not None:
            raise cancelled
        return result

    def _give_up(self, error: sqlite3.Error) -> StoreError:
        """Undo what was begun, and say why."""
        try:
            self.writer.abandon()
        except sqlite3.Error as second:
            self._why_broken = (
                f"The store {self.path} could not undo a failed transaction ({second}): restart the engine."
            )
        if is_fsync_failure(error):
            self._why_broken = (
                f"The disk under the store {self.path} failed to synchronise ({error}), so only opening the file again "
                "can tell what it holds: check the disk and the system's log, then restart the engine."
            )
            return StoreError(self._why_broken)
        return store_error(error, self.path)


class Disk:
    """Judges whether waiting for the disk is worth a thread.

    Handing over to a thread and back costs about as much as a good disk needs to synchronise one
    commit. So a commit that is alone, with another alone before it, is waited for on the loop, which
    has nothing better to do; unless the disk has been slow lately. A batch of many always has its thread.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._average_s = 0.0
        self._last_size = 0

    def is_worth_a_thread(self, size: int) -> bool:
        """Whether the loop should be free while a transaction of so many commits is synchronised."""
        alone = size == 1 and self._last_size == 1
        self._last_size = size
        return not alone or self._average_s > _QUICK_DISK_S

    def run(self, finish: Callable[[], None]) -> None:
        """Finish a transaction and remember how long it took; one hiccup counts no more than `_HICCUP_S`."""
        begin = self._clock()
        finish()
        taken_s = min(self._clock() - begin, _HICCUP_S)
        self._average_s += (taken_s - self._average_s) / 8


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _transaction_lost() -> StoreError:
    return StoreError(
        "A statement of the transactional activity rolled the whole transaction back (`OR ROLLBACK`, RAISE(ROLLBACK), "
        "a full disk) and the function went on all the same: nothing was kept; let such errors leave the function."
    )


def _yield_interpreter() -> None:
    """Lets the thread that has just been given work begin now, instead of after the switch interval (5 ms)."""
    time.sleep(0)

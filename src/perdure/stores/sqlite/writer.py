"""Turns a batch of encoded commits into the statements of one transaction.

The ordinary batch has no conflict, so it is written first and compared while it is written: every
statement that must hit exactly its row says so in its WHERE or in a unique key, each kind of
statement runs once over the whole batch, and the rows hit are counted. When the count is short the
transaction is rolled back and done again the careful way: commit by commit, each compared with the
tables first and written only when it passes, behind a savepoint. Either way a conflict leaves no row
behind, neither does a commit that cannot be written, and an ordinary commit costs one UPDATE and one INSERT.

Everything here but `finish` runs on the event loop and never waits. `finish`, which waits for the
disk, runs in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from perdure.core.names import ExecutionKey
from perdure.stores import checksums
from perdure.stores.api import Outcome, RecordChange
from perdure.stores.encoding import Chain, EncodedCommit, Written, check_change
from perdure.stores.sqlite.errors import is_of_the_store, set_apart
from perdure.stores.sqlite.mark import Mark
from perdure.stores.sqlite.queries import query

Row = tuple[Any, ...]

(
    _ADVANCE, _TURN, _SETTLE, _START, _CLAIM, _SUCCEED, _TAKE, _DROP_PART, _PUT_PART, _UNINDEX, _INDEX, _APPEND,
    _REMOVE_TASK, _ADD_TASK, _REMOVE_MESSAGE, _ADD_MESSAGE,
) = range(16)  # fmt: skip
"""What a commit may ask for, in the order in which it is done."""

_ALL, _ANY = True, False
"""How many rows a statement is to find: else some commit of the batch is a conflict."""
_STATEMENTS = (
    (query("advance_execution"), _ALL),
    (query("turn_execution"), _ALL),
    (query("settle_execution"), _ALL),
    (query("insert_execution"), _ALL),
    (query("claim_workflow_id"), _ALL),
    (query("succeed_run"), _ALL),
    (query("delete_record"), _ALL),
    (query("remove_part"), _ANY),
    (query("put_part"), _ANY),
    (query("clear_search_attributes"), _ANY),
    (query("add_search_attribute"), _ANY),
    (query("append_history"), _ALL),
    (query("remove_task"), _ANY),
    (query("add_task"), _ANY),
    (query("remove_message"), _ANY),
    (query("add_message"), _ANY),
)
_CLEAR_SEARCH_ATTRIBUTES, _ = _STATEMENTS[_UNINDEX]
_DELETE_RECORD, _ = _STATEMENTS[_TAKE]
_TAKE_MESSAGE, _ = _STATEMENTS[_REMOVE_MESSAGE]

_REMOVE_PARTS = query("remove_parts")
_FIND_EXECUTION = query("find_execution")
_FIND_CURRENT_RUN = query("find_current_run")
_FIND_LAST_NUMBERS = query("find_last_numbers")
_FIND_LINEAGE = query("find_lineage")
_COUNT_CHANGE = query("count_change")
_FIND_RECORD = query("find_record")
_REMOVE_EXECUTION = query("remove_execution")
_REMOVE_HISTORY = query("remove_history")
_REMOVE_TASKS = query("remove_tasks")
_RELEASE_WORKFLOW_ID = query("release_workflow_id")
_FORGET_WORKFLOW_ID = query("forget_workflow_id")
_REMOVE_NAMESPACE = query("remove_namespace")
_REMOVE_RECORDS = query("remove_records")
_INSERT_RECORD = query("insert_record")
_UPDATE_RECORD = query("update_record")

_SAVEPOINT = "perdure_commit"
"""Stands between the rows of one commit and those of the others."""
_REMEMBERED_MAX = 16_384
"""Open executions whose row number is remembered (about 400 bytes each); the others are looked up."""


class _Remembered(NamedTuple):
    """What a commit need not look up or write again, of an execution written lately."""

    id: int
    wake_at_ns: int | None
    is_open: bool
    status: int
    in_flight: bool


_Come = tuple[int, int, int]
"""Counted changes; number and version of the execution that was written last; 0, 0: none since the last such change."""


class _Plan(dict[int, list[Row]]):
    """The parameters of a transaction, by statement. Nearly all ask for two or three of them."""

    newest: tuple[int, int] = (0, 0)
    """Number and version of the last execution in it."""

    def __missing__(self, statement: int) -> list[Row]:
        rows = self[statement] = []
        return rows


class _Missed(Exception):
    """A row that a commit expects is not there: some commit of the batch is a conflict."""


class Writer:
    """Writes on one connection, one transaction at a time: `begin`, `write`, `finish`, `remember`; else `abandon`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[ExecutionKey, _Remembered] = {}
        self._planned: dict[ExecutionKey, _Remembered] = {}
        """What will be known once the transaction is durable, and not before."""
        self._lineage, changes = connection.execute(_FIND_LINEAGE).fetchone()
        self._come: _Come = (changes, 0, 0)
        """How far what is durable has come. One value: another thread asks for it too."""
        self._coming = self._come
        self._last_id, self._last_position, self._last_message = connection.execute(_FIND_LAST_NUMBERS).fetchone()

    def begin(self) -> None:
        """Take the write lock at once. Raises sqlite3.OperationalError (busy) when another program has it."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._planned = {}
        self._coming = self._come

    def write(self, chains: Sequence[Chain]) -> Sequence[Written]:
        """Write what has no conflict and no fault, within the transaction that was begun."""
        try:
            self._execute(self._plan(chains))
            return [Outcome.APPLIED] * len(chains)
        except Exception as error:
            if is_of_the_store(error):
                raise
            self.abandon()
        self.begin()
        return [self.write_alone(chain) for chain in chains]

    def write_alone(self, chain: Chain) -> Written:
        """Write one chain beside what stands in the transaction already; what is refused leaves that as it is."""
        if not self._is_expected(chain):
            return Outcome.CONFLICT
        self._connection.execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            self._execute(self._plan([chain]))
            return Outcome.APPLIED
        except Exception as error:
            refused = set_apart(error, f"a commit of workflow {chain[0].key.workflow_id!r}")
            self._connection.execute(f"ROLLBACK TO {_SAVEPOINT}")
            for link in chain:
                self._planned.pop(link.key, None)
            return refused
        finally:
            if self._connection.in_transaction:
                self._connection.execute(f"RELEASE {_SAVEPOINT}")

    def _is_expected(self, chain: Chain) -> bool:
        """Whether every link finds the version, the current run and the records that it was decided on."""
        current: dict[tuple[str, str], str | None] = {}
        for link in chain:
            key = link.key
            row = self._connection.execute(_FIND_EXECUTION, (key.namespace, key.workflow_id, key.run_id)).fetchone()
            if (row[1] if row else 0) != link.expected_version:
                return False
            if link.expected_version == 0:
                workflow = (key.namespace, key.workflow_id)
                run_id = current[workflow] if workflow in current else self._find_current_run(workflow)
                if run_id != link.expected_current_run_id:
                    return False
                current[workflow] = key.run_id
            for record in link.take_records:
                name = (record.kind, record.namespace, record.name)
                row = self._connection.execute(_FIND_RECORD, name).fetchone()
                if row is None or row[3] != record.version:
                    return False
        return True

    def _find_current_run(self, workflow: tuple[str, str]) -> str | None:
        row = self._connection.execute(_FIND_CURRENT_RUN, workflow).fetchone()
        return row[0] if row else None

    def finish(self) -> None:
        """Make the transaction durable. Runs in a thread.

        `commit()` gives the interpreter's lock up once and takes it back once, when it is durable; a statement that is
        executed does so three times, each time against a busy loop. Raises sqlite3.OperationalError when no
        transaction stands, of which `commit()` by itself says nothing.
        """
        if not self._connection.in_transaction:
            raise sqlite3.OperationalError("cannot commit - no transaction is active")
        self._connection.commit()

    def remember(self) -> None:
        """The transaction is durable: what it wrote may be relied on."""
        self._come = self._coming
        known = self._known
        for key, remembered in self._planned.items():
            known.pop(key, None)
            if remembered.is_open:
                known[key] = remembered
        while len(known) > _REMEMBERED_MAX:
            del known[next(iter(known))]

    def count_change(self) -> None:
        """This transaction changes something other than executions' commits: by its number it will be known."""
        self._connection.execute(_COUNT_CHANGE)
        self._coming = (self._come[0] + 1, 0, 0)

    def mark(self) -> Mark:
        """How far what is durable has come. Any thread may ask."""
        return Mark(self._lineage, *self._come)

    def abandon(self) -> None:
        """Drop what was written since `begin`, if the transaction still stands."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _plan(self, chains: Sequence[Chain]) -> _Plan:
        """Raises _Missed when a run that should go on does not exist."""
        plan = _Plan()
        for chain in chains:
            for link in chain:
                number = self._plan_start(plan, link) if link.expected_version == 0 else self._plan_advance(plan, link)
                for batch in link.batches:
                    checksum = checksums.of_event_bytes(batch.data, number, batch.first_event_id)
                    plan[_APPEND].append((number, batch.first_event_id, batch.data, checksum))
                plan.newest = (number, link.version)
                if not link.is_plain:
                    self._plan_rest(plan, number, link)
        return plan

    def _plan_rest(self, plan: _Plan, number: int, link: EncodedCommit) -> None:
        if link.parts:
            plan[_DROP_PART].extend((number, event_id) for event_id, part in link.parts if not part)
            plan[_PUT_PART].extend(
                (number, event_id, part, checksums.of_event_bytes(part, number, event_id))
                for event_id, part in link.parts
                if part
            )
        if link.index_rows is not None:
            if link.expected_version:
                plan[_UNINDEX].append((number,))
            plan[_INDEX].extend((number, *row) for row in link.index_rows)
        if link.remove_tasks or link.add_tasks:
            self._plan_tasks(plan, number, link)
        if link.take_records:
            plan[_TAKE].extend((one.kind, one.namespace, one.name, one.version) for one in link.take_records)
        if link.messages or link.remove_messages:
            self._plan_messages(plan, link)

    def _plan_start(self, plan: _Plan, link: EncodedCommit) -> int:
        self._last_id = number = self._last_id + 1
        key = link.key
        plan[_START].append(
            (number, key.namespace, key.workflow_id, key.run_id, link.version, link.status, link.in_flight,
             link.history_length, link.wake_at_ns, link.started_at_ns, link.closed_at_ns, link.workflow_type,
             link.task_queue, link.snapshot, None if link.closed_at_ns is None else link.history_bytes,
             checksums.of_snapshot(link.snapshot, number))
        )  # fmt: skip
        if link.expected_current_run_id is None:
            plan[_CLAIM].append((key.namespace, key.workflow_id, number))
        else:
            workflow = (key.namespace, key.workflow_id)
            plan[_SUCCEED].append((number, *workflow, *workflow, link.expected_current_run_id))
        self._planned[key] = _Remembered(
            number, link.wake_at_ns, link.closed_at_ns is None, link.status, link.in_flight
        )
        return number

    def _plan_advance(self, plan: _Plan, link: EncodedCommit) -> int:
        key = link.key
        known = self._planned.get(key) or self._known.get(key) or self._look_up(key)
        number, wake_at_ns, was_open, status, was_in_flight = known
        checksum = checksums.of_snapshot(link.snapshot, number)
        if link.closed_at_ns is not None or not was_open or status != link.status:
            closed = link.closed_at_ns
            size = None if closed is None else link.history_bytes
            plan[_SETTLE].append(
                (link.version, link.in_flight, link.history_length, link.snapshot, checksum, link.wake_at_ns,
                 link.status, closed, size, number, link.expected_version)
            )  # fmt: skip
            self._planned[key] = _Remembered(number, link.wake_at_ns, closed is None, link.status, link.in_flight)
        elif wake_at_ns == link.wake_at_ns and was_in_flight == link.in_flight:
            plan[_ADVANCE].append(
                (link.version, link.history_length, link.snapshot, checksum, number, link.expected_version)
            )
            self._planned[key] = known
        else:
            plan[_TURN].append(
                (link.version, link.in_flight, link.history_length, link.snapshot, checksum, link.wake_at_ns,
                 number, link.expected_version)
            )  # fmt: skip
            self._planned[key] = _Remembered(number, link.wake_at_ns, True, status, link.in_flight)
        return number

    def _plan_tasks(self, plan: _Plan, number: int, link: EncodedCommit) -> None:
        for ref in link.remove_tasks:
            plan[_REMOVE_TASK].append((number, ref.scheduled_event_id, ref.kind))
        for task in link.add_tasks:
            self._last_position += 1
            queue = task.queue
            plan[_ADD_TASK].append(
                (self._last_position, queue.namespace, queue.name, queue.kind, number, task.scheduled_event_id,
                 task.stamp)
            )  # fmt: skip

    def _plan_messages(self, plan: _Plan, link: EncodedCommit) -> None:
        for message_id in link.remove_messages:
            plan[_REMOVE_MESSAGE].append((message_id,))
        for message_id, data, _, _ in link.messages:
            self._last_message += 1
            checksum = checksums.of_message(data, self._last_message)
            plan[_ADD_MESSAGE].append((self._last_message, message_id, data, checksum))

    def remove_messages(self, ids: Sequence[str]) -> None:
        """Within the transaction that was begun."""
        self._connection.executemany(_TAKE_MESSAGE, [(message_id,) for message_id in ids])

    def delete(self, keys: Sequence[ExecutionKey]) -> int:
        """Take closed executions out, within the transaction that was begun. Returns how many there were."""
        return sum(self._delete(key) for key in keys)

    def _delete(self, key: ExecutionKey) -> bool:
        row = self._connection.execute(_FIND_EXECUTION, (key.namespace, key.workflow_id, key.run_id)).fetchone()
        if row is None or row[3]:
            return False
        number, workflow = row[0], (key.namespace, key.workflow_id)
        self._connection.execute(_RELEASE_WORKFLOW_ID, (*workflow, number) * 3)
        self._connection.execute(_FORGET_WORKFLOW_ID, (*workflow, number))
        for statement in (_CLEAR_SEARCH_ATTRIBUTES, _REMOVE_PARTS, _REMOVE_TASKS, _REMOVE_HISTORY, _REMOVE_EXECUTION):
            self._connection.execute(statement, (number,))
        return True

    def remove_namespace(self, name: str) -> None:
        """Within the transaction that was begun."""
        for statement in (_REMOVE_RECORDS, _REMOVE_NAMESPACE):
            self._connection.execute(statement, (name,))

    def write_records(self, changes: Sequence[RecordChange]) -> list[Written]:
        """Within the transaction that was begun. A change is one statement, which is done or leaves nothing behind."""
        outcomes: list[Written] = []
        for change in changes:
            try:
                check_change(change)
                outcomes.append(self._write_record(change))
            except Exception as error:
                outcomes.append(set_apart(error, f"{change.kind} {change.name!r}"))
        return outcomes

    def _write_record(self, change: RecordChange) -> Outcome:
        name = (change.kind, change.namespace, change.name)
        if change.data is None and change.expected_version == 0:  # there should be none, and there is to be none
            is_there = self._connection.execute(_FIND_RECORD, name).fetchone()
            return Outcome.CONFLICT if is_there else Outcome.APPLIED
        if change.data is None:
            cursor = self._connection.execute(_DELETE_RECORD, (*name, change.expected_version))
        elif change.expected_version:
            checksum = checksums.of_record(change.data, change.expected_version + 1)
            row = (change.expected_version, change.wake_at_ns, change.data, checksum, *name, change.expected_version)
            cursor = self._connection.execute(_UPDATE_RECORD, row)
        else:
            row = (*name, change.wake_at_ns, change.data, checksums.of_record(change.data, 1))
            cursor = self._connection.execute(_INSERT_RECORD, row)
        return Outcome.APPLIED if cursor.rowcount else Outcome.CONFLICT

    def _look_up(self, key: ExecutionKey) -> _Remembered:
        row = self._connection.execute(_FIND_EXECUTION, (key.namespace, key.workflow_id, key.run_id)).fetchone()
        if row is None:
            raise _Missed("the run that it goes on is not there")
        number, _, wake_at_ns, is_open, status, in_flight = row
        return _Remembered(number, wake_at_ns, bool(is_open), status, bool(in_flight))

    def _execute(self, plan: _Plan) -> None:
        """Raises _Missed or sqlite3.IntegrityError when a commit is a conflict, others when it is no row."""
        for step in sorted(plan):
            rows, (statement, must_hit) = plan[step], _STATEMENTS[step]
            if self._connection.executemany(statement, rows).rowcount != len(rows) and must_hit:
                raise _Missed("a row that it goes on from is not there")
        self._coming = (self._come[0], *plan.newest)

"""Answers reads, on connections that cannot write.

Rows are fetched on the event loop, where a point read costs some ten microseconds; a thread would
have to win the interpreter lock back for every row. What scans is one statement with one row for
an answer, and may run in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from perdure.api.status import CLOSED
from perdure.core.execution import Execution, decode
from perdure.core.message import decode_message
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.core.search_attributes import Row
from perdure.stores import checksums
from perdure.stores.api import (
    Batch,
    Namespace,
    Page,
    PendingMessage,
    Position,
    QueuedTask,
    Record,
    Reference,
    is_for,
    paged,
)
from perdure.stores.encoding import decode_namespace
from perdure.stores.partitions import Partitions
from perdure.stores.sqlite import filters
from perdure.stores.sqlite.checksums import damaged
from perdure.stores.sqlite.queries import query
from perdure.stores.summary import Summary
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import Query

_LOAD_RUN = query("load_run")
_LIST_PARTS = query("list_parts")
_LOAD_CURRENT_RUN = query("load_current_run")
_FIND_HISTORY = query("find_history")
_READ_HISTORY = query("read_history")
_LIST_DUE = query("list_due")
_FIND_NEXT_WAKE = query("find_next_wake")
_LIST_TASKS = query("list_tasks")
_COUNT_TASKS = query("count_tasks")
_LIST_MESSAGES = query("list_messages")
_LIST_QUEUES = query("list_queues")
_LIST_IN_FLIGHT = query("list_in_flight")
_LIST_EXECUTIONS = query("list_executions")
_LIST_SEARCH_ATTRIBUTES = query("list_search_attributes")
_LOAD_NUMBERED = query("load_numbered")
_LIST_CLOSED_BEFORE = query("list_closed_before")
_LIST_NAMESPACES = query("list_namespaces")
_FIND_NAMESPACE = query("find_namespace")
_FIND_RECORD = query("find_record")
_LIST_RECORDS = query("list_records")
_LIST_ALL_RECORDS = query("list_all_records")
_LIST_DUE_RECORDS = query("list_due_records")
_FIND_NEXT_RECORD_WAKE = query("find_next_record_wake")
_LIST_WAKES = query("list_wakes")
_LIST_RECORD_WAKES = query("list_record_wakes")

_NO_LIMIT = -1

_SummaryRow = tuple[str, str, str, str, int, int, int | None, int]
_summary_rows = msgspec.json.Decoder(list[_SummaryRow])


def load(connection: sqlite3.Connection, reference: Reference) -> Execution | None:
    """The stored state. Raises Damaged, and msgspec.MsgspecError when the snapshot is none."""
    workflow = (reference.namespace, reference.workflow_id)
    if reference.run_id is None:
        row = connection.execute(_LOAD_CURRENT_RUN, workflow).fetchone()
    else:
        row = connection.execute(_LOAD_RUN, (*workflow, reference.run_id)).fetchone()
    if row is None:
        return None
    number, snapshot, checksum = row
    if checksums.of_snapshot(snapshot, number) != checksum:
        raise damaged(f"the state of workflow {reference.workflow_id!r}")
    return decode(snapshot, lambda: list_parts(connection, number))


def list_parts(connection: sqlite3.Connection, number: int) -> dict[int, bytes]:
    """What is kept beside the snapshot of an execution, by event. Raises Damaged."""
    parts: dict[int, bytes] = {}
    for event_id, data, checksum in connection.execute(_LIST_PARTS, (number,)).fetchall():
        if checksums.of_event_bytes(data, number, event_id) != checksum:
            raise damaged(f"a part of the state of execution {number}")
        parts[event_id] = data
    return parts


def read_history(
    connection: sqlite3.Connection, key: ExecutionKey, first_event_id: int, limit_bytes: int
) -> list[Batch]:
    """See `Store.history`. Raises Damaged."""
    found = connection.execute(_FIND_HISTORY, (key.namespace, key.workflow_id, key.run_id, first_event_id)).fetchone()
    if found is None:
        return []
    batches: list[Batch] = []
    size = 0
    cursor = connection.execute(_READ_HISTORY, (found[0], found[0], first_event_id))
    try:
        for first, data, checksum in cursor:
            size += len(data)
            if batches and size > limit_bytes:
                break
            if checksums.of_event_bytes(data, found[0], first) != checksum:
                raise damaged(f"the history of workflow {key.workflow_id!r} from event {first} on")
            batches.append(Batch(first, data))
    finally:
        cursor.close()  # ends the read transaction, so that the log can be copied past it
    return batches


def list_due(connection: sqlite3.Connection, now_ns: int, limit: int, partitions: Partitions) -> list[ExecutionKey]:
    """See `Store.due`."""
    return _keys(connection, _LIST_DUE, (now_ns,), limit, partitions)


def _keys(
    connection: sqlite3.Connection, statement: str, parameters: tuple[Any, ...], limit: int, partitions: Partitions
) -> list[ExecutionKey]:
    """The keys found that belong to the partitions, at most `limit`, which the statement takes last.

    The file is one node's, which asks for all partitions: others are told apart here, row by row, and have no column.
    """
    if partitions.is_all:
        return [ExecutionKey(*row) for row in connection.execute(statement, (*parameters, limit)).fetchall()]
    cursor = connection.execute(statement, (*parameters, _NO_LIMIT))
    try:
        return list(islice((ExecutionKey(*row) for row in cursor if partitions.hold(row[0], row[1])), limit))
    finally:
        cursor.close()


def find_next_wake(connection: sqlite3.Connection, after_ns: int, partitions: Partitions) -> int | None:
    """See `Store.next_wake_at_ns`."""
    if partitions.is_all:
        return connection.execute(_FIND_NEXT_WAKE, (after_ns,)).fetchone()[0]
    return _earliest(connection, _LIST_WAKES, after_ns, partitions)


def _earliest(connection: sqlite3.Connection, statement: str, after_ns: int, partitions: Partitions) -> int | None:
    cursor = connection.execute(statement, (after_ns,))
    try:
        return next((row[0] for row in cursor if partitions.hold(row[1], row[2])), None)
    finally:
        cursor.close()


def list_tasks(connection: sqlite3.Connection, queue: QueueName, after: Position, limit: int) -> list[QueuedTask]:
    """See `Store.tasks`."""
    parameters = (queue.namespace, queue.name, queue.kind, after.number, limit)
    return [
        QueuedTask(Position(0, number), Task(queue, ExecutionKey(namespace, workflow_id, run_id), event_id, stamp))
        for number, namespace, workflow_id, run_id, event_id, stamp in connection.execute(
            _LIST_TASKS, parameters
        ).fetchall()
    ]


def count_tasks(connection: sqlite3.Connection, queue: QueueName) -> int:
    """See `Store.count_tasks`."""
    return connection.execute(_COUNT_TASKS, (queue.namespace, queue.name, queue.kind)).fetchone()[0]


def list_messages(
    connection: sqlite3.Connection, after: Position, limit: int, partitions: Partitions
) -> list[PendingMessage]:
    """See `Store.pending_messages`."""
    cursor = connection.execute(_LIST_MESSAGES, (after.number, limit if partitions.is_all else _NO_LIMIT))
    try:
        return list(islice((row for row in map(_message, cursor) if is_for(row, partitions)), limit))
    finally:
        cursor.close()


def _message(row: tuple[int, bytes, int]) -> PendingMessage:
    number, data, checksum = row
    is_sound = checksums.of_message(data, number) == checksum
    return PendingMessage(Position(0, number), decode_message(data) if is_sound else None)


def list_queues(connection: sqlite3.Connection) -> list[QueueName]:
    """See `Store.queues`."""
    rows = connection.execute(_LIST_QUEUES).fetchall()
    return [QueueName(namespace, name, TaskKind(kind)) for namespace, name, kind in rows]


def list_in_flight(
    connection: sqlite3.Connection, after: ExecutionKey | None, limit: int, partitions: Partitions
) -> list[ExecutionKey]:
    """See `Store.in_flight`."""
    past = (after.namespace, after.workflow_id, after.run_id) if after else ("", "", "")
    return _keys(connection, _LIST_IN_FLIGHT, past, limit, partitions)


def list_executions(
    connection: sqlite3.Connection,
    namespace: str,
    open_only: bool | None,
    workflow_type: str | None,
    after: ExecutionKey | None,
    limit: int,
) -> Sequence[Summary]:
    """A page of summaries in key order, past `after`. `open_only`: True open ones, False closed ones, None all."""
    past = (after.workflow_id, after.run_id) if after else ("", "")
    parameters = (namespace, *past, open_only, open_only, workflow_type, workflow_type, limit)
    rows = _summary_rows.decode(connection.execute(_LIST_EXECUTIONS, parameters).fetchone()[0])
    return [Summary(ExecutionKey(namespace, row[0], row[1]), *row[2:]) for row in rows]


def find_executions(
    connection: sqlite3.Connection, namespace: str, query: Query, after: Cursor | None, limit: int
) -> list[Cursor]:
    """The places of a page of executions, in order; the last of a cursor is the execution's number."""
    found: list[Cursor] = []
    for statement in filters.find(namespace, query, after, limit):
        found += filters.cursors(query, connection.execute(statement.sql, statement.parameters).fetchone()[0])
        if len(found) >= limit:
            break
    return found[:limit]


def list_search_attributes(connection: sqlite3.Connection, key: ExecutionKey) -> set[Row]:
    """The rows of an execution."""
    rows = connection.execute(_LIST_SEARCH_ATTRIBUTES, (key.namespace, key.workflow_id, key.run_id)).fetchall()
    return {(name, type, value) for name, type, value in rows}


def read_numbered(connection: sqlite3.Connection, number: int) -> bytes | None:
    """The snapshot of an execution. Raises Damaged."""
    row = connection.execute(_LOAD_NUMBERED, (number,)).fetchone()
    if row is None:
        return None
    snapshot, checksum = row
    if checksums.of_snapshot(snapshot, number) != checksum:
        raise damaged(f"the state of execution {number}")
    return snapshot


def load_numbered(connection: sqlite3.Connection, number: int) -> Execution | None:
    """The stored state for a line of a list: without what is kept beside the snapshot. Raises as `load`."""
    snapshot = read_numbered(connection, number)
    return None if snapshot is None else decode(snapshot)


def count_executions(connection: sqlite3.Connection, namespace: str, query: Query) -> dict[int, int]:
    """See `Store.count_executions`."""
    statement = filters.count(namespace, query)
    return dict(connection.execute(statement.sql, statement.parameters).fetchall())


def list_closed_before(
    connection: sqlite3.Connection, namespace: str, closed_before_ns: int, limit: int, partitions: Partitions
) -> list[ExecutionKey]:
    """See `Store.closed_before`."""
    found: list[ExecutionKey] = []
    for status in CLOSED:
        parameters = (namespace, status, closed_before_ns)
        found += _keys(connection, _LIST_CLOSED_BEFORE, parameters, limit - len(found), partitions)
    return found


def find_namespace(connection: sqlite3.Connection, name: str) -> Namespace | None:
    """The namespace of that name, as it is stored."""
    row = connection.execute(_FIND_NAMESPACE, (name,)).fetchone()
    return None if row is None else decode_namespace(*row)


def list_namespaces(connection: sqlite3.Connection) -> list[Namespace]:
    """See `Store.namespaces`."""
    return [decode_namespace(*row) for row in connection.execute(_LIST_NAMESPACES).fetchall()]


def find_record(connection: sqlite3.Connection, kind: str, namespace: str, name: str) -> Record | None:
    """See `Store.record`."""
    row = connection.execute(_FIND_RECORD, (kind, namespace, name)).fetchone()
    return _record(row) if row else None


def _record(row: tuple[str, str, str, int, int | None, bytes, int]) -> Record:
    kind, namespace, name, version, wake_at_ns, data, checksum = row
    is_sound = checksums.of_record(data, version) == checksum
    damage = "" if is_sound else str(damaged(f"{kind} {name!r}"))
    return Record(kind, namespace, name, version, wake_at_ns, data, damage)


def list_records(
    connection: sqlite3.Connection,
    kind: str,
    namespace: str | None,
    after_name: str,
    limit: int,
    after_namespace: str,
    limit_bytes: int,
    partitions: Partitions,
) -> Page[Record]:
    """See `Store.records`."""
    statement = _LIST_ALL_RECORDS if namespace is None else _LIST_RECORDS
    of = after_namespace if namespace is None else namespace
    parameters = (kind, of, after_name, limit if partitions.is_all else _NO_LIMIT)
    return _record_page(connection.execute(statement, parameters), limit, limit_bytes, partitions)


def list_due_records(
    connection: sqlite3.Connection, now_ns: int, limit: int, limit_bytes: int, partitions: Partitions
) -> Page[Record]:
    """See `Store.due_records`."""
    parameters = (now_ns, limit if partitions.is_all else _NO_LIMIT)
    return _record_page(connection.execute(_LIST_DUE_RECORDS, parameters), limit, limit_bytes, partitions)


def _record_page(cursor: sqlite3.Cursor, limit: int, limit_bytes: int, partitions: Partitions) -> Page[Record]:
    try:
        records = (_record(row) for row in cursor if partitions.hold(row[1], row[2]))
        return paged(records, lambda record: len(record.data), limit, limit_bytes)
    finally:
        cursor.close()  # ends the read transaction, so that the log can be copied past it


def find_next_record_wake(connection: sqlite3.Connection, after_ns: int, partitions: Partitions) -> int | None:
    """See `Store.next_record_wake_at_ns`."""
    if partitions.is_all:
        return connection.execute(_FIND_NEXT_RECORD_WAKE, (after_ns,)).fetchone()[0]
    return _earliest(connection, _LIST_RECORD_WAKES, after_ns, partitions)

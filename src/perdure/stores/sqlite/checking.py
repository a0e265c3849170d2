"""Looks a whole store over: every page, every checksum, every column against the state that it is searched by.

What SQLite's own check finds is the structure of the file: pages, rows, index entries. What it does not look at is
whether a value is the one that was written; for that there are the checksums, and for the columns beside a state, the
state itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import msgspec

from perdure.core.execution import Execution, decode
from perdure.stores import checksums
from perdure.stores.api import Damaged
from perdure.stores.sqlite.errors import is_corruption
from perdure.stores.sqlite.queries import query
from perdure.stores.sqlite.reader import list_parts

_SINCE = 6
"""Schema from which on there are checksums."""
_ALL_EXECUTIONS = query("all_executions")
_ALL_HISTORY = query("all_history")
_ALL_PARTS = query("all_parts")
_ALL_MESSAGES = query("all_messages")
_ALL_RECORDS = query("all_records")
_LOST_WORKFLOW_IDS = query("lost_workflow_ids")


def check(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with a store, a sentence each; nothing when it is sound. Reads all of it.

    In a file that an older perdure wrote the structure alone: it has no checksums.
    """
    found: list[str] = []
    has_checksums = connection.execute("PRAGMA user_version").fetchone()[0] >= _SINCE
    contents = (_executions, _history, _parts, _messages, _records, _workflow_ids) if has_checksums else ()
    for look in (_structure, *contents):
        found.extend(_survive(look, connection))
    return found


def _survive(look: Callable[[sqlite3.Connection], Iterator[str]], connection: sqlite3.Connection) -> Iterator[str]:
    """What one look finds, up to where the file cannot be read any further."""
    try:
        yield from look(connection)
    except sqlite3.DatabaseError as error:
        if not is_corruption(error):
            raise
        yield f"the file is damaged: {error}"


def _structure(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"the file is damaged: {line}"


def _executions(connection: sqlite3.Connection) -> Iterator[str]:
    for number, workflow_id, run_id, snapshot, checksum, *columns in connection.execute(_ALL_EXECUTIONS):
        name = f"workflow {workflow_id!r} (run {run_id})"
        if checksums.of_snapshot(snapshot, number) != checksum:
            yield f"{name}: the state does not fit its checksum"
            continue
        try:
            execution = decode(snapshot, lambda number=number: list_parts(connection, number))
        except (msgspec.MsgspecError, Damaged) as error:
            yield f"{name}: the state cannot be read: {error}"
            continue
        held = zip(_COLUMNS, _columns(execution), [workflow_id, run_id, *columns], strict=True)
        wrong = [column for column, value, stored in held if value != stored]
        if wrong:
            yield f"{name}: {', '.join(wrong)} in the table is not what the state says"


_COLUMNS = (
    *("workflow_id", "run_id", "namespace", "version", "status", "in_flight", "history_length", "wake_at_ns"),
    *("started_at_ns", "closed_at_ns", "workflow_type", "task_queue", "history_bytes"),
)


def _columns(execution: Execution) -> tuple[object, ...]:
    """What the table holds beside a state."""
    key = execution.key
    is_closed = execution.closed_at_ns is not None
    return (
        key.workflow_id, key.run_id, key.namespace, execution.version, execution.status, execution.in_flight,
        execution.next_event_id - 1, execution.wake_at_ns, execution.started_at_ns, execution.closed_at_ns,
        execution.workflow_type, execution.task_queue, execution.history_bytes if is_closed else None,
    )  # fmt: skip


def _history(connection: sqlite3.Connection) -> Iterator[str]:
    for number, workflow_id, first, data, checksum in connection.execute(_ALL_HISTORY):
        if workflow_id is None:
            yield f"history from event {first} on belongs to no execution ({number})"
        elif checksums.of_event_bytes(data, number, first) != checksum:
            yield f"workflow {workflow_id!r}: history from event {first} on does not fit its checksum"


def _parts(connection: sqlite3.Connection) -> Iterator[str]:
    for number, event_id, data, checksum in connection.execute(_ALL_PARTS):
        if checksums.of_event_bytes(data, number, event_id) != checksum:
            yield f"execution {number}: what its state keeps of event {event_id} does not fit its checksum"


def _messages(connection: sqlite3.Connection) -> Iterator[str]:
    for position, message_id, data, checksum in connection.execute(_ALL_MESSAGES):
        if checksums.of_message(data, position) != checksum:
            yield f"message {message_id!r} does not fit its checksum"


def _records(connection: sqlite3.Connection) -> Iterator[str]:
    for kind, namespace, name, version, data, checksum in connection.execute(_ALL_RECORDS):
        if checksums.of_record(data, version) != checksum:
            yield f"{kind} {name!r} of namespace {namespace!r} does not fit its checksum"


def _workflow_ids(connection: sqlite3.Connection) -> Iterator[str]:
    for (workflow_id,) in connection.execute(_LOST_WORKFLOW_IDS):
        yield f"workflow id {workflow_id!r} does not lead to its newest run"

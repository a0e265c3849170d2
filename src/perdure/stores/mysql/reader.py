"""Answers reads: rows in, what they mean out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perdure.core.execution import Execution, decode
from perdure.core.message import decode_message
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.stores import checksums
from perdure.stores.api import Batch, Damaged, PendingMessage, Position, QueuedTask, Record
from perdure.stores.sql.plan import message_seed

Row = Sequence[Any]


def damaged(what: str) -> Damaged:
    """What is said of a row whose checksum does not fit."""
    return Damaged(
        f"The store holds {what} in a damaged form (its checksum does not fit): keep a copy, look at the disks, and "
        "restore a backup; the others can be read."
    )


def key_of(row: Row) -> ExecutionKey:
    """A namespace, a workflow id and a run id."""
    return ExecutionKey(row[0].decode(), row[1].decode(), row[2].decode())


def snapshot_of(checksum: int, snapshot: bytes, number: int, what: str) -> bytes:
    """Raises Damaged."""
    if checksums.of_snapshot(snapshot, number) != checksum:
        raise damaged(f"the state of {what}")
    return snapshot


def state_of(rows: Sequence[Row], workflow_id: str) -> tuple[int, int, Execution]:
    """Number, partition and state, of a row for the state (event 0) and one for each part of it.

    Raises Damaged, and msgspec.MsgspecError when the snapshot is none.
    """
    [(partition, _, number, _, checksum, snapshot)] = [row for row in rows if row[3] == 0]
    snapshot_of(checksum, snapshot, number, f"workflow {workflow_id!r}")

    def read_parts() -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for _, _, _, event_id, checksum, data in rows:
            if event_id and checksums.of_event_bytes(data, number, event_id) != checksum:
                raise damaged(f"a part of the state of workflow {workflow_id!r}")
            if event_id:
                found[event_id] = data
        return found

    return number, partition, decode(snapshot, read_parts)


def batches_of(rows: Iterable[Row], workflow_id: str) -> list[Batch]:
    """Raises Damaged."""
    batches: list[Batch] = []
    for number, first, checksum, data in rows:
        if checksums.of_event_bytes(data, number, first) != checksum:
            raise damaged(f"the history of workflow {workflow_id!r} from event {first} on")
        batches.append(Batch(first, data))
    return batches


def task_of(row: Row, queue: QueueName) -> QueuedTask:
    """A row of a queue."""
    position, number, *key, event_id, stamp = row
    return QueuedTask(Position(position, number), Task(queue, key_of(key), event_id, stamp))


def message_of(row: Row) -> PendingMessage:
    """A row of the outbox."""
    position, number, message_id, checksum, data = row
    is_sound = checksums.of_message(data, message_seed(message_id.decode())) == checksum
    return PendingMessage(Position(position, number), decode_message(data) if is_sound else None)


def queue_of(row: Row) -> QueueName:
    """A row that names a queue."""
    return QueueName(row[0].decode(), row[1].decode(), TaskKind(row[2]))


def record_of(row: Row) -> Record:
    """A row of the records."""
    kind, namespace, name, version, wake_at_ns, checksum, data = row
    is_sound = checksums.of_record(data, version) == checksum
    damage = "" if is_sound else str(damaged(f"{kind.decode()} {name.decode()!r}"))
    return Record(kind.decode(), namespace.decode(), name.decode(), version, wake_at_ns, data, damage)

"""Answers reads: statements and their parameters out, rows in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perdure.core.execution import Execution, decode
from perdure.core.message import decode_message
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.stores import checksums
from perdure.stores.api import Batch, Damaged, PendingMessage, Position, QueuedTask, Record, Reference
from perdure.stores.partitions import PARTITIONS, Partitions, partition_of
from perdure.stores.postgres.statement import unsigned
from perdure.stores.postgres.texts import escape, unescape
from perdure.stores.sql.plan import message_seed

Row = Sequence[Any]


def damaged(what: str) -> Damaged:
    """What is said of a row whose checksum does not fit."""
    return Damaged(
        f"The store holds {what} in a damaged form (its checksum does not fit): keep a copy, look at the disks, and "
        "restore a backup; the others can be read."
    )


def bits_of(partitions: Partitions) -> bytes | None:
    """The partitions as PostgreSQL's get_bit counts them; None: all."""
    if partitions.is_all:
        return None
    bits = bytearray(PARTITIONS // 8)
    for partition in partitions:
        bits[partition >> 3] |= 1 << (partition & 7)
    return bytes(bits)


def keys_parameters(keys: Iterable[ExecutionKey | Reference]) -> tuple[list[Any], ...]:
    """Partitions, namespaces, workflow ids and run ids."""
    partitions: list[int] = []
    namespaces: list[str] = []
    workflow_ids: list[str] = []
    run_ids: list[str | None] = []
    for key in keys:
        partitions.append(partition_of(key.namespace, key.workflow_id))
        namespaces.append(escape(key.namespace))
        workflow_ids.append(escape(key.workflow_id))
        run_ids.append(None if key.run_id is None else escape(key.run_id))
    return partitions, namespaces, workflow_ids, run_ids


def key_of(row: Row) -> ExecutionKey:
    """A namespace, a workflow id and a run id."""
    return ExecutionKey(unescape(row[0]), unescape(row[1]), unescape(row[2]))


def snapshot_of(row: Row, number: int, what: str) -> bytes:
    """Of a checksum and a snapshot. Raises Damaged."""
    checksum, snapshot = row
    if checksums.of_snapshot(snapshot, number) != unsigned(checksum):
        raise damaged(f"the state of workflow {what!r}")
    return snapshot


def state_of(row: Row, reference: Reference) -> tuple[int, int, Execution]:
    """Number, partition and state. Raises Damaged, and msgspec.MsgspecError when the snapshot is none."""
    _, number, partition, checksum, snapshot, events, part_checksums, parts = row
    workflow_id = reference.workflow_id
    snapshot = snapshot_of((checksum, snapshot), number, workflow_id)

    def read_parts() -> dict[int, bytes]:
        rows = zip(events or (), part_checksums or (), parts or (), strict=True)
        found: dict[int, bytes] = {}
        for event_id, checksum, data in rows:
            if checksums.of_event_bytes(data, number, event_id) != unsigned(checksum):
                raise damaged(f"a part of the state of workflow {workflow_id!r}")
            found[event_id] = data
        return found

    return number, partition, decode(snapshot, read_parts)


def batches_of(rows: Iterable[Row], workflow_id: str) -> list[Batch]:
    """Raises Damaged."""
    batches: list[Batch] = []
    for number, first, checksum, data in rows:
        if checksums.of_event_bytes(data, number, first) != unsigned(checksum):
            raise damaged(f"the history of workflow {workflow_id!r} from event {first} on")
        batches.append(Batch(first, data))
    return batches


def settled(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows before the first one whose place may still get another before it: the last column says so."""
    for place, row in enumerate(rows):
        if not row[-1]:
            return rows[:place]
    return rows


def position_of(row: Row) -> Position:
    """Of a row of a queue or of the outbox."""
    return Position(row[0], row[1])


def task_of(row: Row, queue: QueueName) -> QueuedTask:
    """A row of a queue."""
    transaction, number, *key, event_id, stamp, _ = row
    return QueuedTask(Position(transaction, number), Task(queue, key_of(key), event_id, stamp))


def message_of(row: Row) -> PendingMessage:
    """A row of the outbox."""
    transaction, number, message_id, checksum, data, _ = row
    is_sound = checksums.of_message(data, message_seed(unescape(message_id))) == unsigned(checksum)
    return PendingMessage(Position(transaction, number), decode_message(data) if is_sound else None)


def queue_of(row: Row) -> QueueName:
    """A row that names a queue."""
    return QueueName(unescape(row[0]), unescape(row[1]), TaskKind(row[2]))


def record_of(row: Row) -> Record:
    """A row of the records."""
    kind, namespace, name, version, wake_at_ns, checksum, data = row
    is_sound = checksums.of_record(data, version) == unsigned(checksum)
    damage = "" if is_sound else str(damaged(f"{kind} {name!r}"))
    return Record(unescape(kind), unescape(namespace), unescape(name), version, wake_at_ns, data, damage)

"""The statements that write what has passed of a plan, one for each kind of row, more where one would be too long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from perdure.core.search_attributes import IndexedType
from perdure.stores.mysql.literals import hash_of, row
from perdure.stores.sql.dialects import MYSQL
from perdure.stores.sql.plan import Plan

_Row = Sequence[Any]


def queue_hash(namespace: str, queue: str, kind: int) -> bytes:
    """What the rows of a queue are found by."""
    return hash_of(namespace, queue, str(int(kind)))


class Shape:
    """An INSERT of many rows."""

    def __init__(self, table: str, columns: str, update: str = "") -> None:
        self.head = f"INSERT INTO {table} ({columns}) VALUES ".encode()
        sets = ", ".join(f"{name} = VALUES({name})" for name in update.split(", ") if name)
        self.tail = f" ON DUPLICATE KEY UPDATE {sets}".encode() if sets else b""


_STATES = Shape(
    "states",
    "partition_id, execution_id, version, history_length, checksum, snapshot",
    "version, history_length, checksum, snapshot",
)
_EXECUTIONS = Shape(
    "executions",
    "partition_id, id, key_hash, version, status, started_at_ns, closed_at_ns, history_length, history_bytes, "
    "namespace, workflow_id, run_id, workflow_type, task_queue",
)
_CURRENT_RUNS = Shape("current_runs", "partition_id, workflow_hash, execution_id, run_id", "execution_id, run_id")
_CLAIMED_RUNS = Shape("current_runs", "partition_id, workflow_hash, execution_id, run_id")
_HISTORY = Shape("history", "partition_id, execution_id, first_event_id, checksum, data")
_WAKES = Shape("wakes", "partition_id, execution_id, wake_at_ns", "wake_at_ns")
_IN_FLIGHT = Shape("in_flight", "partition_id, execution_id", "execution_id")
_PARTS = Shape("state_parts", "partition_id, execution_id, event_id, checksum, data", "checksum, data")
_ATTRIBUTES = Shape(
    "search_attributes",
    "partition_id, execution_id, number, type, name, value_int, value_double, value_text",
)
_TASKS = Shape(
    "tasks",
    "partition_id, execution_id, scheduled_event_id, kind, stamp, position, number, queue_hash, namespace, queue",
    "stamp, position, number, queue_hash, namespace, queue",
)
_MESSAGES = Shape(
    "messages",
    "id_hash, partition_id, position, number, checksum, id, data",
    "partition_id, position, number, checksum, id, data",
)
_SETTLE = (
    b"UPDATE (SELECT 0 AS p, 0 AS i, 0 AS v, 0 AS s, 0 AS c, 0 AS l, 0 AS b FROM DUAL WHERE FALSE UNION ALL SELECT ",
    b") AS d STRAIGHT_JOIN executions AS e ON e.partition_id = d.p AND e.id = d.i SET e.version = d.v, e.status = d.s, "
    b"e.closed_at_ns = d.c, e.history_length = d.l, e.history_bytes = d.b",
)


class Writing:
    """Puts statements together, none of them longer than a packet."""

    def __init__(self, packet_max: int) -> None:
        self.statements: list[bytes] = []
        self._packet_max = packet_max

    def _many(self, head: bytes, rows: Iterable[bytes], tail: bytes, separator: bytes = b",") -> None:
        some: list[bytes] = []
        size = room = len(head) + len(tail) + 64
        for one in rows:
            if some and size + len(one) > self._packet_max:
                self.statements.append(head + separator.join(some) + tail)
                some, size = [], room
            some.append(one)
            size += len(one) + len(separator)
        if some:
            self.statements.append(head + separator.join(some) + tail)

    def insert(self, shape: Shape, rows: Iterable[_Row]) -> None:
        """Raises UnicodeError, TypeError, OverflowError for a value that cannot be written."""
        self._many(shape.head, map(row, rows), shape.tail)

    def delete(self, table: str, key: str, rows: Iterable[_Row]) -> None:
        """Rows by their key."""
        self._many(f"DELETE FROM {table} WHERE ({key}) IN (".encode(), map(row, rows), b")")

    def settle(self, rows: Iterable[_Row]) -> None:
        """Executions whose status or end has changed."""
        self._many(_SETTLE[0], (row(one)[1:-1] for one in rows), _SETTLE[1], b" UNION ALL SELECT ")


def write_plan(plan: Plan, passed: Collection[int], position: int, tag: int, packet_max: int) -> list[bytes]:
    """The statements. `position` and `tag` are of the transaction and the lane, and say where tasks and messages stand.

    Raises UnicodeError, TypeError, OverflowError for a value that cannot be written.
    """
    kept = set(passed)

    def of(rows: Sequence[_Row]) -> Iterator[_Row]:
        return (one[1:] for one in rows if one[0] in kept)

    to = Writing(packet_max)
    to.insert(_STATES, ((p, i, version + 1, *rest) for p, i, version, *rest in of(plan.advanced)))
    to.settle(of(plan.settled))
    if plan.started:
        to.insert(
            _EXECUTIONS,
            ((p, i, hash_of(*rest[6:9]), *rest) for p, i, *rest in of(plan.started)),
        )
        to.insert(_STATES, of(plan.states))
        run_ids = {one[2]: one[11] for one in plan.started}
        claimed = ((p, hash_of(n, w), number, run_ids[number]) for p, n, w, number in of(plan.claimed))
        to.insert(_CLAIMED_RUNS, claimed)
        to.insert(
            _CURRENT_RUNS,
            ((p, hash_of(n, w), number, run_ids[number]) for p, n, w, _, number in of(plan.succeeded)),
        )
    to.delete("records", "partition_id, kind, namespace, name", (one[:4] for one in of(plan.taken)))
    to.insert(_HISTORY, of(plan.batches))
    to.delete("wakes", "partition_id, execution_id", of(plan.unwoken))
    to.insert(_WAKES, of(plan.wakes))
    to.delete("in_flight", "partition_id, execution_id", of(plan.freed))
    to.insert(_IN_FLIGHT, of(plan.held))
    to.delete("state_parts", "partition_id, execution_id, event_id", of(plan.dropped_parts))
    to.insert(_PARTS, of(plan.put_parts))
    to.delete("search_attributes", "partition_id, execution_id", of(plan.unindexed))
    to.insert(_ATTRIBUTES, _attributes(of(plan.indexed)))
    to.delete("tasks", "partition_id, execution_id, scheduled_event_id, kind", of(plan.removed_tasks))
    to.insert(
        _TASKS,
        (
            (p, i, event_id, kind, stamp, position, number << 20 | tag, queue_hash(namespace, queue, kind),
             namespace, queue)
            for p, i, number, namespace, queue, kind, event_id, stamp in of(plan.added_tasks)
        ),
    )  # fmt: skip
    to.delete("messages", "id_hash", ((hash_of(message_id),) for _, message_id in of(plan.removed_messages)))
    to.insert(
        _MESSAGES,
        (
            (hash_of(message_id), p, position, number << 20 | tag, checksum, message_id, data)
            for p, number, message_id, checksum, data in of(plan.added_messages)
        ),
    )
    return to.statements


def _attributes(rows: Iterable[_Row]) -> Iterator[_Row]:
    columns = ("value_int", "value_double", "value_text")
    for number, (p, i, name, type, value) in enumerate(rows):
        of = columns.index(MYSQL.value(IndexedType(type)))
        held = int(value) if isinstance(value, bool) else value
        yield (p, i, number, type, name, *(held if place == of else None for place in range(3)))

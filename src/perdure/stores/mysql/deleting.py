"""Takes closed executions out, and what belongs to namespaces: changes that are rare."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.core.names import ExecutionKey
from perdure.stores.api import Namespace, Outcome
from perdure.stores.encoding import decode_namespace, encode_namespace
from perdure.stores.mysql.driver import errno
from perdure.stores.mysql.errors import DUPLICATE, is_of_a_value, set_apart
from perdure.stores.mysql.lane import Decision, Lane
from perdure.stores.mysql.literals import Rows, hash_of, key_hash, rows, statement
from perdure.stores.mysql.statements import Writing
from perdure.stores.partitions import partition_of

_OWNED = ("states", "state_parts", "history", "tasks", "search_attributes", "wakes", "in_flight")
"""Tables whose rows belong to executions."""


async def delete_executions(lane: Lane, keys: Sequence[ExecutionKey]) -> int:
    """How many there were. Raises StoreError, and the driver's errors."""
    names = {key_hash(key): key for key in keys}
    places = {name: place for place, name in enumerate(names)}
    runs = rows(sorted((partition_of(key.namespace, key.workflow_id), name) for name, key in names.items()))
    workflows = {
        (partition_of(key.namespace, key.workflow_id), hash_of(key.namespace, key.workflow_id)): key for key in keys
    }
    locks = [statement("find_closed")(runs), statement("lock_current_runs")(rows(sorted(workflows)))]
    packet_max = await lane.packet_max()

    def decide(locked: Sequence[Rows], position: int) -> Decision:
        closed, current = locked
        gone = [(partition, number) for _, partition, number, _, _ in closed]
        left = [(p, name) for p, name, _, number in current if (p, number) in set(gone)]
        to = Writing(packet_max)
        for table in _OWNED:
            to.delete(table, "partition_id, execution_id", gone)
        to.delete("executions", "partition_id, id", gone)
        to.delete("current_runs", "partition_id, workflow_hash", left)
        for partition, name in left:
            key = workflows[partition, name]
            point = statement("point_to_newest_run")(name, key.namespace, key.workflow_id, partition)
            to.statements.append(point)
        return Decision(to.statements, [places[name] for name, *_ in closed])

    return len(await lane.write(locks, decide))


async def put_namespace(lane: Lane, namespace: Namespace, expected: Namespace | None) -> Outcome:
    """See `Store.put_namespace`. Raises Unstorable, StoreError, and the driver's errors."""
    name, *others = encode_namespace(namespace)

    def decide(locked: Sequence[Rows], position: int) -> Decision:
        [found] = locked
        if (namespace_of(found[0]) if found else None) != expected:
            return Decision((), ())
        change = statement("replace_namespace")(*others, name) if found else statement("add_namespace")(name, *others)
        return Decision([change], [0])

    try:
        applied = await lane.write([statement("lock_namespace")(name)], decide)
    except Exception as error:
        if errno(error) == DUPLICATE:
            return Outcome.CONFLICT  # somebody else was first
        if is_of_a_value(error):
            raise set_apart(error, f"namespace {name!r}") from error
        raise
    return Outcome.APPLIED if applied else Outcome.CONFLICT


def namespace_of(row: Sequence[bytes | int]) -> Namespace:
    """A row that was read."""
    name, id, retention_ns, description, details = row
    assert isinstance(name, bytes) and isinstance(id, bytes) and isinstance(description, bytes)
    assert isinstance(details, bytes) and isinstance(retention_ns, int)
    return decode_namespace(name.decode(), id.decode(), retention_ns, description.decode(), details)

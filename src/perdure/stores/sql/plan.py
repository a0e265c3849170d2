"""A group of encoded commits as rows of the tables that SQL stores have, before a dialect makes statements of them.

Every row says which commit of the group it belongs to, its *place*: a store writes the rows of those commits that have
passed their gates. A gate is what compare-and-set compares: of a run that goes on its version, of a workflow id that
gets a new run its current one, of a record that it takes away its version. A chain has one for each of its runs that
go on, one for its workflow id, and one for each record.

What a run is known by beside its state (number, deadline, whether a worker holds a task) is remembered of the newest
runs, with the version that it belongs to: so a commit writes what it changes and nothing else, and looks nothing up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.stores import checksums
from perdure.stores.encoding import Chain, EncodedCommit
from perdure.stores.partitions import partition_of

Row = tuple[Any, ...]


class Known(NamedTuple):
    """What is stored of a run at a version, beside its state."""

    number: int
    partition: int
    version: int
    wake_at_ns: int | None
    in_flight: bool
    status: int


class Memory:
    """What is known of the runs that were read or written lately."""

    def __init__(self, runs_max: int = 65_536) -> None:
        self._runs_max = runs_max
        self._known: dict[ExecutionKey, Known] = {}

    def at(self, key: ExecutionKey, version: int) -> Known | None:
        """What is known of a run at that version."""
        known = self._known.get(key)
        return known if known is not None and known.version == version else None

    def learn(self, key: ExecutionKey, known: Known) -> None:
        """This is stored now, or was when it was read."""
        self._known.pop(key, None)
        self._known[key] = known
        if len(self._known) > self._runs_max:
            del self._known[next(iter(self._known))]

    def learn_applied(self, plan: Plan, place: int) -> None:
        """A commit of a plan was applied."""
        for link, known in plan.learnt[place]:
            if link.closed_at_ns is None:
                self.learn(link.key, known)
            else:
                self.forget(link.key)

    def learn_refused(self, plan: Plan, place: int) -> None:
        """A commit of a plan is a conflict: what is known of its runs may be old."""
        for link, _ in plan.learnt[place]:
            self.forget(link.key)

    def learn_state(self, number: int, partition: int, execution: Execution) -> None:
        """This state was read."""
        if execution.closed_at_ns is None:
            self.learn(
                execution.key,
                Known(
                    number,
                    partition,
                    execution.version,
                    execution.wake_at_ns,
                    execution.in_flight,
                    execution.status,
                ),
            )

    def forget(self, key: ExecutionKey) -> None:
        self._known.pop(key, None)


class Plan(msgspec.Struct, eq=False):
    """The rows of a group. Each begins with the commit's place in the group and the partition that it is written to."""

    gates: list[int] = []
    """Of each commit: how many gates it has to pass."""
    advanced: list[Row] = []
    """A gate. ..., number, version that is stored, history length, checksum, snapshot"""
    claimed: list[Row] = []
    """A gate: there must be no run. ..., namespace, workflow id, number of the new current run"""
    succeeded: list[Row] = []
    """A gate. ..., namespace, workflow id, run id that is the current one, number of the new current run"""
    taken: list[Row] = []
    """A gate: records that must be there, and go. ..., kind, namespace, name, version"""
    started: list[Row] = []
    """..., number, version, status, started, closed, history length, history bytes, namespace, workflow id, run id,
    type, task queue"""
    states: list[Row] = []
    """Of runs that start. ..., number, version, history length, checksum, snapshot"""
    settled: list[Row] = []
    """Status or end has changed. ..., number, version, status, closed, history length, history bytes"""
    batches: list[Row] = []
    """..., number, first event id, checksum, data"""
    wakes: list[Row] = []
    """..., number, deadline"""
    unwoken: list[Row] = []
    """There is no deadline any more. ..., number"""
    held: list[Row] = []
    """..., number"""
    freed: list[Row] = []
    """..., number"""
    dropped_parts: list[Row] = []
    """..., number, event id"""
    put_parts: list[Row] = []
    """..., number, event id, checksum, data"""
    unindexed: list[Row] = []
    """..., number"""
    indexed: list[Row] = []
    """..., number, name, type, value"""
    removed_tasks: list[Row] = []
    """..., number, scheduled event id, kind"""
    added_tasks: list[Row] = []
    """..., number, position, namespace, queue, kind, scheduled event id, stamp"""
    removed_messages: list[Row] = []
    """..., id"""
    added_messages: list[Row] = []
    """..., position, id, checksum, data; the partition is of the workflow that it is for"""
    learnt: list[list[tuple[EncodedCommit, Known]]] = []
    """Of each commit: what is known once it is applied."""


class Unexpected(Exception):
    """A chain contradicts itself or what is known: it is a conflict, whatever is stored."""


def message_seed(message_id: str) -> int:
    """What the checksum of a message begins with: its position is given by the database."""
    return checksums.of_message(message_id.encode(), 0)


class Planner:
    """Makes rows. `number()` gives a new number of an execution, ascending."""

    def __init__(self, memory: Memory, number: Callable[[], int]) -> None:
        self._memory = memory
        self._number = number
        self._positions = 0

    def unknown(self, chains: Iterable[Chain]) -> list[ExecutionKey]:
        """The runs that have to be looked up before these can be planned."""
        memory = self._memory
        return [
            link.key
            for chain in chains
            for link in chain
            if link.expected_version and memory.at(link.key, link.expected_version) is None
        ]

    def plan(self, chains: Sequence[Chain]) -> Plan:
        """The rows of these chains, whose places are their places here. Raises Unexpected: one is a conflict."""
        plan = Plan()
        for place, chain in enumerate(chains):
            learnt: list[tuple[EncodedCommit, Known]] = []
            gates = 0
            for link in chain:
                if link.expected_version:
                    known = self._advance(plan, place, link)
                    gates += 1
                else:
                    known = self._start(plan, place, link)
                learnt.append((link, known))
                for record in link.take_records:
                    partition = partition_of(record.namespace, record.name)
                    name = (record.kind, record.namespace, record.name)
                    plan.taken.append((place, partition, *name, record.version))
                    gates += 1
                self._beside(plan, place, link, known)
            if len(chain) > 1 or not chain[0].expected_version:
                gates += self._point(plan, place, learnt)
            plan.gates.append(gates)
            plan.learnt.append(learnt)
        return plan

    def _advance(self, plan: Plan, place: int, link: EncodedCommit) -> Known:
        known = self._memory.at(link.key, link.expected_version)
        if known is None:
            raise Unexpected
        number, partition, version, wake_at_ns, in_flight, status = known
        checksum = checksums.of_snapshot(link.snapshot, number)
        plan.advanced.append((place, partition, number, version, link.history_length, checksum, link.snapshot))
        if link.closed_at_ns is not None or status != link.status:
            size = None if link.closed_at_ns is None else link.history_bytes
            plan.settled.append(
                (place, partition, number, link.version, link.status, link.closed_at_ns, link.history_length, size)
            )
        if link.wake_at_ns != wake_at_ns:
            if link.wake_at_ns is None:
                plan.unwoken.append((place, partition, number))
            else:
                plan.wakes.append((place, partition, number, link.wake_at_ns))
        if link.in_flight != in_flight:
            (plan.held if link.in_flight else plan.freed).append((place, partition, number))
        return Known(number, partition, link.version, link.wake_at_ns, link.in_flight, link.status)

    def _start(self, plan: Plan, place: int, link: EncodedCommit) -> Known:
        key, number = link.key, self._number()
        partition = partition_of(key.namespace, key.workflow_id)
        size = None if link.closed_at_ns is None else link.history_bytes
        plan.started.append(
            (place, partition, number, link.version, link.status, link.started_at_ns, link.closed_at_ns,
             link.history_length, size, key.namespace, key.workflow_id, key.run_id, link.workflow_type,
             link.task_queue)
        )  # fmt: skip
        checksum = checksums.of_snapshot(link.snapshot, number)
        plan.states.append((place, partition, number, link.version, link.history_length, checksum, link.snapshot))
        if link.wake_at_ns is not None:
            plan.wakes.append((place, partition, number, link.wake_at_ns))
        if link.in_flight:
            plan.held.append((place, partition, number))
        return Known(number, partition, link.version, link.wake_at_ns, link.in_flight, link.status)

    def _point(self, plan: Plan, place: int, learnt: Sequence[tuple[EncodedCommit, Known]]) -> int:
        """What becomes of the current runs: one gate for each workflow id. Raises Unexpected."""
        expected: dict[tuple[str, str], str | None] = {}
        newest: dict[tuple[str, str], tuple[str, Known]] = {}
        for link, known in learnt:
            if link.expected_version:
                continue
            key = link.key
            workflow = (key.namespace, key.workflow_id)
            if workflow not in newest:
                expected[workflow] = link.expected_current_run_id
            elif newest[workflow][0] != link.expected_current_run_id:
                raise Unexpected
            newest[workflow] = (key.run_id, known)
        for workflow, (_, known) in newest.items():
            run_id = expected[workflow]
            if run_id is None:
                plan.claimed.append((place, known.partition, *workflow, known.number))
            else:
                plan.succeeded.append((place, known.partition, *workflow, run_id, known.number))
        return len(newest)

    def _beside(self, plan: Plan, place: int, link: EncodedCommit, known: Known) -> None:
        """What stands beside the state."""
        number, partition = known.number, known.partition
        for batch in link.batches:
            checksum = checksums.of_event_bytes(batch.data, number, batch.first_event_id)
            plan.batches.append((place, partition, number, batch.first_event_id, checksum, batch.data))
        for event_id, part in link.parts:
            if part:
                checksum = checksums.of_event_bytes(part, number, event_id)
                plan.put_parts.append((place, partition, number, event_id, checksum, part))
            else:
                plan.dropped_parts.append((place, partition, number, event_id))
        if link.index_rows is not None:
            if link.expected_version:
                plan.unindexed.append((place, partition, number))
            for name, type, value in dict.fromkeys(link.index_rows):
                plan.indexed.append((place, partition, number, name, type, value))
        if link.remove_tasks or link.add_tasks:
            self._tasks(plan, place, link, known)
        for message_id in link.remove_messages:
            plan.removed_messages.append((place, partition, message_id))
        for message_id, data, namespace, workflow_id in link.messages:
            self._positions += 1
            checksum = checksums.of_message(data, message_seed(message_id))
            target = partition_of(namespace, workflow_id)
            plan.added_messages.append((place, target, self._positions, message_id, checksum, data))

    def _tasks(self, plan: Plan, place: int, link: EncodedCommit, known: Known) -> None:
        """A row that is added replaces the one of the same name: nothing is to be removed for it."""
        added = {(task.scheduled_event_id, task.queue.kind): task for task in link.add_tasks}
        for ref in link.remove_tasks:
            if (ref.scheduled_event_id, ref.kind) not in added:
                plan.removed_tasks.append((place, known.partition, known.number, ref.scheduled_event_id, ref.kind))
        for task in added.values():
            self._positions += 1
            queue = task.queue
            plan.added_tasks.append(
                (place, known.partition, known.number, self._positions, queue.namespace, queue.name, queue.kind,
                 task.scheduled_event_id, task.stamp)
            )  # fmt: skip

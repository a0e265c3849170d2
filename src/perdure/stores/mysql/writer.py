"""Writes groups of commits and of records through a lane, and finds out which of them are to blame when one fails.

The ordinary group is one transaction, which leaves out what has lost its compare-and-set. A row that cannot be stored
ends it with nothing written, and the group is taken apart by halves until what ends it stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.core.names import ExecutionKey
from perdure.stores import checksums
from perdure.stores.api import Outcome, RecordChange, StoreError
from perdure.stores.encoding import Chain, Written, check_change, unstorable
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.driver import errno
from perdure.stores.mysql.errors import DUPLICATE, is_of_a_value, set_apart, store_error
from perdure.stores.mysql.lane import AtOnce, Decision, Lane
from perdure.stores.mysql.literals import Rows, hash_of, key_hash, rows, statement
from perdure.stores.mysql.readers import Readers
from perdure.stores.mysql.statements import Shape, Writing, write_plan
from perdure.stores.partitions import partition_of
from perdure.stores.sql.plan import Known, Memory, Plan, Planner, Unexpected

_NUMBERS = 1 << 20
"""Numbers of executions that an engine takes at a time."""
_TRIES_MAX = 32
"""How often a group can be halved, and some."""


class CommitWriter:
    """Writes commits."""

    def __init__(self, lane: Lane, readers: Readers, door: Door, memory: Memory) -> None:
        self._lane = lane
        self._readers = readers
        self._settings = door.settings
        self._memory = memory
        self._planner = Planner(memory, self._number)
        self._next_number = self._end_number = 0

    async def write(self, chains: Sequence[Chain]) -> list[Written]:
        """Apply each or not; durable when this returns. Raises StoreError."""
        async with self._lane.turn:
            try:
                return await self._write_all(chains)
            except StoreError:
                raise
            except Exception as error:
                raise store_error(error, self._settings) from error

    async def _write_all(self, chains: Sequence[Chain]) -> list[Written]:
        places = range(len(chains))
        unknown = self._planner.unknown(chains)
        if unknown:
            await self._look_up(unknown)
            places = [place for place in places if not self._planner.unknown([chains[place]])]
        await self._take_numbers(sum(map(len, chains)))
        outcomes: list[Written] = [Outcome.CONFLICT] * len(chains)
        await self._write(chains, places, outcomes, is_again=False)
        return outcomes

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    async def _take_numbers(self, runs: int) -> None:
        """Have enough for these runs, however often they have to be tried."""
        if self._end_number - self._next_number < _TRIES_MAX * runs:
            _, answer = await self._lane.repeat(statement("take_numbers")(), b"SELECT LAST_INSERT_ID()")
            [[block]] = answer.rows
            self._next_number, self._end_number = block * _NUMBERS, (block + 1) * _NUMBERS

    async def _look_up(self, keys: Sequence[ExecutionKey]) -> None:
        names = {key_hash(key): key for key in keys}
        found = rows((partition_of(key.namespace, key.workflow_id), name) for name, key in names.items())
        [answer] = await self._readers.query(statement("find_known")(found))
        for name, number, partition, version, wake_at_ns, in_flight, status in answer.rows:
            self._memory.learn(names[name], Known(number, partition, version, wake_at_ns, bool(in_flight), status))

    async def _write(
        self, chains: Sequence[Chain], places: Sequence[int], outcomes: list[Written], *, is_again: bool
    ) -> None:
        """Write those at some places, and note their outcomes."""
        if not places:
            return
        try:
            plan = self._planner.plan([chains[place] for place in places])
            applied = set(await self._execute(plan))
        except Exception as error:
            if not (isinstance(error, Unexpected) or is_of_a_value(error)):
                raise
            if errno(error) == DUPLICATE and not is_again:  # another node was first, and can be seen now
                await self._write(chains, places, outcomes, is_again=True)
                return
            if len(places) == 1:
                outcomes[places[0]] = _told_apart(error, chains[places[0]])
                return
            middle = len(places) // 2
            await self._write(chains, places[:middle], outcomes, is_again=is_again)
            await self._write(chains, places[middle:], outcomes, is_again=is_again)
            return
        for number, place in enumerate(places):
            if number in applied:
                outcomes[place] = Outcome.APPLIED
                self._memory.learn_applied(plan, number)
            else:
                self._memory.learn_refused(plan, number)

    async def _execute(self, plan: Plan) -> list[int]:
        packet_max = await self._lane.packet_max()
        locks: list[bytes] = []
        if plan.advanced:
            locks.append(statement("lock_states")(rows(sorted(one[1:3] for one in plan.advanced))))
        workflows = {(one[1], hash_of(*one[2:4])) for one in (*plan.claimed, *plan.succeeded)}
        if workflows:
            locks.append(statement("lock_current_runs")(rows(sorted(workflows))))
        if plan.taken:
            locks.append(statement("lock_records")(rows(sorted({one[1:5] for one in plan.taken}))))

        def decide(locked: Sequence[Rows], position: int) -> Decision:
            passed = _passed(plan, locked)
            return Decision(write_plan(plan, passed, position, self._lane.tag, packet_max), passed)

        return await self._lane.write(locks, decide)


def _passed(plan: Plan, locked: Sequence[Rows]) -> list[int]:
    """The places of the commits that find what they were decided on."""
    tables = iter(locked)
    versions = dict(next(tables)) if plan.advanced else {}
    found = next(tables) if plan.claimed or plan.succeeded else ()
    current = {(p, name): run_id.decode() for p, name, run_id, _ in found}
    records = {(k.decode(), n.decode(), m.decode()): v for k, n, m, v in (next(tables) if plan.taken else ())}
    lost = {place for place, _, number, version, *_ in plan.advanced if versions.get(number) != version}
    lost.update(place for place, p, n, w, _ in plan.claimed if (p, hash_of(n, w)) in current)
    lost.update(place for place, p, n, w, run_id, _ in plan.succeeded if current.get((p, hash_of(n, w))) != run_id)
    lost.update(place for place, _, k, n, m, version in plan.taken if records.pop((k, n, m), 0) != version)
    return [place for place in range(len(plan.gates)) if place not in lost]


def _told_apart(error: Exception, chain: Chain) -> Written:
    """What became of a chain that failed alone."""
    if isinstance(error, Unexpected) or (errno(error) == DUPLICATE and "executions_hash" in str(error)):
        return Outcome.CONFLICT  # a run of this id is there, beside the current one
    return set_apart(error, f"a commit of workflow {chain[0].key.workflow_id!r}")


_RECORDS = Shape(
    "records",
    "partition_id, kind, namespace, name, version, wake_at_ns, checksum, data",
    "version, wake_at_ns, checksum, data",
)
_NEW_RECORDS = Shape("records", "partition_id, kind, namespace, name, version, wake_at_ns, checksum, data")
_Name = tuple[int, str, str, str]


class RecordWriter:
    """Writes changes of records."""

    def __init__(self, lane: Lane, door: Door) -> None:
        self._lane = lane
        self._settings = door.settings

    async def write(self, changes: Sequence[RecordChange]) -> list[Written]:
        """Make each or not, one after another; durable when this returns. Raises StoreError."""
        outcomes: list[Written] = [Outcome.CONFLICT] * len(changes)
        places: list[int] = []
        for place, change in enumerate(changes):
            try:
                check_change(change)
                places.append(place)
            except Exception as error:
                outcomes[place] = unstorable(error, f"{change.kind} {change.name!r}")
        async with self._lane.turn:
            try:
                await self._write(changes, places, outcomes, is_again=False)
            except StoreError:
                raise
            except Exception as error:
                raise store_error(error, self._settings) from error
        return outcomes

    async def _write(
        self, changes: Sequence[RecordChange], places: Sequence[int], outcomes: list[Written], *, is_again: bool
    ) -> None:
        if not places:
            return
        try:
            passed = await self._execute([changes[place] for place in places])
        except Exception as error:
            if not is_of_a_value(error):
                raise
            if errno(error) == DUPLICATE and not is_again:
                await self._write(changes, places, outcomes, is_again=True)
                return
            if len(places) == 1:
                change = changes[places[0]]
                outcomes[places[0]] = set_apart(error, f"{change.kind} {change.name!r}")
                return
            middle = len(places) // 2
            await self._write(changes, places[:middle], outcomes, is_again=is_again)
            await self._write(changes, places[middle:], outcomes, is_again=is_again)
            return
        for number in passed:
            outcomes[places[number]] = Outcome.APPLIED

    async def _execute(self, changes: Sequence[RecordChange]) -> list[int]:
        packet_max = await self._lane.packet_max()
        names: list[_Name] = [
            (partition_of(change.namespace, change.name), change.kind, change.namespace, change.name)
            for change in changes
        ]
        locks = [statement("lock_records")(rows(sorted(set(names))))]

        def decide(locked: Sequence[Rows], position: int) -> Decision:
            stored = {(k.decode(), n.decode(), m.decode()): version for k, n, m, version in locked[0]}
            versions = {name: stored.get(name[1:], 0) for name in names}
            before = dict(versions)
            last: dict[_Name, RecordChange] = {}
            passed: list[int] = []
            for place, (name, change) in enumerate(zip(names, changes, strict=True)):
                if versions[name] == change.expected_version:
                    versions[name] = 0 if change.data is None else change.expected_version + 1
                    last[name] = change
                    passed.append(place)
            return Decision(_record_statements(last, before, packet_max), passed)

        return await self._lane.write(locks, decide, _at_once(names[0], changes[0]) if len(changes) == 1 else None)


_FIRST = b"\x01"
"""The mark of a group whose first member was applied."""


def _at_once(name: _Name, change: RecordChange) -> AtOnce | None:
    """A record that there is and that stays: a node's heartbeat is one, every second."""
    data, before = change.data, change.expected_version
    if data is None or not before:
        return None

    def replace(group: int, epoch: int, writer: int) -> bytes:
        checksum = checksums.of_record(data, before + 1)
        return statement("replace_record")(
            before + 1, change.wake_at_ns, checksum, data, group, _FIRST, *name, before, writer, epoch
        )

    return replace


def _record_statements(last: dict[_Name, RecordChange], before: dict[_Name, int], packet_max: int) -> list[bytes]:
    """What leaves every record as its last change says."""
    to = Writing(packet_max)
    to.delete(
        "records",
        "partition_id, kind, namespace, name",
        (name for name, change in last.items() if change.data is None and before[name]),
    )
    for shape, is_new in ((_NEW_RECORDS, True), (_RECORDS, False)):
        to.insert(
            shape,
            (
                (*name, change.expected_version + 1, change.wake_at_ns,
                 checksums.of_record(change.data, change.expected_version + 1), change.data)
                for name, change in last.items()
                if change.data is not None and (before[name] == 0) is is_new
            ),
        )  # fmt: skip
    return to.statements

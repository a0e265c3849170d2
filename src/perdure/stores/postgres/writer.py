"""Writes groups of commits and of records through a lane, and finds out which of them are to blame when one fails.

The ordinary group is one statement, which leaves out what has lost its compare-and-set. What that statement cannot tell
apart (a row that cannot be stored, a chain of which one part would be applied and another not) ends it with nothing
written, and the group is taken apart by halves until what ends it stands alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

from perdure.core.names import ExecutionKey
from perdure.stores import checksums
from perdure.stores.api import NotKept, Outcome, RecordChange, StoreError, Unstorable
from perdure.stores.encoding import Chain, Written, check_change, unstorable
from perdure.stores.partitions import partition_of
from perdure.stores.postgres.driver import Connection, sqlstate
from perdure.stores.postgres.errors import is_lost, is_of_a_value, is_transient, set_apart, store_error
from perdure.stores.postgres.lane import Lane
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.reader import keys_parameters
from perdure.stores.postgres.readers import Readers
from perdure.stores.postgres.statement import FENCED, TORN, columns, parameters, parts_of, statement
from perdure.stores.postgres.texts import in_schema
from perdure.stores.postgres.url import Settings
from perdure.stores.sql.plan import Known, Memory, Plan, Planner, Unexpected

_NUMBERS = 1 << 20
"""Numbers of executions that an engine takes at a time."""
_TRIES_MAX = 32
"""How often a group can be halved, and some."""
_UNIQUE_VIOLATION = "23505"
_RUN_KEY = "executions_key"
_FAILED_TRANSACTION = "25P02"


class _Behind:
    """A chain that is written behind a user's rows: what gives it, and what it is once that was asked."""

    def __init__(self, run: Callable[[Connection], Awaitable[Chain | Unstorable | None]]) -> None:
        self.run = run
        self.chain: Chain | Unstorable | None = None
        self.plan: Plan | None = None


class CommitWriter:
    """Writes commits."""

    def __init__(self, lane: Lane, readers: Readers, settings: Settings, memory: Memory) -> None:
        self._lane = lane
        self._readers = readers
        self._settings = settings
        self._memory = memory
        self._planner = Planner(memory, self._number)
        self._next_number = self._end_number = 0
        self._take_block = f"SELECT nextval('\"{settings.schema}\".execution_blocks')"
        self._find_known = in_schema(query("find_known"), settings.schema)
        self._statements: dict[tuple[tuple[str, ...], bool], str] = {}

    async def write(self, chains: Sequence[Chain]) -> list[Written]:
        """Apply each or not; durable when this returns. Raises StoreError."""
        async with self._lane.turn:
            places = range(len(chains))
            unknown = self._planner.unknown(chains)
            if unknown:
                await self._look_up(unknown)
                places = [place for place in places if not self._planner.unknown([chains[place]])]
            await self._take_numbers(sum(map(len, chains)))
            outcomes: list[Written] = [Outcome.CONFLICT] * len(chains)
            try:
                await self._write(chains, places, outcomes)
            except StoreError:
                raise
            except Exception as error:
                raise store_error(error, self._settings) from error
            return outcomes

    async def write_behind(self, run: Callable[[Connection], Awaitable[Chain | Unstorable | None]]) -> Written | None:
        """Apply the chain that `run(connection)` gives, in the transaction in which it wrote, or keep nothing of both.

        None, if that is what it gives. Raises StoreError, also when the transaction cannot be kept.
        """
        behind = _Behind(run)
        async with self._lane.turn:
            try:
                applied = await self._lane.transact(partial(self._write_then_plan, behind))
            except Exception as error:
                return self._not_kept(error, behind)
        chain, plan = behind.chain, behind.plan
        if plan is None:
            return cast("Unstorable | None", chain)  # a chain was planned
        if applied:
            self._memory.learn_applied(plan, 0)
            return Outcome.APPLIED
        self._memory.learn_refused(plan, 0)
        return Outcome.CONFLICT

    async def _write_then_plan(self, behind: _Behind, connection: Connection) -> tuple[str, Sequence[Any]] | None:
        """What the user's function has to say first, and then what is to be written of it."""
        chain = behind.chain = await behind.run(connection)
        if chain is None or isinstance(chain, Unstorable):
            return None
        unknown = self._planner.unknown([chain])
        if unknown:
            await self._look_up(unknown)
        if not all(link.expected_version for link in chain):
            await self._take_numbers(len(chain))
        plan = behind.plan = self._planner.plan([chain])
        return self._prepared(plan)

    def _not_kept(self, error: Exception, behind: _Behind) -> Written:
        """What became of a transaction that an error has ended. Raises StoreError."""
        chain = behind.chain
        if behind.plan is not None:
            self._memory.learn_refused(behind.plan, 0)
        if isinstance(error, StoreError) or is_lost(error) or chain is None or isinstance(chain, Unstorable):
            raise store_error(error, self._settings) from error
        if sqlstate(error) == _FAILED_TRANSACTION:
            raise NotKept(
                "A statement of the transactional activity has failed, which ends its transaction, and the function "
                "went on: let the error out, or have such a statement behind a savepoint."
            ) from error
        if is_transient(error) or sqlstate(error) == FENCED:
            return Outcome.CONFLICT
        if isinstance(error, Unexpected) or sqlstate(error) == TORN or is_of_a_value(error):
            return _told_apart(error, chain)
        raise store_error(error, self._settings) from error

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    async def _take_numbers(self, runs: int) -> None:
        """Have enough for these runs, however often they have to be tried."""
        if self._end_number - self._next_number < _TRIES_MAX * runs:
            [[block]] = await self._lane.repeat(self._take_block)
            self._next_number, self._end_number = block * _NUMBERS, (block + 1) * _NUMBERS

    async def _look_up(self, keys: Sequence[ExecutionKey]) -> None:
        partitions, *names = keys_parameters(keys)
        for row in await self._readers.fetch(self._find_known, partitions, *names):
            place: int = row[0] - 1
            number, version, wake_at_ns, in_flight, status = row[1:]
            known = Known(number, partitions[place], version, wake_at_ns, in_flight, status)
            self._memory.learn(keys[place], known)

    async def _write(self, chains: Sequence[Chain], places: Sequence[int], outcomes: list[Written]) -> None:
        """Write those at some places, and note their outcomes."""
        if not places:
            return
        try:
            plan = self._planner.plan([chains[place] for place in places])
            passed = await self._execute(plan)
        except Exception as error:
            if not (isinstance(error, Unexpected) or sqlstate(error) == TORN or is_of_a_value(error)):
                raise
            if len(places) == 1:
                outcomes[places[0]] = _told_apart(error, chains[places[0]])
                return
            middle = len(places) // 2
            await self._write(chains, places[:middle], outcomes)
            await self._write(chains, places[middle:], outcomes)
            return
        applied = set(passed)
        for number, place in enumerate(places):
            if number in applied:
                outcomes[place] = Outcome.APPLIED
                self._memory.learn_applied(plan, number)
            else:
                self._memory.learn_refused(plan, number)

    async def _execute(self, plan: Plan) -> list[int]:
        return await self._lane.write(*self._prepared(plan))

    def _prepared(self, plan: Plan) -> tuple[str, list[Any]]:
        parts = parts_of(plan)
        is_chained = max(plan.gates) > 1
        sql = self._statements.get((parts, is_chained))
        if sql is None:
            sql = in_schema(statement(parts, is_chained), self._settings.schema)
            self._statements[parts, is_chained] = sql
        return sql, parameters(plan, parts, is_chained)


def _told_apart(error: Exception, chain: Chain) -> Written:
    """What became of a chain that failed alone."""
    if isinstance(error, Unexpected) or sqlstate(error) == TORN:
        return Outcome.CONFLICT
    if sqlstate(error) == _UNIQUE_VIOLATION and getattr(error, "constraint_name", "") == _RUN_KEY:
        return Outcome.CONFLICT  # a run of this id is there, beside the current one
    return set_apart(error, f"a commit of workflow {chain[0].key.workflow_id!r}")


_RECORD_TYPES = ("int4", "int2", "text", "text", "text", "int8", "int8", "crc", "bytea")


class RecordWriter:
    """Writes changes of records."""

    def __init__(self, lane: Lane, settings: Settings) -> None:
        self._lane = lane
        self._settings = settings
        self._put_records = in_schema(query("put_records"), settings.schema)

    async def write(self, changes: Sequence[RecordChange]) -> list[Written]:
        """Make each or not, one after another; durable when this returns. Raises StoreError.

        Several changes of one record are several statements, for one sees what was there before it.
        """
        outcomes: list[Written] = [Outcome.CONFLICT] * len(changes)
        waves: list[dict[tuple[str, str, str], int]] = []
        seen: dict[tuple[str, str, str], int] = {}
        for place, change in enumerate(changes):
            try:
                check_change(change)
            except Exception as error:
                outcomes[place] = unstorable(error, f"{change.kind} {change.name!r}")
                continue
            name = (change.kind, change.namespace, change.name)
            wave = seen[name] = seen.get(name, -1) + 1
            if wave == len(waves):
                waves.append({})
            waves[wave][name] = place
        async with self._lane.turn:
            for wave in waves:
                try:
                    await self._write(changes, [wave[name] for name in sorted(wave)], outcomes)
                except StoreError:
                    raise
                except Exception as error:
                    raise store_error(error, self._settings) from error
        return outcomes

    async def _write(self, changes: Sequence[RecordChange], places: Sequence[int], outcomes: list[Written]) -> None:
        rows = [_record_row(number, changes[place]) for number, place in enumerate(places)]
        try:
            passed = await self._lane.write(self._put_records, columns(rows, _RECORD_TYPES))
        except Exception as error:
            if not is_of_a_value(error):
                raise
            if len(places) == 1:
                change = changes[places[0]]
                outcomes[places[0]] = set_apart(error, f"{change.kind} {change.name!r}")
                return
            middle = len(places) // 2
            await self._write(changes, places[:middle], outcomes)
            await self._write(changes, places[middle:], outcomes)
            return
        for number in passed:
            outcomes[places[number]] = Outcome.APPLIED


def _record_row(number: int, change: RecordChange) -> tuple[object, ...]:
    version = change.expected_version
    checksum = 0 if change.data is None else checksums.of_record(change.data, version + 1)
    partition = partition_of(change.namespace, change.name)
    name = (change.kind, change.namespace, change.name)
    return (number, partition, *name, version, change.wake_at_ns, checksum, change.data)

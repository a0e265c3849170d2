"""Two members of a Galera group, in each other's way: what is said to be applied is, whole and once, at both."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from perdure.stores.mysql import MysqlStore
from perdure.stores.mysql.bounds import GROUP
from perdure.stores.mysql.lane import Decision, Lane
from perdure.stores.mysql.literals import Rows
from tests.servers.fixtures import hold
from tests.servers.galera import Galera
from tests.stores.given import APPLIED, CONFLICT, Run, event_ids, stored
from tests.stores.mysql.test_many_nodes import session

_GROUPS = 300
"""Of each of four lanes. One of a hundred tries is undone amid a text."""
_PARTS = 8


@pytest.fixture(scope="module")
def galera() -> Iterator[Galera]:
    """Two members."""
    group = hold(Galera, 2)
    try:
        group.start()
        yield group
    finally:
        group.release()


@asynccontextmanager
async def stores(galera: Galera) -> AsyncGenerator[list[MysqlStore]]:
    """Two at each member, opened at once: one of them makes the tables."""
    opened = [MysqlStore(galera.url(number)) for number in range(4)]
    await asyncio.gather(*(store.open() for store in opened))
    try:
        yield opened
    finally:
        await asyncio.gather(*(store.close() for store in opened))


async def test_a_transaction_is_applied_whole_though_another_member_ends_it_at_any_statement(galera: Galera) -> None:
    async with stores(galera) as [first, *others]:
        async with session(first) as connection:
            assert connection.bounds is GROUP
            await connection.query(b"CREATE TABLE hot (id INT PRIMARY KEY, value INT)")
            await connection.query(b"CREATE TABLE parts (name INT, part INT, PRIMARY KEY (name, part))")
            await connection.query(b"INSERT INTO hot VALUES (1, 0)")
        tries = Counter[str]()
        await asyncio.gather(
            *(write_all(store._open().commits, place, tries) for place, store in enumerate((first, *others)))
        )
        for store in (first, others[0]):
            [hot, parts] = await store._read_many(
                b"SELECT value FROM hot; SELECT n, count(*) FROM (SELECT count(*) AS n FROM parts GROUP BY name) AS p "
                b"GROUP BY n"
            )
            assert (hot[0][0], parts) == (4 * _GROUPS, ((_PARTS, 4 * _GROUPS),))
        assert tries["tries"] > 4 * _GROUPS, "they were in each other's way"


async def write_all(lane: Lane, place: int, tries: Counter[str]) -> None:
    """One row that everybody writes, and some that nobody else does."""
    for number in range(_GROUPS):
        name = place * _GROUPS + number

        def decide(locked: Sequence[Rows], position: int, name: int = name) -> Decision:
            tries["tries"] += 1
            parts = [b"INSERT INTO parts VALUES (%d, %d)" % (name, part) for part in range(_PARTS)]
            return Decision([b"UPDATE hot SET value = %d" % (locked[0][0][0] + 1), *parts], [0])

        while True:
            async with lane.turn:
                try:
                    assert await lane.write([b"SELECT value FROM hot FOR UPDATE"], decide) == [0]
                    break
                except Exception as error:
                    if "Deadlock" not in str(error):  # for the twelfth time: nothing was applied
                        raise


async def test_histories_are_whole_when_engines_at_several_members_write_them(galera: Galera) -> None:
    runs = [f"order-{number}" for number in range(5)]
    async with stores(galera) as opened:
        outcomes: Counter[object] = Counter()

        async def write(store: MysqlStore, place: int) -> None:
            for turn in range(60):
                run = Run(runs[(turn + place) % len(runs)])
                [known] = await store.load([run.reference])
                if known is not None:
                    run.execution.version, run.execution.next_event_id = known.version, known.next_event_id
                [outcome] = await store.commit([run.commit(events=1 + (turn + place) % 3)])
                outcomes[outcome] += 1

        await asyncio.gather(*(write(store, place) for place, store in enumerate(opened * 2)))
        assert set(outcomes) == {APPLIED, CONFLICT}
        for store in opened[:2]:
            versions = 0
            for workflow_id in runs:
                run = Run(workflow_id)
                [known] = await store.load([run.reference])
                assert known is not None
                version, events = await stored(store, run)
                assert events == list(range(1, known.next_event_id))
                versions += version
            assert versions == outcomes[APPLIED], "as many as were said to be applied"


async def test_what_one_member_has_answered_for_the_other_shows_at_once(galera: Galera) -> None:
    async with stores(galera) as [one, other, *_]:
        for number in range(100):
            run = Run(f"seen-{number}")
            assert await one.commit([run.commit(events=1)]) == [APPLIED]
            assert event_ids(await other.history(run.key)) == [1]

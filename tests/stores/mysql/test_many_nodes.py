"""Several stores on one database: one wins, nobody is passed by, and what one says the others hear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from perdure.stores.api import BEGINNING, RecordChange
from perdure.stores.mysql import MysqlStore, door, notices
from perdure.stores.mysql.driver import Connection
from perdure.stores.mysql.positions import _SKIP_LOCKED as SKIP_LOCKED
from tests.stores.given import APPLIED, CONFLICT, QUEUE, Run, message_id, queued, stored


@asynccontextmanager
async def nodes(url: str, number: int = 2) -> AsyncGenerator[list[MysqlStore]]:
    """So many stores, opened at once."""
    stores = [MysqlStore(url) for _ in range(number)]
    await asyncio.gather(*(store.open() for store in stores))
    try:
        yield stores
    finally:
        await asyncio.gather(*(store.close() for store in stores))


@asynccontextmanager
async def session(store: MysqlStore) -> AsyncGenerator[Connection]:
    """A connection of the test's own."""
    connection = await store._open().commits._door.connect()
    try:
        yield connection
    finally:
        await connection.close()


async def test_of_two_commits_on_one_version_one_wins(mysql_url: str) -> None:
    async with nodes(mysql_url, 3) as stores:
        for turn in range(10):
            runs = [Run(f"order-{turn}") for _ in stores]
            outcomes = await asyncio.gather(
                *(store.commit([run.commit(events=1)]) for store, run in zip(stores, runs, strict=True))
            )
            assert sorted(str(outcome) for [outcome] in outcomes) == sorted(map(str, [APPLIED, CONFLICT, CONFLICT]))
            outcomes = await asyncio.gather(
                *(store.commit([run.commit(events=1)]) for store, run in zip(stores, runs, strict=True))
            )
            assert [outcome for [outcome] in outcomes].count(APPLIED) == 1
            assert await stored(stores[0], runs[0]) == (2, [1, 2])


async def test_groups_that_cross_wait_for_each_other_and_are_all_written(mysql_url: str) -> None:
    async with nodes(mysql_url, 3) as stores:
        runs = [[Run(f"order-{node}-{number}") for number in range(20)] for node in range(3)]
        for _ in range(5):
            groups = [[run.commit(events=1) for run in own] for own in runs]
            shared = [RecordChange("schedule", "n", f"name-{number}", 0, b"1") for number in range(20)]
            written = await asyncio.gather(
                *(store.commit(group) for store, group in zip(stores, groups, strict=True)),
                *(store.put_records(shared[:: -1 if number else 1]) for number, store in enumerate(stores)),
            )
            assert written[:3] == [[APPLIED] * 20] * 3
        assert len(await stores[0].records("schedule", "n")) == 20


async def test_a_lock_that_is_not_had_is_waited_for_again(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_LOCK_WAIT_S", 1)
    async with nodes(mysql_url, 1) as [store], session(store) as other:
        run = Run()
        await store.commit([run.commit(events=1)])
        await other.query(b"BEGIN; SELECT * FROM states FOR UPDATE")
        writing = asyncio.ensure_future(store.commit([run.commit(events=1)]))
        lane = store._open().commits
        undo, undone = lane._undo, asyncio.Event()

        async def note(connection: Connection) -> None:
            await undo(connection)
            undone.set()

        lane._undo = note
        await undone.wait()  # the first try has ended
        await other.query(b"ROLLBACK")
        assert await writing == [APPLIED]
        assert await stored(store, run) == (2, [1, 2])


async def test_no_task_is_passed_by(mysql_url: str) -> None:
    """One that is older than what a page shows, and appears later, is waited for."""
    async with nodes(mysql_url, 2) as [store, slow], session(store) as gate, session(store) as look:
        first, second = Run("order-1"), Run("order-2")
        await asyncio.gather(store.commit([first.commit()]), slow.commit([second.commit()]))
        await gate.query(
            b"BEGIN; SELECT * FROM states WHERE execution_id = %d FOR UPDATE" % await number_of(store, second)
        )
        late = asyncio.ensure_future(slow.commit([second.commit(add=[second.task()])]))
        await has_begun(slow, look)
        await store.commit([first.commit(add=[first.task()])])
        reading = asyncio.ensure_future(store.tasks(QUEUE, BEGINNING, 10))
        await asyncio.wait([reading], timeout=0.2)
        assert not reading.done(), "the late one has its place already, and it is before this one or behind it"
        await gate.query(b"ROLLBACK")
        assert await late == [APPLIED]
        page = await reading
        assert {row.task.key for row in page} == {first.key, second.key}
        assert [row.position for row in page] == sorted(row.position for row in page)


async def test_a_writer_that_takes_long_hides_what_is_newer_and_nothing_else(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_LOCK_WAIT_S", 1)
    async with nodes(mysql_url, 2) as [store, slow], session(store) as gate:
        run, other = Run("order-1"), Run("order-2")
        await store.commit([run.commit(add=[run.task(1)])])
        await slow.commit([other.commit(add=[other.task(1)])])
        await gate.query(b"BEGIN; SELECT * FROM writers WHERE id = %d FOR UPDATE" % slow._open().commits._id)
        await store.commit([run.commit(add=[run.task(3)])])
        assert [row.task for row in await store.tasks(QUEUE, BEGINNING, 10)] == [run.task(1), other.task(1)]
        await gate.query(b"ROLLBACK")
        assert len(await queued(store)) == 3


async def number_of(store: MysqlStore, run: Run) -> int:
    known = store._open().memory._known
    if run.key not in known:
        await store.load([run.reference])
    return known[run.key].number


async def has_begun(store: MysqlStore, connection: Connection) -> None:
    """Its transaction holds its writer's row."""
    opened = store._open()
    text = b"SELECT id FROM writers WHERE id = %d" % opened.commits._id + SKIP_LOCKED[opened.readers.door.is_mariadb]
    for _ in range(10_000):
        if not (await connection.query(text))[0].rows:
            return
    raise AssertionError("it has not begun")


async def test_a_clock_that_is_set_back_gives_no_position_twice(mysql_url: str) -> None:
    async with nodes(mysql_url, 2) as [store, other]:
        run, second = Run("order-1"), Run("order-2")
        await store.commit([run.commit(add=[run.task(1)])])
        async with session(store) as connection:
            ahead = b"UPDATE writers SET last_position = last_position + 3600000000 ORDER BY last_position DESC LIMIT 1"
            await connection.query(ahead)
        await other.commit([second.commit(add=[second.task(1)])])
        await store.commit([run.commit(add=[run.task(3)])])
        assert [row.task for row in await other.tasks(QUEUE, BEGINNING, 10)] == [
            run.task(1),
            second.task(1),
            run.task(3),
        ]


async def test_what_one_says_the_others_hear(mysql_url: str) -> None:
    async with nodes(mysql_url, 3) as [one, two, three]:
        heard: list[list[bytes | None]] = [[], [], []]
        came = asyncio.Event()
        for place, store in enumerate((one, two, three)):

            def hear(notice: bytes | None, place: int = place) -> None:
                heard[place].append(notice)
                came.set()

            await store.listen("wire", hear)
        await one.notify("wire", [b"first", b"\x00'\\"])
        await two.notify("other", [b"for nobody"])
        async with asyncio.timeout(30):
            while [len(each) for each in heard] != [0, 2, 2]:
                came.clear()
                await came.wait()
        assert heard == [[], [b"first", b"\x00'\\"], [b"first", b"\x00'\\"]]


async def test_a_notice_whose_number_was_given_out_before_it_is_heard_late(mysql_url: str) -> None:
    async with nodes(mysql_url, 2) as [one, two], session(one) as slow:
        heard: list[bytes | None] = []
        came = asyncio.Event()

        def hear(notice: bytes | None) -> None:
            heard.append(notice)
            came.set()

        await two.listen("wire", hear)
        insert = b"INSERT INTO notices (sent_at, sender, channel, data) VALUES (1, 'abcdefgh', 'wire', 'late')"
        await slow.query(b"BEGIN; " + insert)
        await one.notify("wire", [b"early"])
        async with asyncio.timeout(30):
            await came.wait()
            came.clear()
            await slow.query(b"COMMIT")
            await came.wait()
        assert heard == [b"early", b"late"]


async def test_old_notices_are_taken_away_by_who_tells(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_FORGET_S", 0.0)
    async with nodes(mysql_url, 1) as [store], session(store) as other:
        insert = b"INSERT INTO notices (sent_at, sender, channel, data) VALUES (1, 'abcdefgh', 'wire', 'old')"
        await other.query(insert)
        await store.listen("wire", lambda notice: None)
        await store.notify("wire", [b"new"])
        for _ in range(10_000):
            left = (await other.query(b"SELECT data FROM notices"))[0].rows
            if left == ((b"new",),):
                return
        raise AssertionError(left)


async def test_who_reads_on_from_its_position_misses_nothing_of_many_writers(mysql_url: str) -> None:
    async with nodes(mysql_url, 4) as [reader, *writers]:
        written: set[str] = set()
        is_over = asyncio.Event()

        async def write(place: int, store: MysqlStore) -> None:
            for turn in range(30):
                runs = [Run(f"order-{place}-{turn}-{number}") for number in range(1 + (turn + place) % 4)]
                commits = [run.commit(events=1, add=[run.task()], send=[f"to {run.key.workflow_id}"]) for run in runs]
                assert await store.commit(commits) == [APPLIED] * len(runs)
                written.update(run.key.workflow_id for run in runs)

        async def read() -> tuple[list[str], list[str]]:
            tasks: list[str] = []
            messages: list[str] = []
            task_position = message_position = BEGINNING
            while True:
                last_round = is_over.is_set()
                page = await reader.tasks(QUEUE, task_position, 7)
                tasks += [row.task.key.workflow_id for row in page]
                task_position = page[-1].position if page else task_position
                sent = await reader.pending_messages(message_position, 7)
                messages += [message_id(row).removeprefix("to ") for row in sent]
                message_position = sent[-1].position if sent else message_position
                if last_round and not page and not sent:
                    return tasks, messages

        reading = asyncio.ensure_future(read())
        await asyncio.gather(*(write(place, store) for place, store in enumerate(writers)))
        is_over.set()
        async with asyncio.timeout(60):
            tasks, messages = await reading
        assert sorted(tasks) == sorted(messages) == sorted(written)

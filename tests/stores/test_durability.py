"""What survives: closing, being killed, being opened again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.stores.api import Namespace, Store, StoreError
from perdure.stores.sqlite import SqliteStore, open_file
from perdure.stores.sqlite.open_file import Disk
from tests.stores.given import APPLIED, COMPLETED, CONFLICT, Run, current_run_id, queued, stored
from tests.stores.processes import kill, process, read_line


async def test_everything_is_there_when_the_store_is_opened_again(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    await store.commit([first.commit(close_as=COMPLETED)])
    await store.commit([second.commit(events=3, wake_at_ns=70, held=True, add=[second.task()], after="run-1")])
    await store.put_namespace(Namespace("shop", "id", 3))
    await store.close()
    await store.open()
    assert await stored(store, first) == (1, [1, 2])
    assert await stored(store, second) == (1, [1, 2, 3])
    assert await current_run_id(store, first) == "run-2"
    assert await queued(store) == [second.task()]
    assert await store.due(70, 10) == [second.key]
    assert await store.in_flight(None, 10) == [second.key]
    assert await store.namespaces() == [Namespace("shop", "id", 3)]
    assert await store.commit([second.commit(events=1, wake_at_ns=60)]) == [APPLIED]
    assert await store.next_wake_at_ns() == 60


async def test_a_store_that_is_not_open_serves_nothing(store: Store) -> None:
    run = Run()
    await store.commit([run.commit()])
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.commit([run.commit()])
    with pytest.raises(StoreError, match="not open"):
        await store.load([run.reference])
    with pytest.raises(StoreError, match="not open"):
        await store.due(0, 1)


async def test_a_store_is_opened_once(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.open()


@pytest.mark.parametrize("commits", [1, 7])
async def test_what_commit_returned_for_survives_a_kill(sqlite: SqliteStore, commits: int) -> None:
    with process("commit", sqlite.path) as running:
        for _ in range(commits):
            acknowledged = int(read_line(running))
        kill(running)
    await sqlite.open()
    version, events = await stored(sqlite, Run())
    assert version >= acknowledged
    assert events == list(range(1, 2 * version + 1))
    assert len(await queued(sqlite)) == version
    assert await sqlite.check() == []
    await sqlite.close()


async def test_a_file_that_was_killed_again_and_again_is_whole(sqlite: SqliteStore) -> None:
    with process("commit", sqlite.path) as running:
        read_line(running)
        kill(running)
    for _ in range(3):
        with process("hold", sqlite.path) as running:
            read_line(running)
            kill(running)
    await sqlite.open()
    version, events = await stored(sqlite, Run())
    assert version >= 1
    assert len(events) == 2 * version
    await sqlite.close()


async def test_every_commit_is_synchronised(sqlite: SqliteStore) -> None:
    await sqlite.open()
    connection = sqlite._opened().connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: the log is synced at every commit"
    await sqlite.close()


async def test_a_closed_store_leaves_one_file_and_its_lock(sqlite: SqliteStore) -> None:
    await sqlite.open()
    await sqlite.commit([Run().commit()])
    await sqlite.close()
    assert sorted(file.name for file in sqlite.path.parent.iterdir()) == ["store.db", "store.db.lock"]
    with sqlite3.connect(sqlite.path) as connection:
        assert connection.execute("SELECT count(*) FROM executions").fetchone() == (1,)
    connection.close()


async def test_a_relative_path_is_meant_from_where_the_store_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store = SqliteStore("store.db")
    monkeypatch.chdir(tmp_path / "there")
    await store.open()
    await store.close()
    assert (tmp_path / "here" / "store.db").exists()


# --- who waits for the disk -----------------------------------------------------------------------


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Callable[[], None]:
        def finish() -> None:
            self.now += seconds

        return finish


def test_a_lone_commit_after_a_lone_commit_is_not_worth_a_thread() -> None:
    disk = Disk(Clock())
    assert [disk.is_worth_a_thread(size) for size in (1, 1, 1, 2, 1, 1, 50)] == [
        True,
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_a_slow_disk_is_always_worth_a_thread_until_it_is_quick_again() -> None:
    clock = Clock()
    disk = Disk(clock)
    disk.is_worth_a_thread(1)
    disk.run(clock.takes(0.02))
    assert not disk.is_worth_a_thread(1), "one hiccup is no slow disk"
    for _ in range(5):
        disk.run(clock.takes(0.02))
    assert disk.is_worth_a_thread(1)
    for _ in range(20):
        disk.run(clock.takes(0.0001))
    assert not disk.is_worth_a_thread(1)


@pytest.mark.parametrize("quick_s", [1000.0, -1.0], ids=["on the loop", "in the thread"])
async def test_a_commit_is_durable_whoever_waits_for_it(
    sqlite: SqliteStore, quick_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "_QUICK_DISK_S", quick_s)
    await sqlite.open()
    run = Run()
    for _ in range(4):
        assert await sqlite.commit([run.commit(events=1)]) == [APPLIED]
        assert await stored(sqlite, run) == (run.execution.version, list(range(1, run.execution.next_event_id)))
    assert await sqlite.commit([run.behind().commit(events=1)]) == [CONFLICT]
    await sqlite.close()
    await sqlite.open()
    assert await stored(sqlite, run) == (4, [1, 2, 3, 4])
    await sqlite.close()

"""Files that are not ours, disks that fail: a clear error each, nothing lost, and the store serves on."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.stores.api import Damaged, StoreError, Unstorable
from perdure.stores.sqlite import SqliteStore, open_file
from perdure.stores.sqlite.writer import Writer
from tests.stores.given import APPLIED, Run, queued, stored

NOBODY = 65534


async def refusal(path: Path) -> str:
    """What opening the file is refused with."""
    with pytest.raises(StoreError) as refused:
        await SqliteStore(path).open()
    message = str(refused.value)
    assert str(path) in message, "the error names the file"
    assert "\n" not in message
    return message


@contextmanager
def without_root() -> Generator[None]:
    """Rights are checked: root may write everywhere, so root is not root for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Generator[Path]:
    """A directory that everybody may enter (pytest's own are their owner's alone)."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam,\n" * 100)
    assert "not a SQLite database" in await refusal(path)
    assert path.read_text() == "Dear Sir or Madam,\n" * 100


@pytest.mark.parametrize("marks", ["", "PRAGMA application_id = 99;", "PRAGMA user_version = 3;"])
async def test_a_database_of_another_application_is_left_alone(tmp_path: Path, marks: str) -> None:
    path = tmp_path / "recipes.db"
    connection = sqlite3.connect(path)
    connection.executescript(marks + "CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = path.read_bytes()
    assert "another application" in await refusal(path)
    assert path.read_bytes() == before


async def test_an_empty_file_becomes_a_store(sqlite: SqliteStore) -> None:
    sqlite.path.touch()
    await sqlite.open()
    assert await sqlite.commit([Run().commit()]) == [APPLIED]
    await sqlite.close()


async def _make(path: Path, runs: int = 50) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit([Run(f"order-{number}").commit(events=10) for number in range(runs)])
    await store.close()


async def test_a_damaged_file_is_refused(sqlite: SqliteStore) -> None:
    await _make(sqlite.path)
    with sqlite.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (sqlite.path.stat().st_size - 4096))
    assert "damaged" in await refusal(sqlite.path)


async def test_a_truncated_file_is_refused(sqlite: SqliteStore) -> None:
    await _make(sqlite.path)
    os.truncate(sqlite.path, 4096 + 100)
    assert "damaged" in await refusal(sqlite.path)


async def test_damage_that_is_met_later_is_told_and_found_by_a_check(sqlite: SqliteStore) -> None:
    await _make(sqlite.path, 400)
    with sqlite3.connect(sqlite.path) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'history'").fetchone()
    connection.close()
    with sqlite.path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    await sqlite.open()
    with pytest.raises(StoreError, match="damaged"):
        await sqlite.history(Run("order-0").key)
    assert await sqlite.check() != []
    await sqlite.close()


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"mkdir -p {tmp_path / 'nowhere'}" in await refusal(tmp_path / "nowhere" / "store.db")


async def test_a_directory_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    assert "directory" in await refusal(tmp_path / "store.db")


def test_a_read_only_file_is_refused(shared: Path) -> None:
    path = shared / "store.db"
    asyncio.run(_make(path))
    path.chmod(0o444)
    (shared / "store.db.lock").chmod(0o666)
    shared.chmod(0o777)
    with without_root():
        assert "read-only" in asyncio.run(refusal(path))


def test_a_read_only_directory_is_refused(shared: Path) -> None:
    path = shared / "store.db"
    asyncio.run(_make(path))
    shared.chmod(0o555)
    with without_root():
        assert "read-only" in asyncio.run(refusal(path))
        assert "read-only" in asyncio.run(refusal(shared / "new.db"))
    shared.chmod(0o755)


def test_a_lock_file_of_another_user_is_named(shared: Path) -> None:
    path = shared / "store.db"
    lock = shared / "store.db.lock"
    lock.touch()
    lock.chmod(0o444)
    shared.chmod(0o777)
    with without_root():
        assert str(lock) in asyncio.run(refusal(path))


# --- while serving -------------------------------------------------------------------------------


async def test_a_full_disk_fails_the_batch_and_the_store_serves_again_once_there_is_room(sqlite: SqliteStore) -> None:
    await sqlite.open()
    kept = Run("kept")
    await sqlite.commit([kept.commit(events=1)])
    connection = sqlite._opened().connection
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    runs = [Run(f"order-{number}") for number in range(200)]
    with pytest.raises(StoreError, match="disk is full") as failure:
        await sqlite.commit([*(run.commit(events=5, add=[run.task()]) for run in runs), kept.commit(events=1)])
    assert str(sqlite.path) in str(failure.value)
    assert await sqlite.count_executions("default") == {1: 1}
    assert await queued(sqlite) == []
    assert await stored(sqlite, kept) == (1, [1])
    connection.execute("PRAGMA max_page_count = 1000000")
    again = [Run(f"order-{number}").commit() for number in range(200)]
    assert await sqlite.commit([*again, kept.behind().commit(events=0)]) == [APPLIED] * 201
    assert await sqlite.check() == []
    await sqlite.close()


@contextmanager
def files_may_grow_to(size: int) -> Generator[None]:
    """As a quota does: writing past it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_quota_fails_the_batch_and_the_store_serves_again(sqlite: SqliteStore) -> None:
    await sqlite.open()
    await sqlite.commit([Run("kept").commit(events=1)])
    batch = [Run(f"order-{number}").commit(events=5) for number in range(100)]
    with files_may_grow_to(40_000), pytest.raises(StoreError, match=r"store\.db"):
        await sqlite.commit(batch)
    assert await sqlite.count_executions("default") == {1: 1}
    assert await sqlite.commit(batch) == [APPLIED] * 100
    await sqlite.close()
    await sqlite.open()
    assert await sqlite.count_executions("default") == {1: 101}
    assert await sqlite.check() == []
    await sqlite.close()


async def test_after_a_failed_synchronisation_the_store_must_be_opened_again(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk then holds is not known, and a second fsync would say yes to what was lost."""
    await sqlite.open()
    await sqlite.commit([Run("kept").commit(events=1)])

    def fail(writer: Writer) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "finish", fail)
        with pytest.raises(StoreError, match="synchronise"):
            await sqlite.commit([Run("order-1").commit()])
    with pytest.raises(StoreError, match="restart the engine"):
        await sqlite.commit([Run("order-2").commit()])
    assert await stored(sqlite, Run("kept")) == (1, [1])
    await sqlite.close()
    await sqlite.open()
    assert await sqlite.commit([Run("order-2").commit()]) == [APPLIED]
    await sqlite.close()


async def test_what_stands_in_no_transaction_is_not_taken_for_durable(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.open()
    finish = Writer.finish

    def lose(writer: Writer) -> None:
        writer.abandon()
        finish(writer)

    monkeypatch.setattr(Writer, "finish", lose)
    for runs in (["order-1"], ["order-2"], ["order-3", "order-4"]):  # on the loop, and in the disk's thread
        with pytest.raises(StoreError, match="no transaction is active"):
            await sqlite.commit([Run(one).commit() for one in runs])
    monkeypatch.setattr(Writer, "finish", finish)
    assert await sqlite.commit([Run("order-1").commit()]) == [APPLIED]
    await sqlite.close()


async def test_a_transaction_has_the_file_to_itself_until_it_is_durable(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when its caller gave up waiting: the next one begins when the disk has answered."""
    await sqlite.open()
    at_the_disk, answer = threading.Event(), threading.Event()
    begun: list[Writer] = []
    begin, finish = Writer.begin, Writer.finish

    def count(writer: Writer) -> None:
        begun.append(writer)
        begin(writer)

    def wait(writer: Writer) -> None:
        at_the_disk.set()
        answer.wait()
        finish(writer)

    monkeypatch.setattr(Writer, "begin", count)
    monkeypatch.setattr(Writer, "finish", wait)
    first = asyncio.ensure_future(sqlite.commit([Run("order-1").commit(), Run("order-2").commit()]))
    second = asyncio.ensure_future(sqlite.commit([Run("order-3").commit()]))
    await asyncio.to_thread(at_the_disk.wait)
    first.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(begun) == 1
    assert not first.done()
    assert await stored(sqlite, Run("order-1")) == (0, []), "nothing is visible before it is durable"
    answer.set()
    assert await second == [APPLIED]
    assert first.cancelled()
    assert (await stored(sqlite, Run("order-1")))[0] == 1
    await sqlite.close()


@contextmanager
def another_program(path: Path) -> Generator[sqlite3.Connection]:
    """Somebody with a shell on the file, in the middle of a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


async def test_a_file_that_another_program_has_locked_is_waited_for(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.open()
    waited = asyncio.Event()
    freed = asyncio.Event()

    async def pause(seconds: float) -> None:
        waited.set()
        await freed.wait()

    monkeypatch.setattr(open_file, "_pause", pause)
    with another_program(sqlite.path) as program:
        writing = asyncio.ensure_future(sqlite.commit([Run().commit()]))
        await waited.wait()
        program.execute("ROLLBACK")
        freed.set()
        assert await writing == [APPLIED]
    await sqlite.close()


async def test_a_file_that_stays_locked_is_told(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await sqlite.open()
    monkeypatch.setattr(open_file, "_BUSY_PAUSES_S", (0.0,) * 3)
    with another_program(sqlite.path):
        with pytest.raises(StoreError, match="locked by another program"):
            await sqlite.commit([Run().commit()])
        assert await stored(sqlite, Run()) == (0, [])
    assert await sqlite.commit([Run().commit()]) == [APPLIED]
    await sqlite.close()


async def test_one_damaged_snapshot_harms_nobody_else(sqlite: SqliteStore) -> None:
    await sqlite.open()
    runs = [Run("order-1"), Run("order-2")]
    await sqlite.commit([run.commit() for run in runs])
    with sqlite3.connect(sqlite.path) as connection:
        connection.execute("UPDATE executions SET snapshot = x'c1' WHERE workflow_id = 'order-1'")
    connection.close()
    with pytest.raises(Damaged, match="order-1"):
        await sqlite.load([runs[0].reference])
    assert (await stored(sqlite, runs[1]))[0] == 1
    await sqlite.close()


def test_rows_that_contradict_each_other_are_no_conflict(sqlite: SqliteStore) -> None:
    """A history row that no version accounts for: told, not retried for ever as a lost race."""

    async def scenario() -> Any:
        await sqlite.open()
        run = Run()
        await sqlite.commit([run.commit(events=2)])
        with sqlite3.connect(sqlite.path) as connection:
            connection.execute("INSERT INTO history VALUES (1, 3, x'', 0)")
        connection.close()
        try:
            [refused] = await sqlite.commit([run.commit(events=2)])
            assert isinstance(refused, Unstorable)
            assert "UNIQUE" in str(refused)
            assert not refused.is_value
            return await stored(sqlite, Run("order-2")), await sqlite.commit([Run("order-2").commit()])
        finally:
            await sqlite.close()

    assert asyncio.run(scenario()) == ((0, []), [APPLIED])

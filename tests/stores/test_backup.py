"""A copy of a store that goes on serving."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.sqlite import SqliteStore, backup
from tests.stores.given import APPLIED, Run, queued, stored


async def test_a_backup_opens_and_holds_what_was_committed(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.open()
    run = Run()
    await sqlite.commit([run.commit(events=3, wake_at_ns=7, add=[run.task()])])
    await sqlite.backup(tmp_path / "backup.db")
    await sqlite.commit([run.commit(events=1)])
    await sqlite.close()
    copy = SqliteStore(tmp_path / "backup.db")
    await copy.open()
    assert await stored(copy, run) == (1, [1, 2, 3])
    assert await queued(copy) == [run.task()]
    assert await copy.check() == []
    assert await copy.commit([Run("order-2").commit()]) == [APPLIED]
    await copy.close()


async def test_a_backup_beside_running_commits_is_of_one_moment(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PAGES_PER_STEP", 1)
    await sqlite.open()
    runs = [Run(f"order-{number}") for number in range(100)]
    await sqlite.commit([run.commit(events=1) for run in runs])
    loop = asyncio.get_running_loop()
    steps: list[int] = []

    def commit_once_more(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) < 10:
            batch = [run.commit(events=1) for run in runs]
            assert asyncio.run_coroutine_threadsafe(sqlite.commit(batch), loop).result() == [APPLIED] * 100

    await sqlite.backup(tmp_path / "backup.db", commit_once_more)
    assert steps == list(range(1, len(steps) + 1)), "the copy never began anew"
    assert len(steps) >= 10
    assert [await stored(sqlite, run) for run in runs] == [(10, list(range(1, 11)))] * 100
    await sqlite.close()
    copy = SqliteStore(tmp_path / "backup.db")
    await copy.open()
    assert await copy.check() == []
    assert [await stored(copy, run) for run in runs] == [(1, [1])] * 100, "the moment at which it began"
    await copy.close()


async def test_a_backup_overwrites_nothing(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.open()
    (tmp_path / "letter.txt").write_text("Dear Sir")
    with pytest.raises(StoreError, match=r"overwrite .*letter\.txt"):
        await sqlite.backup(tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "Dear Sir"
    with pytest.raises(StoreError, match=r"overwrite .*store\.db"):
        await sqlite.backup(sqlite.path)
    await sqlite.close()


async def test_a_backup_to_nowhere_is_told(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.open()
    with pytest.raises(StoreError, match="does not exist"):
        await sqlite.backup(tmp_path / "nowhere" / "backup.db")
    await sqlite.close()
    with pytest.raises(StoreError, match="not open"):
        await sqlite.backup(tmp_path / "backup.db")


async def test_a_backup_that_fails_leaves_nothing_behind(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.open()
    await sqlite.commit([Run().commit()])
    (tmp_path / "copies").mkdir()

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "synchronise", fail)
    with pytest.raises(StoreError, match="No space left"):
        await sqlite.backup(tmp_path / "copies" / "backup.db")
    assert list((tmp_path / "copies").iterdir()) == []
    await sqlite.close()


async def test_a_sound_file_passes_the_check_and_a_broken_one_does_not(sqlite: SqliteStore) -> None:
    await sqlite.open()
    await sqlite.commit([Run(f"order-{number}").commit() for number in range(20)])
    assert await sqlite.check() == []
    await sqlite.close()
    connection = sqlite3.connect(sqlite.path)
    connection.executescript(
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = replace(sql, 'in_flight = 1', 'in_flight = 0')"
        " WHERE name = 'executions_in_flight'"
    )
    connection.close()
    await sqlite.open()
    assert any("executions_in_flight" in problem for problem in await sqlite.check())
    await sqlite.close()

"""A backup in the place of a store: checked, whole or not at all, and never under an engine."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.sqlite import SqliteStore, backup, restoring
from tests.stores.given import APPLIED, Run, stored
from tests.stores.processes import kill, process, read_line
from tests.stores.test_checksums import write_as_before


async def make_backup(store: SqliteStore, name: str = "backup") -> Path:
    """Of a store with one run in it, which goes on afterwards."""
    run = Run("order-1")
    await store.open()
    await store.commit([run.commit()])
    await store.backup(store.path.with_name(name))
    await store.commit([run.commit(), Run("order-2").commit()])
    await store.close()
    return store.path.with_name(name)


async def count(path: Path) -> dict[int, int]:
    store = SqliteStore(path)
    await store.open()
    try:
        assert await store.check() == []
        assert await store.commit([Run("new").commit()]) == [APPLIED]
        return await store.count_executions("default")
    finally:
        await store.close()


async def test_a_backup_becomes_a_store_of_its_own(sqlite: SqliteStore, tmp_path: Path) -> None:
    copy = await make_backup(sqlite)
    target = tmp_path / "new.db"
    restoring.restore(copy, target)
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
    assert await count(target) == {1: 2}
    assert not [name for name in os.listdir(tmp_path) if "partial" in name]


async def test_what_is_there_is_replaced_only_when_that_is_said(sqlite: SqliteStore) -> None:
    copy = await make_backup(sqlite)
    with pytest.raises(StoreError, match="exists already"):
        restoring.restore(copy, sqlite.path)
    assert await count(sqlite.path) == {1: 3}
    restoring.restore(copy, sqlite.path, overwrite=True)
    assert await count(sqlite.path) == {1: 2}
    with pytest.raises(StoreError, match="the store itself"):
        restoring.restore(sqlite.path, sqlite.path, overwrite=True)


async def test_the_log_of_what_is_replaced_is_not_taken_for_the_backups(sqlite: SqliteStore, tmp_path: Path) -> None:
    copy = await make_backup(sqlite)
    target = tmp_path / "killed.db"
    with process("commit", target) as running:
        read_line(running)
        kill(running)
    log = target.with_name("killed.db-wal")
    assert log.stat().st_size
    with pytest.raises(StoreError, match="exists already"):
        restoring.restore(copy, target)
    restoring.restore(copy, target, overwrite=True)
    assert log.name not in os.listdir(tmp_path)
    assert await count(target) == {1: 2}


async def test_a_store_that_is_in_use_is_left_alone(sqlite: SqliteStore, tmp_path: Path) -> None:
    copy = await make_backup(sqlite)
    await sqlite.open()
    with pytest.raises(StoreError, match="open already in this process"):
        restoring.restore(copy, sqlite.path, overwrite=True)
    await sqlite.close()
    other = tmp_path / "other.db"
    with process("hold", other) as running:
        read_line(running)
        with pytest.raises(StoreError, match=f"pid {running.pid}"):
            restoring.restore(copy, other, overwrite=True)
        kill(running)


async def test_a_damaged_backup_restores_nothing(sqlite: SqliteStore, tmp_path: Path) -> None:
    copy = await make_backup(sqlite)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE history SET data = x'00'")
        connection.commit()
    with pytest.raises(StoreError, match=r"is damaged, nothing was restored: .*order-1.*checksum"):
        restoring.restore(copy, tmp_path / "new.db")
    assert "new.db" not in os.listdir(tmp_path)
    with pytest.raises(StoreError, match="There is no store"):
        restoring.restore(tmp_path / "nowhere", tmp_path / "new.db")
    (tmp_path / "letter").write_text("Dear Sir or Madam")
    with pytest.raises(StoreError):
        restoring.restore(tmp_path / "letter", tmp_path / "new.db")


async def test_a_restore_that_fails_leaves_what_was_there(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = await make_backup(sqlite)

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(backup, "synchronise", fail)
        with pytest.raises(StoreError, match="No space left"):
            restoring.restore(copy, sqlite.path, overwrite=True)
    assert await count(sqlite.path) == {1: 3}
    assert not [name for name in os.listdir(sqlite.path.parent) if "partial" in name]


async def test_what_is_damaged_beyond_repair_is_replaced_too(sqlite: SqliteStore) -> None:
    copy = await make_backup(sqlite)
    sqlite.path.write_bytes(b"SQLite format 3\x00" + b"nonsense" * 1000)
    sqlite.path.with_name("store.db-wal").write_bytes(b"nonsense" * 100)
    restoring.restore(copy, sqlite.path, overwrite=True)
    assert await count(sqlite.path) == {1: 2}


async def test_a_backup_of_an_older_perdure_is_restored_and_brought_up_to_date(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    copy = await make_backup(sqlite)
    write_as_before(copy, tmp_path / "old")
    restoring.restore(tmp_path / "old", tmp_path / "new.db")
    assert await count(tmp_path / "new.db") == {1: 2}


async def test_a_backup_needs_no_file_beside_it(sqlite: SqliteStore) -> None:
    copy = await make_backup(sqlite)
    before = os.listdir(copy.parent)
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM executions").fetchone() == (1,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert os.listdir(copy.parent) == before
    restored = SqliteStore(copy)
    await restored.open()
    assert await stored(restored, Run("order-1")) == (1, [1, 2])
    await restored.close()

"""One process owns a file, and who comes second is told by whom."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.sqlite import SqliteStore
from tests.stores.given import Run, stored
from tests.stores.processes import kill, process, read_line


async def test_a_second_process_on_the_same_file_is_told_who_owns_it(sqlite: SqliteStore) -> None:
    with process("hold", sqlite.path) as running:
        read_line(running)
        with pytest.raises(StoreError) as refused:
            await sqlite.open()
        message = str(refused.value)
        assert f"pid {running.pid}" in message
        assert str(sqlite.path) in message
        assert os.uname().nodename in message
        assert "another file" in message
        kill(running)
    await sqlite.open()
    await sqlite.close()


async def test_a_second_store_in_the_same_process_is_told_so(sqlite: SqliteStore) -> None:
    await sqlite.open()
    with pytest.raises(StoreError, match=rf"already in this process \(pid {os.getpid()}\)"):
        await SqliteStore(sqlite.path).open()
    await sqlite.commit([Run().commit()])
    assert await stored(sqlite, Run()) == (1, [1, 2])
    await sqlite.close()
    second = SqliteStore(sqlite.path)
    await second.open()
    await second.close()


async def test_the_refused_one_takes_nothing_from_the_owner(sqlite: SqliteStore) -> None:
    await sqlite.open()
    with pytest.raises(StoreError):
        await SqliteStore(sqlite.path).open()
    with process("hold", sqlite.path) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "", "the file was given to a second process"
        assert running.wait() != 0
    await sqlite.close()


@pytest.mark.parametrize("link", ["symbolic", "relative"])
async def test_a_file_has_one_owner_under_all_its_names(sqlite: SqliteStore, link: str, tmp_path: Path) -> None:
    await sqlite.open()
    other = tmp_path / "other.db"
    if link == "symbolic":
        other.symlink_to(sqlite.path)
    else:
        other = tmp_path / "folder" / ".." / "store.db"
        other.parent.parent.mkdir()
    with pytest.raises(StoreError, match="already in this process"):
        await SqliteStore(other).open()
    await sqlite.close()


async def test_a_file_is_not_opened_by_a_second_name_that_is_a_hard_link(sqlite: SqliteStore, tmp_path: Path) -> None:
    """Beside that name there is neither the log nor the lock: two owners, and a file that nobody can read."""
    (other := tmp_path / "backups" / "store.db").parent.mkdir()
    with process("hold", sqlite.path) as running:
        read_line(running)
        other.hardlink_to(sqlite.path)
        with pytest.raises(StoreError, match=r"2 names \(hard links\).*perdure store backup"):
            await SqliteStore(other).open()
        with pytest.raises(StoreError, match=f"owned by another process, pid {running.pid}"):
            await sqlite.open()
        kill(running)
    with pytest.raises(StoreError, match="2 names"):
        await sqlite.open()
    assert not other.with_name("store.db-wal").exists()
    other.unlink()
    await sqlite.open()
    await sqlite.commit([Run().commit()])
    await sqlite.close()


async def test_a_child_that_outlives_its_owner_does_not_own_the_file(sqlite: SqliteStore) -> None:
    with process("hold-and-fork", sqlite.path) as running:
        child = int(read_line(running))
        try:
            kill(running)
            await sqlite.open()
            await sqlite.close()
        finally:
            os.kill(child, signal.SIGKILL)


async def test_a_store_that_could_not_be_opened_owns_nothing(sqlite: SqliteStore) -> None:
    sqlite.path.write_bytes(b"SQLite format 3\x00" + b"nonsense" * 1000)
    with pytest.raises(StoreError):
        await sqlite.open()
    sqlite.path.unlink()
    await sqlite.open()
    await sqlite.close()


async def test_a_file_that_somebody_has_locked_for_a_moment_is_waited_for(sqlite: SqliteStore) -> None:
    """As a reader does that is the first one behind a crash: it puts the log in order."""
    await sqlite.open()
    await sqlite.close()
    with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as reader:
        reader.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
        reader.execute("BEGIN IMMEDIATE")
        opening = asyncio.ensure_future(sqlite.open())
        await asyncio.wait((opening,), timeout=0.2)
        assert not opening.done(), "it did not wait"
    await opening
    await sqlite.commit([Run().commit()])
    await sqlite.close()

"""A write-ahead log that is missing at start is noticed, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.stores.api import Namespace, StoreError
from perdure.stores.reading import StoreFile
from perdure.stores.sqlite import SqliteStore, mark, open_file, restoring, whereabouts
from perdure.stores.sqlite.mark import Mark
from tests.stores.given import APPLIED, COMPLETED, CONFLICT, Run, stored
from tests.stores.test_records import put
from tests.stores.transacting import Step, insert

FILES = ("", "-wal", ".lock")


@pytest.fixture(autouse=True)
def exact_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every transaction, instead of ten times a second."""
    monkeypatch.setattr(open_file, "_LOOK_S", -1.0)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """Where the files of a store that was killed are put."""
    (tmp_path / "after").mkdir()
    return tmp_path / "after" / "store.db"


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def crash(store: SqliteStore, into: Path, files: tuple[str, ...] = FILES) -> Path:
    """What SIGKILL would leave of an open store at this moment, of these files."""
    for suffix in FILES:
        beside(into, suffix).unlink(missing_ok=True)
    for suffix in files:
        if beside(store.path, suffix).exists():
            shutil.copy(beside(store.path, suffix), beside(into, suffix))
    return into


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


async def opens(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open()
    return store


async def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as refused:
        await SqliteStore(path).open()
    return str(refused.value)


async def checkpoint(store: SqliteStore) -> None:
    store._opened().connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# --- noticed ------------------------------------------------------------------------------------------


async def test_a_log_that_is_missing_is_told_until_it_is_back_or_given_up(sqlite: SqliteStore, crashed: Path) -> None:
    await sqlite.open()
    run, late = Run("order-1"), Run("order-2")
    await sqlite.commit([run.commit()])
    await checkpoint(sqlite)
    await sqlite.commit([run.commit(), late.commit()])
    log = crash(sqlite, crashed).with_name("log")
    beside(crashed, "-wal").rename(log)
    before = bytes_of(crashed)
    for _ in range(2):
        said = await refusal(crashed)
        assert f"{crashed}-wal" in said
        assert "store restore" in said
        assert f"accept-loss --store {crashed}" in said
        assert bytes_of(crashed) == before, "nothing is written"
    with StoreFile(str(crashed)) as file:
        assert "lacks executions" in file.check()[0]
    shutil.copy(log, beside(crashed, "-wal"))
    again = await opens(crashed)
    assert await stored(again, run) == (2, [1, 2, 3, 4])
    assert (await stored(again, late))[0] == 1
    await again.close()

    crash(sqlite, crashed, ("", ".lock"))
    assert "executions" in (restoring.accept_loss(crashed) or "")
    assert restoring.accept_loss(crashed) is None
    again = await opens(crashed)
    assert await stored(again, run) == (1, [1, 2])
    await again.close()
    await sqlite.close()


async def test_a_log_that_was_cut_short_is_noticed(sqlite: SqliteStore, crashed: Path) -> None:
    await sqlite.open()
    run = Run()
    for _ in range(20):
        await sqlite.commit([run.commit()])
    log = beside(crash(sqlite, crashed), "-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    assert "at version" in await refusal(crashed)
    await sqlite.close()


async def test_a_store_that_was_emptied_is_not_begun_anew(sqlite: SqliteStore, crashed: Path) -> None:
    await sqlite.open()
    await sqlite.commit([Run().commit()])
    crash(sqlite, crashed, (".lock",))
    shutil.copy(os.devnull, crashed)
    assert "lacks everything" in await refusal(crashed)
    restoring.accept_loss(crashed)
    await (await opens(crashed)).close()
    await sqlite.close()


async def test_a_store_whose_log_alone_is_left_is_not_begun_anew(sqlite: SqliteStore, crashed: Path) -> None:
    await sqlite.open()
    await sqlite.commit([Run().commit()])
    crash(sqlite, crashed, ("-wal", ".lock"))
    assert "move the log away" in await refusal(crashed)
    assert sorted(os.listdir(crashed.parent)) == ["store.db-wal", "store.db.lock"]
    await sqlite.close()


CHANGES: dict[str, Callable[[SqliteStore], object]] = {
    "a record is made": lambda store: store.put_records([put("nightly", 0, b"x")]),
    "an execution is deleted": lambda store: store.delete_executions([Run("closed").key]),
    "a message is removed": lambda store: store.remove_messages(["hello"]),
    "a namespace is made": lambda store: store.put_namespace(Namespace("shop", "id", 1)),
    "a namespace is removed": lambda store: store.remove_namespace("bank"),
    "rows of a user's": lambda store: store.transact([Step(insert(1), Run("order-9").commit())]),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_whatever_is_written_is_missed(sqlite: SqliteStore, crashed: Path, name: str) -> None:
    await sqlite.open()
    await sqlite.put_namespace(Namespace("bank", "id", 1))
    await sqlite.commit([Run("closed").commit(close_as=COMPLETED, send=["hello"])])
    await checkpoint(sqlite)
    await (await opens(crash(sqlite, crashed, ("", ".lock")))).close()
    change: object = CHANGES[name](sqlite)
    await change  # pyright: ignore[reportGeneralTypeIssues]
    assert "lacks" in await refusal(crash(sqlite, crashed, ("", ".lock")))
    await (await opens(crash(sqlite, crashed))).close()
    await sqlite.close()


# --- no false alarm -----------------------------------------------------------------------------------


async def test_what_was_refused_in_a_batch_is_not_waited_for(sqlite: SqliteStore, crashed: Path) -> None:
    """The mark must never be ahead of what is stored."""
    await sqlite.open()
    run = Run("order-1")
    await sqlite.commit([run.commit()])
    stale = Run("order-1").behind(-4).commit()
    outcomes = await sqlite.commit([Run("order-2").commit(), Run("bad").commit(wake_at_ns=2**63), stale])
    assert outcomes[0] is APPLIED
    assert outcomes[2] is CONFLICT
    await sqlite.commit([Run("order-3").commit(), Run("order-1").behind(-4).commit()])
    await (await opens(crash(sqlite, crashed))).close()
    await sqlite.close()


@pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "SELECT count(*) FROM executions"])
async def test_a_person_with_sqlite3_raises_no_alarm(sqlite: SqliteStore, crashed: Path, statement: str) -> None:
    await sqlite.open()
    run, gone = Run("order-1"), Run("order-2")
    await sqlite.commit([run.commit(), gone.commit(close_as=COMPLETED)])
    await sqlite.delete_executions([gone.key])
    await sqlite.commit([run.commit()])
    crash(sqlite, crashed)
    connection = sqlite3.connect(crashed, isolation_level=None)
    connection.execute(statement).fetchall()
    connection.close()
    assert not beside(crashed, "-wal").exists(), "the last one to close it copies the log into the file"
    again = await opens(crashed)
    assert (await stored(again, run))[0] == 2
    await again.close()

    beside_the_engine = sqlite3.connect(sqlite.path, isolation_level=None)
    beside_the_engine.execute(statement).fetchall()
    beside_the_engine.close()
    await (await opens(crash(sqlite, crashed))).close()
    await sqlite.close()


async def test_a_mark_that_lags_behind_or_is_torn_raises_no_alarm(sqlite: SqliteStore, crashed: Path) -> None:
    """After a power cut the lock file may be as old as you like: it is not synchronised."""
    await sqlite.open()
    run = Run()
    await sqlite.commit([run.commit()])
    old = beside(sqlite.path, ".lock").read_bytes()
    await sqlite.commit([run.commit()])
    await sqlite.put_records([put("a", 0, b"")])
    whole = beside(sqlite.path, ".lock").read_bytes()
    for lock in (old, b"", whole[:530], whole[:540] + b"\0" * 100, whole.replace(b"mark", b"mork")):
        crash(sqlite, crashed)
        beside(crashed, ".lock").write_bytes(lock)
        await (await opens(crashed)).close()
    crash(sqlite, crashed, ("", "-wal"))
    await (await opens(crashed)).close()
    await sqlite.close()


async def test_an_older_copy_may_be_put_in_the_place_of_a_store_that_ended_well(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    await sqlite.open()
    await sqlite.commit([Run("order-1").commit()])
    await sqlite.close()
    shutil.copy(sqlite.path, tmp_path / "copy")
    await sqlite.open()
    await sqlite.commit([Run("order-2").commit()])
    await sqlite.close()
    shutil.copy(tmp_path / "copy", sqlite.path)
    await sqlite.open()
    assert await sqlite.count_executions("default") == {1: 1}
    await sqlite.close()


async def test_a_backup_may_be_put_in_the_place_of_a_store_that_was_killed(
    sqlite: SqliteStore, crashed: Path, tmp_path: Path
) -> None:
    await sqlite.open()
    await sqlite.commit([Run("order-1").commit()])
    await sqlite.backup(tmp_path / "engine.backup")
    with StoreFile(str(sqlite.path)) as file:
        file.backup(tmp_path / "outside.backup")
    await sqlite.commit([Run("order-2").commit()])
    for name in ("engine.backup", "outside.backup"):
        crash(sqlite, crashed, (".lock",))
        shutil.copy(tmp_path / name, crashed)
        again = await opens(crashed)
        assert await again.count_executions("default") == {1: 1}
        await again.close()
    await sqlite.close()


async def contents(path: Path) -> object:
    """Everything that was acknowledged, as whoever opens the file sees it."""
    connection = sqlite3.connect(path)
    rows = [
        connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("executions", "history", "records", "messages", "namespaces", "perdure_store")
    ]
    connection.close()
    return rows


@pytest.mark.parametrize("seed", range(6))
async def test_an_alarm_is_raised_exactly_when_something_is_missing(
    sqlite: SqliteStore, crashed: Path, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    await sqlite.open()
    runs: list[Run] = []
    plain = tmp_path / "plain"
    plain.mkdir()
    for step in range(40):
        act = dice.choice(["start", "start", "go on", "close", "delete", "record", "checkpoint", "reopen", "bad"])
        open_runs = [run for run in runs if run.execution.closed_at_ns is None]
        if act == "start":
            runs.append(Run(f"order-{step}"))
            await sqlite.commit([runs[-1].commit(send=[f"m-{step}"] if dice.random() < 0.3 else ())])
        elif act in ("go on", "close") and open_runs:
            await sqlite.commit([dice.choice(open_runs).commit(close_as=COMPLETED if act == "close" else None)])
        elif act == "delete" and runs:
            await sqlite.delete_executions([dice.choice(runs).key])
        elif act == "record":
            await sqlite.put_records([put(f"r-{step}", 0, b"data")])
        elif act == "checkpoint":
            await checkpoint(sqlite)
        elif act == "reopen":
            await sqlite.close()
            await sqlite.open()
        elif act == "bad":
            await sqlite.commit([Run(f"bad-{step}").commit(wake_at_ns=2**63)])
        whole = await contents(crash(sqlite, plain / "a.db"))
        await (await opens(crash(sqlite, crashed))).close()
        is_missing = whole != await contents(crash(sqlite, plain / "b.db", ("", ".lock")))
        crash(sqlite, crashed, ("", ".lock"))
        if is_missing:
            assert "lacks" in await refusal(crashed), (seed, step)
        else:
            await (await opens(crashed)).close()
    await sqlite.close()


async def test_a_mark_that_was_put_off_is_written_while_nobody_commits(
    sqlite: SqliteStore, crashed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "_LOOK_S", 1e9)
    monkeypatch.setattr(whereabouts, "_EVERY_S", 0.001)
    await sqlite.open()
    ownership = sqlite._opened()._ownership
    written = threading.Event()
    write = ownership.write_mark

    def note(newest: Mark) -> None:
        write(newest)
        if newest.version == 3:
            written.set()

    monkeypatch.setattr(ownership, "write_mark", note)
    run = Run()
    for _ in range(3):
        await sqlite.commit([run.commit()])
    assert await asyncio.to_thread(written.wait, 60)
    assert "lacks" in await refusal(crash(sqlite, crashed, ("", ".lock")))
    await sqlite.close()


def test_a_mark_is_read_as_it_was_written() -> None:
    newest = Mark("0123456789abcdef" * 2, 2**62, 2**63 - 1, 2**40)
    line = newest.encode()
    assert len(line) == mark.MARK_BYTES
    assert mark.decode(line) == newest
    assert mark.decode(mark.NO_MARK) is None
    for place in range(len(line.rstrip())):
        flipped = bytearray(line)
        flipped[place] ^= 1
        assert mark.decode(bytes(flipped)) != newest

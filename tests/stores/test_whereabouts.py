"""A store whose files are deleted, moved or replaced under it acknowledges nothing more; and who may read them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from perdure.stores.api import Deferred, StoreError
from perdure.stores.reading import StoreFile
from perdure.stores.sqlite import SqliteStore, open_file, whereabouts
from tests.stores.given import APPLIED, Run, stored
from tests.stores.test_records import put
from tests.stores.transacting import Step, insert


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def delete(suffix: str) -> Callable[[Path], None]:
    return lambda path: beside(path, suffix).unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def move_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace(suffix: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        other = path.with_name("other")
        shutil.copy(beside(path, suffix), other)
        other.rename(beside(path, suffix))

    return act


ACCIDENTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (delete(""), "The store .*store.db was deleted or moved away"),
    "moved": (move, "The store .*store.db was deleted or moved away"),
    "its directory moved": (move_the_directory, "The store .*store.db was deleted or moved away"),
    "replaced": (replace(""), "The store .*store.db was replaced by another file"),
    "log deleted": (delete("-wal"), "log .*store.db-wal was deleted"),
    "log replaced": (replace("-wal"), "log .*store.db-wal was replaced"),
    "index deleted": (delete("-shm"), "index .*store.db-shm .*was deleted"),
    "lock deleted": (delete(".lock"), "lock file .*store.db.lock was deleted"),
}


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteStore:
    """In a directory that may be moved."""
    (tmp_path / "data").mkdir()
    return SqliteStore(tmp_path / "data" / "store.db")


@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_nothing_is_acknowledged_of_a_file_that_is_not_there_any_more(
    sqlite: SqliteStore, accident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "_LOOK_S", -1.0)
    act, said = ACCIDENTS[accident]
    await sqlite.open()
    assert await sqlite.commit([Run("order-1").commit()]) == [APPLIED]
    act(sqlite.path)
    with pytest.raises(StoreError, match=said):
        await sqlite.commit([Run("order-2").commit()])
    steps: list[Deferred] = [Step(insert(1), Run("order-3").commit())]
    for write in (sqlite.transact(steps), sqlite.put_records([put("a", 0, b"")]), sqlite.remove_messages(["a"])):
        with pytest.raises(StoreError, match=said):
            await write
    with pytest.raises(StoreError, match=said):
        await sqlite.check()
    assert not sqlite.path.exists() or accident in ("replaced", *list(ACCIDENTS)[4:]), "none is made in its place"
    await sqlite.close()


async def test_it_is_noticed_by_an_engine_that_writes_nothing(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert whereabouts._EVERY_S + open_file._LOOK_S < 1, "within a second"
    monkeypatch.setattr(whereabouts, "_EVERY_S", 0.001)
    await sqlite.open()
    watch = sqlite._opened()._watch
    assert watch is not None
    sqlite.path.unlink()
    watch._thread.join(60)
    assert not watch._thread.is_alive()
    assert [record.levelname for record in caplog.records] == ["CRITICAL"], "told, once"
    with pytest.raises(StoreError, match="deleted or moved away"):
        await sqlite.commit([Run().commit()])
    await sqlite.close()


async def test_a_log_that_was_deleted_is_written_into_the_store_by_an_orderly_end(sqlite: SqliteStore) -> None:
    await sqlite.open()
    run = Run()
    assert await sqlite.commit([run.commit()]) == [APPLIED]
    beside(sqlite.path, "-wal").unlink()
    await sqlite.close()
    await sqlite.open()
    assert await stored(sqlite, run) == (1, [1, 2])
    assert await sqlite.commit([run.commit()]) == [APPLIED]
    await sqlite.close()


async def test_a_store_that_was_replaced_leaves_the_other_one_alone_at_its_end(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "other.db")
    for store in (first, second):
        await store.open()
    await second.commit([Run("theirs").commit()])
    for suffix in ("", "-wal", "-shm"):
        beside(second.path, suffix).rename(beside(first.path, suffix))
    await first.close()
    assert beside(first.path, "-wal").stat().st_size > 0, "the log of the other one is there"
    for suffix in ("", "-wal", "-shm"):
        beside(first.path, suffix).rename(beside(second.path, suffix))
    assert (await stored(second, Run("theirs")))[0] == 1
    await second.close()


async def test_a_symbolic_link_that_is_turned_elsewhere_is_noticed(tmp_path: Path) -> None:
    link = tmp_path / "current.db"
    for name in ("a.db", "b.db"):
        store = SqliteStore(tmp_path / name)
        await store.open()
        await store.close()
    link.symlink_to("a.db")
    store = SqliteStore(link)
    await store.open()
    assert await store.commit([Run().commit()]) == [APPLIED]
    link.unlink()
    link.symlink_to("b.db")
    with pytest.raises(StoreError, match="replaced"):
        await store.check()
    await store.close()


# --- who may read -------------------------------------------------------------------------------------


@pytest.fixture(params=[0, 0o777], ids=["umask 000", "umask 777"])
def any_umask(request: pytest.FixtureRequest) -> Generator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("any_umask")
async def test_every_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit([Run().commit()])
    await store.backup(tmp_path / "engine.backup")
    with StoreFile(str(store.path)) as file:
        file.backup(tmp_path / "outside.backup")
    modes = {name: oct(stat.S_IMODE((tmp_path / name).stat().st_mode)) for name in os.listdir(tmp_path)}
    names = ["engine.backup", "outside.backup", "store.db", "store.db-shm", "store.db-wal", "store.db.lock"]
    assert modes == dict.fromkeys(names, "0o600")
    await store.close()


async def test_rights_that_somebody_has_given_are_left(sqlite: SqliteStore) -> None:
    await sqlite.open()
    await sqlite.close()
    sqlite.path.chmod(0o640)
    await sqlite.open()
    await sqlite.close()
    assert stat.S_IMODE(sqlite.path.stat().st_mode) == 0o640

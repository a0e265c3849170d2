"""A user's rows and a commit in one transaction: both are kept, or neither, whatever the function does."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from perdure.stores.api import Outcome, StoreError, Unstorable
from perdure.stores.memory import MemoryStore
from perdure.stores.sqlite import SqliteStore
from perdure.stores.sqlite.schema import read_schema
from perdure.stores.transaction import OWN_NAMES, Transaction
from tests.stores.given import APPLIED, CONFLICT, Run, stored
from tests.stores.transacting import Step, insert, make_table, rows, transact


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Of the stores that let users write beside commits."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "sqlite":
            return SqliteStore(tmp_path / "store.db")
        case _:
            return request.getfixturevalue("postgres")


async def test_rows_and_commit_are_kept_together(store: Any) -> None:
    await make_table(store)
    run = Run()
    assert await transact(store, Step(insert(1), run.commit())) == [APPLIED]
    assert await rows(store) == [1]
    assert await stored(store, run) == (1, [1, 2])


async def test_what_says_no_leaves_nothing(store: Any) -> None:
    await make_table(store)
    run = Run()
    assert await transact(store, Step(insert(1), run.commit(), keep=False)) == [None]
    assert await rows(store) == []
    assert await stored(store, run) == (0, [])


async def test_a_lost_race_takes_the_rows_along_and_leaves_the_others(store: Any) -> None:
    await make_table(store)
    lost, kept = Run("lost"), Run("kept")
    await store.commit([lost.commit()])
    steps = [Step(insert(1), lost.behind().commit()), Step(insert(2), kept.commit())]
    assert await transact(store, *steps) == [CONFLICT, APPLIED]
    assert await rows(store) == [2]


async def test_one_that_fails_leaves_the_others(store: Any) -> None:
    await make_table(store)

    def fail(tx: Transaction) -> None:
        insert(1)(tx)
        raise ValueError("no")

    first, second = Run("first"), Run("second")
    failing = Step(fail, first.commit())
    assert await transact(store, failing, Step(insert(2), second.commit())) == [None, APPLIED]
    assert await rows(store) == [2]
    assert isinstance(failing.error, ValueError)


def test_every_table_and_index_of_the_schema_is_the_engines_own() -> None:
    assert set(re.findall(r"^CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)", read_schema(), re.MULTILINE)) == OWN_NAMES


REFUSED = [
    ("COMMIT", "COMMIT is not allowed"),
    ("ROLLBACK", "ROLLBACK is not allowed"),
    ("BEGIN", "BEGIN is not allowed"),
    ("RELEASE perdure_activity", "the savepoint perdure_activity is the store's own"),
    ("ROLLBACK TO PERDURE_ACTIVITY", "is the store's own"),
    ("DELETE FROM history", "history is the engine's own"),
    ("UPDATE Executions SET version = 0", "executions is the engine's own"),
    ("INSERT INTO namespaces VALUES ('x', 'x', 1, '')", "namespaces is the engine's own"),
    ("DROP TABLE tasks", "tasks is the engine's own"),
    ("ALTER TABLE tasks ADD COLUMN x", "tasks is the engine's own"),
    ("CREATE INDEX mine ON history (data)", "history is the engine's own"),
    ("CREATE TRIGGER mine AFTER INSERT ON history BEGIN SELECT 1; END", "history is the engine's own"),
    ("DROP INDEX tasks_key", "tasks_key is the engine's own"),
    ("CREATE TABLE perdure_mine (n)", "perdure_mine is the engine's own"),
    ("CREATE TEMP TABLE executions (n)", "temporary tables are not allowed"),
    ("ATTACH 'other.db' AS other", "ATTACH and DETACH are not allowed"),
    ("PRAGMA synchronous = OFF", "PRAGMA synchronous is not allowed"),
]


@pytest.mark.parametrize(("sql", "why"), REFUSED)
async def test_what_would_end_the_transaction_or_touch_the_engine_is_refused(
    sqlite: SqliteStore, sql: str, why: str
) -> None:
    async with opened(sqlite):
        run = Run()
        step = Step(lambda tx: tx.execute(sql), run.commit())
        assert await sqlite.transact([step]) == [None]
        assert isinstance(step.error, StoreError)
        assert why in str(step.error)


async def test_a_refusal_that_is_swallowed_changed_nothing(sqlite: SqliteStore) -> None:
    def stubborn(tx: Transaction) -> None:
        insert(1)(tx)
        for end in (lambda: tx.execute("COMMIT"), tx.commit, tx.rollback, lambda: tx.execute("ROLLBACK")):
            with pytest.raises(StoreError):
                end()
        insert(2)(tx)

    async with opened(sqlite):
        run = Run()
        assert await sqlite.transact([Step(stubborn, run.commit())]) == [APPLIED]
        assert await rows(sqlite) == [1, 2]


async def test_a_trigger_of_the_users_cannot_reach_the_engine(sqlite: SqliteStore) -> None:
    def work(tx: Transaction) -> None:
        tx.execute("CREATE TABLE t (n INTEGER)")
        tx.execute("CREATE TRIGGER evil AFTER INSERT ON t BEGIN DELETE FROM history; END")
        tx.execute("INSERT INTO t VALUES (1)")

    async with opened(sqlite):
        step = Step(work, Run().commit())
        assert await sqlite.transact([step]) == [None]
        assert "history is the engine's own" in str(step.error)


async def test_a_statement_that_rolls_everything_back_costs_the_others_nothing(sqlite: SqliteStore) -> None:
    def rolls_back(tx: Transaction) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS u (n INTEGER UNIQUE)")
        for _ in range(2):
            try:
                tx.execute("INSERT OR ROLLBACK INTO u VALUES (1)")
            except sqlite3.IntegrityError:
                return

    async with opened(sqlite):
        before, bad, after = Run("before"), Run("bad"), Run("after")
        commits = {run: run.commit() for run in (before, bad, after)}
        steps = [Step(insert(1), commits[before]), Step(rolls_back, commits[bad]), Step(insert(3), commits[after])]
        first, second, third = await sqlite.transact(steps)
        assert (first, third) == (CONFLICT, CONFLICT)
        assert isinstance(second, StoreError)
        assert "rolled the whole transaction back" in str(second)
        assert await sqlite.transact([steps[0], steps[2]]) == [APPLIED, APPLIED]
        assert await rows(sqlite) == [1, 3]


async def test_the_transaction_ends_with_its_function(store: Any) -> None:
    kept: list[Transaction] = []
    await transact(store, Step(kept.append, None))
    with pytest.raises(StoreError, match="has ended with its activity"):
        kept[0].execute("SELECT 1")


async def test_an_open_cursor_does_not_stand_in_the_way(store: Any) -> None:
    await make_table(store)

    def work(tx: Transaction) -> Any:
        tx.executemany("INSERT INTO t (n) VALUES (?)", [(n,) for n in range(100)])
        return tx.execute("UPDATE t SET n = n + 1 RETURNING n").fetchone()

    step = Step(work, Run().commit())
    assert await transact(store, step) == [APPLIED]
    assert step.given == (1,)


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_cursors_speak_the_database_api_as_sqlite_does(store: Any) -> None:
    def work(tx: Transaction) -> Any:
        tx.row_factory = sqlite3.Row
        cursor = tx.cursor()
        cursor.execute("CREATE TABLE t (n INTEGER, s TEXT)")
        cursor.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, "b"), (3, "c")])
        changed, last = cursor.rowcount, tx.execute("INSERT INTO t VALUES (4, 'd')").lastrowid
        found = tx.execute("SELECT n, s FROM t WHERE n > :n ORDER BY n", {"n": 1})
        names = [column[0] for column in found.description]
        one, two, rest = found.fetchone()["s"], [row["n"] for row in found.fetchmany(1)], len(found.fetchall())
        found.close()
        return changed, last, names, one, two, rest, [row["name"] for row in tx.execute("PRAGMA table_info(t)")]

    step = Step(work, Run().commit())
    assert await transact(store, step) == [APPLIED], step.error
    assert step.given == (3, 4, ["n", "s"], "b", [3], 1, ["n", "s"])


@pytest.mark.parametrize("own", [True, False])
async def test_a_savepoint_of_the_users_own_works(store: Any, own: bool) -> None:
    await make_table(store)

    def work(tx: Transaction) -> None:
        insert(1)(tx)
        tx.execute("SAVEPOINT mine")
        insert(2)(tx)
        tx.execute("RELEASE mine" if own else "ROLLBACK TO mine")

    assert await transact(store, Step(work, Run().commit())) == [APPLIED]
    assert await rows(store) == ([1, 2] if own else [1])


async def test_ordinary_commits_wait_and_then_go_on(sqlite: SqliteStore) -> None:
    async with opened(sqlite):
        ordinary, deferred = Run("ordinary"), Run("deferred")
        results = await asyncio.gather(
            sqlite.transact([Step(insert(1), deferred.commit())]), sqlite.commit([ordinary.commit()])
        )
        assert results == [[APPLIED], [APPLIED]]
        assert await stored(sqlite, ordinary) == (1, [1, 2])


async def test_the_rows_are_in_the_file_when_transact_returns(sqlite: SqliteStore) -> None:
    async with opened(sqlite):
        await sqlite.transact([Step(insert(7), Run().commit())])
        assert read_from_outside(sqlite.path) == [(7,)]


async def test_a_memory_store_keeps_its_users_rows_over_a_restart() -> None:
    store = MemoryStore()
    await store.open()
    assert await transact(store, Step(insert(1), Run().commit())) == [Outcome.APPLIED]
    await store.close()
    await store.open()
    assert await rows(store) == [1]


class opened:  # noqa: N801 - reads as a verb
    """An open store for the length of a block."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def __aenter__(self) -> None:
        await self._store.open()

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()


def read_from_outside(path: Path) -> list[tuple[int]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT n FROM t").fetchall()
    finally:
        connection.close()


async def test_a_commit_that_cannot_be_stored_takes_its_own_rows_along_and_no_others(store: Any) -> None:
    await make_table(store)
    first, bad, last = Run("order-1"), Run("bad"), Run("order-2")
    steps = [
        Step(insert(1), first.commit()),
        Step(insert(2), bad.commit(wake_at_ns=2**63)),
        Step(insert(3), last.commit()),
    ]
    outcomes = await transact(store, *steps)
    assert [outcomes[0], outcomes[2]] == [APPLIED, APPLIED]
    assert isinstance(outcomes[1], Unstorable)
    assert await rows(store) == [1, 3]
    assert await store.count_executions("default") == {1: 2}

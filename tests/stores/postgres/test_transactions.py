"""Users' functions in transactions of commits, each on a connection of its own: what is so on PostgreSQL alone.

What they are on every store: `tests/stores/test_transact.py`.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure.stores.api import NotKept, StoreError
from perdure.stores.postgres import PostgresStore
from perdure.stores.postgres.transaction import Transaction, numbered, refusal
from tests.stores.given import APPLIED, CONFLICT, Run, stored
from tests.stores.transacting import Step, insert, make_table, rows, transact


@pytest.fixture
def store(postgres: PostgresStore) -> PostgresStore:
    return postgres


async def test_a_run_goes_on_from_where_others_left_it(store: PostgresStore) -> None:
    await make_table(store)
    run = Run()
    assert await store.commit([run.commit()]) == [APPLIED]
    assert await transact(store, Step(insert(1), run.commit(held=True))) == [APPLIED]
    assert await store.commit([run.commit(wake_at_ns=5)]) == [APPLIED]
    assert await transact(store, Step(insert(2), run.commit())) == [APPLIED]
    assert await stored(store, run) == (4, [1, 2, 3, 4, 5, 6, 7, 8])
    assert await rows(store) == [1, 2]


async def test_nobody_waits_for_a_function(store: PostgresStore) -> None:
    await make_table(store)
    slow, other, same = Run("slow"), Run("other"), Run("slow")
    inside, go_on = threading.Event(), threading.Event()

    def work(tx: Transaction) -> None:
        insert(1)(tx)
        inside.set()
        assert go_on.wait(60)

    transacting = asyncio.ensure_future(transact(store, Step(work, slow.commit())))
    assert await asyncio.to_thread(inside.wait, 60)
    assert await store.commit([other.commit()]) == [APPLIED], "no row of the engine's is locked"
    assert await transact(store, Step(insert(2), Run("third").commit())) == [APPLIED]
    assert await store.commit([same.commit()]) == [APPLIED], "not even of the same run"
    go_on.set()
    assert await transacting == [CONFLICT], "which was quicker"
    assert await rows(store) == [2]


async def test_what_a_function_may_not_do_is_refused_and_leaves_the_transaction_as_it_is(store: PostgresStore) -> None:
    await make_table(store)

    def stubborn(tx: Transaction) -> None:
        insert(1)(tx)
        for end in (tx.commit, tx.rollback, *[lambda sql=sql: tx.execute(sql) for sql in REFUSED]):
            with pytest.raises(StoreError, match=r"not allowed|must not touch it"):
                end()
        tx.execute("SAVEPOINT mine")
        insert(2)(tx)
        tx.execute("ROLLBACK TO SAVEPOINT mine")
        tx.execute("SET LOCAL work_mem = '8MB'")
        insert(3)(tx)

    step = Step(stubborn, Run().commit())
    assert await transact(store, step) == [APPLIED], step.error
    assert await rows(store) == [1, 3]


REFUSED = [
    "COMMIT",
    "  /* now */ -- really\n commit",
    "ROLLBACK",
    "ABORT",
    "END",
    "BEGIN",
    "SET search_path = other",
    "PREPARE TRANSACTION 'x'",
    "LISTEN x",
    "DELETE FROM perdure.history",
    'DELETE FROM "perdure" . history',
]


def test_what_is_allowed_is_not_refused() -> None:
    for sql in ("ROLLBACK TO mine", "rollback work to savepoint mine", "SET CONSTRAINTS ALL DEFERRED", "SELECT 1", ""):
        assert refusal(sql, "perdure") is None
    assert refusal("SELECT * FROM my_perdure.t", "perdure") is None


async def test_a_statement_that_failed_and_was_passed_over_is_told(store: PostgresStore) -> None:
    await make_table(store)

    def careless(tx: Transaction) -> None:
        insert(1)(tx)
        with pytest.raises(Exception, match="division by zero"):
            tx.execute("SELECT 1 / 0")

    [outcome] = await transact(store, Step(careless, Run().commit()))
    assert isinstance(outcome, NotKept)
    assert "behind a savepoint" in str(outcome)
    assert await rows(store) == []


async def test_what_is_refused_at_the_commit_takes_the_completion_along(store: PostgresStore) -> None:
    await make_table(store)
    run = Run()

    def work(tx: Transaction) -> None:
        tx.execute("CREATE TABLE once (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        tx.executemany("INSERT INTO once VALUES (%s)", [(1,), (1,)])

    [outcome] = await transact(store, Step(work, run.commit()))
    assert isinstance(outcome, NotKept)
    assert "refused at its end" in str(outcome)
    assert await stored(store, run) == (0, [])
    assert await transact(store, Step(insert(1), Run().commit())) == [APPLIED], "the connection serves on"


async def test_cursors_speak_the_database_api(store: PostgresStore) -> None:
    await make_table(store)

    def work(tx: Transaction) -> Any:
        cursor = tx.cursor()
        cursor.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a?"), (2, "b"), (3, "c")])
        changed = cursor.rowcount
        tx.row_factory = lambda cursor, row: dict(zip([name for name, *_ in cursor.description], row, strict=True))
        found = tx.execute("SELECT n, s FROM t WHERE n > %(n)s AND s <> '%%' ORDER BY n", {"n": 0})
        one, some, rest = found.fetchone(), found.fetchmany(1), list(found)
        tx.row_factory = None
        last = tx.execute("INSERT INTO t VALUES (4, 'd') RETURNING n").fetchone()
        return changed, one, some, rest, found.fetchone(), last

    step = Step(work, Run().commit())
    assert await transact(store, step) == [APPLIED], step.error
    expected = [{"n": 1, "s": "a?"}], [{"n": 2, "s": "b"}], [{"n": 3, "s": "c"}]
    assert step.given == (3, expected[0][0], expected[1], expected[2], None, (4,))


@pytest.mark.parametrize(
    ("sql", "parameters", "expected"),
    [
        ("SELECT ?, '?', \"?\" -- ?", [1], ("SELECT $1, '?', \"?\" -- ?", [1])),
        ("SELECT %s ? 'x' AND $$ %s $$ = %s", [1, 2], ("SELECT $1 ? 'x' AND $$ %s $$ = $2", [1, 2])),
        ("SELECT %(a)s, %(b)s, %(a)s LIKE '%%'", {"a": 1, "b": 2}, ("SELECT $1, $2, $1 LIKE '%%'", [1, 2])),
        ("SELECT %s %% 2", [1], ("SELECT $1 % 2", [1])),
        ("SELECT '100 %'", [], ("SELECT '100 %'", [])),
    ],
)
def test_parameters_are_marked_as_other_drivers_mark_them(sql: str, parameters: Any, expected: Any) -> None:
    assert numbered(sql, parameters) == expected


@pytest.mark.parametrize("parameters", [[], [1], [1, 2, 3], {"n": 1}])
def test_marks_without_parameters_are_told(parameters: Any) -> None:
    if parameters:
        with pytest.raises(StoreError):
            numbered("SELECT ?, ?", parameters)
    else:
        assert numbered("SELECT ?, ?", parameters) == ("SELECT ?, ?", [])

"""Users' functions in transactions of commits: what the tests of every kind of store that has them begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.core.commit import Commit
from tests.stores.given import APPLIED, Run

Work = Callable[[Any], Any]
"""Given the transaction."""


class Step:
    """A `Deferred`: a function, and the commit that goes with it."""

    def __init__(self, work: Work, commit: Commit | None, keep: bool = True) -> None:
        self._work = work
        self._commit = commit
        self._keep = keep
        self.error: Exception | None = None
        self.given: Any = None

    def run(self, transaction: Any) -> bool:
        try:
            self.given = self._work(transaction)
        except Exception as error:
            self.error = error
            return False
        return self._keep

    def decide(self) -> Commit | None:
        return self._commit


async def transact(store: Any, *steps: Step) -> Any:
    """Their outcomes."""
    return await store.transactional.transact(steps)


async def make_table(store: Any) -> None:
    """The table of a user, `t`, by a commit of a run of its own, in a namespace of its own."""

    def work(tx: Any) -> None:
        tx.execute("DROP TABLE IF EXISTS t")  # of the test before: databases are shared
        tx.execute("CREATE TABLE t (n INTEGER, s TEXT)")

    step = Step(work, Run("table", "table", "tables").commit())
    assert await transact(store, step) == [APPLIED], step.error


def insert(value: int) -> Work:
    """A row in that table, which is made where it is not yet."""

    def work(tx: Any) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER, s TEXT)")
        tx.execute("INSERT INTO t (n) VALUES (?)", (value,))

    return work


async def look(store: Any, work: Work) -> Any:
    """What a function gives whose transaction is not kept."""
    step = Step(work, None)
    assert await transact(store, step) == [None]
    assert step.error is None, step.error
    return step.given


async def rows(store: Any) -> list[int]:
    """What a later transaction sees."""
    return await look(store, lambda tx: [n for (n,) in tx.execute("SELECT n FROM t ORDER BY n")])

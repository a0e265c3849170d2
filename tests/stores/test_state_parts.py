"""What is kept beside a snapshot: written when it changes, read with the state, gone with it."""

from __future__ import annotations

import sqlite3

import pytest

from perdure.core.commit import Commit
from perdure.core.state import Attempt
from perdure.stores.api import Store, StoreError
from perdure.stores.reading import StoreFile
from perdure.stores.sqlite import SqliteStore
from perdure.stores.visibility.query import ALL
from tests.stores.given import APPLIED, COMPLETED, CONFLICT, Run

BIG = b"x" * 100_000


def beat(run: Run, event_id: int, details: bytes) -> Commit:
    """The next commit: the details of an activity are these now."""
    facts = run.execution.facts
    attempt = facts.attempts.setdefault(event_id, Attempt(2, 1, 0))
    attempt.heartbeat_details = details
    facts.apart = facts.apart | {event_id} if details else facts.apart - {event_id}
    commit = run.commit(events=1)
    commit.parts = {event_id: details}
    return commit


async def details(store: Store, run: Run) -> dict[int, bytes]:
    [execution] = await store.load([run.reference])
    assert execution is not None
    return {event_id: attempt.heartbeat_details for event_id, attempt in execution.facts.attempts.items()}


async def test_they_are_read_with_the_state(store: Store) -> None:
    run = Run()
    await store.commit([run.commit()])
    assert await store.commit([beat(run, 5, BIG)]) == [APPLIED]
    assert await store.commit([beat(run, 6, BIG * 2)]) == [APPLIED]
    assert await details(store, run) == {5: BIG, 6: BIG * 2}
    assert await store.commit([run.commit()]) == [APPLIED]
    assert await details(store, run) == {5: BIG, 6: BIG * 2}, "a commit that says nothing of them leaves them"
    [current] = await store.load([run.current])
    assert current == run.execution


async def test_they_are_replaced_and_removed(store: Store) -> None:
    run, other = Run(), Run("order-2", "run-2")
    await store.commit([beat(run, 5, BIG), beat(other, 5, BIG)])
    await store.commit([beat(run, 5, b"y" * 2_000)])
    assert await details(store, run) == {5: b"y" * 2_000}
    await store.commit([beat(run, 5, b"")])
    assert await details(store, run) == {5: b""}
    assert await details(store, other) == {5: BIG}


async def test_a_conflict_leaves_them(store: Store) -> None:
    run = Run()
    await store.commit([beat(run, 5, BIG)])
    stale = beat(run.behind(), 5, b"y" * 2_000)
    assert await store.commit([stale, beat(Run("order-2", "run-2"), 5, BIG)]) == [CONFLICT, APPLIED]
    assert await details(store, run) == {5: BIG}


async def test_a_list_does_not_read_them(store: Store) -> None:
    run = Run()
    await store.commit([beat(run, 5, BIG)])
    [found] = await store.find_executions("default", ALL)
    assert found.execution.facts.attempts[5].heartbeat_details == b""


async def test_they_go_with_their_execution(sqlite: SqliteStore) -> None:
    await sqlite.open()
    run, kept = Run(), Run("order-2", "run-2")
    await sqlite.commit([beat(run, 5, BIG), beat(kept, 5, BIG)])
    await sqlite.commit([run.commit(close_as=COMPLETED)])
    assert await sqlite.delete_executions([run.key]) == 1
    await sqlite.close()
    connection = sqlite3.connect(sqlite.path)
    assert connection.execute("SELECT count(*) FROM state_parts").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("damage", ["DELETE FROM state_parts", "UPDATE state_parts SET event_id = 9"])
async def test_a_state_that_lacks_them_is_damaged(sqlite: SqliteStore, damage: str) -> None:
    await sqlite.open()
    run = Run()
    await sqlite.commit([beat(run, 5, BIG)])
    await sqlite.close()
    connection = sqlite3.connect(sqlite.path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with (
        StoreFile(str(sqlite.path)) as file,
        pytest.raises(StoreError, match="damaged"),
    ):
        file.load("order-1")


async def test_a_backup_has_them(sqlite: SqliteStore) -> None:
    await sqlite.open()
    run = Run()
    await sqlite.commit([beat(run, 5, BIG)])
    copy = sqlite.path.with_name("copy.db")
    await sqlite.backup(copy)
    await sqlite.close()
    with StoreFile(str(copy)) as file:
        execution = file.load("order-1")
    assert execution is not None
    assert execution.facts.attempts[5].heartbeat_details == BIG

"""Messages are rows of the commit that sends them, and go with the commit that settles them."""

from __future__ import annotations

from perdure.stores.api import BEGINNING, Position, Store
from tests.stores.given import APPLIED, COMPLETED, CONFLICT, Run, message, message_id


async def pending(store: Store, after: Position = BEGINNING, limit: int = 100) -> list[str]:
    return [message_id(row) for row in await store.pending_messages(after, limit)]


async def test_messages_are_durable_with_their_commit_in_order(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(send=["a", "b"])])
    await store.commit([run.commit(send=["c"])])
    rows = await store.pending_messages(BEGINNING, 100)
    assert [row.message for row in rows] == [message("a"), message("b"), message("c")]
    assert await pending(store, limit=2) == ["a", "b"]
    assert await pending(store, after=rows[1].position) == ["c"]
    await store.close()
    await store.open()
    assert await pending(store) == ["a", "b", "c"]


async def test_a_commit_of_anybody_takes_them_away(store: Store) -> None:
    run, other = Run(), Run("order-2", "run-2")
    await store.commit([run.commit(send=["a", "b", "c"])])
    await store.commit([other.commit(settle=["b", "never sent"])])
    assert await pending(store) == ["a", "c"]
    await store.commit([run.commit(settle=["a"], send=["d"])])
    assert await pending(store) == ["c", "d"]


async def test_they_go_without_a_commit(store: Store) -> None:
    await store.commit([Run().commit(send=["a", "b", "c"])])
    await store.remove_messages(["a", "c", "never sent"])
    assert await pending(store) == ["b"]
    await store.remove_messages([])
    assert await pending(store) == ["b"]


async def test_a_conflict_sends_and_settles_nothing(store: Store) -> None:
    run, other = Run(), Run("order-2", "run-2")
    await store.commit([run.commit(send=["a"])])
    late = run.behind().commit(send=["b"], settle=["a"])
    assert await store.commit([late, other.commit(send=["c"])]) == [CONFLICT, APPLIED]
    assert await pending(store) == ["a", "c"]


async def test_a_run_and_the_one_that_follows_it_send_together(store: Store) -> None:
    run, following = Run(), Run(run_id="run-2")
    await store.commit([run.commit(send=["a"])])
    then = following.commit(after="run-1", send=["c"])
    assert await store.commit([run.commit(close_as=COMPLETED, send=["b"], settle=["a"], then=then)]) == [APPLIED]
    assert await pending(store) == ["b", "c"]

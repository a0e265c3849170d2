"""What `Store.commit` promises: all or nothing, compared and set, one commit at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from perdure.core.commit import Commit
from perdure.core.names import QueueName, TaskKind
from perdure.stores.api import Outcome, Store, Unstorable
from perdure.stores.sqlite import SqliteStore
from tests.stores.given import (
    ACTIVITIES,
    APPLIED,
    COMPLETED,
    CONFLICT,
    QUEUE,
    START_NS,
    Run,
    current_run_id,
    queued,
    stored,
)


async def test_a_run_starts_and_goes_on(store: Store) -> None:
    run = Run()
    assert await store.commit([run.commit(events=2)]) == [APPLIED]
    assert await store.commit([run.commit(events=3)]) == [APPLIED]
    assert await stored(store, run) == (2, [1, 2, 3, 4, 5])
    assert await current_run_id(store, run) == "run-1"


async def test_an_empty_batch_is_nothing(store: Store) -> None:
    assert await store.commit([]) == []


async def test_a_commit_without_events_stores_the_state_alone(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(events=2)])
    assert await store.commit([run.commit(events=0, held=True)]) == [APPLIED]
    assert await stored(store, run) == (2, [1, 2])


async def test_a_start_of_a_run_that_exists_is_a_conflict(store: Store) -> None:
    await store.commit([Run().commit(events=2)])
    assert await store.commit([Run().commit(events=9)]) == [CONFLICT]
    assert await stored(store, Run()) == (1, [1, 2])


async def test_a_commit_on_a_run_that_does_not_exist_is_a_conflict(store: Store) -> None:
    run = Run()
    run.commit()
    assert await store.commit([run.commit()]) == [CONFLICT]
    assert await stored(store, run) == (0, [])


@pytest.mark.parametrize("versions", [1, 2])
async def test_a_commit_on_an_old_version_is_a_conflict_that_writes_nothing(store: Store, versions: int) -> None:
    run = Run()
    for _ in range(3):
        await store.commit([run.commit(events=1)])
    stale = run.behind(versions).commit(events=1, wake_at_ns=5, held=True, close_as=COMPLETED, add=[run.task(7)])
    assert await store.commit([stale]) == [CONFLICT]
    assert await stored(store, run) == (3, [1, 2, 3])
    assert await store.next_wake_at_ns() is None
    assert await queued(store) == []
    assert await store.in_flight(None, 10) == []
    assert await store.count_executions("default") == {1: 1}


async def test_a_commit_on_a_version_to_come_is_a_conflict(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(events=1)])
    assert await store.commit([run.behind(-1).commit(events=1)]) == [CONFLICT]
    assert await stored(store, run) == (1, [1])


async def test_a_conflict_does_not_touch_the_others_of_its_batch(store: Store) -> None:
    runs = [Run(f"order-{number}") for number in range(5)]
    await store.commit([run.commit(events=1) for run in runs])
    runs[1].behind(1)
    runs[3].behind(-1)
    fresh = Run("order-5")
    again = Run("order-0", "run-2")
    batch = [*(run.commit(events=2) for run in runs), fresh.commit(events=1), again.commit(events=1, after="run-9")]
    assert await store.commit(batch) == [APPLIED, CONFLICT, APPLIED, CONFLICT, APPLIED, APPLIED, CONFLICT]
    assert [await stored(store, run) for run in runs] == [
        (2, [1, 2, 3]),
        (1, [1]),
        (2, [1, 2, 3]),
        (1, [1]),
        (2, [1, 2, 3]),
    ]
    assert await stored(store, fresh) == (1, [1])
    assert await current_run_id(store, runs[0]) == "run-1"


async def test_what_comes_after_a_batch_with_a_conflict_is_as_if_it_had_had_none(store: Store) -> None:
    first, second = Run("order-1"), Run("order-2")
    await store.commit([first.commit(events=1, wake_at_ns=100), second.commit(events=1)])
    await store.commit([first.behind(1).commit(events=0, wake_at_ns=50), second.commit(events=1)])
    assert await store.commit([first.commit(events=1, wake_at_ns=100)]) == [APPLIED]
    assert await store.next_wake_at_ns() == 100
    assert await stored(store, first) == (2, [1, 2])


async def test_the_first_run_of_a_workflow_id_expects_none(store: Store) -> None:
    await store.commit([Run("order-1", "run-1").commit()])
    assert await store.commit([Run("order-1", "run-2").commit(after=None)]) == [CONFLICT]
    assert await store.commit([Run("order-2", "run-3").commit(after="run-1")]) == [CONFLICT]
    assert await current_run_id(store, Run("order-1")) == "run-1"
    assert await current_run_id(store, Run("order-2")) is None


async def test_a_later_run_expects_the_one_before_it(store: Store) -> None:
    await store.commit([Run("order-1", "run-1").commit(close_as=COMPLETED)])
    second = Run("order-1", "run-2")
    assert await store.commit([second.commit(events=3, after="run-1")]) == [APPLIED]
    assert await store.commit([Run("order-1", "run-3").commit(after="run-1")]) == [CONFLICT]
    assert await current_run_id(store, second) == "run-2"
    assert await stored(store, Run("order-1", "run-1")) == (1, [1, 2])
    assert await stored(store, second) == (1, [1, 2, 3])


async def test_workflow_ids_are_apart_by_namespace(store: Store) -> None:
    here, there = Run(namespace="here"), Run(namespace="there")
    assert await store.commit([here.commit(events=1), there.commit(events=2)]) == [APPLIED, APPLIED]
    assert await stored(store, here) == (1, [1])
    assert await stored(store, there) == (1, [1, 2])


def _continued(first: Run, second: Run) -> Commit:
    """The first run ends and the second begins in one breath."""
    following = second.commit(events=1, wake_at_ns=START_NS, add=[second.task()], after=first.key.run_id)
    return first.commit(events=1, close_as=COMPLETED, remove=[first.task_ref()], then=following)


async def test_a_run_and_the_one_that_follows_it_are_committed_together(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    await store.commit([first.commit(events=1, add=[first.task()])])
    assert await store.commit([_continued(first, second)]) == [APPLIED]
    assert await current_run_id(store, first) == "run-2"
    assert await stored(store, first) == (2, [1, 2])
    assert await stored(store, second) == (1, [1])
    assert await queued(store) == [second.task()]
    assert await store.due(START_NS, 10) == [second.key]


async def test_a_chain_of_runs_is_committed_together(store: Store) -> None:
    first, second, third = (Run("order-1", f"run-{number}") for number in (1, 2, 3))
    await store.commit([first.commit(events=1)])
    chain = second.commit(events=1, close_as=COMPLETED, after="run-1", then=third.commit(events=1, after="run-2"))
    assert await store.commit([first.commit(events=1, close_as=COMPLETED, then=chain)]) == [APPLIED]
    assert await current_run_id(store, first) == "run-3"
    assert [(await stored(store, run))[0] for run in (first, second, third)] == [2, 1, 1]


async def test_a_workflow_id_may_begin_with_a_chain(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    chain = first.commit(events=1, close_as=COMPLETED, then=second.commit(events=1, after="run-1"))
    assert await store.commit([chain]) == [APPLIED]
    assert await current_run_id(store, first) == "run-2"


async def test_a_chain_is_compared_link_by_link_beside_a_conflict(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    chain = first.commit(events=1, close_as=COMPLETED, then=second.commit(events=1, after="run-1"))
    lost = Run("order-2", "run-3").commit(after="run-9")
    assert await store.commit([lost, chain]) == [CONFLICT, APPLIED]
    assert await current_run_id(store, first) == "run-2"


async def test_a_following_run_that_cannot_start_takes_its_commit_with_it(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    await store.commit([first.commit(events=1, add=[first.task()])])
    wrong = second.commit(events=1, add=[second.task()], after="run-7")
    commit = first.commit(events=1, close_as=COMPLETED, remove=[first.task_ref()], then=wrong)
    assert await store.commit([commit]) == [CONFLICT]
    assert await current_run_id(store, first) == "run-1"
    assert await stored(store, first) == (1, [1])
    assert await stored(store, second) == (0, [])
    assert await queued(store) == [first.task()]


async def test_a_conflict_takes_the_following_run_with_it(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    await store.commit([first.commit(events=1), Run("order-2").commit()])
    first.behind(-1)
    other = Run("order-3")
    assert await store.commit([other.commit(), _continued(first, second)]) == [APPLIED, CONFLICT]
    assert await current_run_id(store, first) == "run-1"
    assert await stored(store, second) == (0, [])
    assert await queued(store) == []
    assert (await stored(store, other))[0] == 1


async def test_what_is_stored_does_not_alias_what_was_handed_in_or_out(store: Store) -> None:
    run = Run()
    commit = run.commit(events=2, add=[run.task()])
    await store.commit([commit])
    commit.events[0].event_id = 77
    commit.add_tasks.clear()
    run.execution.version = 99
    [loaded] = await store.load([run.reference])
    assert loaded is not None
    loaded.version = 55
    assert await stored(store, run) == (1, [1, 2])
    assert await queued(store) == [run.task()]


async def test_an_execution_may_change_as_soon_as_its_commit_is_on_its_way(store: Store) -> None:
    run = Run()
    before = asyncio.ensure_future(store.commit([Run("order-2").commit()]))
    commit = run.commit(events=1, add=[run.task()])
    writing = asyncio.ensure_future(store.commit([commit]))
    await asyncio.sleep(0)
    run.execution.workflow_type = "Changed"
    commit.add_tasks.clear()
    await asyncio.gather(before, writing)
    assert await queued(store) == [run.task()]
    [loaded] = await store.load([run.reference])
    assert loaded is not None
    assert loaded.workflow_type == "Order"


async def test_concurrent_batches_are_each_applied_whole(store: Store) -> None:
    runs = [Run(f"order-{number}") for number in range(30)]
    batches = [[run.commit(events=1) for run in runs[number : number + 3]] for number in range(0, 30, 3)]
    assert await asyncio.gather(*(store.commit(batch) for batch in batches)) == [[APPLIED] * 3] * 10
    assert [await stored(store, run) for run in runs] == [(1, [1])] * 30


async def test_of_concurrent_commits_on_one_version_one_wins(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(events=1)])
    rivals = [run.commit(events=1)]
    rivals += [run.behind(1).commit(events=1) for _ in range(4)]
    outcomes: list[Sequence[Outcome | Unstorable]] = await asyncio.gather(*(store.commit([rival]) for rival in rivals))
    assert sorted(str(outcome) for [outcome] in outcomes) == sorted(map(str, [APPLIED, *[CONFLICT] * 4]))
    assert (await stored(store, run))[0] == 2


async def test_commits_of_one_run_in_the_order_of_their_calls(store: Store) -> None:
    run = Run()
    calls: list[asyncio.Future[Sequence[Outcome | Unstorable]]] = []
    for _ in range(20):
        calls.append(asyncio.ensure_future(store.commit([run.commit(events=1)])))
        await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == [[APPLIED]] * 20
    assert await stored(store, run) == (20, list(range(1, 21)))


async def test_a_caller_that_is_cancelled_leaves_the_store_serving(store: Store) -> None:
    run, other = Run("order-1"), Run("order-2")
    await store.commit([run.commit(events=1, wake_at_ns=100), other.commit(events=1)])
    batch = [run.commit(events=1, wake_at_ns=50), other.commit(events=1)]
    writing = asyncio.ensure_future(store.commit(batch))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    # It had left for the disk already, so it is applied: what matters is that it is whole, and known.
    assert await stored(store, run) == (2, [1, 2])
    assert await stored(store, other) == (2, [1, 2])
    assert await store.commit([run.commit(events=1, wake_at_ns=100)]) == [APPLIED]
    assert await store.next_wake_at_ns() == 100


async def test_a_commit_that_changed_nothing_is_refused_alone(store: Store) -> None:
    run, other = Run("order-1"), Run("order-2")
    idle = other.commit(events=0)
    idle.changed = False
    applied, refused = await store.commit([run.commit(), idle])
    assert applied is APPLIED
    assert is_refused(refused, "order-2", is_value=False)
    assert (await stored(store, run))[0] == 1


async def test_a_commit_with_a_task_of_another_execution_is_refused(store: Store) -> None:
    run = Run()
    [refused] = await store.commit([run.commit(add=[Run("order-2").task(queue=ACTIVITIES)])])
    assert is_refused(refused, "order-2", is_value=False)
    [refused] = await store.commit([run.behind().commit(remove=[Run("order-2").task_ref()])])
    assert is_refused(refused, "order-2", is_value=False)
    assert await queued(store, QUEUE) == []


def is_refused(outcome: object, text: str, is_value: bool) -> bool:
    return isinstance(outcome, Unstorable) and text in str(outcome) and outcome.is_value is is_value


def _too_late(run: Run) -> Commit:
    return run.commit(wake_at_ns=2**63)


def _too_large_a_number(run: Run) -> Commit:
    run.execution.started_at_ns = 2**64
    return run.commit()


def _no_text(run: Run) -> Commit:
    run.execution.workflow_type = "caf\udce9"
    return run.commit()


def _no_text_in_a_task(run: Run) -> Commit:
    return run.commit(add=[run.task(queue=QueueName("default", "caf\udce9", TaskKind.WORKFLOW))])


def _no_number(run: Run) -> Commit:
    run.execution.version = cast(int, "one")
    return Commit(run.key, 0, run.execution, encoded=[])


def _behind_a_good_one(run: Run) -> Commit:
    following = Run(run.key.workflow_id, "run-2")
    return run.commit(close_as=COMPLETED, then=following.commit(wake_at_ns=2**63, after="run-1"))


async def check_refused_alone(store: Store, bad: Callable[[Run], Commit], is_value: bool) -> None:
    run, fresh = Run("kept"), [Run(f"order-{number}") for number in range(4)]
    await store.commit([run.commit(events=1)])
    batch = [fresh[0].commit(), bad(Run("bad")), run.commit(events=1), bad(Run("bad-too"))]
    outcomes = await store.commit([*batch, *(one.commit() for one in fresh[1:])])
    assert [place for place, outcome in enumerate(outcomes) if outcome is not APPLIED] == [1, 3]
    assert is_refused(outcomes[1], "'bad'", is_value)
    assert is_refused(outcomes[3], "'bad-too'", is_value)
    assert await stored(store, run) == (2, [1, 2])
    assert await store.count_executions("default") == {1: 5}
    assert await store.commit([run.commit(events=1), Run("bad").commit(events=1)]) == [APPLIED, APPLIED]
    assert await store.next_wake_at_ns() is None
    assert await queued(store) == []


@pytest.mark.parametrize("bad", [_too_late, _too_large_a_number, _no_text, _behind_a_good_one])
async def test_what_cannot_be_encoded_is_refused_alone_and_its_neighbours_are_written(
    store: Store, bad: Callable[[Run], Commit]
) -> None:
    await check_refused_alone(store, bad, is_value=True)


async def test_what_cannot_be_written_is_refused_alone_and_its_neighbours_are_written(sqlite: SqliteStore) -> None:
    for bad, is_value in ((_no_text_in_a_task, True), (_no_number, False)):
        await sqlite.open()
        try:
            await check_refused_alone(sqlite, bad, is_value)
            assert await sqlite.check() == []
        finally:
            await sqlite.close()
            sqlite.path.unlink()


async def test_nothing_but_what_cannot_be_stored_is_no_transaction(store: Store) -> None:
    [refused] = await store.commit([_too_late(Run())])
    assert is_refused(refused, "order-1", is_value=True)

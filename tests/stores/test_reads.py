"""What a store answers: histories, deadlines, queues, lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure.core.names import ExecutionKey, QueueName, TaskKind
from perdure.stores.api import BEGINNING, Namespace, Outcome, Position, Reference, Store
from perdure.stores.visibility import ALL
from tests.stores.given import (
    ACTIVITIES,
    COMPLETED,
    FAILED,
    QUEUE,
    RUNNING,
    SECOND,
    START_NS,
    Run,
    event_ids,
    queued,
)

STRANGE = ["", " ", "order 1", "zwölf/€/😀", "a'b\"c%_", "nul\0inside", "x" * 1000]
"""Workflow ids that a wire may bring."""


async def test_load_answers_in_the_order_of_the_references(store: Store) -> None:
    first, second = Run("order-1", "run-1"), Run("order-1", "run-2")
    await store.commit([first.commit(close_as=COMPLETED)])
    await store.commit([second.commit(after="run-1")])
    references = [second.reference, Reference("default", "order-9"), first.reference, first.current]
    loaded = await store.load([*references, Reference("default", "order-1", "run-9"), Reference("x", "order-1")])
    assert [execution and execution.key.run_id for execution in loaded] == ["run-2", None, "run-1", "run-2", None, None]


async def test_load_gives_back_the_state_that_was_stored(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(events=3, wake_at_ns=START_NS + SECOND, held=True)])
    assert await store.load([run.reference]) == [run.execution]


@pytest.mark.parametrize("workflow_id", STRANGE)
async def test_any_text_names_a_workflow(store: Store, workflow_id: str) -> None:
    run = Run(workflow_id, f"run of {workflow_id}", f"namespace of {workflow_id}", type=workflow_id)
    queue = QueueName(run.key.namespace, workflow_id, TaskKind.WORKFLOW)
    await store.commit([run.commit(events=1, wake_at_ns=5, held=True, add=[run.task(queue=queue)])])
    assert await store.load([run.current]) == [run.execution]
    assert event_ids(await store.history(run.key)) == [1]
    assert await store.due(5, 10) == [run.key]
    assert await store.in_flight(None, 10) == [run.key]
    assert await store.queues() == [queue]
    assert await queued(store, queue) == [run.task(queue=queue)]
    [found] = await store.find_executions(run.key.namespace, ALL)
    assert found.execution == run.execution


# --- history -------------------------------------------------------------------------------------


async def _with_history(store: Store, *sizes: int) -> Run:
    run = Run()
    for size in sizes:
        await store.commit([run.commit(events=size)])
    return run


@pytest.mark.parametrize(
    ("first", "batches"),
    [(1, [1, 4, 6]), (2, [1, 4, 6]), (3, [1, 4, 6]), (4, [4, 6]), (5, [4, 6]), (6, [6]), (9, [6]), (10, [])],
)
async def test_history_begins_with_the_batch_that_holds_the_event(store: Store, first: int, batches: list[int]) -> None:
    run = await _with_history(store, 3, 2, 0, 4)
    assert [batch.first_event_id for batch in await store.history(run.key, first)] == batches


async def test_history_is_read_in_pages(store: Store) -> None:
    run = await _with_history(store, 3, 3, 3, 3)
    size = len((await store.history(run.key))[0].data)
    assert event_ids(await store.history(run.key, 1, size * 2)) == [1, 2, 3, 4, 5, 6]
    assert event_ids(await store.history(run.key, 1, size * 2 - 1)) == [1, 2, 3]
    assert event_ids(await store.history(run.key, 7, 1)) == [7, 8, 9]
    assert event_ids(await store.history(run.key, 1, size * 4)) == list(range(1, 13))


async def test_history_of_a_run_that_does_not_exist_is_empty(store: Store) -> None:
    await _with_history(store, 2)
    assert await store.history(ExecutionKey("default", "order-1", "run-2")) == []
    assert await store.history(ExecutionKey("default", "order-2", "run-1")) == []


async def test_a_long_history_comes_whole(store: Store) -> None:
    run = Run()
    for _ in range(300):
        await store.commit([run.commit(events=2)])
    assert event_ids(await store.history(run.key)) == list(range(1, 601))


# --- deadlines -----------------------------------------------------------------------------------


async def test_due_executions_come_earliest_first(store: Store) -> None:
    runs = [Run(f"order-{number}") for number in range(6)]
    deadlines: list[int | None] = [50, 10, None, 40, 30, 20]
    await store.commit([run.commit(wake_at_ns=at) for run, at in zip(runs, deadlines, strict=True)])
    assert await store.next_wake_at_ns() == 10
    assert await store.due(40, 10) == [runs[1].key, runs[5].key, runs[4].key, runs[3].key]
    assert await store.due(40, 2) == [runs[1].key, runs[5].key]
    assert await store.due(9, 10) == []


async def test_a_deadline_moves_and_goes_with_a_commit(store: Store) -> None:
    run = Run()
    assert await store.next_wake_at_ns() is None
    for deadline in (100, 100, 70, 200, None, None, 80):
        await store.commit([run.commit(events=1, wake_at_ns=deadline)])
        assert await store.next_wake_at_ns() == deadline
        assert await store.due(1000, 10) == ([run.key] if deadline else [])
    await store.commit([run.commit(events=1, close_as=COMPLETED)])
    assert await store.next_wake_at_ns() is None


async def test_deadlines_far_away_are_kept_to_the_nanosecond(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(wake_at_ns=2**62 + 1)])
    assert await store.next_wake_at_ns() == 2**62 + 1
    assert await store.due(2**62, 1) == []


# --- tasks ---------------------------------------------------------------------------------------


async def test_tasks_stand_in_the_order_in_which_they_came(store: Store) -> None:
    runs = [Run(f"order-{number}") for number in range(3)]
    await store.commit([run.commit(add=[run.task(1), run.task(2, ACTIVITIES, stamp=3)]) for run in runs])
    await store.commit([runs[0].commit(add=[runs[0].task(3)])])
    assert await queued(store) == [*(run.task(1) for run in runs), runs[0].task(3)]
    assert await queued(store, ACTIVITIES) == [run.task(2, ACTIVITIES, stamp=3) for run in runs]
    assert await queued(store, QueueName("other", "queue", TaskKind.WORKFLOW)) == []


async def test_tasks_are_read_in_pages_by_position(store: Store) -> None:
    run = Run()
    tasks = [run.task(number, ACTIVITIES) for number in range(1, 8)]
    await store.commit([run.commit(add=tasks)])
    first = await store.tasks(ACTIVITIES, BEGINNING, 3)
    second = await store.tasks(ACTIVITIES, first[-1].position, 10)
    assert [row.task for row in (*first, *second)] == tasks
    positions = [row.position for row in (*first, *second)]
    assert positions == sorted(set(positions))
    assert await store.tasks(ACTIVITIES, positions[-1], 10) == []


async def test_a_position_is_never_used_again(store: Store) -> None:
    run = Run()
    seen: list[Position] = []
    for _ in range(4):
        await store.commit([run.commit(add=[run.task()])])
        [row] = await store.tasks(QUEUE, BEGINNING, 10)
        seen.append(row.position)
        await store.commit([run.commit(remove=[run.task_ref()])])
    assert seen == sorted(set(seen))


async def test_a_removed_task_is_gone_and_only_it(store: Store) -> None:
    run, other = Run("order-1"), Run("order-2")
    await store.commit(
        [run.commit(add=[run.task(1), run.task(1, ACTIVITIES), run.task(2)]), other.commit(add=[other.task(1)])]
    )
    await store.commit([run.commit(remove=[run.task_ref(1)])])
    assert await queued(store) == [run.task(2), other.task(1)]
    assert await queued(store, ACTIVITIES) == [run.task(1, ACTIVITIES)]
    await store.commit([run.commit(remove=[run.task_ref(1, TaskKind.ACTIVITY), run.task_ref(2)])])
    assert await queued(store) == [other.task(1)]


async def test_removing_a_task_that_is_not_there_is_no_conflict(store: Store) -> None:
    run = Run()
    await store.commit([run.commit()])
    await store.commit([run.commit(remove=[run.task_ref(9)])])
    [execution] = await store.load([run.reference])
    assert execution is not None
    assert execution.version == 2


async def test_a_task_can_be_replaced_in_one_commit(store: Store) -> None:
    run = Run()
    await store.commit([run.commit(add=[run.task(1, stamp=1), run.task(2)])])
    await store.commit([run.commit(remove=[run.task_ref(1)], add=[run.task(1, stamp=2)])])
    assert await queued(store) == [run.task(2), run.task(1, stamp=2)]


async def test_an_added_task_takes_the_place_of_the_row_of_its_event(store: Store) -> None:
    run = Run()
    sticky = QueueName("default", "sticky", TaskKind.WORKFLOW)
    await store.commit([run.commit(add=[run.task(1, sticky), run.task(2)])])
    await store.commit([run.commit(add=[run.task(1, QUEUE, stamp=2)])])
    assert await queued(store, sticky) == []
    assert await queued(store) == [run.task(2), run.task(1, stamp=2)]


async def test_queues_that_hold_tasks_are_known(store: Store) -> None:
    assert await store.queues() == []
    names = [QueueName(namespace, name, kind) for namespace in ("a", "b") for name in ("p", "q") for kind in TaskKind]
    runs = [Run(namespace=namespace) for namespace in ("a", "b")]
    for run in runs:
        own = [name for name in names if name.namespace == run.key.namespace]
        tasks = [run.task(10 * number + copy, name) for number, name in enumerate(own) for copy in range(3)]
        await store.commit([run.commit(add=tasks)])
    assert await store.queues() == names
    refs = [run.task_ref(number, kind) for run in runs[:1] for number in range(40) for kind in TaskKind]
    await store.commit([runs[0].commit(remove=refs)])
    assert await store.queues() == names[4:]


# --- lists ---------------------------------------------------------------------------------------


async def test_in_flight_are_the_open_runs_with_a_task_in_hand(store: Store) -> None:
    runs = [Run(f"order-{number}") for number in (3, 1, 5, 2, 4)]
    await store.commit([run.commit(held=True) for run in runs])
    await store.commit([runs[2].commit(held=False), runs[4].commit(held=True, close_as=COMPLETED)])
    held = [runs[1].key, runs[3].key, runs[0].key]
    assert await store.in_flight(None, 10) == held
    assert await store.in_flight(None, 2) == held[:2]
    assert await store.in_flight(held[0], 10) == held[1:]
    assert await store.in_flight(runs[4].key, 10) == []
    await store.commit([runs[2].commit(held=True)])
    assert await store.in_flight(held[2], 10) == [runs[2].key]


async def _with_list(store: Store) -> list[Run]:
    """order-0 … order-5 in key order; odd ones closed, every third a Refund."""
    runs = [Run(f"order-{number}", type="Refund" if number % 3 == 0 else "Order") for number in range(6)]
    runs.append(Run("order-7", namespace="other"))
    for number in (4, 2, 0, 6, 1, 3, 5):
        closes = {1: COMPLETED, 3: FAILED, 5: COMPLETED}.get(number)
        await store.commit([runs[number].commit(events=number + 1, close_as=closes)])
    return runs


async def test_executions_are_counted_by_status(store: Store) -> None:
    await _with_list(store)
    assert await store.count_executions("default") == {RUNNING: 3, COMPLETED: 2, FAILED: 1}
    assert await store.count_executions("other") == {RUNNING: 1}
    assert await store.count_executions("nowhere") == {}


async def test_a_run_that_closes_is_counted_and_listed_as_closed(store: Store) -> None:
    run = Run()
    await store.commit([run.commit()])
    assert await store.count_executions("default") == {RUNNING: 1}
    await store.commit([run.commit(close_as=FAILED)])
    assert await store.count_executions("default") == {FAILED: 1}
    [found] = await store.find_executions("default", ALL)
    assert found.execution.status == FAILED
    assert found.execution.closed_at_ns == START_NS + SECOND


async def test_namespaces_are_kept_by_name(store: Store) -> None:
    assert await store.namespaces() == []
    shop, bank = Namespace("shop", "id-1", 7, "orders"), Namespace("bank", "id-2", 30)
    assert await store.put_namespace(shop) is Outcome.APPLIED
    assert await store.put_namespace(bank) is Outcome.APPLIED
    assert await store.namespaces() == [bank, shop]
    moved = Namespace("shop", "id-1", 14, "orders and returns")
    assert await store.put_namespace(moved, shop) is Outcome.APPLIED
    assert await store.namespaces() == [bank, moved]


async def test_a_namespace_is_put_in_the_place_of_the_one_that_was_read(store: Store) -> None:
    shop = Namespace("shop", "id-1", 7, data={"a": "1", "b": "2"})
    moved, sold = replace(shop, retention_ns=14), replace(shop, description="sold")
    assert await store.put_namespace(moved, shop) is Outcome.CONFLICT, "there is none"
    assert await store.namespaces() == []
    await store.put_namespace(shop)
    assert await store.put_namespace(moved) is Outcome.CONFLICT, "there is one"
    assert await store.put_namespace(moved, replace(shop, data={"b": "2", "a": "1"})) is Outcome.APPLIED
    assert await store.put_namespace(sold, shop) is Outcome.CONFLICT, "it is another one"
    assert await store.namespaces() == [moved]

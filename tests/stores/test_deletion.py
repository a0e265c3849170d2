"""Executions that nobody keeps any more, and namespaces that go."""

from __future__ import annotations

from perdure.stores.api import BEGINNING, Namespace, RecordChange, Store
from perdure.stores.visibility import bind, parse
from tests.stores.given import (
    APPLIED,
    COMPLETED,
    FAILED,
    SECOND,
    START_NS,
    Run,
    current_run_id,
    message_id,
    queued,
    stored,
)

CLOSED_AT_NS = START_NS + SECOND


async def closed(store: Store, run: Run, close_as: int = COMPLETED, at_ns: int = CLOSED_AT_NS) -> Run:
    commit = run.commit(close_as=close_as)
    run.execution.closed_at_ns = at_ns
    assert await store.commit([commit]) == [APPLIED]
    return run


async def test_a_closed_execution_goes_with_all_that_is_stored_of_it(store: Store) -> None:
    gone, kept = Run("order-1"), Run("order-2", "run-2")
    gone.execution.search_attributes = {}
    await store.commit([gone.commit(add=[gone.task()], send=["hello"]), kept.commit(add=[kept.task()])])
    await closed(store, gone)
    assert await store.delete_executions([gone.key]) == 1
    assert await stored(store, gone) == (0, [])
    assert await current_run_id(store, gone) is None
    assert [task.key for task in await queued(store)] == [kept.key]
    assert await store.count_executions("default") == {1: 1}
    messages = await store.pending_messages(BEGINNING, 9)
    assert [message_id(row) for row in messages] == ["hello"], "it is delivered all the same"
    assert await store.commit([Run("order-1", "run-3").commit()]) == [APPLIED], "the workflow id is free"


async def test_what_is_open_or_not_there_is_left(store: Store) -> None:
    run = Run()
    await store.commit([run.commit()])
    assert await store.delete_executions([run.key, Run("nobody").key]) == 0
    assert await store.delete_executions([]) == 0
    assert (await stored(store, run))[0] == 1
    assert await store.commit([run.commit()]) == [APPLIED], "it goes on"


async def test_a_commit_on_what_was_deleted_is_a_conflict(store: Store) -> None:
    run = await closed(store, Run())
    await store.delete_executions([run.key])
    again = Run(run_id="run-2").commit(after="run-1")
    assert await store.commit([again]) != [APPLIED]
    assert await store.commit([Run(run_id="run-2").commit()]) == [APPLIED]


async def test_the_newest_of_the_others_takes_the_place_of_the_newest_run(store: Store) -> None:
    runs = [Run(run_id=f"run-{number}") for number in range(3)]
    for number, run in enumerate(runs):
        await store.commit([run.commit(after=f"run-{number - 1}" if number else None)])
        await closed(store, run)
    await store.delete_executions([runs[2].key])
    assert await current_run_id(store, runs[0]) == "run-1"
    await store.delete_executions([runs[0].key])
    assert await current_run_id(store, runs[0]) == "run-1"
    await store.delete_executions([runs[1].key])
    assert await current_run_id(store, runs[0]) is None


async def test_those_that_closed_before_a_time_are_named_page_by_page(store: Store) -> None:
    for number in range(4):
        await closed(store, Run(f"order-{number}"), FAILED if number % 2 else COMPLETED, CLOSED_AT_NS + number)
    await store.commit([Run("open").commit()])
    await closed(store, Run("elsewhere", namespace="other"))
    found = await store.closed_before("default", CLOSED_AT_NS + 3, 10)
    assert sorted(key.workflow_id for key in found) == ["order-0", "order-1", "order-2"]
    assert len(await store.closed_before("default", CLOSED_AT_NS + 3, 2)) == 2
    assert await store.closed_before("default", CLOSED_AT_NS, 10) == []


async def test_what_was_deleted_is_found_by_nothing(store: Store) -> None:
    run = Run()
    run.execution.first_task_backoff_ns = SECOND
    await closed(store, run)
    query = bind(parse("ExecutionTime > StartTime".replace("StartTime", str(START_NS))), {})
    assert len(await store.find_executions("default", query)) == 1
    await store.delete_executions([run.key])
    assert await store.find_executions("default", query) == []
    await closed(store, Run("order-2", "run-2"))
    assert await store.find_executions("default", query) == [], "its number, if it is given out again, finds nothing"


async def test_a_namespace_goes_with_its_records(store: Store) -> None:
    await store.put_namespace(Namespace("shop", "id", 5, data={"a": "b"}, search_attributes={"Colour": 2}, state=2))
    assert (await store.namespaces())[0].search_attributes == {"Colour": 2}
    await store.put_records([RecordChange("schedule", where, "a", 0, b"") for where in ("shop", "bank")])
    await store.remove_namespace("shop")
    await store.remove_namespace("shop")
    assert await store.namespaces() == []
    assert [record.namespace for record in await store.records("schedule")] == ["bank"]

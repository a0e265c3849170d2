"""A store's file, listed from outside by whoever looks at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perdure.stores.reading import StoreFile
from perdure.stores.sqlite import SqliteStore
from perdure.stores.summary import Summary
from tests.stores.given import COMPLETED, FAILED, SECOND, START_NS, Run


@asynccontextmanager
async def reading(sqlite: SqliteStore, *runs: Run) -> AsyncIterator[StoreFile]:
    """The file, beside the engine that owns it."""
    await sqlite.open()
    try:
        for number, run in enumerate(runs):
            closes = {1: COMPLETED, 3: FAILED, 5: COMPLETED}.get(number)
            await sqlite.commit([run.commit(events=number + 1, close_as=closes)])
        with StoreFile(str(sqlite.path)) as file:
            yield file
    finally:
        await sqlite.close()


def given() -> list[Run]:
    """order-0 … order-5 in key order; odd ones closed, every third a Refund."""
    runs = [Run(f"order-{number}", type="Refund" if number % 3 == 0 else "Order") for number in range(6)]
    return [*runs, Run("order-7", namespace="other")]


async def test_executions_are_listed_in_key_order(sqlite: SqliteStore) -> None:
    runs = given()
    async with reading(sqlite, *runs) as file:
        listed = file.executions()
    assert [summary.key for summary in listed] == [run.key for run in runs[:6]]
    assert listed[3] == Summary(
        key=runs[3].key,
        workflow_type="Refund",
        task_queue="queue",
        status=FAILED,
        started_at_ns=START_NS,
        closed_at_ns=START_NS + SECOND,
        history_length=4,
    )
    assert listed[4].closed_at_ns is None


async def test_lists_are_filtered(sqlite: SqliteStore) -> None:
    runs = given()
    async with reading(sqlite, *runs) as file:

        def ids(open_only: bool | None = None, workflow_type: str | None = None, namespace: str = "default") -> str:
            found = file.executions(namespace, open_only=open_only, workflow_type=workflow_type)
            return " ".join(str(runs.index(next(run for run in runs if run.key == row.key))) for row in found)

        assert ids(open_only=True) == "0 2 4"
        assert ids(open_only=False) == "1 3 5"
        assert ids(workflow_type="Refund") == "0 3"
        assert ids(open_only=True, workflow_type="Order") == "2 4"
        assert ids(workflow_type="Nothing") == ""
        assert ids(namespace="other") == "6"
        assert ids(namespace="nowhere") == ""


async def test_lists_are_paged(sqlite: SqliteStore) -> None:
    runs = given()
    async with reading(sqlite, *runs) as file:
        first = file.executions(limit=4)
        second = file.executions(limit=4, after=first[-1].key)
        assert [summary.key for summary in (*first, *second)] == [run.key for run in runs[:6]]
        assert file.executions(after=runs[5].key) == []
        assert len(file.executions(open_only=True, after=runs[0].key, limit=1)) == 1


async def test_runs_of_one_workflow_id_are_listed_by_run(sqlite: SqliteStore) -> None:
    async with reading(sqlite) as file:
        await sqlite.commit([Run("order-1", "b").commit(close_as=COMPLETED)])
        await sqlite.commit([Run("order-1", "a").commit(after="b")])
        assert [summary.key.run_id for summary in file.executions()] == ["a", "b"]

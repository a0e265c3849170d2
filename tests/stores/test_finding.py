"""Lists and counts: every store finds what the model finds, in the same order, page by page."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.stores.api import Found, Store
from perdure.stores.memory import MemoryStore
from perdure.stores.sqlite import SqliteStore
from perdure.stores.visibility import Query, bind, parse
from perdure.stores.visibility.query import ALL
from tests.stores.given import Run
from tests.stores.given_attributes import CUSTOM, NAMESPACE, commits, plans, queries


def query(text: str) -> Query:
    return bind(parse(text), CUSTOM)


async def fill(store: Store, made: list[dict[str, Any]]) -> None:
    current: dict[str, str] = {}
    for number, plan in enumerate(made):
        for commit in commits(number, plan, current.get(plan["workflow_id"])):
            await store.commit([commit])
        current[plan["workflow_id"]] = f"run-{number:03}"


async def pages(store: Store, wanted: Query, size: int) -> list[Found]:
    """The whole list, fetched in pages."""
    found: list[Found] = []
    while True:
        page = await store.find_executions(NAMESPACE, wanted, found[-1].cursor if found else None, size)
        found.extend(page)
        if len(page) < size:
            return found


def run_ids(found: list[Found]) -> list[str]:
    return [one.execution.key.run_id for one in found]


async def compare(other: Store, made: list[dict[str, Any]], texts: list[str], size: int) -> None:
    """Fill it and the model alike, then look for the same in both."""
    model = MemoryStore()
    for store in (model, other):
        await store.open()
        await fill(store, made)
    try:
        for text in texts:
            wanted = query(text)
            whole = run_ids(list(await model.find_executions(NAMESPACE, wanted, None, 100)))
            assert run_ids(list(await other.find_executions(NAMESPACE, wanted, None, 100))) == whole, text
            assert run_ids(await pages(model, wanted, size)) == whole, text
            assert run_ids(await pages(other, wanted, size)) == whole, text
            counted = await model.count_executions(NAMESPACE, wanted)
            assert sum(counted.values()) == len(whole)
            assert await other.count_executions(NAMESPACE, wanted) == counted, text
    finally:
        for store in (model, other):
            await store.close()


FILLED = (st.lists(plans, max_size=12), st.lists(queries, min_size=1, max_size=12), st.integers(1, 5))


@settings(max_examples=40, deadline=None)
@given(*FILLED)
def test_sqlite_finds_what_the_model_finds(made: list[dict[str, Any]], texts: list[str], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(SqliteStore(Path(folder) / "store.db"), made, texts, size))


@pytest.mark.parametrize("database", ["postgres", "mysql"])
def test_a_database_finds_what_the_model_finds(request: pytest.FixtureRequest, database: str) -> None:
    store: Store = request.getfixturevalue(database)
    empty: Callable[[], None] = request.getfixturevalue(f"empty_{database}")

    @settings(max_examples=6, deadline=None)
    @given(*FILLED)
    def finds(made: list[dict[str, Any]], texts: list[str], size: int) -> None:
        empty()
        asyncio.run(compare(store, made, texts, size))

    finds()


async def test_a_page_ends_with_its_bytes_and_says_that_there_are_more(store: Store) -> None:
    runs = [Run(f"order-{number}", f"run-{number}") for number in range(4)]
    for run in runs:
        run.execution.memo = {"note": b"x" * 10_000}
    await store.commit([run.commit() for run in runs])
    found: list[str] = []
    after = None
    for size in (2, 2):
        page = await store.find_executions("default", ALL, after, limit_bytes=25_000)
        assert len(page) == size
        found += [one.execution.key.workflow_id for one in page]
        after = page[-1].cursor
    assert sorted(found) == [f"order-{number}" for number in range(4)]
    assert [type(value) for value in after or ()] == [int, int, int], "two times and a number, as pages' tokens say"
    assert not page.more
    page = await store.find_executions("default", ALL, limit_bytes=1)
    assert (len(page), page.more) == (1, True), "one at least"

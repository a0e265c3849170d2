"""Search attributes as a user writes them: set, changed, and found by."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from perdure import Engine, SearchAttribute, workflow
from perdure.errors import EngineError, WorkflowFailedError
from perdure.stores.api import Namespace
from perdure.stores.reading import StoreFile
from perdure.stores.sqlite import SqliteStore
from tests.eventually import eventually

NOTE = SearchAttribute.text("Note")


@workflow(name="search.order")
def order(stage: str) -> str:
    workflow.upsert_search_attributes({"Stage": stage, "Tags": ["new", "gift"]})
    return stage


@workflow(name="search.careless")
def careless() -> None:
    workflow.upsert_search_attributes({"Amount": "much"})


def test_what_a_workflow_says_of_itself_is_found_at_once_and_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    with Engine(url, workflows=[order]) as engine:
        due = datetime(2026, 12, 24, tzinfo=UTC)
        values = {"Customer": "ada", "Amount": 42.5, "Due": due, NOTE: "Handle with care"}
        engine.start(order, "packed", id="order-1", search_attributes=values).result()
        engine.start(order, "shipped", id="order-2", search_attributes={"Customer": "bob", "Amount": 7.0}).result()
        assert [found.id for found in engine.list("Stage = 'packed' AND Amount > 40")] == ["order-1"]
    with Engine(url, workflows=[order]) as engine:
        assert [found.id for found in engine.list("Note = 'CARE' AND Due < '2027-01-01T00:00:00Z'")] == ["order-1"]
        assert engine.count("Tags = 'gift' AND CloseTime IS NOT NULL") == 2
        with StoreFile(url) as file:
            assert [summary.key for summary in file.executions() if file.index_differs(summary.key)] == []
        by_customer = engine.list("Customer IN ('ada', 'bob') ORDER BY Amount")
        assert [found.id for found in by_customer] == ["order-2", "order-1"]
        with pytest.raises(EngineError, match="invalid search attribute: Colour"):
            engine.list("Colour = 'red'")


def test_a_name_keeps_the_type_it_was_first_set_with() -> None:
    with Engine("memory://", workflows=[order, careless]) as engine:
        engine.start(order, "packed", id="order-1", search_attributes={"Amount": 42.5}).result()
        with pytest.raises(EngineError, match="invalid value for search attribute Amount of type Double: much"):
            engine.start(order, "packed", id="order-2", search_attributes={"Amount": "much"})
        handle = engine.start(careless, id="careless")
        eventually(
            lambda: any("BadSearchAttributes" in str(event) for event in engine.get("careless").history()),
            "it is refused",
        )
        engine.get("careless").terminate()
        with pytest.raises(WorkflowFailedError):
            handle.result()


def test_a_store_keeps_closed_executions_as_long_as_it_was_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}"

    with Engine(url, workflows=[order], retention="90d") as engine:
        engine.start(order, "packed", id="order-1").result()
    with Engine(url, workflows=[order]):
        pass
    [namespace] = asyncio.run(_namespaces(tmp_path / "orders.db"))
    assert namespace.retention_ns == 90 * 86_400 * 10**9
    with pytest.raises(ValueError, match="retention must be at least an hour"):
        Engine(url, retention="5m")


async def _namespaces(path: Path) -> Sequence[Namespace]:
    store = SqliteStore(path)
    await store.open()
    try:
        return await store.namespaces()
    finally:
        await store.close()

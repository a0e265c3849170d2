"""The official Python SDK lists, counts and searches on `perdure server`, over gRPC."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.sqlite import SqliteStore
from tests.server.given import FREE

CUSTOMER = SearchAttributeKey.for_keyword("Customer")
AMOUNT = SearchAttributeKey.for_float("Amount")
DUE = SearchAttributeKey.for_datetime("Due")
TAGS = SearchAttributeKey.for_keyword_list("Tags")
TYPES = {
    "Customer": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Amount": IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
    "Due": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    "Tags": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}


def attributes(customer: str, amount: float) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(CUSTOMER, customer),
            SearchAttributePair(AMOUNT, amount),
            SearchAttributePair(DUE, datetime(2026, 12, 24, tzinfo=UTC)),
            SearchAttributePair(TAGS, ["new", customer]),
        ]
    )


async def scenario(client: Client) -> None:
    request = AddSearchAttributesRequest(namespace="default", search_attributes=TYPES)
    await client.operator_service.add_search_attributes(request)
    for number, customer in enumerate(("ada", "bob", "ada")):
        await client.start_workflow(
            "Order",
            id=f"order-{number}",
            task_queue="orders",
            memo={"number": number},
            search_attributes=attributes(customer, 10.5 * number),
        )
    await client.get_workflow_handle("order-1").terminate()

    async def ids(query: str) -> list[str]:
        return [found.id async for found in client.list_workflows(query, page_size=1)]

    assert await ids("") == ["order-2", "order-0", "order-1"]
    assert await ids("Customer = 'ada' AND Amount > 0") == ["order-2"]
    assert await ids("Tags = 'bob' OR Due IS NULL") == ["order-1"]
    [found] = [found async for found in client.list_workflows("WorkflowId = 'order-1'")]
    assert found.status is WorkflowExecutionStatus.TERMINATED
    assert found.typed_search_attributes[TAGS] == ["new", "bob"]
    assert await found.memo() == {"number": 1}
    assert found.close_time is not None
    counted = await client.count_workflows("Amount >= 0 GROUP BY ExecutionStatus")
    assert counted.count == 3
    assert [(group.group_values, group.count) for group in counted.groups] == [(["Running"], 2), (["Terminated"], 1)]
    with pytest.raises(RPCError, match="invalid search attribute: Colour") as refused:
        await ids("Colour = 'red'")
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    with pytest.raises(RPCError, match="has no mapping defined for search attribute Colour"):
        await client.start_workflow(
            "Order",
            id="order-9",
            task_queue="orders",
            search_attributes=TypedSearchAttributes(
                [SearchAttributePair(SearchAttributeKey.for_keyword("Colour"), "red")]
            ),
        )


def test_the_official_sdk_finds_executions(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def run() -> None:
        store = SqliteStore(tmp_path_factory.mktemp("store") / "orders.db")
        server = Server(store, ServerConfig(address=FREE, http_address=""))
        await server.start()
        try:
            await scenario(await Client.connect(server.address))
        finally:
            await server.stop()

    asyncio.run(run())

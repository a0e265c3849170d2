"""Engines on one PostgreSQL database: each is a node, by the URL alone."""

from __future__ import annotations

import asyncio

import pytest
from click.testing import CliRunner

from perdure import AsyncEngine, Engine, activity, start, workflow
from perdure.cli.main import cli
from tests.servers.fixtures import url
from tests.servers.server import Server
from tests.stores.postgres.proxy import proxied


@activity(start_to_close_timeout="30s")
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def pay(order: str) -> str:
    return await start(charge, order)


@workflow
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.run
    async def run(self, size: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.items) >= size)
        return sorted(self.items)


@pytest.fixture
def address(postgres_server: Server, postgres_database: str) -> str:
    return url(postgres_server, postgres_database)


async def test_what_one_engine_starts_another_one_carries_out(address: str) -> None:
    async with AsyncEngine(address, worker=False) as front, AsyncEngine(address, workflows=[pay], activities=[charge]):
        results = await asyncio.gather(*(front.run(pay, str(number), id=f"pay-{number}") for number in range(10)))
        assert results == [f"charged {number}" for number in range(10)]
    async with AsyncEngine(address, worker=False) as later:
        assert await later.get("pay-3").result() == "charged 3"


async def test_one_workflow_is_signalled_from_every_engine(address: str) -> None:
    engines = [AsyncEngine(address, workflows=[Basket]) for _ in range(3)]
    for engine in engines:
        await engine.open()
    try:
        basket = await engines[0].start(Basket, 30, id="basket")
        await asyncio.gather(
            *(engines[number % 3].get("basket").signal("add", f"item {number:02}") for number in range(30))
        )
        assert await basket.result() == [f"item {number:02}" for number in range(30)], "none is lost, none comes twice"
    finally:
        for engine in engines:
            await engine.close()


async def test_work_goes_on_when_all_connections_are_cut_again_and_again(address: str) -> None:
    async with (
        proxied(address) as (proxy, through),
        AsyncEngine(through, workflows=[pay], activities=[charge]) as engine,
    ):
        runs = [asyncio.ensure_future(engine.run(pay, str(number), id=f"pay-{number}")) for number in range(60)]
        for share in range(1, 6):
            await asyncio.wait(runs[: share * 10])
            proxy.cut_all()
        assert await asyncio.gather(*runs) == [f"charged {number}" for number in range(60)]


def test_commands_look_at_a_database_and_steer_what_is_on_it(address: str) -> None:
    def perdure(*words: str) -> str:
        result = CliRunner().invoke(cli, [*words, "--store", address])
        assert result.exit_code == 0, result.output
        return result.output

    with Engine(address, worker=False) as engine:
        engine.start(Basket, 1, id="basket-1")
    assert "basket-1" in perdure("workflow", "list")
    assert "RUNNING" in perdure("workflow", "describe", "basket-1")
    perdure("workflow", "signal", "basket-1", "add", '"milk"')
    with Engine(address, workflows=[Basket]) as engine:
        assert engine.get("basket-1").result() == ["milk"]
    assert "basket-1" in perdure("workflow", "list", "--closed")
    assert "WorkflowExecutionSignaled" in perdure("workflow", "history", "basket-1")

"""`perdure store copy`, as its users meet it: an engine stops, the store moves, another goes on with the work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from perdure import Engine, activity, call, workflow
from perdure.cli.main import cli
from perdure.stores.api import RecordChange
from perdure.stores.copying import MARK
from perdure.stores.open import open_store
from tests.eventually import eventually
from tests.servers.chosen import kinds
from tests.servers.stores import new_store

allowed: list[str] = []


@activity(start_to_close_timeout="30s", heartbeat_timeout="30s")
def charge(order: str) -> str:
    return f"charged {order}"


@workflow
class Order:
    def __init__(self) -> None:
        self.paid = ""

    @workflow.run
    def run(self, order: str) -> str:
        workflow.wait_condition(lambda: bool(self.paid))
        return f"{call(charge, order)}, {self.paid}"

    @workflow.signal
    def pay(self, how: str) -> None:
        self.paid = how


@workflow
def again(left: int) -> str:
    if left:
        workflow.continue_as_new(left - 1)
    workflow.sleep(seconds=0.2)
    return "slept"


def test_work_goes_on_in_the_copy(tmp_path: Path) -> None:
    here, there = (f"sqlite:///{tmp_path / name}" for name in ("here.db", "there.db"))
    with Engine(here, workflows=[Order, again], activities=[charge]) as engine:
        for number in range(5):
            engine.start(Order, f"o-{number}", id=f"order-{number}")
        done = engine.start(Order, "o-9", id="order-9")
        done.signal(Order.pay, "in advance")
        assert done.result() == "charged o-9, in advance"
        engine.start(again, 3, id="again")
        engine.schedules.create("nightly", again, 0, cron="0 3 * * *")
        eventually(lambda: engine.get("again").describe().history_length > 4, "the last run sleeps")

    result = CliRunner().invoke(cli, ["store", "copy", here, there])

    assert result.exit_code == 0, result.output
    assert "10 executions" in result.output and "1 schedules and batches" in result.output
    with Engine(there, workflows=[Order, again], activities=[charge]) as engine:
        for number in range(5):
            engine.get(f"order-{number}").signal(Order.pay, "at last")
        results = [engine.get(f"order-{number}").result() for number in range(5)]
        assert results == [f"charged o-{number}, at last" for number in range(5)]
        assert engine.get("again").result() == "slept"
        assert engine.get("order-9").result() == "charged o-9, in advance"
        assert [one.id for one in engine.schedules.list()] == ["nightly"]
    checked = CliRunner().invoke(cli, ["store", "check", "--store", there])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("target", ["here.db", "there.db"])
def test_a_store_that_holds_something_is_refused_and_left_as_it_is(tmp_path: Path, target: str) -> None:
    here, there = (f"sqlite:///{tmp_path / name}" for name in ("here.db", "there.db"))
    for url in (here, there):
        with Engine(url, workflows=[again]) as engine:
            assert engine.run(again, 0, id="again") == "slept"

    result = CliRunner().invoke(cli, ["store", "copy", here, f"sqlite:///{tmp_path / target}"])

    assert result.exit_code == 1
    assert ("name an empty store" if target == "there.db" else "open already") in result.output
    with Engine(there, workflows=[again]) as engine:
        assert engine.get("again").result() == "slept"


@pytest.mark.parametrize("kind", kinds("sqlite", "postgres", "mariadb"))
def test_half_of_a_copy_passes_no_check(kind: str, tmp_path: Path) -> None:
    """Each of its executions is sound, and others are not there."""

    async def break_off(address: str) -> None:
        store = open_store(address)
        await store.open()
        await store.put_records([RecordChange(*MARK, 0, b"")])
        await store.close()

    with new_store(kind, tmp_path) as address:
        with Engine(address, workflows=[again]) as engine:
            assert engine.run(again, 0, id="again") == "slept"
        asyncio.run(break_off(address))

        checked = CliRunner().invoke(cli, ["store", "check", "--store", address])

        assert "the copy did not come to its end" in checked.output
        assert "1 executions" in checked.output and checked.exit_code == 1

"""Engines on a database that they share: what one is told the others go on with, also when the database dies."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack

import pytest

from perdure import Engine, activity, call, workflow
from tests.eventually import eventually
from tests.servers.fixtures import hold, new_mariadb_database, url
from tests.servers.server import Server

charged: Counter[str] = Counter()
_counting = threading.Lock()


@activity
def charge(order: str) -> str:
    with _counting:
        charged[order] += 1
    return f"charged {order}"


@workflow
class Order:
    def __init__(self) -> None:
        self.is_paid = False

    @workflow.run
    def run(self, order: str) -> str:
        receipt = call(charge, order)
        workflow.wait_condition(lambda: self.is_paid)
        workflow.sleep(0.01)
        return receipt

    @workflow.signal
    def pay(self) -> None:
        self.is_paid = True

    @workflow.query
    def paid(self) -> bool:
        return self.is_paid

    @workflow.update
    def pay_now(self) -> str:
        self.is_paid = True
        return "thank you"


@workflow
def quick(order: str) -> str:
    return call(charge, order)


@pytest.fixture(autouse=True)
def nothing_charged() -> None:
    charged.clear()


@pytest.fixture(params=["mysql", "postgres"])
def address(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store on a database."""
    if request.param == "mysql":
        return request.getfixturevalue("mysql_url")
    return url(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_database"))


def test_one_engine_starts_and_another_goes_on(address: str) -> None:
    with Engine(address, workflows=[Order]) as one, Engine(address, workflows=[Order]) as other:
        handle = one.start(Order, "a-1", id="a-1")
        far = other.get("a-1")
        eventually(lambda: charged["a-1"], "it is charged")
        assert far.query("paid") is False
        far.signal("pay")
        assert handle.result() == "charged a-1"
        assert far.result() == "charged a-1"
        again = other.start(Order, "a-2", id="a-2")
        assert one.get("a-2").update("pay_now") == "thank you"
        assert again.result() == "charged a-2"
        assert one.count() == 2
        assert charged["a-1"] == charged["a-2"] == 1


def test_an_engine_goes_on_where_another_was_closed(address: str) -> None:
    with Engine(address, workflows=[Order]) as one:
        one.start(Order, "b-1", id="b-1")
        eventually(lambda: charged["b-1"], "it is charged")
    with Engine(address, workflows=[Order]) as other:
        handle = other.get("b-1")
        handle.signal("pay")
        assert handle.result() == "charged b-1"
    assert charged["b-1"] == 1


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_orders_finish_through_kills_of_the_database(kind: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(hold(Server.private, kind))
        name = "postgres" if kind == "postgres" else stack.enter_context(new_mariadb_database(server))
        engine = stack.enter_context(Engine(url(server, name), workflows=[quick]))
        handles = []
        for kill in range(3):
            names = [f"{kind}-{kill}-{number}" for number in range(20)]
            handles += [engine.start(quick, name, id=name) for name in names]
            server.kill()
            server.start()
        results = [handle.result() for handle in handles]
        assert results == [f"charged {handle.id}" for handle in handles]
        assert engine.count("ExecutionStatus = 'Completed'") == 60
    # What was charged and not acknowledged before the kill is charged again, under the same idempotency key.
    assert all(charged[handle.id] >= 1 for handle in handles)

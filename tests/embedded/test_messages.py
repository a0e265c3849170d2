"""Signals, queries and updates, from a client through the engine to a worker's code and back."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast

import pytest

from perdure import (
    ApplicationError,
    Engine,
    IdReusePolicy,
    QueryFailedError,
    UpdateFailedError,
    UpdateHandle,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
    activity,
    call,
    start,
    workflow,
)


@dataclass
class Item:
    name: str
    cents: int


@activity
def price_of(name: str) -> int:
    return len(name) * 100


@workflow
class Cart:
    """One shopping cart: what an actor is."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.closed = False

    @workflow.run
    def run(self) -> int:
        workflow.wait_condition(lambda: self.closed)
        workflow.wait_condition(workflow.all_handlers_finished)
        return self.total()

    @workflow.signal
    def add(self, item: Item) -> None:
        self.items.append(item)

    @workflow.signal
    def add_by_name(self, name: str) -> None:
        self.items.append(Item(name, call(price_of, name)))

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def total(self) -> int:
        return sum(item.cents for item in self.items)

    @workflow.query
    def first(self) -> Item:
        return self.items[0]

    @workflow.query
    def misbehaves(self) -> int:
        return call(price_of, "pen")


@workflow
class AsyncCart:
    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: "end" in self.names)
        return self.names

    @workflow.signal(unfinished="wait")
    async def add(self, name: str) -> None:
        await start(price_of, name)
        self.names.append(name)

    @workflow.query
    def count(self) -> int:
        return len(self.names)


@workflow
def listens() -> str:
    return workflow.wait_signal("word") + workflow.wait_signal("word")


def test_a_cart_is_an_actor() -> None:
    with Engine("memory://") as engine:
        cart = engine.start(Cart, id="cart-1")
        cart.signal("add", Item("pen", 250))
        engine.get("cart-1").signal(Cart.add_by_name, "book")
        engine.get("cart-1").signal("close")
        assert cart.result() == 650
        assert engine.get("cart-1").query("total") == 650


def test_signals_reach_an_async_class() -> None:
    with Engine("memory://") as engine:
        cart = engine.start(AsyncCart, id="cart-1")
        for name in ("pen", "book", "end"):
            cart.signal("add", name)
        assert sorted(cart.result()) == ["book", "end", "pen"]


def test_queries_read_and_change_nothing() -> None:
    with Engine("memory://") as engine:
        cart = engine.start(Cart, id="cart-1")
        cart.signal(Cart.add, Item("pen", 250))
        assert cart.query("total") == 250
        before = len(cart.history())
        assert cart.query(Cart.first) == Item("pen", 250)
        assert cart.query("first") == {"name": "pen", "cents": 250}
        with pytest.raises(QueryFailedError, match="must not call activities"):
            cart.query("misbehaves")
        with pytest.raises(QueryFailedError, match="the workflow has: first, misbehaves, total, __stack_trace"):
            cart.query("unknown")
        assert "in Cart.run" in cart.query("__stack_trace")
        assert len(cart.history()) == before
        cart.signal("close")
        assert cart.result() == 250


def test_a_query_finds_a_run_that_no_worker_remembers(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/carts.db"
    with Engine(url) as engine:
        cart = engine.start(Cart, id="cart-1")
        cart.signal("add_by_name", "book")
        cart.signal("add", Item("pen", 250))
        assert cart.query("total") in (250, 650)
    with Engine(url) as engine:
        assert engine.get("cart-1").query(Cart.first).name in ("pen", "book")
        engine.get("cart-1").signal("close")
        assert engine.get("cart-1").result() == 650
    with Engine(url) as engine:
        assert engine.get("cart-1").query("total") == 650


def test_queries_of_many_threads_at_once() -> None:
    with Engine("memory://") as engine:
        cart = engine.start(Cart, id="cart-1")
        answers: list[int] = []

        def ask() -> None:
            for _ in range(5):
                cart.signal("add", Item("pen", 1))
                answers.append(cart.query("total"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 40 and max(answers) == 40 and cart.query("total") == 40


def test_signal_with_start_starts_once_and_signals_every_time() -> None:
    with Engine("memory://") as engine:
        first = engine.start(listens, id="ear", start_signal="word", start_signal_args=["to"])
        second = engine.start(listens, id="ear", start_signal="word", start_signal_args=["gether"])
        assert first.run_id == second.run_id
        assert first.result() == "together"
        with pytest.raises(WorkflowAlreadyStartedError):
            engine.start(
                listens,
                id="ear",
                start_signal="word",
                start_signal_args=["x"],
                id_reuse_policy=IdReusePolicy.REJECT_DUPLICATE,
            )
        third = engine.start(listens, id="ear", start_signal="word", start_signal_args=["new"])
        assert third.run_id != first.run_id


def test_signals_to_nobody_are_refused() -> None:
    with Engine("memory://") as engine:
        with pytest.raises(WorkflowNotFoundError, match="signal 'add' to workflow 'nobody'"):
            engine.get("nobody").signal("add")
        with pytest.raises(WorkflowNotFoundError):
            engine.get("nobody").query("total")


def test_signals_survive_the_engine(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/ears.db"
    with Engine(url) as engine:
        engine.start(listens, id="ear").signal("word", "to")
    with Engine(url, worker=False) as engine:
        engine.get("ear").signal("word", "gether")
    with Engine(url) as engine:
        assert engine.get("ear").result() == "together"


@workflow
class Account:
    """Updates: with a validator, with an activity, and one that fails."""

    def __init__(self) -> None:
        self.cents = 0
        self.closed = False

    @workflow.run
    def run(self) -> int:
        workflow.wait_condition(lambda: self.closed)
        return self.cents

    @workflow.update
    def deposit(self, cents: int) -> int:
        self.cents += cents
        return self.cents

    @deposit.validator
    def check_deposit(self, cents: int) -> None:
        if cents <= 0:
            raise ApplicationError("a deposit must be more than nothing", type="BadAmount")

    @workflow.update(unfinished="wait")
    def buy(self, name: str) -> Item:
        item = Item(name, call(price_of, name))
        if item.cents > self.cents:
            raise ApplicationError(f"{name} costs more than is there", type="TooPoor")
        self.cents -= item.cents
        return item

    @workflow.update
    def close(self) -> None:
        self.closed = True


@workflow
async def sums() -> int:
    total: list[int] = []

    async def add(number: int) -> int:
        await start(price_of, "x" * number)
        total.append(number)
        return sum(total)

    workflow.on_update("add", add)
    await workflow.wait_condition(lambda: sum(total) > 9)
    return sum(total)


def test_an_update_is_answered() -> None:
    with Engine("memory://") as engine:
        account = engine.start(Account, id="account-1")
        assert account.update("deposit", 500) == 500
        assert engine.get("account-1").update(Account.deposit, 100) == 600
        assert account.update(Account.buy, "book") == Item("book", 400)
        assert account.update("close") is None
        assert account.result() == 200


def test_a_rejected_update_leaves_no_event() -> None:
    with Engine("memory://") as engine:
        account = engine.start(Account, id="account-1")
        account.update("deposit", 500)
        before = account.history()
        with pytest.raises(UpdateFailedError, match="more than nothing") as caught:
            account.update("deposit", -1)
        assert isinstance(caught.value.cause, ApplicationError) and caught.value.cause.type == "BadAmount"
        with pytest.raises(UpdateFailedError, match="the workflow has: buy, close, deposit"):
            account.update("withdraw", 1)
        with pytest.raises(UpdateFailedError, match="its handler takes cents, and was given none"):
            account.update("deposit")
        assert account.history() == before
        assert account.update("deposit", 1) == 501


def test_an_update_that_fails_is_history() -> None:
    with Engine("memory://") as engine:
        account = engine.start(Account, id="account-1")
        with pytest.raises(UpdateFailedError, match="costs more") as caught:
            account.update("buy", "book")
        assert isinstance(caught.value.cause, ApplicationError) and caught.value.cause.type == "TooPoor"
        account.update("close")
        assert account.result() == 0


def test_an_update_id_is_done_once() -> None:
    with Engine("memory://") as engine:
        account = engine.start(Account, id="account-1")
        assert [account.update("deposit", 100, update_id="d-1") for _ in range(3)] == [100, 100, 100]


def test_an_accepted_update_may_be_waited_for_later() -> None:
    with Engine("memory://") as engine:
        total = engine.start(sums, id="sums-1")
        handle = total.update("add", 4, wait_for="accepted")
        assert isinstance(handle, UpdateHandle)
        assert handle.result() == 4
        assert total.update("add", 6) == 10
        assert total.result() == 10


def test_updates_survive_the_engine(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/accounts.db"
    with Engine(url) as engine:
        engine.start(Account, id="account-1").update("deposit", 500)
    with Engine(url) as engine:
        assert engine.get("account-1").update("buy", "book") == {"name": "book", "cents": 400}
        assert engine.get("account-1").update("deposit", 1, update_id="again") == 101
    with Engine(url) as engine:
        assert engine.get("account-1").update("deposit", 1, update_id="again") == 101
        engine.get("account-1").update("close")
        assert engine.get("account-1").result() == 101


def test_update_with_start() -> None:
    with Engine("memory://") as engine:
        for workflow, update, value, balance in (
            (Account, "deposit", 500, 500),
            (Account, Account.deposit, 5, 505),
            (sums, "add", 3, 3),
        ):
            handle = engine.start(workflow, id=workflow.__name__, start_update=update, start_update_args=[value])
            sent = handle.update_of_start
            assert sent is not None and sent.result() == balance
            assert sent.run_id == handle.run_id


def test_a_start_takes_one_message_along_with_all_options_of_a_start() -> None:
    with Engine("memory://") as engine:
        first = engine.start(
            listens,
            id="ear",
            start_signal="word",
            start_signal_args=["hello"],
            request_id="once",
            memo={"for": "Ada"},
            run_timeout="1h",
            static_summary="an ear",
            id_conflict_policy="terminate_existing",
        )
        first.signal("word", "!")
        assert first.result() == "hello!"
        assert first.update_of_start is None
        described = first.describe()
        assert described.memo == {"for": "Ada"} and described.static_summary == "an ear"
        begun = first.history()[0].workflow_execution_started_event_attributes
        assert begun.workflow_run_timeout.seconds == 3600
        again = engine.start(listens, id="ear", start_signal="word", start_signal_args=["hello"], request_id="once")
        assert again.run_id == first.run_id, "the same request is the same run, closed as it is"
        for wrong, error, told in (
            ({"start_signal": "a", "start_update": "b"}, ValueError, "not both"),
            ({"start_signal_args": ["a"]}, ValueError, "say which, start_signal="),
            ({"start_update_id": "a"}, ValueError, "say which, start_update="),
            ({"start_signal": "a", "start_signal_args": "word"}, TypeError, r"such as \['word'\]"),
        ):
            with pytest.raises(error, match=told):
                engine.start(listens, **cast(Any, wrong))

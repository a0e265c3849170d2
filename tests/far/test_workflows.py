"""The same programs as in one process, on a server behind gRPC."""

from __future__ import annotations

import queue
import uuid

import pytest

from perdure import (
    ActivityInfo,
    ApplicationError,
    Engine,
    Saga,
    UpdateFailedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowStatus,
    activity,
    call,
    call_child,
    start,
    workflow,
)

asked: queue.Queue[ActivityInfo] = queue.Queue()
undone: queue.Queue[str] = queue.Queue()


@activity
def double(number: int) -> int:
    return number * 2


@activity
async def label(number: int) -> str:
    return f"#{number}"


@activity
def refuse(number: int) -> None:
    raise ApplicationError("no stock", type="OutOfStock", non_retryable=True)


@activity
def undo(what: str) -> None:
    undone.put(what)


@activity
def ask_a_person(question: str) -> str:
    asked.put(activity.info())
    activity.raise_complete_async()


@workflow
def order(number: int) -> str:
    doubled = call(double, number)
    workflow.sleep("10ms")
    return call(label, doubled)


@workflow
async def both(number: int) -> list[str]:
    return [await start(label, number), await start(label, number + 1)]


@workflow
def trip(number: int) -> str:
    with Saga() as saga:
        call(double, number)
        saga.compensate(undo, f"double {number}")
        call(refuse, number)
    return "never"


@workflow
def asks() -> str:
    return call(ask_a_person, "why?")


@workflow
def parent(number: int) -> str:
    return call_child(order, number)


@workflow
def counts_down(number: int) -> str:
    if number:
        workflow.continue_as_new(number - 1)
    return "lift-off"


@workflow
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.paid = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.paid)
        return self.items

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.query
    def size(self) -> int:
        return len(self.items)

    @workflow.update
    def pay(self, amount: int) -> str:
        self.paid = True
        return f"paid {amount}"

    @pay.validator
    def check_amount(self, amount: int) -> None:
        if amount <= 0:
            raise ApplicationError("an amount is more than nothing", type="BadAmount")


def fresh(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:12]}"


def test_activities_timers_and_results(url: str) -> None:
    with Engine(url, task_queue=fresh("queue")) as engine:
        assert engine.run(order, 21, id=fresh("order")) == "#42"
        assert engine.run(both, 1, id=fresh("both")) == ["#1", "#2"]
        assert engine.run(parent, 4, id=fresh("parent")) == "#8"
        assert engine.run(counts_down, 3, id=fresh("count")) == "lift-off"


def test_a_saga_compensates_and_the_failure_is_told(url: str) -> None:
    with Engine(url, task_queue=fresh("queue")) as engine:
        with pytest.raises(WorkflowFailedError, match="no stock"):
            engine.run(trip, 5, id=fresh("trip"))
        assert undone.get_nowait() == "double 5"


def test_signals_queries_and_updates(url: str) -> None:
    with Engine(url, task_queue=fresh("queue")) as engine:
        basket = engine.start(Basket, id=fresh("basket"))
        basket.signal("add", "tea")
        assert basket.query("size") == 1
        with pytest.raises(UpdateFailedError, match="more than nothing"):
            basket.update("pay", 0)
        assert basket.update("pay", 12) == "paid 12"
        assert basket.result() == ["tea"]
        assert basket.query("size") == 1


def test_another_process_goes_on_from_history(url: str) -> None:
    """A new worker has no run in memory: it replays what the server hands it."""
    task_queue, basket_id = fresh("queue"), fresh("basket")
    with Engine(url, task_queue=task_queue) as engine:
        basket = engine.start(Basket, id=basket_id)
        basket.signal("add", "tea")
        assert basket.query("size") == 1
    with Engine(url, task_queue=task_queue) as engine:
        basket = engine.get(basket_id)
        basket.signal("add", "milk")
        assert basket.update("pay", 1) == "paid 1"
        assert basket.result() == ["tea", "milk"]


def test_an_activity_is_completed_from_outside(url: str) -> None:
    with Engine(url, task_queue=fresh("queue")) as engine:
        handle = engine.start(asks, id=fresh("asks"))
        engine.activities.complete("because", token=asked.get(timeout=20).task_token)
        assert handle.result() == "because"


def test_cancel_terminate_and_errors(url: str) -> None:
    with Engine(url, task_queue=fresh("queue")) as engine:
        basket = engine.start(Basket, id=fresh("basket"))
        basket.cancel("changed my mind")
        with pytest.raises(WorkflowFailedError, match="was cancelled"):
            basket.result()
        basket = engine.start(Basket, id=fresh("basket"))
        basket.terminate("enough")
        assert basket.describe().status is WorkflowStatus.TERMINATED
        with pytest.raises(WorkflowNotFoundError):
            engine.get(fresh("nobody")).describe()

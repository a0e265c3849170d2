"""What type checkers say of a user's program; nothing here runs.

`assert_type` states what must be inferred. A line with `# pyright: ignore` states a mistake that must be noticed.
Pyright is asked by `make types`, and complains of such a comment if it is unnecessary; mypy by `test_mypy.py`, which
wants an error at these lines and no other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, assert_type

from perdure import (
    ActivityHandle,
    AsyncClient,
    AsyncEngine,
    AsyncUpdateHandle,
    AsyncWorker,
    AsyncWorkflowHandle,
    ChildHandle,
    Client,
    Engine,
    RawValue,
    Retry,
    Transaction,
    UpdateHandle,
    Worker,
    WorkflowHandle,
    activity,
    call,
    call_child,
    on_event,
    start,
    start_child,
    workflow,
)


@dataclass
class Order:
    id: str
    cents: int


@dataclass
class Receipt:
    number: str


@activity
def look_up(order_id: str) -> Order:
    return Order(order_id, 4200)


@activity(start_to_close_timeout="30s", retry=Retry(maximum_attempts=5))
def charge(order: Order, currency: str = "USD") -> Receipt:
    return Receipt(f"{order.id} {currency}")


@activity(run_in="loop")
async def notify(order: Order, receipt: Receipt) -> None: ...


@activity(transactional=True, start_to_close_timeout="5s")
def book(tx: Transaction, order: Order, seat: int = 1) -> int:
    rows = tx.execute("SELECT id FROM bookings WHERE seat = ?", (seat,)).fetchall()
    return len(rows)


@workflow
def books(order: Order) -> int:
    assert_type(call(book, order), int)
    assert_type(start(book, order, seat=2), ActivityHandle[int])
    call(book, "1001")  # pyright: ignore[reportCallIssue, reportArgumentType]
    call(book)  # pyright: ignore[reportCallIssue]
    return call(book.options(start_to_close_timeout="1s"), order, 3)


def tries_it_on_any_connection(tx: Transaction) -> None:
    assert_type(book(tx, Order("1001", 4200)), int)


@workflow
def fulfill(order_id: str) -> Receipt:
    order = call(look_up, order_id)
    assert_type(order, Order)
    step = start(charge, order, currency="EUR")
    assert_type(step, ActivityHandle[Receipt])
    assert_type(call(charge.options(start_to_close_timeout="5s"), order), Receipt)
    assert_type(call(notify, order, step.result()), None)
    assert_type(workflow.wait_condition(lambda: step.done(), timeout="1h"), Any)
    return step.result()


@workflow(name="Fulfil")
async def fulfill_async(order_id: str) -> Receipt:
    order = await start(look_up, order_id)
    assert_type(order, Order)
    receipt, again = await asyncio.gather(start(charge, order), start(charge, order, "EUR"))
    assert_type(again, Receipt)
    return receipt


@workflow
def mistaken(order_id: str) -> str:
    call(charge, order_id)  # pyright: ignore[reportCallIssue, reportArgumentType]
    call(charge)  # pyright: ignore[reportCallIssue]
    start(charge, call(look_up, order_id), money="EUR")  # pyright: ignore[reportCallIssue]
    _ = call(look_up, order_id).number  # pyright: ignore[reportAttributeAccessIssue]
    return call(look_up, order_id)  # pyright: ignore[reportReturnType]


def from_a_script(engine: Engine) -> None:
    assert_type(engine.run(fulfill, "1001", id="order-1001"), Receipt)
    assert_type(engine.run(fulfill_async, "1001", id="order-1001"), Receipt)
    assert_type(engine.start(fulfill, "1001"), WorkflowHandle[Receipt])
    engine.run(fulfill, 1001)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.run(fulfill)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.run(fulfill, "1001", idd="order-1001")  # pyright: ignore[reportCallIssue]
    engine.run(charge, Order("1001", 4200))  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(engine.start(fulfill, "1001").result(timeout="5s"), Receipt)
    # Outside a workflow an activity is the plain function that it decorates.
    assert_type(charge(Order("1001", 4200)), Receipt)


async def opened_both_ways() -> None:
    with Engine("memory://") as blocking:
        assert_type(blocking, Engine)
    async with Engine("memory://") as engine:
        assert_type(engine, AsyncEngine)


def by_themselves() -> None:
    with Client.connect("grpc://127.0.0.1:7233") as client:
        assert_type(client, Client)
        assert_type(client.run(fulfill, "1001", id="order-1001"), Receipt)
        assert_type(client.start(fulfill, "1001"), WorkflowHandle[Receipt])
        with Worker(client, task_queue="orders", workflows=[fulfill], activities=[charge]) as worker:
            assert_type(worker, Worker)
        AsyncWorker(client)  # pyright: ignore[reportArgumentType]


async def by_themselves_async() -> None:
    async with await AsyncClient.connect("grpc://127.0.0.1:7233") as client:
        assert_type(client, AsyncClient)
        assert_type(await client.run(fulfill, "1001", id="order-1001"), Receipt)
        async with AsyncWorker(client, task_queue="orders") as worker:
            assert_type(worker, AsyncWorker)
        Worker(client)  # pyright: ignore[reportArgumentType]
    with Engine("memory://") as engine:
        Worker(engine, task_queue="orders").stop()


async def from_a_service(engine: AsyncEngine) -> None:
    handle = await engine.start(fulfill, "1001", id="order-1001")
    assert_type(handle, AsyncWorkflowHandle[Receipt])
    assert_type(await handle.result(timeout="1m"), Receipt)
    await notify(Order("1001", 4200), Receipt("1"))


@workflow
class Cart:
    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.run
    async def run(self, owner: str) -> int:
        return len(owner)

    @workflow.signal
    def pay(self, card: str, tip: int = 0) -> None: ...

    @workflow.query
    def total(self, factor: int = 1) -> float:
        return 1.5 * factor

    @workflow.update
    def add(self, item: str, count: int = 1) -> int:
        assert_type(self.add("pen"), int)
        return len(item)

    @workflow.update
    async def remove(self, item: str) -> bool:
        return True

    @add.validator
    def check(self, item: str, count: int = 1) -> None: ...


@workflow(name="counter")
class Counter:
    @workflow.run
    def run(self, first: int) -> str:
        assert_type(call_child(fulfill, "1001"), Receipt)
        child = start_child(Cart, "Ada", id="cart-1", parent_close_policy="abandon")
        assert_type(child, ChildHandle[int])
        child.signal(Cart.pay, "visa")
        child.signal(Cart.pay, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]
        workflow.external("cart-1").signal(Cart.pay, "visa", tip=1)
        workflow.external("cart-1").signal("pay", "visa")
        start_child(Cart, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return str(first)


def with_classes(engine: Engine) -> None:
    assert_type(engine.run(Cart, "Ada", id="cart-1"), int)
    assert_type(engine.start(Counter, 1), WorkflowHandle[str])
    assert_type(
        engine.start(Cart, "Ada", id="cart-1", start_signal="add", start_signal_args=["pen"]), WorkflowHandle[int]
    )
    engine.start(Cart, "Ada", id="cart-1", start_update=Cart.add, start_update_args=["pen"])
    engine.schedules.create("carts", Cart, "Ada", every="1h")
    engine.run(Cart, 1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.run(int)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.schedules.create("carts", Cart, 1, every="1h")  # pyright: ignore[reportArgumentType]
    # A class stays the class that it is.
    assert_type(Cart().items, list[str])
    Cart().pay("visa")


def messages_to_a_class(engine: Engine) -> None:
    cart = engine.start(Cart, "Ada", id="cart-1")
    cart.signal(Cart.pay, "visa")
    cart.signal(Cart.pay, "visa", tip=1)
    cart.signal(Cart.pay, "visa", 1, request_id="payment-1")
    cart.signal("pay", 3, request_id="payment-1")
    assert_type(cart.query(Cart.total), float)
    assert_type(cart.query(Cart.total, 2), float)
    assert_type(cart.query("total", returns=float), float)
    assert_type(cart.update(Cart.add, "pen"), int)
    assert_type(cart.update(Cart.add, "pen", count=2), int)
    assert_type(cart.update(Cart.add, "pen", 2, update_id="add-1"), int)
    assert_type(cart.update(Cart.remove, "pen"), bool)
    assert_type(cart.update(Cart.remove, "pen", update_id="remove-1"), bool)
    assert_type(cart.update(Cart.remove, "pen", wait_for="completed"), bool)
    assert_type(cart.update(Cart.remove, "pen", wait_for="accepted"), UpdateHandle[bool])
    assert_type(cart.update(Cart.add, "pen", 2, update_id="add-1", wait_for="accepted"), UpdateHandle[int])
    assert_type(engine.get("cart-1").query(Cart.total), float)
    assert_type(engine.get("cart-1", "r").update(Cart.add, "pen", 1), int)
    engine.get("cart-1", "r").signal(Cart.pay, "visa", 1)
    cart.signal(Cart.pay, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]
    cart.signal(Cart.pay)  # pyright: ignore[reportCallIssue]
    cart.signal(Cart.pay, "visa", tipp=1)  # pyright: ignore[reportCallIssue]
    cart.query(Cart.total, "x")  # pyright: ignore[reportArgumentType, reportCallIssue]
    cart.update(Cart.add, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]
    cart.update(Cart.add)  # pyright: ignore[reportCallIssue]
    engine.get("cart-1").signal(Cart.pay, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.get("cart-1").update(Cart.add, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]


async def messages_from_a_service(engine: AsyncEngine) -> None:
    cart = await engine.start(Cart, "Ada", id="cart-1")
    assert_type(cart, AsyncWorkflowHandle[int])
    assert_type(await cart.query(Cart.total), float)
    assert_type(await cart.update(Cart.remove, "pen"), bool)
    assert_type(await cart.update(Cart.add, "pen", 1, wait_for="accepted"), AsyncUpdateHandle[int])
    assert_type(await engine.get("cart-1").query(Cart.total), float)
    await cart.signal(Cart.pay, "visa")
    await cart.signal(Cart.pay, 3)  # pyright: ignore[reportArgumentType, reportCallIssue]


class Payments:
    @activity(start_to_close_timeout="30s")
    def charge(self, order: Order, cents: int = 1) -> Receipt:
        return Receipt(order.id)

    @activity
    async def refund(self, order: Order) -> int:
        return 1


@workflow
def with_methods(order: Order) -> Receipt:
    assert_type(call(Payments.refund, order), int)
    call(Payments.refund, 3)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return call(Payments.charge, order, cents=3)


def objects_for_an_engine(order: Order) -> None:
    Engine("memory://", activities=[Payments(), charge])
    assert_type(Payments().charge(order), Receipt)


@on_event("order.paid")
@workflow
def invoice(order_id: str) -> int:
    return len(order_id)


def events_from_a_script(engine: Engine) -> None:
    assert_type(engine.events.emit("order.paid", "1001", id="payment-1"), str)
    assert_type(engine.run(invoice, "1001"), int)
    on_event("order.paid")(len)  # pyright: ignore[reportArgumentType]


CHARGE = activity.named("charge", start_to_close_timeout="30s", returns=Receipt)
ORDER = workflow.named("order", task_queue="orders", returns=Receipt)


@workflow
def by_name(order: Order, raw: RawValue) -> Receipt:
    assert_type(call("charge", order), Any)
    assert_type(start("charge", order, 3), ActivityHandle[Any])
    assert_type(call(CHARGE, order, 3), Receipt)
    assert_type(start(CHARGE.options(start_to_close_timeout="5s"), order), ActivityHandle[Receipt])
    assert_type(call(activity.named("notify"), order), Any)
    assert_type(call_child("order", order, id="1001"), Any)
    assert_type(start_child(ORDER, order, id="1001"), ChildHandle[Receipt])
    assert_type(call(activity.named("pass", returns=RawValue), raw), RawValue)
    call("charge", order=order)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return call_child(ORDER, order)


def starts_by_name(engine: Engine) -> None:
    assert_type(engine.run("order", 1, 2, id="1001"), Any)
    assert_type(engine.start("order", 1), WorkflowHandle[Any])
    assert_type(engine.run(ORDER, 1), Receipt)
    assert_type(engine.start(ORDER, 1, id="1001"), WorkflowHandle[Receipt])
    engine.schedules.create("daily", "order", 1, every="1d")
    engine.schedules.create("daily", ORDER, 1, every="1d")
    engine.run("order", 1, idd="1001")  # pyright: ignore[reportCallIssue]


async def starts_by_name_async(engine: AsyncEngine) -> None:
    assert_type(await engine.run(ORDER, 1), Receipt)
    assert_type(await engine.start("order", 1), AsyncWorkflowHandle[Any])

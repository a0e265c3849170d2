"""What a type checker says of a user's program; `make types` is the test, nothing here runs.

`assert_type` states what must be inferred. A line with `pyright: ignore[rule]` states a mistake that must be
noticed: were it not, the checker would complain that the comment is unnecessary.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import assert_type

from perdure import (
    AsyncEngine,
    ChildHandle,
    Engine,
    Handle,
    Retry,
    SyncWorkflowHandle,
    Transaction,
    WorkflowHandle,
    activity,
    call,
    call_child,
    on_event,
    start,
    start_child,
    wait,
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


@activity(start_to_close="30s", retry=Retry(maximum_attempts=5))
def charge(order: Order, currency: str = "USD") -> Receipt:
    return Receipt(f"{order.id} {currency}")


@activity(run_in="loop")
async def notify(order: Order, receipt: Receipt) -> None: ...


@activity(transactional=True, start_to_close="5s")
def book(tx: Transaction, order: Order, seat: int = 1) -> int:
    rows = tx.execute("SELECT id FROM bookings WHERE seat = ?", (seat,)).fetchall()
    return len(rows)


@workflow
def books(order: Order) -> int:
    assert_type(call(book, order), int)
    assert_type(start(book, order, seat=2), Handle[int])
    call(book, "1001")  # pyright: ignore[reportArgumentType]
    call(book)  # pyright: ignore[reportCallIssue]
    return call(book.options(start_to_close="1s"), order, 3)


def tries_it_on_any_connection(tx: Transaction) -> None:
    assert_type(book(tx, Order("1001", 4200)), int)


@workflow
def fulfill(order_id: str) -> Receipt:
    order = call(look_up, order_id)
    assert_type(order, Order)
    step = start(charge, order, currency="EUR")
    assert_type(step, Handle[Receipt])
    assert_type(call(charge.options(start_to_close="5s"), order), Receipt)
    assert_type(call(notify, order, step.result()), None)
    assert_type(wait(lambda: step.done(), timeout="1h"), bool)
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
    call(charge, order_id)  # pyright: ignore[reportArgumentType]
    call(charge)  # pyright: ignore[reportCallIssue]
    start(charge, call(look_up, order_id), money="EUR")  # pyright: ignore[reportCallIssue]
    _ = call(look_up, order_id).number  # pyright: ignore[reportAttributeAccessIssue]
    return call(look_up, order_id)  # pyright: ignore[reportReturnType]


def from_a_script(engine: Engine) -> None:
    assert_type(engine.run(fulfill, "1001", id="order-1001"), Receipt)
    assert_type(engine.run(fulfill_async, "1001", id="order-1001"), Receipt)
    assert_type(engine.start(fulfill, "1001"), SyncWorkflowHandle[Receipt])
    engine.run(fulfill, 1001)  # pyright: ignore[reportArgumentType]
    engine.run(fulfill)  # pyright: ignore[reportArgumentType]
    engine.run(fulfill, "1001", idd="order-1001")  # pyright: ignore[reportCallIssue]
    engine.run(charge, Order("1001", 4200))  # pyright: ignore[reportArgumentType]
    assert_type(engine.start(fulfill, "1001").result(timeout="5s"), Receipt)
    # Outside a workflow an activity is the plain function that it decorates.
    assert_type(charge(Order("1001", 4200)), Receipt)


async def opened_both_ways() -> None:
    with Engine("memory://") as blocking:
        assert_type(blocking, Engine)
    async with Engine("memory://") as engine:
        assert_type(engine, AsyncEngine)


async def from_a_service(engine: AsyncEngine) -> None:
    handle = await engine.start(fulfill, "1001", id="order-1001")
    assert_type(handle, WorkflowHandle[Receipt])
    assert_type(await handle.result(timeout="1m"), Receipt)
    await notify(Order("1001", 4200), Receipt("1"))


@workflow
class Cart:
    @workflow.run
    async def run(self, owner: str) -> int:
        return len(owner)

    @workflow.update
    def add(self, item: str) -> int:
        return len(item)


@workflow
class Counter:
    @workflow.run
    def run(self, first: int) -> str:
        assert_type(call_child(fulfill, "1001"), Receipt)
        assert_type(start_child(Cart, "Ada"), ChildHandle[int])
        return str(first)


def with_classes(engine: Engine) -> None:
    assert_type(engine.run(Cart, "Ada", id="cart-1"), int)
    assert_type(engine.start(Counter, 1), SyncWorkflowHandle[str])
    assert_type(engine.signal_with_start(Cart, "Ada", id="cart-1", signal=("add", ["pen"])), SyncWorkflowHandle[int])
    engine.run(Cart, 1)  # pyright: ignore[reportArgumentType]


@on_event("order.paid")
@workflow
def invoice(order_id: str) -> int:
    return len(order_id)


def events_from_a_script(engine: Engine) -> None:
    assert_type(engine.emit("order.paid", "1001", id="payment-1"), str)
    assert_type(engine.run(invoice, "1001"), int)
    on_event("order.paid")(len)  # pyright: ignore[reportArgumentType]

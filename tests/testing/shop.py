"""The workflows that the testing aids are tried on: what a user's module looks like."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from perdure import Retry, activity, call, start, workflow


@dataclass
class Order:
    id: str
    cents: int


@activity(name="shop.charge", start_to_close_timeout="10s", retry=Retry(maximum_attempts=4))
def charge(order: Order) -> str:
    raise AssertionError("a test must not charge anybody")


@activity(name="shop.ship", start_to_close_timeout="2h")
async def ship(order: Order, express: bool) -> str:
    await asyncio.sleep(3600)
    return f"{order.id} by {'plane' if express else 'ship'}"


@activity(name="shop.remind")
def remind(order: Order) -> None:
    """Sends nothing."""


@workflow(name="shop.subscribe")
def subscribe(order: Order, months: int) -> list[str]:
    receipts: list[str] = []
    for _ in range(months):
        receipts.append(call(charge, order))
        workflow.sleep(days=30)
    return receipts


@workflow(name="shop.fulfil")
async def fulfil(order: Order) -> str:
    receipt = await start(charge, order)
    return f"{receipt}, {await start(ship, order, True)}"


@workflow(name="shop.forget")
def forget(order: Order) -> str:
    workflow.wait_condition(lambda: False)
    return order.id


WORKFLOWS = [subscribe, fulfil, forget]
ACTIVITIES = [charge, ship, remind]

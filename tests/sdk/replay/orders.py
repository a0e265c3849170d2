"""The order workflow that is mutated, in both colours, and its activities."""

from __future__ import annotations

import asyncio

from perdure.sdk.activity import activity
from perdure.sdk.workflow.workflow import call, start, workflow


@activity(start_to_close_timeout="30s")
def charge(order: str) -> str:
    return f"receipt of {order}"


@activity(start_to_close_timeout="30s")
def reserve(order: str) -> str:
    return f"shelf of {order}"


@activity(start_to_close_timeout="30s")
def print_label(order: str) -> str:
    return f"label of {order}"


@activity(start_to_close_timeout="30s")
def ship(order: str, label: str) -> str:
    return f"parcel of {order}"


@activity(start_to_close_timeout="30s")
def notify(order: str) -> None:
    return None


@activity(start_to_close_timeout="30s")
def refund(order: str) -> None:
    return None


@workflow
def order_sync(order: str) -> str:
    receipt = call(charge, order)
    shelf = start(reserve, order)
    label = start(print_label, order)
    shelf.result()
    parcel = call(ship, order, label.result())
    bonus = workflow.side_effect(lambda: 7)
    workflow.sleep(1)
    call(notify, order)
    return f"{receipt}, {parcel}, {bonus}"


@workflow
async def order_async(order: str) -> str:
    receipt = await start(charge, order)
    _, label = await asyncio.gather(start(reserve, order), start(print_label, order))
    parcel = await start(ship, order, label)
    bonus = workflow.side_effect(lambda: 7)
    await asyncio.sleep(1)
    await start(notify, order)
    return f"{receipt}, {parcel}, {bonus}"


ACTIVITIES = {a.name: a for a in (charge, reserve, print_label, ship, notify, refund)}

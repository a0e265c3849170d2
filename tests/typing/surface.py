"""What a type checker makes of a user's program: read by pyright (`test_surface.py`, `make lint`), never run.

Every `assert_type` must hold, and every `pyright: ignore` must be needed: a call that a checker would let
through although it is wrong fails the check as an unnecessary ignore.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import assert_type

from perdure import AsyncEngine, Engine, Handle, Retry, SyncWorkflowHandle, activity, call, start, workflow


@dataclass
class Order:
    id: str


@dataclass
class Receipt:
    amount: int


@activity
def bare(order: Order) -> Receipt:
    return Receipt(1)


@activity(start_to_close="30s", retry=Retry(maximum_attempts=5))
def charge(order: Order, note: str = "") -> Receipt:
    return Receipt(1)


@activity(heartbeat="5s")
async def ship(order: Order) -> str:
    return "tracking"


@activity
async def notify(order: Order, text: str) -> None: ...


@workflow
def fulfil(order: Order, express: bool = False) -> str:
    assert_type(call(bare, order), Receipt)
    assert_type(call(charge, order), Receipt)
    assert_type(call(charge, order, note="x"), Receipt)
    assert_type(call(charge.options(start_to_close="5s"), order, "x"), Receipt)
    assert_type(call(ship, order), str)
    assert_type(start(ship, order), Handle[str])
    assert_type(start(ship, order).result(), str)
    call(charge, "1001")  # pyright: ignore[reportArgumentType]
    call(charge)  # pyright: ignore[reportCallIssue]
    call(charge, order, nope=1)  # pyright: ignore[reportCallIssue]
    call(charge.options(start_to_close=[1]), order)  # pyright: ignore[reportArgumentType]
    return "done"


@workflow(name="fulfil-async")
async def fulfil_async(order: Order) -> Receipt:
    assert_type(await start(charge, order), Receipt)
    assert_type(await asyncio.gather(start(charge, order), start(ship, order)), tuple[Receipt, str])
    return await start(bare, order)


def outside_of_workflows(order: Order) -> None:
    assert_type(charge(order), Receipt)
    assert_type(fulfil(order), str)
    charge(1)  # pyright: ignore[reportArgumentType]


async def outside_of_workflows_async(order: Order) -> None:
    assert_type(await ship(order), str)


def sync_program(order: Order) -> None:
    with Engine("memory://") as engine:
        assert_type(engine, Engine)
        assert_type(engine.run(fulfil, order, id="1"), str)
        assert_type(engine.run(fulfil, order, True, run_timeout="1h"), str)
        assert_type(engine.run(fulfil_async, order), Receipt)
        assert_type(engine.start(fulfil, order), SyncWorkflowHandle[str])
        assert_type(engine.start(fulfil, order).result(timeout="5s"), str)
        engine.run(fulfil, "1001")  # pyright: ignore[reportArgumentType]
        engine.run(fulfil)  # pyright: ignore[reportArgumentType]
        engine.run(fulfil, order, idd="1")  # pyright: ignore[reportCallIssue]
        engine.run(charge, order)  # pyright: ignore[reportArgumentType]


async def async_program(order: Order) -> None:
    async with Engine("memory://") as engine:
        assert_type(engine, AsyncEngine)
        assert_type(await engine.run(fulfil, order, id="1"), str)
        handle = await engine.start(fulfil_async, order)
        assert_type(await handle.result(), Receipt)

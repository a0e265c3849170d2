"""The order workflow, as a user writes it, on both stores, from sync and from async code."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import pydantic
import pytest
from temporalio.api.enums.v1 import EventType

from perdure import (
    ActivityError,
    ApplicationError,
    CancelledError,
    Engine,
    IdReusePolicy,
    Retry,
    TerminatedError,
    WorkerConfig,
    WorkflowAlreadyStartedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowStatus,
    activity,
    call,
    start,
    workflow,
)
from perdure.embedded import EngineSeams, seamed
from tests.eventually import eventually


@dataclasses.dataclass
class Order:
    id: str
    amount: Decimal


class Receipt(msgspec.Struct):
    order_id: str
    amount: Decimal


class Shipment(pydantic.BaseModel):
    tracking: str
    weight_kg: float = 1.5


charges: list[str] = []
release = threading.Event()


@activity(start_to_close_timeout="30s", retry=Retry(maximum_attempts=5))
def charge_card(order: Order) -> Receipt:
    charges.append(activity.info().idempotency_key)
    return Receipt(order.id, order.amount)


@activity
async def reserve_items(order: Order) -> bool:
    await asyncio.sleep(0)
    return True


@activity
def ship_parcel(order: Order, receipt: Receipt) -> Shipment:
    assert isinstance(receipt.amount, Decimal)
    return Shipment(tracking=f"T-{receipt.order_id}")


@activity(retry=Retry(initial_interval="1ms", maximum_attempts=3))
def flaky() -> int:
    attempt = activity.info().attempt
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


@activity
def decline_card(order: Order) -> None:
    raise ApplicationError("card declined", type="CardDeclined", non_retryable=True)


@activity
def hold() -> None:
    release.wait()


@workflow
def fulfil(order: Order) -> Shipment:
    receipt = call(charge_card, order)
    reserved = start(reserve_items, order)
    assert reserved.result()
    return call(ship_parcel, order, receipt)


@workflow
async def fulfil_async(order: Order) -> Shipment:
    receipt, reserved = await asyncio.gather(start(charge_card, order), start(reserve_items, order))
    assert reserved
    return await start(ship_parcel, order, receipt)


@workflow
def refused(order: Order) -> None:
    call(decline_card, order)


@workflow
def insistent() -> int:
    return call(flaky)


@workflow
def asleep_for_a_month() -> str:
    workflow.sleep(days=30)
    return "awake"


@workflow
def holding() -> None:
    call(hold)


ORDER = Order("1001", Decimal("42.00"))


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/orders.db"


def kinds(engine: Engine, workflow_id: str) -> list[str]:
    return [EventType.Name(e.event_type).removeprefix("EVENT_TYPE_") for e in engine.get(workflow_id).history()]


def test_an_order_from_sync_code(url: str) -> None:
    with Engine(url) as engine:
        assert engine.run(fulfil, ORDER, id="order-1001") == Shipment(tracking="T-1001")
        history = kinds(engine, "order-1001")
        description = engine.get("order-1001").describe()
    assert history[0] == "WORKFLOW_EXECUTION_STARTED"
    assert history[-1] == "WORKFLOW_EXECUTION_COMPLETED"
    assert history.count("ACTIVITY_TASK_COMPLETED") == 3
    assert (description.status, description.workflow_type) == (WorkflowStatus.COMPLETED, "fulfil")
    assert description.history_length == len(history)


async def test_an_order_from_async_code(url: str) -> None:
    async with Engine(url) as engine:
        assert await engine.run(fulfil_async, ORDER, id="order-1001") == Shipment(tracking="T-1001")
        handle = await engine.start(fulfil, ORDER, id="other")
        assert (await handle.result()).weight_kg == 1.5
        assert (await engine.get("order-1001").describe()).status is WorkflowStatus.COMPLETED


def test_an_id_is_an_idempotency_key(url: str) -> None:
    charges.clear()
    with Engine(url) as engine:
        first = engine.start(fulfil, ORDER, id="order-1001")
        second = engine.start(fulfil, ORDER, id="order-1001")
        assert second.run_id == first.run_id
        assert first.result() == second.result()
        assert engine.run(fulfil, ORDER, id="order-1001") == first.result()
        assert len(charges) == 1
        with pytest.raises(WorkflowAlreadyStartedError, match="belongs to a run of type 'fulfil'"):
            engine.run(refused, ORDER, id="order-1001")
        again = engine.start(fulfil, ORDER, id="order-1001", id_reuse_policy=IdReusePolicy.ALLOW_DUPLICATE)
        assert again.run_id != first.run_id
        again.result()
    assert len(set(charges)) == 2


def test_a_result_is_there_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    charges.clear()
    with Engine(url) as engine:
        engine.run(fulfil, ORDER, id="order-1001")
    with Engine(url) as engine:
        assert engine.run(fulfil, ORDER, id="order-1001") == Shipment(tracking="T-1001")
        assert engine.get("order-1001", result_type=Shipment).result().tracking == "T-1001"
        assert engine.get("order-1001").result() == {"tracking": "T-1001", "weight_kg": 1.5}
    assert len(charges) == 1


def test_a_failure_reaches_the_caller_with_its_reasons(url: str) -> None:
    with Engine(url) as engine, pytest.raises(WorkflowFailedError) as raised:
        engine.run(refused, ORDER, id="order-1002")
    activity_error = raised.value.cause
    assert isinstance(activity_error, ActivityError)
    assert activity_error.activity_type == "decline_card"
    reason = activity_error.cause
    assert isinstance(reason, ApplicationError)
    assert (reason.type, reason.message, reason.non_retryable) == ("CardDeclined", "card declined", True)
    assert "in decline_card" in reason.stack_trace
    assert (
        str(raised.value) == "workflow 'order-1002' failed: activity decline_card failed: CardDeclined: card declined"
    )


def test_a_failing_activity_is_tried_again(url: str) -> None:
    with Engine(url) as engine:
        assert engine.run(insistent) == 3


def test_terminate_and_cancel(url: str) -> None:
    with Engine(url) as engine:
        terminated = engine.start(asleep_for_a_month, id="a")
        terminated.terminate("operator")
        with pytest.raises(WorkflowFailedError) as raised:
            terminated.result()
        assert isinstance(raised.value.cause, TerminatedError)
        assert raised.value.cause.message == "operator"
        cancelled = engine.start(asleep_for_a_month, id="b")
        cancelled.cancel("changed my mind")
        with pytest.raises(WorkflowFailedError) as raised:
            cancelled.result()
        assert isinstance(raised.value.cause, CancelledError)
        with pytest.raises(WorkflowNotFoundError):
            cancelled.terminate()


def test_lists_and_counts(url: str) -> None:
    with Engine(url) as engine:
        for number in range(3):
            engine.run(insistent, id=str(number))
        engine.start(asleep_for_a_month, id="asleep")
        assert engine.count() == 4
        assert engine.count_by_status() == {WorkflowStatus.RUNNING: 1, WorkflowStatus.COMPLETED: 3}
        assert [s.id for s in engine.list('ExecutionStatus = "Running"')] == ["asleep"]
        assert len(engine.list(limit=2)) == 2


def test_many_threads_use_one_engine(url: str) -> None:
    with Engine(url) as engine, ThreadPoolExecutor(50) as pool:
        orders = [Order(str(n), Decimal(n)) for n in range(200)]
        shipments = list(pool.map(lambda order: engine.run(fulfil, order, id=order.id), orders))
    assert [s.tracking for s in shipments] == [f"T-{n}" for n in range(200)]


def test_closing_does_not_wait_for_what_can_be_run_again(url: str) -> None:
    release.clear()
    # The thread is left behind: neither grace nor time to clean up is given here.
    seams = EngineSeams(worker_config=WorkerConfig(shutdown_grace=0, shutdown_cancel_grace=0))
    with seamed(Engine, seams, url) as engine:
        handle = engine.start(holding, id="held")
        eventually(lambda: handle.describe().pending_activities, "its activity is under way")
    release.set()


def test_what_a_closed_engine_left_open_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    with Engine(url, worker=False) as engine:
        engine.start(fulfil, ORDER, id="order-1001")
        assert engine.get("order-1001").describe().status is WorkflowStatus.RUNNING
    with Engine(url) as engine:
        assert engine.get("order-1001", result_type=Shipment).result() == Shipment(tracking="T-1001")

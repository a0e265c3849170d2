# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# ruff: noqa: I001, E501, PT017
# fmt: off
"""A program written for the version before: it uses every name that has another one now.

A line that must say so ends with the new name behind `now:`; no other line may say anything.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from perdure import Client, Engine, Retry, Worker, activity, call, start, workflow
from perdure.frontend.near import Near
from perdure.sdk.declare.definitions import Registry
from perdure.embedded import AsyncEngine, EngineSeams
from perdure.stores.open import open_store
from perdure.stores.reading import differences, fold  # now: perdure.stores.folding.differences + perdure.stores.folding.fold
from perdure import Calendar  # now: perdure.schedules.Calendar
from perdure import Overlap, ScheduleDescription  # now: perdure.schedules.Overlap + perdure.schedules.ScheduleDescription
from perdure import ScheduleSummary, ScheduledRun  # now: perdure.schedules.ScheduleSummary + perdure.schedules.ScheduledRun
from perdure import Intervention, AsyncInterventions  # now: perdure.interventions.Intervention + perdure.interventions.AsyncInterventions
from perdure import InterventionNotFoundError  # now: perdure.errors.InterventionNotFoundError
from perdure import Handle  # now: ActivityHandle, TimerHandle or ChildHandle
from perdure import Interventions  # now: perdure.interventions.Interventions
from perdure import UpdateHandle, WorkerConfig, WorkflowHandle
from perdure import SyncInterventions  # now: perdure.interventions.Interventions
from perdure import SyncUpdateHandle  # now: UpdateHandle
from perdure import SyncWorkflowHandle  # now: WorkflowHandle
from perdure import local_call  # now: call_local
from perdure.idempotency import IdempotencyKeys
from perdure import wait  # now: workflow.wait_condition


@activity(start_to_close="30s")  # now: start_to_close_timeout=
def charge(order: str) -> str:
    return f"{order} charged"


@activity(schedule_to_close="1h", heartbeat="5s")  # now: schedule_to_close_timeout= + heartbeat_timeout=
async def ship(order: str) -> str:
    return f"{order} shipped"


TOKENS: queue.Queue[bytes] = queue.Queue()


@activity
def ask_bank() -> str:
    TOKENS.put(activity.info().task_token)
    activity.raise_complete_async()


@workflow
def pay() -> str:
    return call(ask_bank)


@workflow
def sell(order: str) -> list[str]:
    charged = call(charge.options(schedule_to_start="1m"), order)  # now: schedule_to_start_timeout=
    shipping: Handle[str] = start(ship, order)
    assert isinstance(shipping, Handle) and isinstance(workflow.timer("1h"), Handle)
    assert wait(shipping.done, timeout="1h")
    return [charged, shipping.result(), local_call(charge, order)]


@workflow
def greet() -> str:
    return f"hello, {workflow.wait_signal('name')}"


@workflow
class Cart:
    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.run
    def run(self) -> list[str]:
        wait(lambda: len(self.items) == 2)
        return self.items

    @workflow.signal
    def note(self, text: str) -> None: ...

    @workflow.query
    def count(self) -> int:
        return len(self.items)

    @workflow.update
    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


def sync_handles(engine: Engine) -> None:
    cart: SyncWorkflowHandle[list[str]] = engine.start(Cart, id="cart")
    ear = engine.signal_with_start(greet, id="ear", signal=("name", ["Ada"]))  # now: start(..., start_signal=...)
    assert ear.result() == "hello, Ada"
    count = engine.update_with_start(Cart, id="cart", update=("add", ["lamp"]))  # now: start(..., start_update=...)
    assert count == 1
    assert isinstance(cart, SyncWorkflowHandle)
    added = cart.update("add", "pen", wait_for="accepted")
    assert isinstance(added, SyncUpdateHandle) and added.result() == 2
    assert isinstance(engine.interventions, SyncInterventions)


async def by_themselves() -> None:
    home = Near(open_store("memory://"))
    await home.open()
    client = Client(home.rpcs, task_queue="before")  # now: AsyncClient(connection, ...)
    worker = Worker(home.rpcs, "before", Registry([sell], [charge, ship]))  # now: AsyncWorker(client, ...)
    await worker.start()
    assert await client.run(sell, "2", id="2") == ["2 charged", "2 shipped", "2 charged"]
    assert isinstance(client, Client)  # now: AsyncClient
    await worker.stop()
    await home.close()


async def async_handles() -> None:
    async with Engine("memory://") as engine:
        cart: WorkflowHandle[list[str]] = await engine.start(Cart, id="cart")
        assert isinstance(cart, WorkflowHandle)  # now: AsyncWorkflowHandle
        added = await cart.update("add", "pen", wait_for="accepted")
        assert isinstance(added, UpdateHandle)  # now: AsyncUpdateHandle
        assert not isinstance("text", WorkflowHandle)
        assert isinstance(engine.interventions, Interventions)  # now: AsyncInterventions


def on_the_wire() -> None:
    assert Retry(maximum_attempts=3).message.maximum_attempts == 3  # now: temporalio.api.common.v1.RetryPolicy(...)
    assert Calendar(hour="9").message().hour == "9"  # now: temporalio.api.schedule.v1.CalendarSpec(...)


def by_id(engine: Engine) -> None:
    cart = engine.start(Cart, id="by-id")
    engine.signal("by-id", "note", "gift", run_id=cart.run_id)  # now: engine.get(id).signal(...)
    assert engine.update("by-id", Cart.add, "lamp") == 1  # now: engine.get(id).update(...)
    assert engine.query("by-id", "count") == 1  # now: engine.get(id).query(...)
    engine.pause("by-id", "wait")  # now: engine.get(id).pause(...)
    engine.unpause("by-id")  # now: engine.get(id).unpause(...)
    assert engine.describe("by-id", cart.run_id, stack=False).id == "by-id"  # now: engine.get(id).describe(...)
    assert len(engine.history("by-id")) > 3  # now: engine.get(id).history(...)
    engine.cancel("by-id", "enough")  # now: engine.get(id).cancel(...)
    engine.start(greet, id="ended")
    engine.terminate("ended", reason="enough")  # now: engine.get(id).terminate(...)


def grouped(engine: Engine) -> None:
    engine.add_search_attributes({"Customer": "Keyword"})  # now: engine.search_attributes.add(...)
    assert engine.search_attributes() == {"Customer": "Keyword"}  # now: engine.search_attributes.list()
    engine.emit("order.paid", 4200, id="payment-1")  # now: engine.events.emit(...)
    engine.stop_listening("order.paid", sell)  # now: engine.events.stop_listening(...)
    hangs = engine.start(pay, id="hangs")
    token = TOKENS.get(timeout=60)
    assert engine.heartbeat_activity("alive", token=token) is False  # now: engine.activities.heartbeat(...)
    engine.fail_activity(OSError("down"), token=token)  # now: engine.activities.fail(...)
    engine.pause_activity("hangs", ask_bank)  # now: engine.activities.pause(...)
    engine.reset_activity("hangs", ask_bank, keep_paused=True)  # now: engine.activities.reset(...)
    engine.update_activity("hangs", ask_bank, task_queue="default")  # now: engine.activities.update_options(...)
    engine.unpause_activity("hangs", ask_bank)  # now: engine.activities.unpause(...)
    engine.complete_activity("paid", token=TOKENS.get(timeout=60))  # now: engine.activities.complete(...)
    assert hangs.result() == "paid"


@activity(schedule_to_close_timeout="1h", heartbeat_timeout="5s")
def measure() -> list[int]:
    info = activity.info()
    assert info.started_at_ns >= info.scheduled_at_ns  # now: started_at + scheduled_at
    assert info.deadline_ns == info.scheduled_at_ns + info.schedule_to_close_ns  # now: deadline + scheduled_at + schedule_to_close_timeout
    return [info.start_to_close_ns // 10**10, info.heartbeat_ns]  # now: start_to_close_timeout + heartbeat_timeout


@workflow
def measures() -> list[int]:
    info = workflow.info()
    assert info.started_at_ns > 0  # now: started_at
    limits = [info.run_timeout_ns, info.execution_timeout_ns, info.task_timeout_ns]  # now: run_timeout + execution_timeout + task_timeout
    return limits + call(measure)


def nanoseconds(engine: Engine) -> None:
    second = 1_000_000_000
    assert engine.run(measures, id="ns", run_timeout="1m") == [60 * second, 0, 10 * second, 6, 5 * second]
    described = engine.get("ns").describe()
    assert described.closed_at_ns - described.started_at_ns > 0  # now: closed_at + started_at
    listed = engine.list("WorkflowId = 'ns'")[0]
    assert listed.closed_at_ns - listed.started_at_ns > 0  # now: closed_at + started_at
    handle = engine.start(pay, id="pends")
    TOKENS.get(timeout=60)
    pending = handle.describe().pending_activities[0]
    assert pending.last_heartbeat_at_ns is None and pending.next_attempt_at_ns is None  # now: last_heartbeat_at + next_attempt_at
    assert pending.started_at_ns > 0  # now: started_at
    handle.terminate()
    assert engine.check_replay([sell]).elapsed_ns > 0  # now: elapsed
    config = WorkerConfig(deadlock_ns=second, shutdown_grace_ns=0, shutdown_cancel_ns=0)  # now: deadlock_timeout= + shutdown_grace= + shutdown_cancel_grace=
    assert config.deadlock_ns == second  # now: deadlock_timeout
    assert config.heartbeat_default_ns == 30 * second  # now: default_heartbeat_throttle_interval
    keys = IdempotencyKeys("charges", now_ns=lambda: second)  # now: now=
    with closing(sqlite3.connect(":memory:")) as connection:
        keys.create_table(connection)
        assert keys.prune(connection) == 0


def clocks(engine: Engine) -> None:
    engine.schedules.create("daily", greet, every="1 day", paused=True)
    engine.schedules.create("ends", greet, every="1 day", overlap=Overlap.SKIP, trigger=True)
    described = engine.schedules.describe("daily")
    assert isinstance(described, ScheduleDescription)
    assert len(described.next_times_ns) > 1 and described.created_at_ns > 0  # now: next_times + created_at
    listed = engine.schedules.list()[0]
    assert isinstance(listed, ScheduleSummary) and ScheduledRun is not None
    try:
        engine.interventions.skip("none", who="ada", why="it is there no more")
        raise AssertionError("nothing waits")
    except InterventionNotFoundError as error:
        assert "'none' waits" in str(error)
    assert issubclass(AsyncInterventions, object) and "opened_at" in dir(Intervention)
    assert listed.next_times_ns[0] > 0  # now: next_times
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    times = engine.schedules.matching_times("daily", begins, begins + timedelta(days=2))  # now: engine.schedules.times(...), which gives datetimes
    assert times == [int((begins + timedelta(days=day)).timestamp()) * 10**9 for day in (1, 2)]


def in_its_seams() -> None:
    with Engine("memory://", seams=EngineSeams(new_id=lambda: "told")) as engine:  # now: perdure.embedded.seamed(Engine, seams, ...)
        assert engine.start(greet).run_id == "told"
    AsyncEngine("memory://", seams=None)  # now: perdure.embedded.seamed(AsyncEngine, seams, ...)
    assert callable(differences) and callable(fold)


def main() -> None:
    on_the_wire()
    in_its_seams()
    with Engine("memory://") as engine:
        by_id(engine)
        grouped(engine)
        nanoseconds(engine)
        clocks(engine)
        sync_handles(engine)
        sold = ["1 charged", "1 shipped", "1 charged"]
        assert engine.run(sell, "1", id="1") == sold
        run_id = engine.reset("1", step=ship)  # now: engine.get(id).reset(...), which gives back a handle
        assert engine.get("1", run_id).result() == sold
    asyncio.run(async_handles())
    asyncio.run(by_themselves())


if __name__ == "__main__":
    main()

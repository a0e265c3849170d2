"""The workflows that the stored histories were written by.

Never change what one of them does: histories of every release are replayed against this file. A new feature of the
engine gets a new workflow at the end, and `record.py` a line for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from perdure import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    Retry,
    Saga,
    activity,
    call,
    call_child,
    call_local,
    start,
    start_child,
    start_local,
    workflow,
)


@dataclass
class Order:
    id: str
    cents: int


@activity(name="stored.charge", start_to_close_timeout="30s", retry=Retry(initial_interval="1s", maximum_attempts=3))
def charge(order: Order) -> str:
    return f"receipt {order.id}"


@activity(name="stored.reserve", schedule_to_close_timeout="1h", cancellation="wait")
async def reserve(order: Order, item: str) -> str:
    return f"{item} for {order.id}"


@activity(name="stored.release")
def release(order: Order, item: str) -> None:
    """Puts it back."""


@activity(name="stored.decline", retry=Retry(maximum_attempts=1))
def decline(order: Order) -> str:
    raise ValueError(f"order {order.id} was declined")


@activity(name="stored.slow", start_to_close_timeout="5s", retry=Retry(maximum_attempts=2))
async def slow(order: Order) -> None:
    await asyncio.sleep(3600)


@activity(name="stored.patient", start_to_close_timeout="2h", heartbeat_timeout="1m", cancellation="wait")
async def patient(order: Order) -> str:
    try:
        while True:
            await asyncio.sleep(10)
            activity.heartbeat(order.id)
    except asyncio.CancelledError:
        raise CancelledError("stopped in time") from None


@workflow(name="stored.order")
def order_sync(order: Order) -> str:
    """Calls one after another, retries, a sleep."""
    receipt = call(charge, order)
    items = [call(reserve, order, item) for item in ("lamp", "desk")]
    workflow.sleep(days=2)
    return f"{receipt}, {', '.join(items)}"


@workflow(name="stored.order_async")
async def order_async(order: Order) -> list[str]:
    """Branches at once, sleeps beside them, a time-out around one."""
    receipt = await start(charge, order)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reserved(order, item)) for item in ("lamp", "desk", "chair")]
    try:
        async with asyncio.timeout(60):
            await asyncio.sleep(3600)
    except TimeoutError:
        receipt += ", in time"
    return [receipt, *(task.result() for task in tasks)]


async def reserved(order: Order, item: str) -> str:
    await workflow.sleep(len(item))
    return await start(reserve, order, item)


@workflow(name="stored.compensates")
def compensates(order: Order) -> str:
    """A failure that is caught, and what is done about it."""
    item = call(reserve, order, "lamp")
    try:
        return call(decline, order)
    except ActivityError as error:
        call(release, order, item)
        return f"declined: {error.cause}"


@workflow(name="stored.fails")
def fails(order: Order) -> str:
    """A failure that nobody catches."""
    return call(decline, order)


@workflow(name="stored.times_out")
def times_out(order: Order) -> str:
    """An activity that is too slow, twice."""
    try:
        call(slow, order)
    except ActivityError as error:
        return type(error.cause).__name__
    return "in time"


@workflow(name="stored.chance")
def chance(order: Order) -> list[Any]:
    """What replay must give again: time, chance, ids, a side effect."""
    made = workflow.side_effect(lambda: {"made": order.id}, dict)
    drawn = workflow.random().randint(1, 1_000_000)
    first = str(workflow.uuid4())
    if drawn % 2:
        workflow.sleep("1s")
    else:
        call(charge, order)
    return [made, drawn, first, workflow.now().isoformat(), workflow.info().workflow_id]


@workflow(name="stored.races")
def races(order: Order) -> str:
    """Handles, the first of them, and a wait with a time-out that strikes."""
    fast, never = start(reserve, order, "lamp"), start(patient, order)
    first = fast.result()
    arrived = workflow.wait_condition(lambda: never.done, timeout="30s")
    never.cancel()
    try:
        return f"{first} {arrived} {never.result()}"
    except ActivityError as error:
        return f"{first} {arrived} {type(error.cause).__name__}"


@workflow(name="stored.cancelled")
def cancelled(order: Order) -> str:
    """Cancelled from outside, with clean-up."""
    item = call(reserve, order, "lamp")
    try:
        workflow.sleep(days=30)
    finally:
        call(release, order, item)
    return "not cancelled"


@workflow(name="stored.cancelled_async")
async def cancelled_async(order: Order) -> str:
    """The same, as a coroutine."""
    item = await start(reserve, order, "lamp")
    try:
        await workflow.sleep(days=30)
    finally:
        await start(release, order, item)
    return "not cancelled"


@workflow(name="stored.open")
def still_open(order: Order) -> None:
    """Under way when its history was taken: asleep in its third month."""
    while True:
        call(charge, order)
        workflow.sleep(days=30)


@activity(name="stored.validate", retry=Retry(initial_interval="1s", backoff_coefficient=20, maximum_attempts=3))
async def validate(order: Order, seconds: float) -> str:
    if activity.info().attempt < 3:
        raise ValueError(f"order {order.id} cannot be looked at now")
    await asyncio.sleep(seconds)
    return f"{order.id} is valid"


@workflow(name="stored.local")
def local(order: Order) -> list[str]:
    """Local activities: at once, by a durable back-off, over several workflow tasks, and one that is cancelled."""
    found = [call_local(release.options(start_to_close_timeout="5s"), order, "nothing") or "released"]
    found.append(call_local(validate.options(local_retry_threshold="5s"), order, 30))
    left = start_local(slow.options(start_to_close_timeout="1h"), order)
    item = start(reserve, order, "lamp")
    workflow.timer("20s").result()
    left.cancel()
    return [*found, item.result()]


@workflow(name="stored.signalled")
def signalled(order: Order) -> list[str]:
    """Handlers that call activities, a wait that is answered and one that is not, signals nobody asks for at first."""
    told: list[str] = []

    def add(item: str) -> None:
        told.append(call(reserve, order, item))

    workflow.on_signal("add", add, unfinished="wait")
    told.append(workflow.wait_signal("word", returns=str))
    try:
        workflow.wait_signal("never", timeout="1h")
    except TimeoutError:
        told.append("nothing came")
    workflow.on_signal(None, lambda name, *args: told.append(f"{name} {args}"))
    workflow.wait_condition(lambda: len(told) == 5)
    return told


@workflow(name="stored.actor")
class Actor:
    """A class: signals, updates that are answered at once, later, badly and not at all."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.items: list[str] = []
        self.ended = False

    @workflow.run
    def run(self, order: Order) -> list[str]:
        workflow.wait_condition(lambda: self.ended)
        workflow.wait_condition(workflow.all_handlers_finished)
        return self.items

    @workflow.update
    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)

    @add.validator
    def check(self, item: str) -> None:
        if not item:
            raise ApplicationError("an item has a name")

    @workflow.update
    def fetch(self, item: str) -> str:
        self.items.append(call(reserve, self.order, item))
        return self.items[-1]

    @workflow.update
    def refuse(self) -> None:
        raise ApplicationError("never", type="Never")

    @workflow.signal
    def end(self) -> None:
        self.ended = True

    @workflow.query
    def count(self) -> int:
        return len(self.items)


@workflow(name="stored.actor_async")
class AsyncActor:
    """The same in coroutines: handlers overtake each other."""

    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.run
    async def run(self, order: Order) -> list[str]:
        await workflow.wait_condition(lambda: len(self.items) == 3)
        return self.items

    @workflow.update
    async def fetch(self, item: str) -> str:
        await workflow.sleep(len(item))
        self.items.append(item)
        return item.upper()

    @workflow.signal
    async def note(self, item: str) -> None:
        await workflow.sleep(1)
        self.items.append(item)


@workflow(name="stored.kid")
def kid(order: Order) -> str:
    """A child that waits to be told, or to be cancelled."""
    return workflow.wait_signal("go", timeout="1h", returns=str)


@workflow(name="stored.parent")
def parent(order: Order) -> list[str]:
    """Children that are told, fail, are cancelled, are abandoned; another workflow that is not there."""
    told, cancelled_, left = (start_child(kid, order, id=f"{order.id}-{n}") for n in range(3))
    found: list[str] = []
    try:
        call_child(fails, order, id=f"{order.id}-fails")
    except ChildWorkflowError as error:
        found.append(type(error.cause).__name__)
    told.signal("go", "now")
    cancelled_.cancel()
    found.append(told.result())
    try:
        cancelled_.result()
    except ChildWorkflowError as error:
        found.append(type(error.cause).__name__)
    try:
        workflow.external("nobody").signal("go", "now")
    except ApplicationError as error:
        found.append(str(error.type))
    workflow.external(left.id).cancel()
    return found


@workflow(name="stored.parent_async")
async def parent_async(order: Order) -> list[str]:
    """The same with coroutines, all at once."""
    kids = [start_child(kid, order, id=f"{order.id}-{n}", parent_close_policy="abandon") for n in range(2)]
    await asyncio.gather(*(one.signal("go", one.id) for one in kids))
    return [await one for one in kids]


@workflow(name="stored.again")
def again(order: Order) -> str:
    """Two runs: the history is that of the first."""
    receipt = call(charge, order)
    if order.cents > 0:
        workflow.continue_as_new(Order(receipt, 0))
    return receipt


@workflow(name="stored.versioned")
def versioned(order: Order) -> list[Any]:
    """Patches and versions, asked for again after a while."""
    found: list[Any] = [workflow.patched("new-lamps"), workflow.get_version("desks", 1, 3)]
    workflow.sleep("1h")
    workflow.deprecate_patch("old-chairs")
    found += [workflow.patched("new-lamps"), workflow.get_version("desks", 1, 3), workflow.patched("late")]
    return [*found, call(reserve, order, "lamp")]


@workflow(name="stored.saga")
def saga(order: Order) -> str:
    """Steps that are undone in reverse."""
    with Saga() as undo:
        for item in ("lamp", "desk"):
            call(reserve, order, item)
            undo.compensate(release, order, item)
        return call(decline, order)


@workflow(name="stored.saga_async")
async def saga_async(order: Order) -> str:
    """The same as a coroutine, undone all at once."""
    async with Saga(parallel=True) as undo:
        for item in ("lamp", "desk"):
            await start(reserve, order, item)
            undo.compensate(release, order, item)
        return await start(decline, order)


@workflow(name="stored.intervention")
def intervention(order: Order) -> str:
    """What cannot be undone waits for a person."""
    with Saga() as undo:
        undo.compensate(decline, order)
        undo.compensate(release, order, "lamp")
        return call(decline, order)


@workflow(name="stored.scopes")
def scopes(order: Order) -> list[str]:
    """A scope that is cancelled, a shield that holds, the memo."""
    found: list[str] = []
    with workflow.scope() as scope:
        workflow.on_signal("stop", scope.cancel)
        try:
            call(patient, order)
        finally:
            with workflow.shield():
                found.append(call(reserve, order, "lamp"))
    workflow.upsert_memo({"found": found, "seen": 1})
    workflow.upsert_memo({"seen": None})
    found.append(str(sorted(workflow.memo())))
    return found


@activity(name="stored.stubborn", start_to_close_timeout="2h", heartbeat_timeout="1m", cancellation="wait")
async def stubborn(order: Order) -> str:
    try:
        while True:
            await asyncio.sleep(10)
            activity.heartbeat(order.id)
    except asyncio.CancelledError:
        return "done all the same"


@workflow(name="stored.unheard")
def unheard(order: Order) -> list[str]:
    """Cancellations that the first release did not always tell the code of: it goes through on both paths."""
    found = [call(stubborn, order)]
    try:
        workflow.sleep(1)
    except CancelledError:
        found.append("run")
    with workflow.scope() as scope:
        workflow.on_signal("stop", scope.cancel)
        found.append(call(stubborn, order))
        call(release, order, "lamp")
        found.append("scope unheard")
    with workflow.scope() as outer:
        with workflow.scope() as inner:
            inner.cancel()
            outer.cancel()
            workflow.sleep(2)
        workflow.sleep(3)
        found.append("outer scope unheard")
    with workflow.scope() as scope:
        workflow.on_signal("leave", scope.cancel)
        call_child(kid, order, id=f"{order.id}-kid")
        found.append("never")
    with workflow.scope() as scope:
        scope.cancel()
        call_local(release.options(start_to_close_timeout="5s", cancellation="wait"), order, "desk")
        workflow.sleep(4)
        found.append("scope of a local activity unheard")
    return found


@workflow(name="stored.unheard_async")
async def unheard_async(order: Order) -> list[str]:
    """The same as a coroutine."""
    found = [await start(stubborn, order)]
    try:
        await workflow.sleep(1)
    except asyncio.CancelledError:
        found.append("run")
    with workflow.scope() as scope:
        workflow.on_signal("stop", scope.cancel)
        found.append(await start(stubborn, order))
        await start(release, order, "lamp")
        found.append("scope unheard")
    try:
        with workflow.scope() as scope:
            workflow.on_signal("leave", scope.cancel)
            await start_child(kid, order, id=f"{order.id}-kid")
            found.append("never")
    except ChildWorkflowError:
        found.append("scope raised")
    with workflow.scope() as scope:
        scope.cancel()
        await start_local(release.options(start_to_close_timeout="5s", cancellation="wait"), order, "desk")
        await workflow.sleep(4)
        found.append("scope of a local activity unheard")
    return found


@workflow(name="stored.group", fail_on=(BaseExceptionGroup,))
async def group(order: Order) -> None:
    """Cancelled while children run in a task group."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(2):
            tasks.create_task(as_a_task(order, number))


async def as_a_task(order: Order, number: int) -> str:
    return await start_child(kid, order, id=f"{order.id}-kid-{number}")

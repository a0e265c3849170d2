"""The order workflow of `orders.py`, changed in one place each; the changed line carries the mark `# HERE`.

Each mutant says what the error must name: the event of the stored history, and what the code did instead.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ApplicationError
from perdure.sdk.workflow.workflow import AsyncWorkflow, SyncWorkflow, call, start, workflow
from tests.sdk.replay.orders import charge, notify, print_label, refund, reserve, ship


@dataclass
class Mutant:
    """A changed workflow and what its error must say."""

    what: str
    history: str
    code: AnyWorkflow
    event: str
    """`event 5` and what history has there."""
    instead: str
    """What the code did."""


MUTANTS: list[Mutant] = []


def mutant(what: str, event: str, instead: str, *, of: str = "order_sync") -> Callable[[Callable[..., Any]], None]:
    """Declare a mutant of one of the two order workflows."""

    def declare(function: Callable[..., Any]) -> None:
        kind = AsyncWorkflow if inspect.iscoroutinefunction(function) else SyncWorkflow
        MUTANTS.append(Mutant(what, of, kind(function, of), event, instead))

    return declare


@mutant("the first activity is another one", "event 5|activity charge (id 1)", "activity refund (id 1)")
def first_replaced(order: str) -> str:
    call(refund, order)  # HERE
    return "done"


@mutant("an activity is added in front", "event 5|activity charge (id 1)", "activity notify (id 1)")
def added_in_front(order: str) -> str:
    call(notify, order)  # HERE
    call(charge, order)
    return "done"


@mutant("an activity in the middle is renamed", "event 20|activity ship (id 4)", "activity refund (id 4)")
def middle_replaced(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    label.result()
    call(refund, order)  # HERE
    return "done"


@mutant("two concurrent activities change places", "event 11|activity reserve (id 2)", "activity print_label (id 2)")
def concurrent_swapped(order: str) -> str:
    call(charge, order)
    label = start(print_label, order)  # HERE
    shelf = start(reserve, order)
    shelf.result()
    call(ship, order, label.result())
    return "done"


@mutant("concurrent activities become sequential", "event 12|activity print_label (id 3)", "it waits")
def made_sequential(order: str) -> str:
    call(charge, order)
    call(reserve, order)  # HERE
    label = call(print_label, order)
    call(ship, order, label)
    return "done"


@mutant("sequential activities become concurrent", "event 6|ActivityTaskStarted", "activity reserve (id 2)")
def made_concurrent(order: str) -> str:
    receipt = start(charge, order)
    shelf = start(reserve, order)  # HERE
    receipt.result()
    shelf.result()
    return "done"


@mutant("an activity is removed", "event 11|activity reserve (id 2)", "activity print_label (id 2)")
def removed(order: str) -> str:
    call(charge, order)
    label = call(print_label, order)  # HERE
    call(ship, order, label)
    return "done"


@mutant("a third concurrent activity is added", "event 13|ActivityTaskStarted", "activity notify (id 4)")
def added_concurrently(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    extra = start(notify, order)  # HERE
    shelf.result()
    label.result()
    extra.result()
    return "done"


@mutant("a timer is added", "event 11|activity reserve (id 2)", "timer (id 1, 60 s)")
def timer_added(order: str) -> str:
    call(charge, order)
    workflow.sleep(60)  # HERE
    call(reserve, order)
    return "done"


@mutant("the timer is removed", "event 27|timer (id 1, 1 s)", "activity notify (id 5)")
def timer_removed(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    call(ship, order, label.result())
    workflow.side_effect(lambda: 7)
    call(notify, order)  # HERE
    return "done"


@mutant("the timer becomes an activity", "event 27|timer (id 1, 1 s)", "activity refund (id 5)")
def timer_to_activity(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    call(ship, order, label.result())
    workflow.side_effect(lambda: 7)
    call(refund, order)  # HERE
    call(notify, order)
    return "done"


@mutant("an activity becomes a timer", "event 5|activity charge (id 1)", "timer (id 1, 1 s)")
def activity_to_timer(order: str) -> str:
    workflow.sleep(1)  # HERE
    return "done"


@mutant("it returns early", "event 20|activity ship (id 4)", "completion of the workflow")
def returns_early(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    label.result()
    if order:
        return "enough"  # HERE
    return "done"


@mutant("it fails early", "event 20|activity ship (id 4)", "failure of the workflow")
def fails_early(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    label.result()
    raise ApplicationError("no more")  # HERE


@mutant("it has a bug early", "event 11|activity reserve (id 2)", "raised KeyError: 'missing'")
def bug_early(order: str) -> str:
    call(charge, order)
    return {"present": order}["missing"]  # HERE


@mutant("a side effect is added", "event 11|activity reserve (id 2)", "side effect (id 1)")
def side_effect_added(order: str) -> str:
    call(charge, order)
    workflow.side_effect(lambda: 1)  # HERE
    call(reserve, order)
    return "done"


@mutant("the side effect is removed", "event 26|side effect (id 1)", "timer (id 1, 1 s)")
def side_effect_removed(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    call(ship, order, label.result())
    workflow.sleep(1)  # HERE
    call(notify, order)
    return "done"


@mutant("a second side effect is added", "event 27|timer (id 1, 1 s)", "side effect (id 2)")
def side_effect_twice(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    call(ship, order, label.result())
    workflow.side_effect(lambda: 7)
    workflow.side_effect(lambda: 8)  # HERE
    workflow.sleep(1)
    call(notify, order)
    return "done"


@mutant("it goes on instead of ending", "event 38|completion of the workflow", "activity refund (id 6)")
def goes_on(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    call(ship, order, label.result())
    workflow.side_effect(lambda: 7)
    workflow.sleep(1)
    call(notify, order)
    call(refund, order)  # HERE
    return "done"


@mutant("it fails instead of completing", "event 38|completion of the workflow", "failure of the workflow")
def fails_at_the_end(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    call(ship, order, label.result())
    workflow.side_effect(lambda: 7)
    workflow.sleep(1)
    call(notify, order)
    raise ApplicationError("after all")  # HERE


@mutant("it waits for something that never comes", "event 20|activity ship (id 4)", "it waits")
def waits_for_ever(order: str) -> str:
    call(charge, order)
    shelf, label = start(reserve, order), start(print_label, order)
    shelf.result()
    label.result()
    workflow.wait_any(workflow.timer("1h")) if not order else _never()
    return "done"


def _never() -> None:
    from perdure.sdk.workflow.workflow import workflow

    workflow.wait_condition(lambda: False)  # HERE


@mutant("gather changes order", "event 11|activity reserve (id 2)", "activity print_label (id 2)", of="order_async")
async def gather_swapped(order: str) -> str:
    await start(charge, order)
    await asyncio.gather(
        start(print_label, order),  # HERE
        start(reserve, order),
    )
    return "done"


@mutant("a task is added", "event 11|activity reserve (id 2)", "timer (id 1, 5 s)", of="order_async")
async def task_added(order: str) -> str:
    async def ticker() -> None:
        await asyncio.sleep(5)  # HERE

    await start(charge, order)
    task = asyncio.create_task(ticker())
    await asyncio.sleep(0)
    await asyncio.gather(start(reserve, order), start(print_label, order))
    await task
    return "done"


@mutant("await in a row instead of gather", "event 12|activity print_label (id 3)", "it waits", of="order_async")
async def awaited_in_a_row(order: str) -> str:
    await start(charge, order)
    await start(reserve, order)  # HERE
    await start(print_label, order)
    return "done"


@mutant("it returns early", "event 23|activity ship (id 4)", "completion of the workflow", of="order_async")
async def returns_early_async(order: str) -> str:
    await start(charge, order)
    await asyncio.gather(start(reserve, order), start(print_label, order))
    return "enough"  # HERE

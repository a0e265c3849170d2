"""Scene 12: the design canvas.

One order, in four ways, on one engine: as code, as a state machine, as a DAG, as choreography. The steps are the same
activities; what differs is who says what comes next. Then the trade-offs, measured: lines, events on disk, speed, what
a failure in the middle looks like, and what a change does to an order that is under way.

The state machine and the DAG are interpreters of a few lines, to show what such a thing is, and not what all it can be.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from stage import Stage, play, seen, show, step, title, until

from perdure import (
    ActivityError,
    ActivityHandle,
    ApplicationError,
    Engine,
    Saga,
    activity,
    call,
    on_event,
    start,
    workflow,
)
from perdure.api.digest import digest

TOGETHER, ALONE = 100, 20
effects: dict[str, list[str]] = defaultdict(list)
settled: dict[str, threading.Event] = defaultdict(threading.Event)


@activity(start_to_close_timeout="10s")
def charge(order: str) -> None:
    effects[order].append("charged")


@activity(start_to_close_timeout="10s")
def reserve(order: str) -> None:
    effects[order].append("reserved")


@activity(start_to_close_timeout="10s")
def ship(order: str) -> None:
    if order.startswith("broken"):
        raise ApplicationError("no carrier takes it", type="NoCarrier", non_retryable=True)
    effects[order].append("shipped")


@activity(start_to_close_timeout="10s")
def tell(order: str) -> None:
    effects[order].append("told")
    settled[order].set()


@activity(start_to_close_timeout="10s")
def release(order: str) -> None:
    effects[order].append("released")


@activity(start_to_close_timeout="10s")
def refund(order: str) -> None:
    effects[order].append("refunded")
    settled[order].set()


STEPS = {step.name: step for step in (charge, reserve, ship, tell, release, refund)}


# --- as code ---------------------------------------------------------------------------------------


@workflow
def as_code(order: str) -> None:
    with Saga() as saga:
        call(charge, order)
        saga.compensate(refund, order)
        call(reserve, order)
        saga.compensate(release, order)
        call(ship, order)
    call(tell, order)


# --- as a state machine ----------------------------------------------------------------------------

STATES: dict[str, dict[str, str]] = {
    "charge": {"next": "reserve"},
    "reserve": {"next": "ship", "catch": "refund"},
    "ship": {"next": "tell", "catch": "release"},
    "release": {"next": "refund"},
    "refund": {},
    "tell": {},
}


@workflow
def as_state_machine(order: str, begin: str, states: dict[str, dict[str, str]]) -> None:
    state = begin
    while state:
        try:
            call(STEPS[state], order)
            state = states[state].get("next", "")
        except ActivityError:
            if "catch" not in states[state]:
                raise
            state = states[state]["catch"]


# --- as a DAG --------------------------------------------------------------------------------------

TASKS: dict[str, dict[str, Any]] = {
    "charge": {"after": []},
    "reserve": {"after": []},
    "ship": {"after": ["charge", "reserve"]},
    "tell": {"after": ["ship"]},
    "release": {"after": ["ship"], "when": "failed"},
    "refund": {"after": ["release"], "when": "done"},
}


@workflow
def as_dag(order: str, tasks: dict[str, dict[str, Any]]) -> dict[str, str]:
    state = dict.fromkeys(tasks, "waiting")
    handles: dict[str, Any] = {}
    while "waiting" in state.values() or "running" in state.values():
        for name, task in tasks.items():
            before = {state[other] for other in task["after"]}
            if state[name] == "waiting" and not before & {"waiting", "running"}:
                wanted = task.get("when", "done")
                is_due = before <= {"done"} if wanted == "done" else "failed" in before
                state[name] = "running" if is_due else "skipped"
                if is_due:
                    handles[name] = start(STEPS[name], order)
        running = [name for name, is_now in state.items() if is_now == "running"]
        workflow.wait_condition(lambda: not running or any(handles[name].done() for name in running))  # noqa: B023 - looked at at once
        for name in running:
            if handles[name].done():
                state[name] = how_it_ended(handles[name])
    return state


def how_it_ended(step: ActivityHandle[Any]) -> str:
    try:
        step.result()
    except ActivityError:
        return "failed"
    return "done"


# --- as choreography -------------------------------------------------------------------------------


@on_event("order.placed")
@workflow
def charging(order: str) -> None:
    call(charge, order)
    workflow.emit("order.charged", order)


@on_event("order.charged")
@workflow
def reserving(order: str) -> None:
    call(reserve, order)
    workflow.emit("order.reserved", order)


@on_event("order.reserved")
@workflow
def shipping(order: str) -> None:
    try:
        call(ship, order)
    except ActivityError:
        workflow.emit("order.refused", order)
    else:
        workflow.emit("order.shipped", order)


@on_event("order.shipped")
@workflow
def telling(order: str) -> None:
    call(tell, order)


@on_event("order.refused")
@workflow
def releasing(order: str) -> None:
    call(release, order)
    workflow.emit("order.released", order)


@on_event("order.released")
@workflow
def refunding(order: str) -> None:
    call(refund, order)


# --- the same orders, in each way ------------------------------------------------------------------


@dataclass
class Way:
    """One way to write the order: what it runs, and how one is begun."""

    name: str
    section: str
    workflows: list[Any]
    begin: Callable[[Engine, str], object]
    figures: dict[str, str] = field(default_factory=dict[str, str])
    events: float = 0.0

    def engine(self, stage: Stage) -> Engine:
        return Engine(
            stage.store(self.section.replace(" ", "_")), workflows=self.workflows, activities=list(STEPS.values())
        )


WAYS = [
    Way("code", "as code", [as_code], lambda engine, order: engine.start(as_code, order, id=order)),
    Way(
        "state machine",
        "as a state machine",
        [as_state_machine],
        lambda engine, order: engine.start(as_state_machine, order, "charge", STATES, id=order),
    ),
    Way("DAG", "as a DAG", [as_dag], lambda engine, order: engine.start(as_dag, order, TASKS, id=order)),
    Way(
        "choreography",
        "as choreography",
        [charging, reserving, shipping, telling, releasing, refunding],
        lambda engine, order: engine.events.emit("order.placed", order, id=order),
    ),
]


def lines_of(section: str) -> int:
    """Lines of this file, without empty ones, that write the order in this way."""
    text = Path(__file__).read_text(encoding="utf-8").partition(f"# --- {section} -")[2].partition("# --- ")[0]
    return len([line for line in text.splitlines()[1:] if line.strip()])


def measure(way: Way, stage: Stage) -> None:
    with way.engine(stage) as engine:
        known = {run.run_id for run in engine.list(limit=100_000)}
        crowd = [f"{way.section}, order {number}" for number in range(TOGETHER)]
        began = time.monotonic()
        for order in crowd:
            way.begin(engine, order)
        for order in crowd:
            settled[order].wait(60)
        seconds = time.monotonic() - began
        alone = [latency_ms(way, engine, f"{way.section}, alone {number}") for number in range(ALONE)]
        until(lambda: all_have_ended(engine))
        runs = [run for run in engine.list(limit=100_000) if run.run_id not in known]
        way.events = sum(run.history_length for run in runs) / (TOGETHER + ALONE)
        orders_wide = len([run for run in runs if run.closed_at is not None]) / (TOGETHER + ALONE)
        way.figures = {
            "lines": f"{lines_of(way.section)}",
            "workflows an order": f"{orders_wide:.0f}",
            "events an order": f"{way.events:.0f}",
            "orders/s, 100 at once": f"{TOGETHER / seconds:.0f}",
            "steps/s, 100 at once": f"{4 * TOGETHER / seconds:.0f}",
            "ms for one alone": f"{median(alone):.1f}",
        }


def latency_ms(way: Way, engine: Engine, order: str) -> float:
    began = time.monotonic()
    way.begin(engine, order)
    settled[order].wait(60)
    return (time.monotonic() - began) * 1000


def all_have_ended(engine: Engine) -> bool:
    """All but the hubs, which never do."""
    return all(run.closed_at is not None or run.workflow_type == "perdure.events" for run in engine.list(limit=9999))


def break_one(way: Way, stage: Stage) -> list[str]:
    """An order that no carrier takes: what is done and undone, and how many histories tell it."""
    order = f"broken, {way.section}"
    with way.engine(stage) as engine:
        known = {run.run_id for run in engine.list(limit=100_000)}
        way.begin(engine, order)
        settled[order].wait(60)
        until(lambda: all_have_ended(engine))
        new = [run for run in engine.list(limit=100_000) if run.run_id not in known]
        told = [run.id for run in new if "NoCarrier" in str(digest(engine.get(run.id).history()))]
        histories = "one history" if len(new) == 1 else f"{len(new)} histories, and why in {len(told)} of them"
        show(f"{way.name}: {', '.join(effects[order])}; it is told by {histories}")
    return effects[order]


# --- a change while an order is under way ----------------------------------------------------------


def with_a_step_more() -> tuple[Any, Any]:
    """The code with a step between two others; and behind a gate."""

    @workflow(name="as_code")
    def ungated(order: str) -> None:
        call(charge, order)
        call(refund, order)
        call(reserve, order)

    @workflow(name="as_code")
    def gated(order: str) -> None:
        with Saga() as saga:
            call(charge, order)
            saga.compensate(refund, order)
            if workflow.patched("look twice"):
                call(tell, order)
            call(reserve, order)
            saga.compensate(release, order)
            call(ship, order)
        call(tell, order)

    return ungated, gated


def change_code(stage: Stage) -> None:
    """An order waits between two steps, for the activities that come next have no worker."""
    url = stage.url
    slow = activity(name="reserve", task_queue="nobody")(lambda order: None)

    @workflow(name="as_code")
    def waits(order: str) -> None:
        call(charge, order)
        call(slow, order)

    with Engine(url, workflows=[waits], activities=[charge]) as engine:
        engine.start(waits, "open order", id="open order")
        until(lambda: any(line.subject == "reserve" for line in digest(engine.get("open order").history())))
        ungated, gated = with_a_step_more()
        broken, kept = engine.check_replay(ungated), engine.check_replay(gated)
    show("code: a line; behind workflow.patched(...), or it breaks what is open")
    seen("code, changed without a gate, would break the open order, and is told so before", not broken.ok)
    seen("behind a gate it would not", kept.ok)


def story(stage: Stage) -> None:
    title("Scene 12: the design canvas")
    step(f"{TOGETHER} orders at once, then {ALONE} one after the other, in each of the four ways")
    for way in WAYS:
        measure(way, stage)
    show(" " * 22 + "".join(f"{way.name:>15}" for way in WAYS))
    for figure in WAYS[0].figures:
        show(f"{figure:<22}" + "".join(f"{way.figures[figure]:>15}" for way in WAYS))
    done = {tuple(sorted(did)) for did in effects.values()}
    widths = [way.figures["workflows an order"] for way in WAYS]
    seen(
        "each way had the same effects for all orders, each once", done == {("charged", "reserved", "shipped", "told")}
    )
    seen("all but choreography tell an order in one history", widths == ["1", "1", "1", "4"])
    seen("choreography writes the most", WAYS[3].events > 2 * max(way.events for way in WAYS[:3]))

    step("an order that no carrier takes: a failure in the middle")
    for way in WAYS:
        did = break_one(way, stage)
        seen(f"{way.name}: undone", did[-2:] == ["released", "refunded"] and "shipped" not in did)

    step("a step more, while orders are under way")
    change_code(stage)
    show("state machine, DAG: an entry; the definition travels with the order, so those under way keep theirs")
    show("choreography: one workflow more, another event's name in its neighbour; nobody else is touched, or knows")


if __name__ == "__main__":
    play(__file__, story)

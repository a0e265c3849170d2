"""Random programs of waits, cancelled at a random one: whatever they are made of, they hear of it once, and replay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure import call_child, start_child
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError, ChildWorkflowError
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.pieces import a, version_of
from tests.sdk.replay.played import Played, kid, said


@dataclass(frozen=True)
class Step:
    """One wait.

    Attributes:
        kind: what is waited for.
        waits: a cancellation of it is waited for.
        end: how it ends; "cancelled" only if it was asked to, and well otherwise.
        wrap: what an `async def` program awaits it in.
        in_scope: within a scope of its own, which nobody cancels.
    """

    kind: str
    waits: bool
    end: str
    wrap: str
    in_scope: bool


STEPS = st.builds(
    Step,
    kind=st.sampled_from(["activity", "child", "sleep", "signal"]),
    waits=st.booleans(),
    end=st.sampled_from(["well", "fails", "cancelled"]),
    wrap=st.sampled_from(["plain", "task", "task of a task", "time-out"]),
    in_scope=st.booleans(),
)


def kept(step: Step) -> bool:
    """Whether a cancellation of the step is not told before it has ended."""
    return step.waits and step.kind in ("activity", "child")


def do(step: Step, number: int) -> Any:
    way: Any = "wait" if step.waits else "try"
    match step.kind:
        case "activity":
            return call(a.options(cancellation=way), number)
        case "child":
            return call_child(kid, id=f"kid-{number}", cancellation=way)
        case "sleep":
            return workflow.sleep(60)
        case _:
            return workflow.wait_signal(f"go-{number}")


async def do_async(step: Step, number: int) -> Any:
    way: Any = "wait" if step.waits else "try"
    match step.kind:
        case "activity":
            return await start(a.options(cancellation=way), number)
        case "child":
            return await start_child(kid, id=f"kid-{number}", cancellation=way)
        case "sleep":
            return await workflow.sleep(60)
        case _:
            return await workflow.wait_signal(f"go-{number}")


async def wrapped(step: Step, number: int) -> Any:
    match step.wrap:
        case "task":
            return await asyncio.create_task(do_async(step, number))
        case "task of a task":

            async def inner() -> Any:
                return await asyncio.create_task(do_async(step, number))

            return await asyncio.create_task(inner())
        case "time-out":
            async with asyncio.timeout(10_000):
                return await do_async(step, number)
        case _:
            return await do_async(step, number)


def program(steps: list[Step], heard: list[str], *, is_async: bool) -> AnyWorkflow:
    @version_of("program")
    def code() -> None:
        heard.clear()
        for number, step in enumerate(steps):
            try:
                if step.in_scope:
                    with workflow.scope():
                        do(step, number)
                else:
                    do(step, number)
            except (CancelledError, ActivityError, ChildWorkflowError) as error:
                heard.append(f"{number} {said(error)}")
            else:
                heard.append(f"{number} well")

    @version_of("program")
    async def async_code() -> None:
        heard.clear()
        for number, step in enumerate(steps):
            try:
                if step.in_scope:
                    with workflow.scope():
                        await wrapped(step, number)
                else:
                    await wrapped(step, number)
            except (asyncio.CancelledError, ActivityError, ChildWorkflowError) as error:
                heard.append(f"{number} {said(error)}")
            else:
                heard.append(f"{number} well")

    return async_code if is_async else code


def expected(steps: list[Step], cancelled_at: int) -> list[str]:
    """What a program hears: of the cancellation once, at the step that waits or behind it."""
    heard: list[str] = []
    owed = False
    for number, step in enumerate(steps):
        own = _own_end(step)
        if owed or (number == cancelled_at and not kept(step)):
            heard.append(f"{number} cancelled")
            owed = False
        elif number == cancelled_at and step.end == "cancelled":
            heard.append(
                f"{number} cancelled" if step.kind == "activity" else f"{number} ChildWorkflowError: CancelledError"
            )
        else:
            heard.append(f"{number} {own}")
            owed = number == cancelled_at
    return heard


def _own_end(step: Step) -> str:
    if step.end != "fails" or step.kind in ("sleep", "signal"):
        return "well"
    name = "ActivityError" if step.kind == "activity" else "ChildWorkflowError"
    return f"{name}: ApplicationError"


def end(run: Played, step: Step, number: int, *, asked: bool) -> None:
    """The step that waits ends, as its server has it."""
    history = run.history
    how = "well" if step.end == "cancelled" and not asked else step.end
    match step.kind:
        case "activity":
            activity_id = list(history.activities)[-1]
            _ = {
                "well": lambda: history.completed(activity_id, "value"),
                "fails": lambda: history.failed(activity_id, ApplicationError("no")),
                "cancelled": lambda: history.cancelled(activity_id),
            }[how]()
        case "child":
            words = {
                "well": ("completed", "value"),
                "fails": ("failed", ApplicationError("no")),
                "cancelled": ("canceled",),
            }
            history.child_closed(f"kid-{number}", *words[how])
        case "sleep":
            history.fired(list(history.timers)[-1])
        case _:
            history.signaled(f"go-{number}")


@given(st.lists(STEPS, min_size=1, max_size=5), st.integers(0, 4), st.booleans(), st.booleans())
def test_a_program_hears_of_its_cancellation_once(
    steps: list[Step], cancelled_at: int, is_async: bool, with_the_end: bool
) -> None:
    cancelled_at %= len(steps)
    heard: list[str] = []
    run = Played(program(steps, heard, is_async=is_async), heard)
    run.task()
    while len(heard) < len(steps):
        number = len(heard)
        step = steps[number]
        asked = number == cancelled_at
        if step.kind == "child":
            run.history.child_started(f"kid-{number}")
        if asked:
            run.history.cancel_requested()
            if not kept(step):
                run.task()
                continue
            if with_the_end and step.end != "cancelled":
                end(run, step, number, asked=False)
                run.task()
                continue
            run.task()
        end(run, step, number, asked=asked)
        run.task()
    assert heard == expected(steps, cancelled_at)

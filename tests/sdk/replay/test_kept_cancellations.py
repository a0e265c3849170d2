"""A cancellation is never used up: what ends well hands over its result, CancelledError comes at the next wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from perdure import call_child, start_child
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ActivityError, CancelledError, ChildWorkflowError
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.letters import Letters
from tests.sdk.replay.pieces import b, version_of
from tests.sdk.replay.played import ENDS, TOLD, WAYS, Played, first, in_a_task, kid, said, waited_for

NEXT: Final[dict[str, Callable[[], Any]]] = {
    "a call": lambda: call(b),
    "a waited-for call": lambda: call(b.options(cancellation="wait")),
    "a child": lambda: call_child(kid, id="next kid"),
    "a sleep": lambda: workflow.sleep(60),
    "a condition": lambda: workflow.wait_condition(lambda: False),
    "a condition with a time-out": lambda: workflow.wait_condition(lambda: False, timeout=60),
    "a signal": lambda: workflow.wait_signal("never"),
    "a signal with a time-out": lambda: workflow.wait_signal("never", timeout=60),
    "all of many": lambda: workflow.wait_all(start(b), workflow.timer(60)),
    "any of many": lambda: workflow.wait_any(start(b), workflow.timer(60)),
    "an event told": lambda: workflow.emit("name", 1),
    "an event awaited": lambda: workflow.wait_event("name"),
    "another workflow told": lambda: workflow.external("other").signal("hello"),
    "handlers": lambda: workflow.wait_condition(lambda: workflow.all_handlers_finished() and False),
}


async def grouped() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))


async def timed() -> None:
    async with asyncio.timeout(60):
        await start(b)


async def locked() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()


NEXT_ASYNC: Final[dict[str, Callable[[], Awaitable[Any]]]] = {
    "an activity": lambda: start(b),
    "a waited-for activity": lambda: start(b.options(cancellation="wait")),
    "a child": lambda: start_child(kid, id="next kid"),
    "a sleep": lambda: asyncio.sleep(60),
    "a workflow sleep": lambda: workflow.sleep(60),
    "a sleep of nothing": lambda: asyncio.sleep(0),
    "a condition": lambda: workflow.wait_condition(lambda: False),
    "a condition with a time-out": lambda: workflow.wait_condition(lambda: False, timeout=60),
    "a signal": lambda: workflow.wait_signal("never"),
    "a signal with a time-out": lambda: workflow.wait_signal("never", timeout=60),
    "gather": lambda: asyncio.gather(start(b), workflow.sleep(60)),
    "a task": lambda: asyncio.create_task(timed()),
    "wait": lambda: asyncio.wait([start(b), workflow.timer(60)]),
    "a task group": grouped,
    "a time-out": timed,
    "a queue": lambda: asyncio.Queue[int]().get(),
    "a lock": locked,
    "an event told": lambda: workflow.emit("name", 1),
    "an event awaited": lambda: workflow.wait_event("name"),
    "another workflow told": lambda: workflow.external("other").signal("hello"),
}


def plain(kind: str, then: str, heard: list[str]) -> AnyWorkflow:
    @version_of("kept")
    def code() -> None:
        heard.clear()
        try:
            heard.append(first(kind))
        except (CancelledError, ActivityError, ChildWorkflowError) as error:
            heard.append(said(error))
        for _ in range(2):
            try:
                NEXT[then]()
            except CancelledError as error:
                heard.append(said(error))
        workflow.wait_condition(lambda: False)

    return code


def coroutine(kind: str, way: str, then: str, heard: list[str]) -> AnyWorkflow:
    @version_of("kept")
    async def code() -> None:
        heard.clear()
        try:
            heard.append(await WAYS[way](kind))
        except (asyncio.CancelledError, ActivityError, ChildWorkflowError) as error:
            heard.append(said(error))
        for _ in range(2):
            try:
                await NEXT_ASYNC[then]()
            except asyncio.CancelledError as error:
                heard.append(said(error))
        await workflow.wait_condition(lambda: False)

    return code


def play(code: AnyWorkflow, heard: list[str], kind: str, end: str) -> list[str]:
    """To behind the end of what is waited for: what the code has heard by then."""
    run = Played(code, heard)
    run.task()
    if kind == "child":
        run.history.child_started("kid")
    run.history.cancel_requested("enough")
    asked = run.task()
    assert len(asked) == 1 and asked[0].startswith("cancel"), "it is asked to end, and waited for"
    assert heard == []
    ENDS[kind][end](run.history)
    run.task()
    told = list(heard)
    run.history.signaled("anything")
    run.task()
    assert heard == told, "once"
    return told


@pytest.mark.parametrize("end", ["well", "fails", "is cancelled"])
@pytest.mark.parametrize("kind", ["activity", "child"])
@pytest.mark.parametrize("then", NEXT)
def test_a_def_workflow_is_told_at_its_next_wait(then: str, kind: str, end: str) -> None:
    heard: list[str] = []
    assert play(plain(kind, then, heard), heard, kind, end) == TOLD[kind][end]


@pytest.mark.parametrize("end", ["well", "fails", "is cancelled"])
@pytest.mark.parametrize("kind", ["activity", "child"])
@pytest.mark.parametrize(
    ("way", "then"),
    [("directly", then) for then in NEXT_ASYNC] + [(way, "a sleep") for way in WAYS if way != "directly"],
)
def test_an_async_workflow_is_told_at_its_next_wait(way: str, then: str, kind: str, end: str) -> None:
    heard: list[str] = []
    assert play(coroutine(kind, way, then, heard), heard, kind, end) == TOLD[kind][end]


# --- both at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_of_them", ["the end", "the cancellation"])
@pytest.mark.parametrize("kind", ["activity", "child"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_cancellation_that_comes_with_the_result_is_told_behind_it(
    is_async: bool, kind: str, first_of_them: str
) -> None:
    heard: list[str] = []
    code = coroutine(kind, "directly", "a sleep", heard) if is_async else plain(kind, "a sleep", heard)
    run = Played(code, heard)
    run.task()
    if kind == "child":
        run.history.child_started("kid")
    if first_of_them == "the cancellation":
        run.history.cancel_requested()
    ENDS[kind]["well"](run.history)
    if first_of_them == "the end":
        run.history.cancel_requested()
    run.task()
    assert heard == ["value", "cancelled"]


def test_code_that_ends_before_it_waits_again_has_ended_well() -> None:
    @version_of("kept")
    def code() -> str:
        return call(waited_for)

    @version_of("kept")
    async def async_code() -> str:
        return await in_a_task("activity")

    for definition in (code, async_code):
        run = Played(definition, [])
        run.task()
        run.history.cancel_requested()
        run.task()
        run.history.completed("1", "value")
        assert run.task() == ['complete "value"']


# --- histories of before -------------------------------------------------------------------------------


def test_a_history_that_does_not_name_the_change_is_replayed_as_it_was() -> None:
    heard: list[str] = []
    history = Letters(plain("activity", "a sleep", heard)).task().done().scheduled("a").cancel_requested()
    history.task().done().cancel_asked("1").completed("1", "value").task().done().timer().signaled("x").task()
    assert history.cold().error is None
    assert heard == ["value"]


def test_a_completion_names_the_change_once_and_only_where_it_makes_a_difference() -> None:
    heard: list[str] = []
    run = Played(plain("activity", "a sleep", heard), heard)
    run.task()
    run.history.cancel_requested()
    run.task()
    assert list(run.outcome.flags) == []
    run.history.completed("1", "value")
    run.task()
    assert list(run.outcome.flags) == [1]
    run.history.signaled("anything")
    run.task()
    assert list(run.outcome.flags) == []

"""What an `async def` workflow asked for and never awaited fails its task, at the line that asked."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Generator
from typing import Any

import pytest

from perdure.sdk.errors import EngineError
from perdure.sdk.workflow.children import start_child
from perdure.sdk.workflow.local_calls import start_local
from perdure.sdk.workflow.workflow import start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.letters import Letters
from tests.sdk.replay.pieces import a


@pytest.fixture(autouse=True)
def python_does_not_warn() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@workflow
async def kid() -> None: ...


FORGOTTEN: dict[str, Callable[[], Any]] = {
    "workflow.sleep": lambda: workflow.sleep(3),
    "workflow.wait_condition": lambda: workflow.wait_condition(lambda: True),
    "workflow.wait_signal": lambda: workflow.wait_signal("go"),
    "workflow.emit": lambda: workflow.emit("paid"),
    "workflow.wait_event": lambda: workflow.wait_event("paid"),
    "subscription.open": lambda: workflow.subscribe("paid").open(),
    "subscription.next": lambda: workflow.subscribe("paid").next(),
    "subscription.close": lambda: workflow.subscribe("paid").close(),
    "external.signal": lambda: workflow.external("w-2").signal("go"),
    "external.cancel": lambda: workflow.external("w-2").cancel(),
    "child.signal": lambda: start_child(kid).signal("go"),
}


@pytest.mark.parametrize("what", FORGOTTEN)
@pytest.mark.parametrize("again", [False, True])
def test_what_was_never_awaited_fails_the_task_and_names_the_line(what: str, again: bool) -> None:
    @workflow
    async def forgetful() -> None:
        FORGOTTEN[what]()
        if again:
            workflow.continue_as_new()

    outcome = History(forgetful).task().cold()
    line = FORGOTTEN[what].__code__.co_firstlineno
    assert isinstance(outcome.error, EngineError)
    place = f"{__file__}:{line} in <lambda>"
    assert str(outcome.error) == f"{what}(...) at {place} was never awaited: write `await {what}(...)`"
    assert not outcome.commands


def test_of_several_the_first_is_named() -> None:
    @workflow
    async def forgetful() -> None:
        for _ in range(40):
            await workflow.wait_condition(lambda: True)
            workflow.sleep(1)

    assert str(History(forgetful).task().cold().error).endswith("(and 39 more)")


def test_a_handler_that_forgets_is_seen_when_the_run_ends() -> None:
    @workflow
    async def asked() -> None:
        async def handle() -> None:
            workflow.sleep(1)

        workflow.on_signal("go", handle)
        await workflow.wait_condition(lambda: True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    error = History(asked).signaled("go").task().cold().error
    assert "in test_a_handler_that_forgets_is_seen_when_the_run_ends.<locals>.asked.<locals>.handle" in str(error)


@workflow
async def gathered() -> None:
    external = workflow.external("w-2")
    await asyncio.gather(workflow.wait_condition(lambda: True), workflow.wait_condition(lambda: True))
    asyncio.create_task(asyncio.wait_for(workflow.sleep(1), 5))  # noqa: RUF006 - no reference: that is the case
    task = asyncio.create_task(_later(external.signal("go")))
    await asyncio.sleep(0)
    assert not task.done()


async def _later(signal: Any) -> None:
    await workflow.sleep(5)
    await signal


@workflow
async def cancelled() -> None:
    task: asyncio.Task[Any] = asyncio.create_task(workflow.sleep(1))  # pyright: ignore[reportArgumentType]
    task.cancel()
    await asyncio.wait([task])


@workflow
async def fires_and_forgets() -> None:
    start(a)
    start_local(a)
    start_child(kid)
    workflow.timer(1)


@pytest.mark.parametrize("fine", [gathered, cancelled])
def test_what_a_task_has_in_hand_is_awaited(fine: Any) -> None:
    outcome = History(fine).task().cold()
    assert outcome.error is None
    assert texts(outcome.commands)[-1].startswith("complete")


@workflow
async def awaits_it() -> None:
    await workflow.external("w-2").signal("go")


@workflow
async def awaits_it_late() -> None:
    signal = workflow.external("w-2").signal("go")
    await start(a)
    await signal


@workflow
async def awaits_it_with_others() -> None:
    await asyncio.gather(workflow.external("w-2").signal("go"), start(a))


@pytest.mark.parametrize("fine", [awaits_it, awaits_it_late, awaits_it_with_others])
def test_a_message_that_is_awaited_early_late_or_with_others_is_awaited(fine: Any) -> None:
    history = Letters(fine).task().done().signal_sent("w-2", "go")
    if fine is not awaits_it:
        history.scheduled("a")
    history.signal_delivered("w-2")
    if fine is not awaits_it:
        history.completed("1")
    outcome = history.task().cold()
    assert outcome.error is None
    assert texts(outcome.commands)[-1].startswith("complete")


def test_handles_may_be_left_alone() -> None:
    history = History(fires_and_forgets).task()
    machine = history.machine()
    assert machine.process(history.since()).error is None
    machine.close()


@workflow
async def forgets_to_sleep() -> str:
    workflow.sleep(3)
    await start(a)
    return "done"


def test_a_history_from_before_replays_as_it_did() -> None:
    history = History(forgets_to_sleep).task().done().scheduled("a").completed("1").task()
    assert "forgets_to_sleep was never awaited" in str(history.cold().error)
    assert history.done().workflow_completed("done").cold().error is None


def test_a_run_that_fails_says_why_it_fails() -> None:
    @workflow
    async def fails() -> None:
        workflow.sleep(3)
        raise KeyError("its own")

    assert isinstance(History(fails).task().cold().error, KeyError)


def test_a_def_workflow_has_slept_when_it_returns() -> None:
    @workflow
    def sleeps() -> None:
        workflow.sleep(3)

    assert History(sleeps).task().done().timer().fired("1").task().cold().error is None

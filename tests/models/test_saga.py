"""Saga: what is undone, in which order, on which errors, sync and async; and what waits when undoing fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import (
    ActivityError,
    ApplicationError,
    Retry,
    Saga,
    WorkflowFailedError,
    WorkflowStatus,
    activity,
    call,
    start,
    workflow,
)
from perdure.api.digest import digest
from perdure.interventions import Intervention, InterventionNotFoundError
from perdure.testing import TestEngine

ONCE = Retry(maximum_attempts=1)
TWICE = Retry(maximum_attempts=2)

done: list[str] = []


@activity(name="saga.do", retry=ONCE)
def do(step: str) -> str:
    done.append(f"+{step}")
    return step


@activity(name="saga.undo", retry=TWICE)
def undo(step: str) -> None:
    done.append(f"-{step}")


@activity(name="saga.break", retry=ONCE)
def breaks(step: str) -> None:
    raise ApplicationError(f"{step} is broken", type="Broken")


@activity(name="saga.slow")
def slow(step: str) -> None:
    done.append(step)


@workflow
def order_sync(parallel: bool, steps: list[str]) -> str:
    with Saga(parallel=parallel) as saga:
        for step in steps:
            saga.compensate(undo, step)
            call(do, step)
        call(breaks, "ship")
    return "shipped"


@workflow
async def order_async(parallel: bool, steps: list[str]) -> str:
    async with Saga(parallel=parallel) as saga:
        for step in steps:
            saga.compensate(undo, step)
            await start(do, step)
        await start(breaks, "ship")
    return "shipped"


@workflow
def sleeper_sync() -> None:
    with Saga() as saga:
        saga.compensate(undo, "a")
        workflow.sleep("1d")


@workflow
async def sleeper_async() -> None:
    async with Saga() as saga:
        saga.compensate(undo, "a")
        await asyncio.sleep(86_400)


@workflow
def buggy() -> None:
    with Saga() as saga:
        saga.compensate(undo, "a")
        raise KeyError("missing")


@workflow
def own_error() -> str:
    try:
        with Saga(also=(KeyError,)) as saga:
            saga.compensate(undo, "a")
            raise KeyError("missing")
    except KeyError:
        return "undone"


class Mute(ApplicationError):
    def __str__(self) -> str:
        raise OSError("no text")


@workflow
def fails_without_a_text() -> None:
    with Saga() as saga:
        saga.compensate(undo, "a")
        raise Mute("declined")


ORDERS = [order_sync, order_async]
SLEEPERS = [sleeper_sync, sleeper_async]


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


def waiting(engine: TestEngine) -> Intervention:
    """The one entry that waits."""
    (entry,) = engine.interventions.list()
    return entry


def failed_with(engine: TestEngine, handle: Any) -> BaseException:
    with pytest.raises(WorkflowFailedError) as failed:
        handle.result()
    assert failed.value.cause is not None
    return failed.value.cause


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("parallel", [False, True])
def test_what_was_begun_is_undone_in_reverse_and_the_error_goes_on(order: Any, parallel: bool) -> None:
    with TestEngine() as engine:
        error = failed_with(engine, engine.start(order, parallel, ["a", "b", "c"], id="o"))
        assert isinstance(error, ActivityError)
        assert isinstance(error.cause, ApplicationError) and error.cause.type == "Broken"
        assert done == ["+a", "+b", "+c", "-c", "-b", "-a"]


@pytest.mark.parametrize("order", ORDERS)
def test_only_what_was_begun_is_undone(order: Any) -> None:
    with TestEngine() as engine:
        engine.mock("saga.do", lambda step: done.append(f"+{step}") or (1 / 0 if step == "b" else step))
        failed_with(engine, engine.start(order, False, ["a", "b", "c"], id="o"))
        assert done == ["+a", "+b", "-b", "-a"]


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_is_undone_when_all_went_well(order: Any) -> None:
    with TestEngine() as engine:
        engine.mock("saga.break", returns=None)
        assert engine.run(order, False, ["a"], id="o") == "shipped"
        assert done == ["+a"]


@pytest.mark.parametrize("sleeper", SLEEPERS)
def test_a_cancelled_run_is_undone_and_ends_cancelled(sleeper: Any) -> None:
    with TestEngine() as engine:
        handle = engine.start(sleeper, id="o")
        handle.cancel("no longer wanted")
        with pytest.raises(WorkflowFailedError):
            handle.result()
        assert done == ["-a"]
        assert handle.describe().status is WorkflowStatus.CANCELED


def test_a_bug_undoes_nothing_and_leaves_the_run_open() -> None:
    with TestEngine() as engine:
        handle = engine.start(buggy, id="o")
        engine.advance("5s")
        assert handle.describe().status is WorkflowStatus.RUNNING
        assert done == []
        handle.terminate()


def test_an_error_of_one_s_own_is_named() -> None:
    with TestEngine() as engine:
        assert engine.run(own_error, id="o") == "undone"
        assert done == ["-a"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_compensation_beyond_its_retries_waits_for_a_person_and_is_retried(order: Any) -> None:
    told: list[Intervention] = []
    with TestEngine() as engine:
        engine.mock("perdure.alert", told.append)
        broken = engine.mock("saga.undo", raises=ApplicationError("refunds are down"))
        handle = engine.start(order, False, ["a", "b"], id="o")
        engine.advance("1h")
        entry = waiting(engine)
        assert (entry.workflow_id, entry.step, entry.error) == ("o", "saga.undo", "refunds are down")
        assert told == [entry]
        assert handle.describe().status is WorkflowStatus.RUNNING
        assert len(broken.calls) == 2
        broken.restore()
        engine.interventions.retry(entry, who="Ada", why="the service is back")
        assert isinstance(failed_with(engine, handle), ActivityError)
        assert done == ["+a", "+b", "-b", "-a"]
        assert engine.interventions.list() == []
        assert handle.describe().memo == {}
        signals = [line for line in digest(handle.history()) if line.name == "WorkflowExecutionSignaled"]
        assert len(signals) == 1
        with pytest.raises(InterventionNotFoundError, match="decided before"):
            engine.interventions.skip(entry, who="Bob", why="too late")


def test_what_waits_in_a_paused_run_is_seen_and_decided() -> None:
    with TestEngine() as engine:
        engine.mock("saga.undo", raises=ApplicationError("down"))
        engine.mock("perdure.alert", returns=None)
        handle = engine.start(order_sync, False, ["a"], id="o")
        engine.advance("1h")
        engine.get("o").pause("for a look")
        entry = waiting(engine)
        engine.interventions.skip(entry, who="Ada", why="it was refunded by hand")
        engine.get("o").unpause()
        assert isinstance(failed_with(engine, handle), ActivityError)
        assert engine.interventions.list() == []


def test_retried_and_failing_again_is_another_entry() -> None:
    with TestEngine() as engine:
        engine.mock("saga.undo", raises=ApplicationError("down"))
        engine.mock("perdure.alert", returns=None)
        engine.start(order_sync, False, ["a"], id="o")
        engine.advance("1h")
        first = waiting(engine)
        engine.interventions.retry(first.id, who="Ada", why="try")
        engine.advance("1h")
        assert waiting(engine).id != first.id
        engine.get("o").terminate()
        assert engine.interventions.list() == []


@pytest.mark.parametrize("action", ["skip", "complete"])
def test_skipped_or_completed_by_hand_the_others_are_undone(action: str) -> None:
    with TestEngine() as engine:
        engine.mock("perdure.alert", returns=None)
        engine.mock("saga.undo", lambda step: 1 / 0 if step == "b" else done.append(f"-{step}"))
        handle = engine.start(order_sync, False, ["a", "b", "c"], id="o")
        engine.advance("1h")
        entry = waiting(engine)
        if action == "skip":
            engine.interventions.skip(entry, who="Ada", why="never happened")
        else:
            engine.interventions.complete(entry, "R-7", who="Ada", why="by telephone")
        assert isinstance(failed_with(engine, handle), ActivityError)
        assert done == ["+a", "+b", "+c", "-c", "-a"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("parallel", [False, True])
def test_given_up_the_run_says_what_was_not_undone(order: Any, parallel: bool) -> None:
    with TestEngine() as engine:
        engine.mock("perdure.alert", returns=None)
        engine.mock("saga.undo", lambda step: 1 / 0 if step in "ab" else done.append(f"-{step}"))
        handle = engine.start(order, parallel, ["a", "b", "c"], id="o")
        engine.advance("1h")
        entries = engine.interventions.list()
        assert len(entries) == (2 if parallel else 1)
        for entry in reversed(entries):
            engine.interventions.fail(entry, who="Ada", why="the bank is gone")
        engine.advance("1h")
        for entry in engine.interventions.list():
            engine.interventions.fail(entry, who="Ada", why="the bank is gone")
        error = failed_with(engine, handle)
        assert isinstance(error, ApplicationError) and error.type == "CompensationFailed"
        assert str(error).count("saga.undo (Ada: the bank is gone)") == 2
        assert isinstance(error.cause, ActivityError)
        assert done == ["+a", "+b", "+c", "-c"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_cancellation_does_not_interrupt_the_undoing(order: Any) -> None:
    with TestEngine() as engine:
        engine.mock("perdure.alert", returns=None)
        broken = engine.mock("saga.undo", raises=ApplicationError("down"))
        handle = engine.start(order, False, ["a", "b"], id="o")
        engine.advance("1h")
        handle.cancel("never mind")
        engine.advance("1h")
        entry = waiting(engine)
        broken.restore()
        engine.interventions.retry(entry, who="Ada", why="back")
        assert isinstance(failed_with(engine, handle), ActivityError)
        assert done == ["+a", "+b", "-b", "-a"]


def test_a_decision_needs_a_person_and_a_reason() -> None:
    with TestEngine() as engine:
        with pytest.raises(ValueError, match="who made it and why"):
            engine.interventions.skip("x", who="", why="because")
        with pytest.raises(InterventionNotFoundError):
            engine.interventions.skip("x", who="Ada", why="because")


def test_a_compensation_without_a_policy_has_a_ceiling_and_a_declared_one_is_kept() -> None:
    attempts: list[int] = []

    @workflow
    def uses() -> None:
        with Saga(retry=Retry(maximum_attempts=3)) as saga:
            saga.compensate(slow, "x")
            raise ApplicationError("no")

    with TestEngine() as engine:
        engine.mock("perdure.alert", returns=None)
        engine.mock("saga.slow", lambda step: attempts.append(1) or 1 / 0)
        engine.start(uses, id="o")
        engine.advance("1h")
        assert len(attempts) == 3
        assert waiting(engine).step == "saga.slow"
        engine.get("o").terminate()


def test_an_error_that_has_no_text_does_not_hide_what_was_not_undone() -> None:
    with TestEngine() as engine:
        engine.mock("perdure.alert", returns=None)
        engine.mock("saga.undo", lambda step: 1 / 0)
        handle = engine.start(fails_without_a_text, id="o")
        engine.advance("1h")
        engine.interventions.fail(engine.interventions.list()[0], who="Ada", why="the bank is gone")
        error = failed_with(engine, handle)
    assert isinstance(error, ApplicationError) and error.type == "CompensationFailed"
    assert "the saga failed with: Mute (its text could not be made: OSError)" in error.message
    assert isinstance(error.cause, ApplicationError) and error.cause.message == "declined"

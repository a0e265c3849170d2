"""Pausing, resetting and changing one activity, from a client's side."""

from __future__ import annotations

import asyncio

import pytest

from perdure import PendingActivity, Retry, WorkflowNotFoundError, activity, call, workflow
from perdure.sdk.errors import ApplicationError
from perdure.testing import TestEngine

attempts: list[int] = []
broken = [True]


@activity(retry=Retry(initial_interval="1h", backoff_coefficient=1))
def flaky() -> str:
    attempts.append(activity.info().attempt)
    if broken[0]:
        raise ApplicationError("not now")
    return "done"


@activity(start_to_close_timeout="10s", retry=Retry(initial_interval="1s", maximum_attempts=2))
async def slow() -> str:
    await asyncio.sleep(60)
    return "took its time"


@workflow
def calls_it() -> str:
    return call(flaky)


@workflow
def calls_slow() -> str:
    return call(slow)


@pytest.fixture
def engine() -> TestEngine:
    attempts.clear()
    broken[0] = True
    return TestEngine()


def pending(engine: TestEngine) -> PendingActivity:
    (found,) = engine.get("w").describe().pending_activities
    return found


def test_a_paused_activity_is_not_tried_until_it_is_unpaused(engine: TestEngine) -> None:
    with engine:
        handle = engine.start(calls_it, id="w")
        engine.advance("1m")
        engine.activities.pause("w", flaky, "the service is down")
        assert pending(engine).state == "paused"
        engine.advance("5h")
        assert attempts == [1]
        broken[0] = False
        engine.activities.unpause("w", "1", reset_attempts=True)
        assert handle.result() == "done"
        assert attempts == [1, 1]


def test_a_reset_activity_begins_anew_now(engine: TestEngine) -> None:
    with engine:
        handle = engine.start(calls_it, id="w")
        engine.advance("90m")
        assert attempts == [1, 2]
        broken[0] = False
        engine.activities.reset("w", flaky, reset_heartbeat=True)
        engine.advance("1s")
        assert attempts == [1, 2, 1]
        assert handle.result() == "done"


def test_a_paused_one_may_be_reset_and_stay_so(engine: TestEngine) -> None:
    with engine:
        engine.start(calls_it, id="w")
        engine.advance("1m")
        engine.activities.pause("w", "1")
        engine.activities.reset("w", "1", keep_paused=True)
        engine.advance("3h")
        assert (pending(engine).state, attempts) == ("paused", [1])


def test_an_activity_gets_other_options(engine: TestEngine) -> None:
    with engine:
        handle = engine.start(calls_slow, id="w")
        engine.advance("1s")
        engine.activities.update_options(
            "w", slow, start_to_close_timeout="2m", schedule_to_close_timeout="1h", schedule_to_start_timeout="5m",
            heartbeat_timeout="90s",
            retry=Retry(initial_interval="5s"), task_queue="default",
        )  # fmt: skip
        assert handle.result() == "took its time"


def test_and_those_of_its_call_again(engine: TestEngine) -> None:
    with engine:
        engine.start(calls_it, id="w")
        engine.advance("1m")
        engine.activities.update_options("w", flaky, retry=Retry(initial_interval="1h", maximum_attempts=2))
        assert pending(engine).maximum_attempts == 2
        engine.activities.update_options("w", "1", restore_options=True)
        assert pending(engine).maximum_attempts == 0


def test_what_cannot_be_asked_for(engine: TestEngine) -> None:
    with engine:
        engine.start(calls_it, id="w")
        engine.advance("1m")
        with pytest.raises(WorkflowNotFoundError, match="pausing activity 'ninth' of workflow 'w'"):
            engine.activities.pause("w", "ninth")
        with pytest.raises(ValueError, match="which options"):
            engine.activities.update_options("w", "1")
        with pytest.raises(ValueError, match="which options"):
            engine.activities.update_options("w", "1", heartbeat_timeout="1s", restore_options=True)

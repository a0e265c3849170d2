"""Local activities as a user runs them, on time that skips: retries, time-outs, cancellation, long ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure import (
    ActivityError,
    ApplicationError,
    CancelledError,
    Retry,
    activity,
    call,
    call_local,
    start_local,
    workflow,
)
from perdure.testing import TestEngine, assert_replays

attempts: list[tuple[int, str, bool]] = []
stopped: list[str] = []


@activity
def price(item: str) -> int:
    info = activity.info()
    attempts.append((info.attempt, info.idempotency_key, info.is_local))
    return len(item)


@activity(retry=Retry(initial_interval="1s", backoff_coefficient=10, maximum_attempts=6))
def moody(good_from: int) -> int:
    info = activity.info()
    attempts.append((info.attempt, info.idempotency_key, info.is_local))
    if info.attempt < good_from:
        raise ApplicationError("not in the mood", type="Moody")
    return info.attempt


@activity
async def takes(seconds: float) -> str:
    try:
        activity.heartbeat("is ignored")
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        stopped.append(activity.info().activity_id)
        raise
    return f"took {seconds:g} s"


@workflow
def prices() -> list[int]:
    return [call_local(price, "pen"), call_local(price, item="paper")]


@workflow
async def prices_async() -> list[int]:
    return await asyncio.gather(*(start_local(price, item) for item in ("pen", "paper")))


@workflow
def tries(good_from: int, threshold: str) -> int:
    return call_local(moody.options(local_retry_threshold=threshold), good_from)


@workflow
def lasts(seconds: float) -> str:
    return call_local(takes, seconds)


@workflow
def limited() -> str:
    once = takes.options(start_to_close_timeout="5s", retry=Retry(maximum_attempts=2))
    try:
        return call_local(once, 60)
    except ActivityError as error:
        return f"{error.cause!r} {error.retry_state.name}"


@workflow
def limited_overall() -> str:
    try:
        return str(call_local(moody.options(schedule_to_close_timeout="30s"), 9))
    except ActivityError as error:
        return f"{error.cause} {error.retry_state.name}"


@workflow
def gives_up(kind: str) -> str:
    handle = start_local(takes.options(cancellation=kind), 100)
    workflow.sleep(20)
    handle.cancel()
    try:
        result = handle.result()
    except CancelledError as error:
        result = error.message
    workflow.sleep(1)
    return result


@workflow
def listens() -> str:
    workflow.on_query("where", lambda: "in the middle")
    done = call_local(takes, 30)
    return f"{done}, {workflow.wait_signal('word', '1s')}"


@workflow
def leaves_it() -> str:
    start_local(takes, 1000)
    workflow.sleep(20)
    return "did not wait"


def kinds(events: Sequence[HistoryEvent], *wanted: str) -> list[str]:
    names = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]
    return [name for name in names if not wanted or name in wanted]


def run(code: Any, *args: Any) -> tuple[Any, list[HistoryEvent]]:
    """Its result and its history, which replays."""
    attempts.clear()
    stopped.clear()
    with TestEngine() as engine:
        result = engine.run(code, *args, id="w")
        events = engine.get("w").history()
        assert_replays(events, [code])
    return result, events


@pytest.mark.parametrize("code", [prices, prices_async])
def test_one_workflow_task_and_a_marker_each(code: Any) -> None:
    result, events = run(code)
    assert result == [3, 5]
    assert kinds(events) == [
        "WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED",
        "MARKER_RECORDED", "MARKER_RECORDED", "WORKFLOW_EXECUTION_COMPLETED",
    ]  # fmt: skip
    assert [(attempt, is_local) for attempt, _, is_local in attempts] == [(1, True), (1, True)]


def test_attempts_are_made_in_the_worker_with_one_key() -> None:
    result, events = run(tries, 3, "1m")
    assert result == 3
    assert [attempt for attempt, _, _ in attempts] == [1, 2, 3]
    assert len({key for _, key, _ in attempts}) == 1
    assert "TIMER_STARTED" not in kinds(events)
    assert kinds(events, "WORKFLOW_TASK_COMPLETED") == ["WORKFLOW_TASK_COMPLETED"] * 2, "11 s are more than one task"


def test_long_back_offs_are_durable_timers() -> None:
    result, events = run(tries, 4, "5s")
    assert result == 4
    assert [attempt for attempt, _, _ in attempts] == [1, 2, 3, 4]
    assert len({key for _, key, _ in attempts}) == 1
    waited = [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in events
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
    ]
    assert waited == [10, 100]


def test_a_long_one_keeps_its_task_alive() -> None:
    result, events = run(lasts, 100.0)
    assert result == "took 100 s"
    assert "WORKFLOW_TASK_TIMED_OUT" not in kinds(events)
    assert kinds(events, "WORKFLOW_TASK_COMPLETED") == ["WORKFLOW_TASK_COMPLETED"] * 13, "one every 8 seconds"


def test_an_attempt_that_takes_too_long_is_stopped_and_counts() -> None:
    result, _ = run(limited)
    assert result == "TimedOutError('activity timed out') MAXIMUM_ATTEMPTS_REACHED"
    assert stopped == ["1", "1"]


def test_all_attempts_together_have_their_time() -> None:
    result, _ = run(limited_overall)
    assert result == "Moody: not in the mood TIMEOUT"
    assert [attempt for attempt, _, _ in attempts] == [1, 2, 3], "the next back-off would be 100 s"


@pytest.mark.parametrize(
    ("kind", "result", "told"),
    [
        ("try", "activity takes was cancelled", ["1"]),
        ("wait", "activity takes was cancelled", ["1"]),
        ("abandon", "activity takes was cancelled", []),
    ],
)
def test_cancelling(kind: str, result: str, told: list[str]) -> None:
    given, events = run(gives_up, kind)
    assert given == result
    assert stopped[: len(told)] == told
    assert kinds(events, "MARKER_RECORDED") == ["MARKER_RECORDED"]


def test_a_workflow_that_ends_stops_what_it_left() -> None:
    result, events = run(leaves_it)
    assert result == "did not wait"
    assert stopped == ["1"] and "MARKER_RECORDED" not in kinds(events)


def test_a_query_and_a_signal_come_in_between() -> None:
    with TestEngine() as engine:
        handle = engine.start(listens, id="w")
        engine.advance("2s")
        assert handle.query("where") == "in the middle"
        handle.signal("word", "hello")
        assert handle.result() == "took 30 s, hello"
        assert_replays(handle.history(), [listens])


def test_a_mock_takes_its_place() -> None:
    with TestEngine() as engine:
        engine.mock("price", returns=7)
        assert engine.run(prices, id="w") == [7, 7]


def test_one_that_is_not_registered_runs_all_the_same() -> None:
    with TestEngine(workflows=[prices], activities=[]) as engine:
        assert engine.run(prices, id="w") == [3, 5]


def test_an_ordinary_one_is_not_local() -> None:
    @workflow
    def ordinary() -> int:
        return call(price, "ink")

    run(ordinary)
    assert [is_local for _, _, is_local in attempts] == [False]

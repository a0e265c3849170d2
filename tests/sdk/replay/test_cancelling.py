"""A cancelled run raises where it waits, and may clean up."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.sdk.errors import (
    CancelledError,
)
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b


def test_a_cancelled_run_raises_where_it_waits_and_cleans_up() -> None:
    @workflow
    def cleans_up() -> str:
        try:
            call(a)
        except CancelledError as error:
            call(b, str(error))
            raise
        return "no"

    history = History(cleans_up).task().done().scheduled("a").cancel_requested("enough").task()
    first = history.cold()
    assert texts(first.commands) == [
        "cancel activity of event 5",
        'schedule b("the workflow was cancelled: enough") as 2',
    ]
    history.apply(first.commands).completed("2").task()
    last = history.cold()
    assert texts(last.commands) == ["cancel workflow"]
    assert last.finished


@pytest.mark.parametrize("cancellation", ["try", "wait", "abandon"])
def test_how_a_cancelled_run_leaves_its_activity(cancellation: Any) -> None:
    @workflow
    def waits() -> str:
        return call(a.options(cancellation=cancellation))

    history = History(waits).task().done().scheduled("a").cancel_requested().task()
    expected = {
        "try": ["cancel activity of event 5", "cancel workflow"],
        "wait": ["cancel activity of event 5"],
        "abandon": ["cancel workflow"],
    }
    assert texts(history.cold().commands) == expected[cancellation]
    if cancellation == "wait":
        history.done().cancel_asked("1").cancelled("1").task()
        assert texts(history.cold().commands) == ["cancel workflow"]


def test_a_cancellation_that_came_before_the_first_task_is_raised_at_the_first_wait() -> None:
    @workflow
    def begins() -> None:
        try:
            workflow.sleep(60)
        finally:
            call(b)

    history = History(begins).cancel_requested().task()
    assert texts(history.cold().commands) == ["schedule b() as 1"]


def test_a_result_that_came_with_the_cancellation_is_not_lost() -> None:
    @workflow
    def both() -> list[Any]:
        value = call(a)
        try:
            workflow.sleep(60)
        except CancelledError:
            return [value, "cancelled", workflow.cancel_requested()]
        return []

    history = History(both).task().done().scheduled("a").completed("1", 7).cancel_requested().task()
    assert texts(history.cold().commands) == ['complete [7,"cancelled",true]']


def test_a_second_request_changes_nothing() -> None:
    @workflow
    def stubborn() -> str:
        try:
            workflow.sleep(60)
        except CancelledError:
            workflow.sleep(60)
        return "slept"

    history = History(stubborn).task().done().timer().cancel_requested().task()
    first = history.cold()
    assert texts(first.commands) == ["cancel timer 1", "timer 2 for 60s"]
    history.apply(first.commands).cancel_requested().task()
    assert history.cold().commands == []
    history.done().fired("2").task()
    assert texts(history.cold().commands) == ['complete "slept"']


def test_wait_all_cancels_what_it_waits_for_and_wait_any_does_not() -> None:
    @workflow
    def gathers() -> None:
        workflow.wait_all(start(a), start(b))

    @workflow
    def races() -> None:
        workflow.wait_any(start(a), start(b))

    for definition, expected in (
        (gathers, ["cancel activity of event 5", "cancel activity of event 6", "cancel workflow"]),
        (races, ["cancel workflow"]),
    ):
        history = History(definition).task().done().scheduled("a").scheduled("b").cancel_requested().task()
        assert texts(history.cold().commands) == expected


def test_waiting_with_a_time_out_cancels_its_timer_when_the_run_is_cancelled() -> None:
    @workflow
    def waits() -> bool:
        return workflow.wait_condition(lambda: False, timeout="1h")

    history = History(waits).task().done().timer().cancel_requested().task()
    assert texts(history.cold().commands) == ["cancel timer 1", "cancel workflow"]


def test_cancelled_error_without_a_request_fails_the_run() -> None:
    @workflow
    def raises_it() -> None:
        raise CancelledError("by myself")

    outcome = History(raises_it).task().cold()
    assert texts(outcome.commands) == ["fail by myself"]
    failure = outcome.commands[0].fail_workflow_execution_command_attributes.failure
    assert failure.HasField("canceled_failure_info")

"""Waiting for conditions and handles in `def` workflows, and cancelling what was started."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.sdk.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    EngineError,
)
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b


def test_what_happened_in_one_section_is_all_seen_at_once() -> None:
    @workflow
    def sees() -> list[bool]:
        one, two, three = start(a), start(a), start(a)
        done = workflow.wait_any(one, two, three)
        return [h in done for h in (one, two, three)]

    history = History(sees).task().done().scheduled("a").scheduled("a").scheduled("a")
    history.completed("3").completed("1").task()
    assert texts(history.cold().commands) == ["complete [true,false,true]"]


def test_waiting_on_a_condition_with_a_time_out() -> None:
    @workflow
    def waits() -> list[bool]:
        handle = start(a)
        first = workflow.wait_condition(handle.done, timeout="1m")
        second = workflow.wait_condition(handle.done, timeout="1m")
        return [first, second]

    history = History(waits).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule a() as 1", "timer 1 for 60s"]
    history.apply(first.commands).fired("1").task()
    second = history.cold()
    assert texts(second.commands) == ["timer 2 for 60s"]
    history.apply(second.commands).completed("1").task()
    third = history.cold()
    assert texts(third.commands) == ["cancel timer 2", "complete [false,true]"]


def test_wait_all_returns_values_in_order_and_raises_the_first_error_in_order() -> None:
    @workflow
    def gathers() -> list[Any]:
        return workflow.wait_all(start(a, 1), start(b, 2), timeout="1h")

    history = History(gathers).task().done().scheduled("a").scheduled("b").timer()
    both = History(gathers).task().done().scheduled("a").scheduled("b").timer()
    both.completed("2", "two").task().done().completed("1", "one").task()
    assert texts(both.cold().commands) == ["cancel timer 1", 'complete ["one","two"]']
    history.failed("2", ApplicationError("second")).failed("1", ApplicationError("first")).task()
    assert texts(history.cold().commands) == ["cancel timer 1", "fail activity task failed <- first"]


def test_a_condition_that_raises_raises_where_it_is_waited_for() -> None:
    flag: list[int] = []

    @workflow
    def waits() -> str:
        handle = start(a)
        try:
            workflow.wait_condition(lambda: handle.done() and flag[0] == 1)
        except IndexError:
            return "caught"
        return "done"

    history = History(waits).task().done().scheduled("a").completed("1").task()
    assert texts(history.cold().commands) == ['complete "caught"']


def test_a_condition_must_not_wait_itself() -> None:
    @workflow
    def waits() -> None:
        handle = start(a)
        workflow.wait_condition(lambda: handle.done() and call(b))

    history = History(waits).task().done().scheduled("a").completed("1").task()
    outcome = history.cold()
    assert isinstance(outcome.error, EngineError)
    assert "a condition must not" in str(outcome.error)


def test_cancelling_what_was_started_in_the_same_task_leaves_nothing() -> None:
    @workflow
    def changes_its_mind() -> list[Any]:
        handle, timer = start(a), workflow.timer(60)
        assert handle.cancel()
        assert timer.cancel()
        assert not handle.cancel()
        for thing in (handle, timer):
            try:
                thing.result()
            except CancelledError:
                continue
            raise AssertionError
        return [handle.done(), timer.done(), call(b)]

    history = History(changes_its_mind).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule b() as 2"]
    history.apply(first.commands).completed("2", "x").task()
    assert texts(history.cold().commands) == ['complete [true,true,"x"]']


def test_cancelling_a_started_timer_and_a_scheduled_activity() -> None:
    @workflow
    def stops() -> str:
        handle, timer, quick = start(a), workflow.timer(60), start(b)
        quick.result()
        timer.cancel()
        handle.cancel()
        return call(b)

    history = History(stops).task()
    first = history.cold()
    history.apply(first.commands).completed("2").task()
    second = history.cold()
    assert texts(second.commands) == ["cancel timer 1", "cancel activity of event 5", "schedule b() as 3"]
    history.apply(second.commands).cancelled("1").completed("3", "end").task()
    assert texts(history.cold().commands) == ['complete "end"']


def test_an_activity_cancelled_in_the_middle_may_still_complete() -> None:
    @workflow
    def stops() -> list[Any]:
        handle = start(a.options(cancellation="wait"))
        workflow.sleep(1)
        handle.cancel()
        assert not handle.done()
        return [handle.result()]

    history = History(stops).task().done().scheduled("a").timer().fired("1").task()
    assert texts(history.cold().commands) == ["cancel activity of event 5"]
    history.done().cancel_asked("1").completed("1", "too late").task()
    assert texts(history.cold().commands) == ['complete ["too late"]']


@pytest.mark.parametrize("ending", ["failed", "timed_out", "cancelled"])
def test_a_cancelled_and_waited_for_activity_may_end_in_any_way(ending: str) -> None:
    @workflow
    def stops() -> str:
        handle = start(a.options(cancellation="wait"))
        workflow.sleep(1)
        handle.cancel()
        try:
            handle.result()
        except (ActivityError, CancelledError) as error:
            return type(error).__name__
        return "done"

    history = History(stops).task().done().scheduled("a").timer().fired("1").task().done().cancel_asked("1")
    getattr(history, ending)("1")
    expected = "CancelledError" if ending == "cancelled" else "ActivityError"
    assert texts(history.task().cold().commands) == [f'complete "{expected}"']


@pytest.mark.parametrize("ending", ["completed", "failed", "timed_out", "cancelled"])
def test_how_an_activity_ends_that_was_given_up_does_not_matter(ending: str) -> None:
    @workflow
    def stops() -> str:
        handle = start(a)
        workflow.sleep(1)
        handle.cancel()
        workflow.sleep(1)
        return "slept"

    history = History(stops).task().done().scheduled("a").timer().fired("1").task().done().cancel_asked("1").timer()
    getattr(history, ending)("1")
    assert texts(history.task().cold().commands) == []
    assert texts(history.done().fired("2").task().cold().commands) == ['complete "slept"']


def test_an_abandoned_activity_is_not_told() -> None:
    @workflow
    def leaves_it() -> str:
        handle = start(a.options(cancellation="abandon"))
        workflow.sleep(1)
        handle.cancel()
        return "left"

    history = History(leaves_it).task().done().scheduled("a").timer().fired("1").task()
    assert texts(history.cold().commands) == ['complete "left"']

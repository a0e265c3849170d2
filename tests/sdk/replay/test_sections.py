"""How the machine walks through a history: sections, tasks that came to nothing, commands and their options."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.sdk.activity import activity
from perdure.sdk.replay.outcome import HistoryGapError
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b, two_in_a_row


def test_the_code_does_not_run_at_tasks_that_failed_or_timed_out() -> None:
    ran: list[str] = []

    @workflow
    def counts() -> Any:
        ran.append("begin")
        value = call(a)
        ran.append("end")
        return value

    history = History(counts).task().task_timed_out().task().task_failed().task().done().scheduled("a")
    history.completed("1", 5).task().task_failed().task().task_timed_out().task()
    outcome = history.cold()
    assert texts(outcome.commands) == ["complete 5"]
    assert ran == ["begin", "end"]


def test_workflow_time_is_that_of_the_task_that_counted() -> None:
    times: list[float] = []

    @workflow
    def tells() -> None:
        times.append(workflow.time())
        call(a)
        times.append(workflow.time())

    history = (
        History(tells).task().task_timed_out().task().done().scheduled("a").completed("1").task().task_failed().task()
    )
    history.cold()
    assert [t - times[0] for t in times] == [0, 2]
    assert times[0] == history.events[4].event_time.seconds


def test_a_task_that_is_delivered_again_after_a_failure_starts_the_machine_over() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    machine.process(history.since())
    history.task_timed_out().task()
    again = machine.process(history.since())
    assert texts(again.commands) == ["schedule a(1) as 1"]
    seen = history.last
    history.apply(again.commands).completed("1", "x").task()
    assert texts(machine.process(history.since(seen)).commands) == ["schedule b(1) as 2"]


def test_a_history_that_does_not_continue_is_refused_and_changes_nothing() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    first = machine.process(history.since())
    seen = history.last
    history.apply(first.commands).completed("1", "x").task()
    with pytest.raises(HistoryGapError, match=rf"before event {seen + 1}.*at event {seen + 3}"):
        machine.process(history.since(seen + 2))
    assert texts(machine.process(history.since(seen)).commands) == ["schedule b(1) as 2"]


def test_two_tasks_may_come_in_one_piece_of_history() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    machine.process(history.since())
    seen = history.last
    history.done().scheduled("a").completed("1", "x").task().done().scheduled("b").completed("2", "y").task()
    assert texts(machine.process(history.since(seen)).commands) == ['complete ["x","y"]']


def test_commands_of_one_task_keep_the_order_of_the_code_and_ids_count_up() -> None:
    @workflow
    def many() -> None:
        handles = [start(a, n) for n in range(3)]
        workflow.timer(1)
        workflow.side_effect(lambda: "x")
        handles.append(start(b))
        workflow.timer("2s")
        workflow.wait_all(*handles)

    assert texts(History(many).task().cold().commands) == [
        "schedule a(0) as 1",
        "schedule a(1) as 2",
        "schedule a(2) as 3",
        "timer 1 for 1s",
        'marker SideEffect "x"',
        "schedule b() as 4",
        "timer 2 for 2s",
    ]


def test_a_command_carries_all_options_of_the_activity() -> None:
    from perdure.sdk.options import Retry

    @activity(
        start_to_close_timeout="5s",
        schedule_to_close_timeout="1h",
        schedule_to_start_timeout="2s",
        heartbeat_timeout="500ms",
        task_queue="q2",
    )
    def full() -> None: ...

    @workflow
    def calls() -> None:
        start(full)
        start(full.options(start_to_close_timeout="7s", retry=Retry(maximum_attempts=3), task_queue="q3"))
        start(a)
        workflow.sleep(1)

    first, second, third, _ = History(calls).task().cold().commands
    one = first.schedule_activity_task_command_attributes
    assert one.activity_type.name == "full"
    assert one.task_queue.name == "q2"
    assert one.start_to_close_timeout.seconds == 5
    assert one.schedule_to_close_timeout.seconds == 3600
    assert one.schedule_to_start_timeout.seconds == 2
    assert one.heartbeat_timeout.nanos == 500_000_000
    assert not one.HasField("retry_policy")
    two = second.schedule_activity_task_command_attributes
    assert two.start_to_close_timeout.seconds == 7
    assert two.retry_policy.maximum_attempts == 3
    assert two.task_queue.name == "q3"
    three = third.schedule_activity_task_command_attributes
    assert three.task_queue.name == "default"
    assert three.start_to_close_timeout.seconds == 600

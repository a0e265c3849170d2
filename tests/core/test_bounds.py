"""Every bound is reached, says its name, and loses nothing silently."""

from __future__ import annotations

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core.limits import Limits
from tests.core import given
from tests.core.given import World, refused, schedule, timer


def started(limits: Limits) -> tuple[World, given.StartedWorkflowTask]:
    world = World(limits)
    world.start()
    return world, world.workflow_task()


def test_too_many_activities_at_once_fail_the_task_with_temporals_cause() -> None:
    world, task = started(Limits(pending_activities=3))
    rejected = refused(lambda: world.complete_task(task, *[schedule(str(n)) for n in range(4)]))
    assert rejected.message == (
        "PendingActivitiesLimitExceeded: the number of pending activities, 3, has reached the per-workflow limit of 3"
    )
    failed = world.history[-1].workflow_task_failed_event_attributes
    assert failed.cause == enums.PENDING_ACTIVITIES_LIMIT_EXCEEDED
    world.complete_task(world.workflow_task(), *[schedule(str(n)) for n in range(3)])
    assert len(world.run.activities) == 3


def test_too_many_timers_at_once_fail_the_task() -> None:
    world, task = started(Limits(pending_timers=2))
    rejected = refused(lambda: world.complete_task(task, *[timer(str(n)) for n in range(3)]))
    assert "reached the per-workflow limit of 2" in rejected.message


def test_a_worker_is_told_to_continue_as_new_in_time() -> None:
    world, task = started(Limits(suggest_continue_as_new_events=5, suggest_continue_as_new_bytes=100))
    world.complete_task(task, given.marker(), timer())
    world.elapse(1)
    world.workflow_task()
    attributes = world.history[-1].workflow_task_started_event_attributes
    assert attributes.suggest_continue_as_new
    assert list(attributes.suggest_continue_as_new_reasons) == [
        enums.TOO_MANY_HISTORY_EVENTS,
        enums.HISTORY_SIZE_TOO_LARGE,
    ]


def test_a_history_with_too_many_events_is_terminated_with_the_reason() -> None:
    world, task = started(Limits(history_events=6))
    rejected = refused(lambda: world.complete_task(task, *[given.marker() for _ in range(5)]))
    assert (rejected.code, rejected.message) == (StatusCode.INVALID_ARGUMENT, "Workflow history count exceeds limit.")
    assert given.names(world.history)[-2:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"], "and no marker"
    failed = world.history[-2].workflow_task_failed_event_attributes
    assert (failed.cause, failed.HasField("failure")) == (enums.FAILED_FORCE_CLOSE_COMMAND, False)
    attributes = world.history[-1].workflow_execution_terminated_event_attributes
    assert attributes.reason == "Workflow history count exceeds limit."
    assert not world.run.is_open


def test_a_history_of_exactly_the_allowed_length_goes_on() -> None:
    world, task = started(Limits(history_events=6))
    world.complete_task(task, given.marker(), given.marker())
    assert world.run.is_open
    world, task = started(Limits(history_events=6))
    refused(lambda: world.complete_task(task, *[given.marker() for _ in range(3)]))
    assert not world.run.is_open


def test_what_comes_from_outside_ends_a_run_whose_history_is_full() -> None:
    world, task = started(Limits(history_events=6))
    world.complete_task(task, given.marker(), given.marker())
    world.ask(given.law.Signal(given.signal_request()))
    assert given.names(world.history)[-1] == "WorkflowExecutionTerminated"


def test_a_history_that_is_too_big_is_terminated_with_the_reason() -> None:
    world, task = started(Limits(history_bytes=2000))
    world.complete_task(task, *[given.marker() for _ in range(50)])
    attributes = world.history[-1].workflow_execution_terminated_event_attributes
    assert attributes.reason == "Workflow history size exceeds limit."


def test_too_many_events_behind_a_task_fail_it_and_enter_history() -> None:
    world, task = started(Limits(buffered_events=4))
    world.complete_task(task, *[schedule(str(n)) for n in range(5)])
    world.complete_activity(world.activity_task("0"))
    world.workflow_task()
    for n in range(1, 4):
        world.complete_activity(world.activity_task(str(n)))
    assert "WorkflowTaskFailed" in given.names(world.history)
    assert world.run.facts.buffered == []
    assert given.names(world.history).count("ActivityTaskCompleted") == 4


def test_an_event_that_is_too_big_to_wait_enters_history_too() -> None:
    world, task = started(Limits(buffered_bytes=1000))
    world.complete_task(task, schedule("1"), schedule("2"))
    world.complete_activity(world.activity_task("1"))
    world.workflow_task()
    world.complete_activity(world.activity_task("2"), "x" * 2000)
    assert world.run.facts.buffered == []

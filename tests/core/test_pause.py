"""Pause: everything is collected and nothing asked; the histories are those of the real server."""

from __future__ import annotations

from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest, UnpauseWorkflowExecutionRequest

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core import commands as law
from tests.core import given
from tests.core.given import World, after, in_first_task, names, refused, schedule, timer


def pause(world: World) -> None:
    world.ask(law.PauseWorkflow(PauseWorkflowExecutionRequest(identity="operator", reason="why")))


def unpause(world: World) -> None:
    world.ask(law.UnpauseWorkflow(UnpauseWorkflowExecutionRequest(identity="operator", reason="enough")))


def test_a_paused_run_collects_what_happens() -> None:
    world = after(schedule(), timer("a", 1))
    task = world.activity_task()
    pause(world)
    assert world.run.status == enums.PAUSED
    world.cancel()
    world.complete_activity(task)
    world.elapse(2)
    assert world.tail(5) == [
        *["WorkflowExecutionPaused", "WorkflowExecutionCancelRequested", "ActivityTaskStarted"],
        *["ActivityTaskCompleted", "TimerFired"],
    ]
    assert world.rows == []
    unpause(world)
    assert world.tail(2) == ["WorkflowExecutionUnpaused", "WorkflowTaskScheduled"]
    world.complete_task(world.workflow_task(), given.complete())


def test_a_scheduled_task_is_taken_back() -> None:
    world = World()
    world.start()
    pause(world)
    assert names(world.history)[2:] == ["WorkflowTaskFailed", "WorkflowExecutionPaused"]
    assert world.rows == []
    unpause(world)
    assert world.workflow_task().attempt == 1


def test_a_pause_waits_behind_a_running_task() -> None:
    world, task = in_first_task()
    pause(world)
    world.complete_task(task, schedule("1"))
    assert world.tail(3) == ["WorkflowTaskCompleted", "ActivityTaskScheduled", "WorkflowExecutionPaused"]
    assert world.rows == []
    unpause(world)
    world.complete_activity(world.activity_task("1"))


def test_a_pause_and_its_end_behind_a_running_task() -> None:
    world, task = in_first_task()
    pause(world)
    assert refused(lambda: pause(world)).message == "workflow is already paused."
    unpause(world)
    world.complete_task(task, schedule("1"))
    assert world.tail(3) == ["WorkflowExecutionPaused", "WorkflowExecutionUnpaused", "WorkflowTaskScheduled"]
    world.complete_activity(world.activity_task("1"))


def test_no_attempt_begins_while_the_run_is_paused() -> None:
    world = after(schedule(policy=given.retry(initial=1)))
    task = world.activity_task()
    pause(world)
    world.fail_activity(task)
    world.elapse(5)
    assert world.rows == []
    unpause(world)
    assert world.activity_task().attempt == 2


def test_a_failing_task_is_taken_back_and_comes_again() -> None:
    world, task = in_first_task()
    world.fail_task(task)
    pause(world)
    assert world.rows == []
    unpause(world)
    assert world.workflow_task().attempt == 2


def test_a_start_delay_goes_on_under_a_pause() -> None:
    world = World()
    world.start(workflow_start_delay=5.0)
    pause(world)
    world.elapse(10)
    assert names(world.history) == ["WorkflowExecutionStarted", "WorkflowExecutionPaused"]
    unpause(world)
    world.elapse(0)
    assert world.workflow_task().attempt == 1


def test_a_paused_run_is_terminated_and_times_out() -> None:
    world = after(schedule())
    pause(world)
    world.terminate()
    world = after(schedule(), workflow_run_timeout=5.0)
    pause(world)
    world.elapse(5)
    assert world.tail(1) == ["WorkflowExecutionTimedOut"]


def test_updates_are_refused_and_those_admitted_wait() -> None:
    world = after()
    world.update("u1")
    pause(world)
    world.update("u2")
    unpause(world)
    [message] = world.workflow_task().messages
    assert message.protocol_instance_id == "u1"


def test_what_cannot_be_done_is_refused() -> None:
    world = after()
    assert refused(lambda: unpause(world)).code == StatusCode.FAILED_PRECONDITION
    world.terminate()
    assert refused(lambda: pause(world)).code == StatusCode.NOT_FOUND
    assert refused(lambda: unpause(world)).code == StatusCode.NOT_FOUND

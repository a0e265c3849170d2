"""The workflow task: attempts, stickiness, buffering, stale answers, commands refused."""

from __future__ import annotations

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core import commands as law
from perdure.core.limits import Limits
from perdure.core.names import TaskKind
from perdure.core.workflow_task import backoff_ns
from tests.core import given
from tests.core.given import SECOND, World, after, in_first_task, names, refused, schedule, seconds, timer


def sticky(schedule_to_start: float = 5) -> StickyExecutionAttributes:
    queue = TaskQueue(name="sticky", kind=enums.QUEUE_STICKY, normal_name="queue")
    return StickyExecutionAttributes(worker_task_queue=queue, schedule_to_start_timeout=seconds(schedule_to_start))


def test_a_typical_step_is_one_commit() -> None:
    """A worker completes with one activity while an activity worker waits: four facts, one write."""
    world, task = in_first_task()
    world.wait(TaskKind.ACTIVITY)
    world.complete_task(task, schedule())
    assert world.tail(2) == ["WorkflowTaskCompleted", "ActivityTaskScheduled"]
    assert world.rows == []
    world.wait(TaskKind.WORKFLOW)
    world.complete_activity(world.started[-1])  # pyright: ignore[reportArgumentType]
    assert world.tail(4) == [
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]


def test_a_row_starts_once() -> None:
    world = World()
    world.start()
    row = world.rows[0]
    world.workflow_task()
    rejected = refused(lambda: world.ask(law.StartTask(row, given.Waiting())))
    assert rejected.code == StatusCode.NOT_FOUND


def test_a_started_task_tells_what_the_worker_has_seen() -> None:
    world, first = in_first_task()
    assert (first.previous_started_event_id, first.started_event_id, first.attempt) == (0, 3, 1)
    world.complete_task(first, timer())
    world.elapse(1)
    second = world.workflow_task()
    assert (second.previous_started_event_id, second.started_event_id) == (3, 8)


def test_a_stale_answer_is_not_found() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer())
    for call in (lambda: world.complete_task(task), lambda: world.fail_task(task)):
        assert refused(call).code == StatusCode.NOT_FOUND


def test_an_answer_of_an_earlier_attempt_is_not_found() -> None:
    world, first = in_first_task()
    world.elapse(10)
    second = world.workflow_task()
    assert second.attempt == 2
    assert refused(lambda: world.complete_task(first)).code == StatusCode.NOT_FOUND
    world.complete_task(second, given.complete())


def test_an_answer_of_one_transient_attempt_is_not_the_next_ones() -> None:
    world, task = in_first_task()
    world.fail_task(task)
    second = world.workflow_task()
    world.elapse(10)
    third = world.workflow_task()
    assert third.scheduled_event_id == second.scheduled_event_id
    assert refused(lambda: world.complete_task(second)).code == StatusCode.NOT_FOUND
    world.complete_task(third, given.complete())


def test_later_attempts_write_nothing_until_one_completes() -> None:
    world, task = in_first_task()
    world.fail_task(task)
    length = len(world.history)
    second = world.workflow_task()
    world.fail_task(second)
    third = world.workflow_task()
    assert len(world.history) == length
    assert names(third.transient_events) == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert [event.event_id for event in third.transient_events] == [length + 1, length + 2]
    world.complete_task(third, given.complete())
    assert world.history[length].workflow_task_scheduled_event_attributes.attempt == 3


def test_a_task_that_keeps_failing_backs_off_and_gets_more_time() -> None:
    limits = Limits()
    waits = [backoff_ns(limits, attempt) // SECOND for attempt in range(1, 15)]
    assert waits == [0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    world, task = in_first_task()
    for _ in range(2):
        world.fail_task(task)
        task = world.workflow_task()
    world.fail_task(task)
    assert world.rows == []
    assert world.run.wake_at_ns is not None
    world.elapse(5)
    task = world.workflow_task()
    assert task.attempt == 4
    assert task.transient_events[0].workflow_task_scheduled_event_attributes.start_to_close_timeout == seconds(15)


def test_a_sticky_queue_gets_the_next_task() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.elapse(1)
    started = world.workflow_task("sticky")
    assert started.sticky
    world.complete_task(started, given.complete())


def test_a_sticky_queue_without_a_worker_is_passed_over() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.workers_alive = False
    world.elapse(1)
    assert not world.workflow_task().sticky


def test_a_task_left_on_a_sticky_queue_goes_to_the_normal_one() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer(), sticky_attributes=sticky(2))
    world.elapse(3)
    assert world.tail(2) == ["WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    assert world.workflow_task().attempt == 1


def test_a_failure_ends_stickiness() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.elapse(1)
    world.fail_task(world.workflow_task("sticky"))
    assert not world.workflow_task().sticky


def test_the_next_task_comes_with_the_answer_when_asked_for() -> None:
    world, task = in_first_task()
    world.cancel()
    reply = world.complete_task(task, timer(), return_new_workflow_task=True)
    assert world.rows == []
    assert reply.workflow_task.started_event_id == 8
    world.complete_task(reply.workflow_task, given.cancel())


def test_no_next_task_when_nothing_happened() -> None:
    world, task = in_first_task()
    assert world.complete_task(task, timer(), return_new_workflow_task=True).workflow_task is None


def test_a_forced_task_follows_at_once() -> None:
    world, task = in_first_task()
    reply = world.complete_task(task, force_create_new_workflow_task=True, return_new_workflow_task=True)
    assert reply.workflow_task.attempt == 1


def test_an_eager_activity_starts_with_the_answer() -> None:
    world, task = in_first_task()
    reply = world.complete_task(task, schedule(eager=True))
    assert [activity.activity_id for activity in reply.activity_tasks] == ["1"]
    assert world.rows == []
    world.complete_activity(reply.activity_tasks[0])


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (schedule(start_to_close=0), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(start_to_close=-1), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(heartbeat=-1), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(policy=given.retry(coefficient=0.5)), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(policy=given.retry(initial=-1)), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(policy=given.retry(maximum=-1)), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(policy=given.retry(initial=5, maximum=2)), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(policy=given.retry(attempts=-1)), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(""), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule("x" * 1001), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (schedule(queue="x" * 1001), "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES"),
        (timer("t", -1), "BAD_START_TIMER_ATTRIBUTES"),
        (timer("", 1), "BAD_START_TIMER_ATTRIBUTES"),
        (timer("x" * 1001, 1), "BAD_START_TIMER_ATTRIBUTES"),
        (given.cancel_timer(""), "BAD_CANCEL_TIMER_ATTRIBUTES"),
        (given.cancel_timer("never"), "BAD_CANCEL_TIMER_ATTRIBUTES"),
        (given.cancel_activity(5), "BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES"),
        (given.marker(""), "BAD_RECORD_MARKER_ATTRIBUTES"),
        (Command(command_type=enums.COMMAND_FAIL_WORKFLOW_EXECUTION), "BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES"),
        (Command(command_type=enums.COMMAND_MODIFY_WORKFLOW_PROPERTIES), "BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES"),
        (Command(command_type=11), "BAD_START_CHILD_EXECUTION_ATTRIBUTES"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_bad_command_fails_the_task_and_applies_nothing(command: Command, cause: str) -> None:
    world, task = in_first_task()
    rejected = refused(lambda: world.complete_task(task, given.marker(), command))
    assert rejected.code == StatusCode.INVALID_ARGUMENT
    failed = world.history[-1].workflow_task_failed_event_attributes
    assert WorkflowTaskFailedCause.Name(failed.cause) == f"WORKFLOW_TASK_FAILED_CAUSE_{cause}"
    assert failed.failure.message == rejected.message
    assert world.workflow_task().attempt == 2


def test_a_command_of_an_unknown_type_is_refused_and_the_task_goes_on() -> None:
    world, task = in_first_task()
    command = Command(command_type=77)  # pyright: ignore[reportArgumentType]
    assert refused(lambda: world.complete_task(task, command)).message == "unknown command type: 77"
    world.complete_task(task, given.complete())


def test_a_command_behind_the_closing_one_fails_the_task() -> None:
    world, task = in_first_task()
    rejected = refused(lambda: world.complete_task(task, given.complete(), timer()))
    assert "follows the one that closes the workflow" in rejected.message


def test_a_timer_id_is_free_again_after_its_cancellation_in_the_same_answer() -> None:
    world = after(timer("t", 60))
    world.cancel()
    world.complete_task(world.workflow_task(), given.cancel_timer("t"), timer("t", 30), given.cancel_timer("t"))
    assert world.tail(3) == ["TimerCanceled", "TimerStarted", "TimerCanceled"]


def test_a_worker_that_fails_a_task_may_leave_out_the_failure() -> None:
    world, task = in_first_task()
    request = given.RespondWorkflowTaskFailedRequest(identity="w")
    world.ask(law.FailWorkflowTask(given.decode_token(task.token), request))
    assert not world.history[-1].workflow_task_failed_event_attributes.HasField("failure")


def test_events_during_a_task_wait_behind_it_and_are_not_lost_when_it_times_out() -> None:
    world, _ = in_first_task()
    world.cancel()
    assert world.tail(1) == ["WorkflowTaskStarted"]
    world.elapse(10)
    assert world.tail(3) == ["WorkflowTaskTimedOut", "WorkflowExecutionCancelRequested", "WorkflowTaskScheduled"]
    assert world.workflow_task().attempt == 1


def test_a_second_cancel_request_changes_nothing_even_when_the_first_is_buffered() -> None:
    world, task = in_first_task()
    world.cancel()
    again = law.RequestCancel(given.RequestCancelWorkflowExecutionRequest(reason="again"))
    assert not world.when(again).changed
    world.complete_task(task, timer())
    assert not world.when(again).changed


def test_words_of_a_command_that_leaves_no_event_are_nobody_elses() -> None:
    """A rejection is a message alone: what the worker says of it must not stand with the timer that follows."""
    world = World()
    world.start()
    world.update("u1")
    task = world.workflow_task()
    rejection = given.rejected(task.messages[0])
    speaking = given.told(given.protocol_message(rejection.id))
    world.complete_task(task, speaking, timer(), messages=[rejection])
    assert names(world.history)[-1] == "TimerStarted"
    assert not world.history[-1].HasField("user_metadata")

"""What operators do to pending activities; none of it is in history."""

from __future__ import annotations

from typing import Any

from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    ResetActivityRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
)

from perdure.api.errors import StatusCode
from perdure.core import commands as law
from perdure.core.activity import State
from perdure.core.started import StartedActivityTask
from tests.core import given
from tests.core.given import SECOND, World, after, refused, schedule


def control(world: World, request: Any) -> Any:
    if not request.WhichOneof("activity"):
        request.id = "1"
    return world.ask(law.ControlActivities(request))


def pause(world: World) -> None:
    control(world, PauseActivityRequest(identity="operator", reason="why"))


def unpause(world: World, **fields: Any) -> None:
    control(world, UnpauseActivityRequest(**fields))


def reset(world: World, **fields: Any) -> None:
    control(world, ResetActivityRequest(**fields))


def change(world: World, *paths: str, **options: Any) -> Any:
    request = UpdateActivityOptionsRequest()
    request.update_mask.paths.extend(paths)
    for name, value in options.items():
        getattr(request.activity_options, name).CopyFrom(value)
    return control(world, request)


def state(world: World) -> State:
    [attempt] = world.run.facts.attempts.values()
    return State(attempt.state)


def failed_once(initial: float = 30) -> World:
    """An activity that waits for its second attempt."""
    world = after(schedule(policy=given.retry(initial=initial)))
    world.fail_activity(world.activity_task())
    return world


def test_a_paused_activity_is_on_no_queue() -> None:
    world = after(schedule())
    length = len(world.history)
    pause(world)
    pause(world)
    assert (world.rows, state(world)) == ([], State.PAUSED)
    unpause(world)
    unpause(world)
    assert world.activity_task().attempt == 1
    assert len(world.history) == length


def test_a_running_attempt_is_told_that_it_is_paused_and_completes() -> None:
    world = after(schedule())
    task = world.activity_task()
    pause(world)
    assert told(world, task) == (True, False)
    world.complete_activity(task)
    assert world.tail(3) == ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled"]


def told(world: World, task: StartedActivityTask) -> tuple[bool, bool]:
    request = given.RecordActivityTaskHeartbeatRequest(identity=given.WORKER, details=given.payloads("7"))
    recorded = world.ask(law.RecordHeartbeat(given.decode_token(task.token), request))
    return recorded.is_paused, recorded.is_reset


def test_a_paused_attempt_that_fails_is_not_followed_until_it_is_unpaused() -> None:
    world = after(schedule(policy=given.retry(initial=1)))
    task = world.activity_task()
    told(world, task)
    pause(world)
    world.fail_activity(task)
    world.elapse(100)
    assert (world.rows, state(world)) == ([], State.PAUSED)
    unpause(world, reset_attempts=True, reset_heartbeat=True)
    again = world.activity_task()
    assert (again.attempt, again.heartbeat_details) == (1, b"")


def test_a_running_attempt_is_unpaused() -> None:
    world = after(schedule())
    task = world.activity_task()
    pause(world)
    unpause(world)
    assert told(world, task) == (False, False)


def test_a_back_off_ends_when_a_paused_activity_is_unpaused() -> None:
    world = failed_once()
    pause(world)
    unpause(world)
    assert world.activity_task().attempt == 2


def test_a_paused_activity_has_no_more_time_than_others() -> None:
    world = after(schedule(start_to_close=0, schedule_to_close=10))
    pause(world)
    world.elapse(10)
    assert world.tail(2) == ["ActivityTaskTimedOut", "WorkflowTaskScheduled"]


def test_a_paused_attempt_that_fails_has_no_more_time_either() -> None:
    world = after(schedule(start_to_close=0, schedule_to_close=10))
    task = world.activity_task()
    pause(world)
    world.fail_activity(task)
    world.elapse(10)
    assert world.tail(2) == ["ActivityTaskTimedOut", "WorkflowTaskScheduled"]


def test_a_paused_activity_is_canceled_at_once() -> None:
    world = after(schedule())
    pause(world)
    world.cancel()
    world.complete_task(world.workflow_task(), given.cancel_activity(5))
    assert "ActivityTaskCanceled" in world.tail(2)


def test_a_paused_activity_is_completed_by_its_id() -> None:
    world = after(schedule())
    pause(world)
    world.complete_by_id("1")
    assert world.tail(2) == ["ActivityTaskCompleted", "WorkflowTaskScheduled"]


def test_a_reset_activity_begins_again_at_once() -> None:
    world = failed_once()
    reset(world)
    reset(world)
    assert world.activity_task().attempt == 1


def test_a_running_attempt_that_was_reset_counts_as_the_first() -> None:
    """As on Temporal's server (recorded in `tests/differential/`), but its answer is taken, whatever its number was."""
    world = failed_once(initial=1)
    world.elapse(1)
    world.fail_activity(world.activity_task())
    world.elapse(2)
    task = world.activity_task()
    assert task.attempt == 3
    reset(world)
    assert told(world, task) == (False, True)
    world.fail_activity(task)
    world.elapse(1)
    assert world.activity_task().attempt == 2


def test_an_attempt_that_was_reset_while_it_ran_may_still_end_well() -> None:
    world = failed_once(initial=1)
    world.elapse(1)
    task = world.activity_task()
    reset(world)
    world.complete_activity(task)
    assert world.tail(3) == ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled"]


def test_a_reset_unpauses_unless_it_is_asked_not_to() -> None:
    world = failed_once()
    pause(world)
    reset(world, keep_paused=True)
    assert state(world) == State.PAUSED
    reset(world)
    assert world.activity_task().attempt == 1


def test_changed_options_hold_for_the_next_attempt_and_are_taken_back() -> None:
    world = failed_once()
    [options] = change(
        world,
        *["start_to_close_timeout", "retry_policy.initial_interval"],
        start_to_close_timeout=given.seconds(7),
        retry_policy=given.retry(initial=2),
    )
    assert (options.start_to_close_ns, options.retry.initial_interval_ns) == (7 * SECOND, 2 * SECOND)
    world.elapse(2)
    task = world.activity_task()
    assert task.options is not None
    world.elapse(7)
    assert world.run.facts.attempts[5].attempt == 3
    request = UpdateActivityOptionsRequest(restore_original=True)
    [options] = control(world, request)
    assert options.start_to_close_ns == 30 * SECOND


def test_what_waits_for_its_next_attempt_ends_when_its_time_is_cut_short() -> None:
    world = failed_once(initial=60)
    change(world, "schedule_to_close_timeout", schedule_to_close_timeout=given.seconds(30))
    world.elapse(29)
    assert state(world) == State.BACKING_OFF
    assert world.run.wake_at_ns == world.run.activities[5].scheduled_at_ns + 30 * SECOND
    world.elapse(1)
    assert world.tail(2) == ["ActivityTaskTimedOut", "WorkflowTaskScheduled"]


def test_a_queued_activity_moves_to_another_queue() -> None:
    world = after(schedule())
    request = UpdateActivityOptionsRequest()
    request.activity_options.task_queue.name = "other"
    request.update_mask.paths.append("task_queue.name")
    control(world, request)
    assert [row.queue.name for row in world.rows] == ["other"]


def test_all_of_a_type_and_all_there_are() -> None:
    world = after(schedule("1"), schedule("2"), schedule("3", type="refund"))
    control(world, PauseActivityRequest(type="charge"))
    assert len(world.rows) == 1
    control(world, UnpauseActivityRequest(unpause_all=True))
    assert len(world.rows) == 3


def test_what_cannot_be_done_is_refused() -> None:
    world = after(schedule())
    assert refused(lambda: control(world, PauseActivityRequest(id="9"))).code == StatusCode.NOT_FOUND
    assert refused(lambda: control(world, PauseActivityRequest(id=""))).code == StatusCode.INVALID_ARGUMENT
    assert refused(lambda: change(world, "colour")).code == StatusCode.INVALID_ARGUMENT
    assert refused(lambda: change(world, "start_to_close_timeout")).code == StatusCode.INVALID_ARGUMENT
    world.terminate()
    assert refused(lambda: pause(world)).code == StatusCode.NOT_FOUND

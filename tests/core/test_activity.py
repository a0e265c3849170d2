"""Activities: attempts, time-outs, retries, heartbeats, cancellation, buffering."""

from __future__ import annotations

from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.api.failures import headline
from perdure.core import commands as law
from perdure.core.activity import State
from perdure.core.names import TaskKind
from perdure.core.tokens import decode_token
from tests.core import given
from tests.core.given import SECOND, World, after, failure, payloads, refused, retry, schedule, timer


def the_attempt(world: World, activity_id: str = "1"):
    return world.run.facts.attempts[world.run.activity_ids[activity_id]]


def test_attempts_stay_out_of_history_until_the_activity_closes() -> None:
    world = after(schedule(policy=retry(initial=1)))
    length = len(world.history)
    world.fail_activity(world.activity_task(), failure("first"))
    world.elapse(1)
    task = world.activity_task()
    assert (task.attempt, len(world.history)) == (2, length)
    world.complete_activity(task)
    started = world.history[length].activity_task_started_event_attributes
    assert (started.attempt, started.last_failure.message) == (2, "first")


def test_back_off_grows_by_the_coefficient_up_to_the_maximum() -> None:
    world = after(schedule(start_to_close=1000, policy=retry(initial=1, coefficient=3, maximum=10)), timer("t", 9999))
    waits: list[int] = []
    for _ in range(5):
        world.fail_activity(world.activity_task())
        waits.append((the_attempt(world).scheduled_at_ns - world.now_ns) // SECOND)
        world.elapse(waits[-1])
    assert waits == [1, 3, 9, 10, 10]


def test_a_retry_is_made_if_it_can_start_by_the_end_and_not_a_moment_later() -> None:
    for limit, tried_again in ((5, True), (4.999, False)):
        world = after(schedule(start_to_close=0, schedule_to_close=limit, policy=retry(initial=5)))
        world.fail_activity(world.activity_task())
        assert bool(world.run.activities) is tried_again


def test_a_failure_may_name_the_next_delay() -> None:
    world = after(schedule(policy=retry(initial=100)))
    world.fail_activity(world.activity_task(), failure(delay=2))
    assert the_attempt(world).scheduled_at_ns == world.now_ns + 2 * SECOND


def test_a_row_of_an_earlier_attempt_is_stale() -> None:
    world = after(schedule(policy=retry(initial=1)))
    row = world.rows[0]
    world.fail_activity(world.activity_task())
    world.elapse(1)
    assert refused(lambda: world.ask(law.StartTask(row, given.Waiting()))).code == StatusCode.NOT_FOUND


def test_an_answer_of_an_earlier_attempt_is_not_found() -> None:
    world = after(schedule(start_to_close=5, policy=retry(initial=1)))
    first = world.activity_task()
    world.elapse(6)
    second = world.activity_task()
    for call in (world.complete_activity, world.fail_activity, world.report_canceled, world.heartbeat):
        assert refused(lambda call=call: call(first)).code == StatusCode.NOT_FOUND
    world.complete_activity(second)
    assert refused(lambda: world.complete_activity(second)).code == StatusCode.NOT_FOUND


def test_a_workflow_token_answers_no_activity_and_the_other_way_round() -> None:
    world = after(schedule())
    activity = world.activity_task()
    token = decode_token(activity.token)
    request = given.RespondWorkflowTaskCompletedRequest()
    assert refused(lambda: world.ask(law.CompleteWorkflowTask(token, request))).code == StatusCode.NOT_FOUND
    world.complete_activity(activity)
    task = decode_token(world.workflow_task().token)
    done = given.RespondActivityTaskCompletedRequest()
    assert refused(lambda: world.ask(law.CompleteActivity(task, done))).code == StatusCode.NOT_FOUND


def test_an_answer_for_another_run_is_not_found() -> None:
    world = after(schedule())
    activity = world.activity_task()
    world.terminate()
    world.start(request_id="other")
    rejected = refused(lambda: world.complete_activity(activity))
    assert (rejected.code, rejected.message) == (StatusCode.NOT_FOUND, "workflow execution already completed")


def test_heartbeats_move_the_deadline_and_keep_their_details_for_the_next_attempt() -> None:
    world = after(schedule(heartbeat=2, policy=retry(initial=1)))
    task = world.activity_task()
    world.elapse(1)
    assert world.heartbeat(task, "11") is False
    world.elapse(1.5)
    assert the_attempt(world).state == State.STARTED
    world.elapse(1.5)
    assert Payloads.FromString(world.activity_task().heartbeat_details) == payloads("11")


def test_a_heartbeat_never_brings_the_stored_deadline_forward() -> None:
    world = after(schedule(heartbeat=2))
    task = world.activity_task()
    before = world.run.wake_at_ns
    world.elapse(1)
    world.heartbeat(task)
    assert world.run.wake_at_ns == before


def test_the_last_details_may_come_with_the_failure() -> None:
    world = after(schedule(policy=retry(initial=1)))
    task = world.activity_task()
    request = given.RespondActivityTaskFailedRequest(failure=failure(), last_heartbeat_details=payloads("3"))
    world.ask(law.FailActivity(decode_token(task.token), request))
    world.elapse(1)
    assert Payloads.FromString(world.activity_task().heartbeat_details) == payloads("3")


def test_a_cancelled_activity_is_not_tried_again() -> None:
    world = after(schedule(), timer())
    task = world.activity_task()
    world.elapse(1)
    world.complete_task(world.workflow_task(), given.cancel_activity(5))
    assert world.heartbeat(task) is True
    world.fail_activity(task)
    failed = world.history[-2].activity_task_failed_event_attributes
    assert failed.retry_state == enums.RETRY_CANCEL_REQUESTED


def test_reporting_a_cancellation_that_nobody_asked_for_is_refused() -> None:
    world = after(schedule())
    task = world.activity_task()
    assert refused(lambda: world.report_canceled(task)).code == StatusCode.INVALID_ARGUMENT


def test_a_result_that_is_too_big_fails_the_activity() -> None:
    world = after(schedule())
    world.complete_activity(world.activity_task(), "x" * (3 << 20))
    failed = world.history[-2].activity_task_failed_event_attributes
    assert failed.failure.message.startswith("Complete result exceeds size limit. (3145")
    assert failed.failure.server_failure_info.non_retryable


def test_a_failure_that_is_too_big_is_shortened_and_final() -> None:
    world = after(schedule())
    world.fail_activity(world.activity_task(), failure("x" * (3 << 20), type="Huge"))
    kept = world.history[-2].activity_task_failed_event_attributes.failure
    assert kept.message.startswith("Failure exceeds size limit")
    assert kept.cause.application_failure_info.type == "Huge"
    assert kept.ByteSize() < 8192


def test_the_failure_that_a_retried_activity_keeps_is_bounded() -> None:
    world = after(schedule())
    huge = failure("ü" * 100_000)
    huge.stack_trace = 'File "framework.py", line 7, in serve\n' * 100 + 'File "shöp.py", line 41, in charge\n'
    world.fail_activity(world.activity_task(), huge)
    kept = Failure.FromString(the_attempt(world).last_failure)
    assert (len(kept.message), kept.application_failure_info.type) == (512, "Boom")
    assert headline(kept).endswith("(at shöp.py:41 in charge)")
    assert kept.ByteSize() <= 4096


def test_heartbeat_details_that_are_too_big_are_refused() -> None:
    world = after(schedule())
    task = world.activity_task()
    assert refused(lambda: world.heartbeat(task, "x" * (3 << 20))).code == StatusCode.INVALID_ARGUMENT


def test_a_command_that_is_too_big_ends_the_run_with_a_reason() -> None:
    world, task = given.in_first_task()
    rejected = refused(lambda: world.complete_task(task, schedule(input="x" * (3 << 20))))
    assert rejected.message.startswith("BadScheduleActivityAttributes: ScheduleActivityTaskCommandAttributes.Input ")
    assert world.tail(2) == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    assert world.history[-1].workflow_execution_terminated_event_attributes.reason == rejected.message


def test_two_activities_that_end_in_one_batch_make_one_task() -> None:
    world = after(schedule("1"), schedule("2"))
    world.wait(TaskKind.WORKFLOW)
    one, two = world.activity_task("1"), world.activity_task("2")
    done = given.RespondActivityTaskCompletedRequest()
    commit = world.when(
        law.CompleteActivity(decode_token(one.token), done), law.CompleteActivity(decode_token(two.token), done)
    )
    assert given.names(commit.events) == [
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskStarted",
    ]


def test_an_activity_cancelled_before_a_worker_had_it_leaves_no_row() -> None:
    world = after(schedule(), timer())
    world.elapse(1)
    world.complete_task(world.workflow_task(), given.cancel_activity(5))
    assert [row.queue.kind for row in world.rows] == [TaskKind.WORKFLOW]


def test_a_retry_without_a_wait_is_queued_at_once() -> None:
    world = after(schedule(start_to_close=3, policy=retry(attempts=2)))
    world.activity_task()
    world.lose_workers()
    assert world.activity_task().attempt == 2
    world.lose_workers()
    timed_out = world.history[-2].activity_task_timed_out_event_attributes
    assert timed_out.retry_state == enums.RETRY_MAXIMUM_ATTEMPTS_REACHED

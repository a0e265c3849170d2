"""The same play on two stages: the real Temporal server (when recorded) and our `decide` (in every test run).

A scenario speaks to a `Stage`: it plays the client, the worker and the passing of time. What the
stage's history then says, without ids and times, must be the same on both.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.core import given
from tests.core.stage import Stage
from tests.core.summary_scenarios import SUMMARY_SCENARIOS
from tests.core.update_scenarios import UPDATE_SCENARIOS


def simple_activity(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule())
    stage.complete_activity(stage.activity_task())
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_options_are_filled_in(stage: Stage) -> None:
    stage.start(workflow_run_timeout=40.0)
    stage.complete_task(
        stage.workflow_task(),
        given.schedule("1", start_to_close=60),
        given.schedule("2", start_to_close=0, schedule_to_close=20, heartbeat=30),
        given.schedule("3", start_to_close=5, schedule_to_start=7, heartbeat=9),
        given.schedule("4", start_to_close=25, schedule_to_close=20, policy=given.retry(initial=3, attempts=4)),
    )
    stage.terminate()


def unlimited_activity_options(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(), given.schedule("2", policy=given.retry(0, 0)))
    stage.terminate()


def activity_retried_then_done(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(policy=given.retry(initial=1)))
    stage.fail_activity(stage.activity_task(), given.failure("once"))
    stage.elapse(1)
    stage.complete_activity(stage.activity_task())
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_exhausted(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(policy=given.retry(attempts=2)))
    stage.fail_activity(stage.activity_task(), given.failure("once"))
    stage.elapse(1)
    stage.fail_activity(stage.activity_task(), given.failure("twice"))
    stage.complete_task(stage.workflow_task(), given.fail())


def activity_not_retryable(stage: Stage) -> None:
    stage.start()
    policy = given.retry(non_retryable=["Declined"])
    stage.complete_task(stage.workflow_task(), given.schedule("1", policy=policy), given.schedule("2"))
    stage.fail_activity(stage.activity_task("1"), given.failure("no", type="Declined"))
    stage.fail_activity(stage.activity_task("2"), given.failure("no", type="Declined", non_retryable=True))
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_retry_would_be_too_late(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(), given.schedule(start_to_close=0, schedule_to_close=3, policy=given.retry(initial=10))
    )
    stage.fail_activity(stage.activity_task(), given.failure("late"))
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_next_retry_delay(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(policy=given.retry(initial=100)))
    stage.fail_activity(stage.activity_task(), given.failure("soon", delay=1))
    stage.elapse(1)
    stage.complete_activity(stage.activity_task())
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_never_started(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(schedule_to_start=1))
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_never_started_in_its_whole_time(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(start_to_close=0, schedule_to_close=1))
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_not_started_again_in_its_whole_time(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(start_to_close=0, schedule_to_close=3))
    stage.fail_activity(stage.activity_task(), given.failure())
    stage.elapse(4)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_goes_silent_and_has_no_time_for_another(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(),
        given.schedule(schedule_to_close=4, start_to_close=0, heartbeat=1, policy=given.retry(coefficient=10)),
    )
    stage.heartbeat(stage.activity_task())
    stage.elapse(2)
    stage.activity_task()
    stage.elapse(3)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_too_slow(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(start_to_close=1, policy=given.retry(attempts=1)))
    stage.activity_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_too_slow_twice(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(start_to_close=1, policy=given.retry(attempts=2)))
    stage.activity_task()
    stage.elapse(2)
    stage.activity_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_too_slow_for_its_whole_time(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(start_to_close=0, schedule_to_close=1))
    stage.activity_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_slow_and_no_time_for_another(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(),
        given.schedule(start_to_close=1, schedule_to_close=10, policy=given.retry(initial=20)),
    )
    stage.activity_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_fails_until_its_time_is_over(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(),
        given.schedule(start_to_close=0, schedule_to_close=4, policy=given.retry(initial=1, coefficient=1)),
    )
    stage.fail_activity(stage.activity_task(), given.failure("once"))
    stage.elapse(1)
    stage.activity_task()
    stage.elapse(4)
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_goes_silent(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(heartbeat=1, policy=given.retry(attempts=1)))
    assert stage.heartbeat(stage.activity_task()) is False
    stage.elapse(2)
    stage.complete_task(stage.workflow_task(), given.complete())


def timer_fires_and_another_is_canceled(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 1), given.timer("b", 60))
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.cancel_timer("b"), given.complete())


def timer_canceled_while_its_firing_is_buffered(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 1), given.schedule())
    stage.complete_activity(stage.activity_task())
    task = stage.workflow_task()
    stage.elapse(2)
    stage.complete_task(task, given.cancel_timer("a"), given.complete())


def started_activity_canceled(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(), given.timer("a", 1))
    activity = stage.activity_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.cancel_activity(5))
    assert stage.heartbeat(activity) is True
    stage.report_canceled(activity)
    stage.complete_task(stage.workflow_task(), given.complete())


def cancel_requested_activity_fails(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(), given.timer("a", 1))
    activity = stage.activity_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.cancel_activity(5))
    stage.fail_activity(activity, given.failure())
    stage.complete_task(stage.workflow_task(), given.complete())


def queued_activity_canceled(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(), given.timer("a", 1))
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.cancel_activity(5), given.marker())
    stage.complete_task(stage.workflow_task(), given.complete())


def queued_activity_canceled_and_run_closed(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(), given.timer("a", 1))
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.cancel_activity(5), given.complete())


def finished_activity_canceled(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule("1"), given.schedule("2"))
    stage.complete_activity(stage.activity_task("1"))
    task = stage.workflow_task()
    stage.complete_activity(stage.activity_task("2"))
    stage.complete_task(task, given.cancel_activity(6))
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_canceled_twice(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule())
    activity = stage.activity_task()
    stage.cancel()
    stage.refused_task(stage.workflow_task(), given.cancel_activity(5), given.cancel_activity(5))
    stage.complete_task(stage.workflow_task(), given.cancel_activity(5), given.timer("a", 1))
    stage.refused_task(stage.workflow_task(), given.cancel_activity(5))
    stage.report_canceled(activity)
    stage.complete_task(stage.workflow_task(), given.cancel())


def backing_off_activity_canceled(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule(policy=given.retry(initial=60)), given.timer("a", 1))
    stage.fail_activity(stage.activity_task(), given.failure())
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.cancel_activity(5))
    stage.complete_task(stage.workflow_task(), given.complete())


def terminated_while_waiting(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer())
    stage.terminate()


def terminated_before_the_first_task(stage: Stage) -> None:
    stage.start()
    stage.terminate()


def terminated_with_a_task_and_buffered_events(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.schedule("1"), given.schedule("2"))
    stage.complete_activity(stage.activity_task("1"))
    stage.workflow_task()
    stage.complete_activity(stage.activity_task("2"))
    stage.cancel()
    stage.terminate()


def buffered_events(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(), given.schedule("1"), given.schedule("2"), given.schedule("3"), given.timer("t", 1)
    )
    stage.complete_activity(stage.activity_task())
    task = stage.workflow_task()
    stage.complete_activity(stage.activity_task("2"))
    stage.cancel()
    stage.fail_activity(stage.activity_task("3"), given.failure(non_retryable=True))
    stage.elapse(2)
    stage.complete_task(task, given.marker())
    stage.complete_task(stage.workflow_task(), given.cancel())


def closing_over_buffered_events(stage: Stage) -> None:
    stage.start()
    task = stage.workflow_task()
    stage.cancel()
    stage.refused_task(task, given.complete())
    stage.complete_task(stage.workflow_task(), given.cancel())


def cancel_requested(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 60))
    stage.cancel()
    stage.complete_task(stage.workflow_task(), given.cancel_timer("a"), given.cancel())


def cancel_requested_twice(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 60))
    stage.cancel()
    stage.complete_task(stage.workflow_task(), given.marker())
    stage.cancel()
    stage.terminate()


def cancel_requested_before_the_first_task(stage: Stage) -> None:
    stage.start()
    stage.cancel()
    stage.complete_task(stage.workflow_task(), given.cancel())


def workflow_task_fails_and_recovers(stage: Stage) -> None:
    stage.start()
    stage.fail_task(stage.workflow_task())
    stage.fail_task(stage.workflow_task())
    stage.complete_task(stage.workflow_task(), given.complete())


def event_comes_between_failing_attempts(stage: Stage) -> None:
    stage.start()
    stage.fail_task(stage.workflow_task())
    stage.cancel()
    stage.complete_task(stage.workflow_task(), given.cancel())


def event_comes_during_a_failing_attempt(stage: Stage) -> None:
    stage.start()
    task = stage.workflow_task()
    stage.cancel()
    stage.fail_task(task)
    stage.complete_task(stage.workflow_task(), given.cancel())


def event_comes_during_a_later_failing_attempt(stage: Stage) -> None:
    stage.start()
    stage.fail_task(stage.workflow_task())
    task = stage.workflow_task()
    stage.cancel()
    stage.fail_task(task)
    stage.complete_task(stage.workflow_task(), given.cancel())


def later_attempt_completes_over_buffered_events(stage: Stage) -> None:
    stage.start()
    stage.fail_task(stage.workflow_task())
    task = stage.workflow_task()
    stage.cancel()
    stage.complete_task(task, given.timer("a", 60))
    stage.complete_task(stage.workflow_task(), given.cancel())


def later_attempt_closes_over_buffered_events(stage: Stage) -> None:
    stage.start()
    stage.fail_task(stage.workflow_task())
    task = stage.workflow_task()
    stage.cancel()
    stage.refused_task(task, given.complete())
    stage.complete_task(stage.workflow_task(), given.cancel())


def terminated_during_a_later_attempt(stage: Stage) -> None:
    stage.start()
    stage.fail_task(stage.workflow_task())
    stage.workflow_task()
    stage.terminate()


def workflow_task_times_out(stage: Stage) -> None:
    stage.start(workflow_task_timeout=1.0)
    stage.workflow_task()
    stage.elapse(1)
    stage.workflow_task()
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def sticky_worker_goes_away(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 1), sticky=True)
    stage.elapse(3)
    stage.complete_task(stage.workflow_task(), given.complete())


def sticky_worker_serves(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 1), sticky=True)
    stage.complete_task(stage.workflow_task("sticky"), given.complete())


def run_times_out(stage: Stage) -> None:
    stage.start(workflow_run_timeout=1.0)
    stage.workflow_task()
    stage.elapse(2)


def execution_times_out(stage: Stage) -> None:
    stage.start(workflow_execution_timeout=2.0)
    stage.complete_task(stage.workflow_task(), given.timer("a", 60))
    stage.elapse(3)


def start_is_delayed(stage: Stage) -> None:
    stage.start(workflow_start_delay=1.0, workflow_execution_timeout=20.0)
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.complete())


def canceled_during_the_start_delay(stage: Stage) -> None:
    stage.start(workflow_start_delay=2.0)
    stage.cancel()
    stage.elapse(2)
    stage.complete_task(stage.workflow_task(), given.cancel())


def bad_activity(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), given.marker(), given.schedule(start_to_close=0))
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_without_a_name(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), given.schedule(type=""))
    stage.complete_task(stage.workflow_task(), given.complete())


def activity_id_used_twice(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), given.schedule("1"), given.schedule("1"))
    stage.complete_task(stage.workflow_task(), given.complete())


def timer_of_no_time(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 0))
    stage.complete_task(stage.workflow_task(), given.complete())


def timer_id_used_twice(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), given.timer("a"), given.timer("a"))
    stage.complete_task(stage.workflow_task(), given.complete())


def unknown_timer_canceled(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), given.cancel_timer("a"))
    stage.complete_task(stage.workflow_task(), given.complete())


def unknown_activity_canceled(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), given.cancel_activity(3))
    stage.complete_task(stage.workflow_task(), given.complete())


def markers_memo_and_search_attributes(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(), given.marker(), given.upsert_memo(), given.upsert_search_attributes(), force=True
    )
    stage.complete_task(stage.workflow_task(), given.fail())


def continued_as_new(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer(), given.continue_as_new())
    stage.complete_task(stage.workflow_task(), given.complete())


def continued_as_new_with_other_options(stage: Stage) -> None:
    stage.start(
        workflow_execution_timeout=100.0,
        workflow_run_timeout=40.0,
        workflow_task_timeout=5.0,
        memo=given.memo("old"),
        header=given.header("old"),
        retry_policy=given.retry(attempts=3),
    )
    stage.complete_task(
        stage.workflow_task(),
        given.continue_as_new(
            workflow_run_timeout=20.0,
            workflow_task_timeout=7.0,
            backoff_start_interval=1.0,
            memo=given.memo("new"),
            header=given.header("new"),
            retry_policy=given.retry(attempts=5),
        ),
    )
    stage.complete_task(stage.workflow_task(), given.continue_as_new())
    stage.complete_task(stage.workflow_task(), given.complete())


def continued_as_new_over_buffered_events(stage: Stage) -> None:
    stage.start()
    task = stage.workflow_task()
    stage.cancel()
    stage.refused_task(task, given.continue_as_new())
    stage.complete_task(stage.workflow_task(), given.continue_as_new())
    stage.complete_task(stage.workflow_task(), given.complete())


def run_retried_until_exhausted(stage: Stage) -> None:
    stage.start(retry_policy=given.retry(initial=1, attempts=2), memo=given.memo("old"), header=given.header("old"))
    stage.complete_task(stage.workflow_task(), given.fail("once"))
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.fail("twice"))


def run_retried_after_its_time_out(stage: Stage) -> None:
    stage.start(retry_policy=given.retry(initial=1), workflow_run_timeout=2.0, workflow_execution_timeout=60.0)
    stage.workflow_task()
    stage.elapse(2)
    stage.complete_task(stage.workflow_task(), given.complete())


def run_whose_failure_is_not_retried(stage: Stage) -> None:
    stage.start(retry_policy=given.retry(initial=1, non_retryable=["Boom"]))
    stage.complete_task(stage.workflow_task(), given.fail())


def run_whose_retry_would_be_too_late(stage: Stage) -> None:
    stage.start(retry_policy=given.retry(initial=30), workflow_execution_timeout=20.0)
    stage.complete_task(stage.workflow_task(), given.fail())


def retried_run_continued_as_new(stage: Stage) -> None:
    stage.start(retry_policy=given.retry(initial=1))
    stage.complete_task(stage.workflow_task(), given.fail())
    stage.elapse(1)
    stage.complete_task(stage.workflow_task(), given.continue_as_new())
    stage.complete_task(stage.workflow_task(), given.complete())


def retried_run_times_out_of_its_execution(stage: Stage) -> None:
    stage.start(retry_policy=given.retry(initial=1), workflow_execution_timeout=4.0)
    stage.complete_task(stage.workflow_task(), given.fail())
    stage.elapse(1)
    stage.workflow_task()
    stage.elapse(4)


def terminated_by_a_new_start(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer())
    stage.start(request_id="request-2", workflow_id_conflict_policy=3)
    stage.complete_task(stage.workflow_task(), given.complete())


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    name: value for name, value in list(globals().items()) if getattr(value, "__annotations__", {}).get("stage")
} | {**UPDATE_SCENARIOS, **SUMMARY_SCENARIOS}

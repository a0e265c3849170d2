"""Jitter: carried by the call, drawn by the worker, never beyond what was asked for."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure import Retry, activity
from perdure.sdk.replay.activity import template_of
from perdure.sdk.worker.jitter import spread

MS = 10**6


@activity(retry=Retry(initial_interval="100ms", maximum_interval="400ms", jitter=0.5))
def with_jitter() -> None: ...


@activity(retry=Retry(initial_interval="100ms"))
def without_jitter() -> None: ...


def failed_task(attempt: int = 1, run_id: str = "run", declared=with_jitter) -> PollActivityTaskQueueResponse:
    """The task of an attempt, as a server builds it from the command."""
    attributes = template_of(declared, "queue").schedule_activity_task_command_attributes
    task = PollActivityTaskQueueResponse(attempt=attempt, activity_id="1", header=attributes.header)
    task.workflow_execution.run_id = run_id
    policy = RetryPolicy(backoff_coefficient=2.0)
    policy.initial_interval.FromNanoseconds(100 * MS)
    policy.maximum_interval.FromNanoseconds(400 * MS)
    task.retry_policy.CopyFrom(policy)
    return task


def delay_ns(task: PollActivityTaskQueueResponse) -> int:
    failure = Failure(application_failure_info=ApplicationFailureInfo(type="Sick"))
    spread(task, failure)
    return failure.application_failure_info.next_retry_delay.ToNanoseconds()


@pytest.mark.parametrize(("attempt", "whole_ms"), [(1, 100), (2, 200), (3, 400), (4, 400), (5000, 400)])
def test_half_of_each_back_off_is_random(attempt: int, whole_ms: int) -> None:
    delays = [delay_ns(failed_task(attempt, f"run-{number}")) for number in range(200)]
    assert min(delays) >= whole_ms * MS / 2
    assert max(delays) <= whole_ms * MS
    assert max(delays) - min(delays) > whole_ms * MS * 0.45


def test_the_same_attempt_draws_the_same() -> None:
    assert delay_ns(failed_task()) == delay_ns(failed_task())
    assert delay_ns(failed_task(attempt=3)) != delay_ns(failed_task(attempt=4))


def test_without_jitter_nothing_is_said() -> None:
    assert delay_ns(failed_task(declared=without_jitter)) == 0
    assert not template_of(without_jitter, "queue").schedule_activity_task_command_attributes.HasField("header")


@pytest.mark.parametrize(
    "failure",
    [
        Failure(application_failure_info=ApplicationFailureInfo(non_retryable=True)),
        Failure(application_failure_info=ApplicationFailureInfo(next_retry_delay=Duration(seconds=7))),
        Failure(timeout_failure_info=TimeoutFailureInfo()),
    ],
)
def test_what_jitter_has_no_say_in_is_left_alone(failure: Failure) -> None:
    before = failure.SerializeToString(deterministic=True)
    spread(failed_task(), failure)
    assert failure.SerializeToString(deterministic=True) == before

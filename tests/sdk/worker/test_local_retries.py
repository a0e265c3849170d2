"""When a worker tries a local activity again: as a server would have it."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure

from perdure.sdk.convert import Converter, failure_of
from perdure.sdk.errors import ApplicationError, TimedOutError, TimeoutType
from perdure.sdk.options import SECOND_NS, Retry, activity_options
from perdure.sdk.worker.local_activities import next_backoff_ns

CONVERTER = Converter()


def failure(error: BaseException | None = None) -> Failure:
    return failure_of(error or ApplicationError("no", type="No"), CONVERTER)


def backoff(error: BaseException | None = None, attempt: int = 1, spent_s: int = 0, **options: Any) -> float | None:
    """In seconds."""
    found = next_backoff_ns(activity_options(**options), failure(error), attempt, spent_s * SECOND_NS)
    return None if found is None else found / SECOND_NS


def test_without_a_policy_it_doubles_from_a_second_to_a_hundred() -> None:
    assert [backoff(attempt=attempt) for attempt in (1, 2, 3, 8, 5_000)] == [1, 2, 4, 100, 100]


def test_a_policy_is_followed() -> None:
    retry = Retry(initial_interval="2s", backoff_coefficient=3, maximum_interval="15s", maximum_attempts=4)
    assert [backoff(attempt=attempt, retry=retry) for attempt in (1, 2, 3, 4)] == [2, 6, 15, None]


def test_the_longest_pause_is_a_hundred_times_the_first_unless_said() -> None:
    assert backoff(attempt=50, retry=Retry(initial_interval="3s")) == 300


@pytest.mark.parametrize(
    "error",
    [
        ApplicationError("no", non_retryable=True),
        ApplicationError("no", type="Fatal"),
        TimedOutError("late", timeout_type=TimeoutType.SCHEDULE_TO_CLOSE),
    ],
)
def test_some_failures_are_the_last_word(error: BaseException) -> None:
    assert backoff(error, retry=Retry(non_retryable_error_types=["Fatal"])) is None


def test_an_attempt_that_timed_out_is_tried_again() -> None:
    assert backoff(TimedOutError("late", timeout_type=TimeoutType.START_TO_CLOSE)) == 1


def test_the_failure_may_say_when() -> None:
    assert backoff(ApplicationError("later", next_retry_delay="42s")) == 42


def test_no_attempt_is_begun_that_would_come_too_late() -> None:
    assert backoff(attempt=3, spent_s=5, schedule_to_close_timeout="10s") == 4
    assert backoff(attempt=3, spent_s=6, schedule_to_close_timeout="10s") == 4  # to the moment: as on the server
    assert backoff(attempt=3, spent_s=7, schedule_to_close_timeout="10s") is None

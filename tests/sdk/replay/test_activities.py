"""What a failed activity raises, and how its result is decoded."""

from __future__ import annotations

import datetime
from typing import Any

from perdure.sdk.activity import activity
from perdure.sdk.errors import (
    ActivityError,
    ApplicationError,
    PayloadError,
    TimedOutError,
    TimeoutType,
)
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.replay.given import History, failure_text, texts
from tests.sdk.replay.pieces import a, two_in_a_row


@workflow
def tells_why() -> list[Any]:
    try:
        call(a)
    except ActivityError as error:
        cause = error.cause
        return [type(cause).__name__, str(cause), error.activity_type, error.activity_id, error.retry_state.name]
    return []


def test_a_failed_activity_raises_with_its_cause() -> None:
    error = ApplicationError("declined", type="CardDeclined")
    outcome = History(tells_why).task().done().scheduled("a").failed("1", error).task().cold()
    assert texts(outcome.commands) == [
        'complete ["ApplicationError","CardDeclined: declined","a","1","MAXIMUM_ATTEMPTS_REACHED"]'
    ]


def test_a_timed_out_activity_raises_with_the_kind_of_time_out() -> None:
    @workflow
    def times_out() -> str:
        try:
            call(a)
        except ActivityError as error:
            return error.cause.timeout_type.name if isinstance(error.cause, TimedOutError) else repr(error.cause)
        return ""

    outcome = History(times_out).task().done().scheduled("a").timed_out("1").task().cold()
    assert texts(outcome.commands) == [f'complete "{TimeoutType.START_TO_CLOSE.name}"']


def test_an_activity_cancelled_by_someone_else_raises_with_a_cancellation_as_cause() -> None:
    outcome = History(tells_why).task().done().scheduled("a").cancelled("1").task().cold()
    assert texts(outcome.commands) == ['complete ["CancelledError","activity a was cancelled","a","1","UNKNOWN"]']


def test_an_uncaught_activity_error_fails_the_run_with_the_whole_chain() -> None:
    error = ApplicationError("declined")
    error.__cause__ = ApplicationError("gateway said 402")
    outcome = History(two_in_a_row, 1).task().done().scheduled("a").failed("1", error).task().cold()
    failure = outcome.commands[0].fail_workflow_execution_command_attributes.failure
    assert failure_text(failure) == "activity task failed <- declined <- gateway said 402"
    assert failure.activity_failure_info.activity_type.name == "a"
    assert failure.activity_failure_info.identity == "worker-1"


def test_a_result_is_decoded_by_the_annotation_of_the_activity() -> None:
    @activity
    def when() -> datetime.datetime: ...

    @workflow
    def asks() -> int:
        return call(when).year

    history = History(asks).task().done().scheduled("when").completed("1", "2026-11-20T00:00:00Z").task()
    assert texts(history.cold().commands) == ["complete 2026"]
    wrong = History(asks).task().done().scheduled("when").completed("1", "yesterday").task().cold()
    assert isinstance(wrong.error, PayloadError)
    assert "the result of activity when" in str(wrong.error)

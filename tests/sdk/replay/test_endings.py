"""How code ends, and which of its errors fail the run and which the task alone."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from perdure.sdk.errors import (
    ApplicationError,
    DefinitionError,
    PayloadError,
    PayloadTooLargeError,
)
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, two_in_a_row


def test_an_application_error_fails_the_run() -> None:
    @workflow
    def fails() -> None:
        raise ApplicationError("card declined", type="CardDeclined", non_retryable=True, details=[42])

    outcome = History(fails).task().cold()
    assert texts(outcome.commands) == ["fail card declined"]
    assert outcome.finished
    failure = outcome.commands[0].fail_workflow_execution_command_attributes.failure
    assert failure.application_failure_info.type == "CardDeclined"
    assert failure.application_failure_info.non_retryable
    assert "in fails" in failure.stack_trace


def test_a_bug_fails_the_task_and_not_the_run_and_carries_the_traceback() -> None:
    @workflow
    def buggy() -> None:
        call(a)
        raise KeyError("missing")

    history = History(buggy).task().done().scheduled("a").completed("1").task()
    outcome = history.cold()
    assert outcome.commands == []
    assert not outcome.finished
    assert outcome.failure is not None
    assert outcome.failure.application_failure_info.type == "KeyError"
    assert f'{__file__}", line {buggy.fn.__code__.co_firstlineno + 3}, in buggy' in outcome.failure.stack_trace
    assert outcome.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE


def test_fail_on_names_errors_that_fail_the_run() -> None:
    @workflow(fail_on=(LookupError,))
    def buggy() -> None:
        raise KeyError("missing")

    assert texts(History(buggy).task().cold().commands) == ["fail 'missing'"]
    with pytest.raises(DefinitionError, match="fail_on"):
        workflow(fail_on=("KeyError",))  # pyright: ignore[reportArgumentType]


def test_a_time_out_that_nobody_caught_fails_the_run() -> None:
    @workflow
    def late() -> None:
        workflow.wait_all(start(a), timeout="1s")

    history = History(late).task().done().scheduled("a").timer().fired("1").task()
    assert texts(history.cold().commands) == ["fail not all of 1 were done within 1s"]


def test_even_system_exit_only_fails_the_task() -> None:
    @workflow
    def leaves() -> None:
        raise SystemExit(3)

    outcome = History(leaves).task().cold()
    assert outcome.failure is not None
    assert "SystemExit" in outcome.failure.message


def test_a_result_that_cannot_be_serialised_fails_the_task_and_says_why() -> None:
    @workflow
    def returns_it() -> object:
        return object()

    outcome = History(returns_it).task().cold()
    assert isinstance(outcome.error, PayloadError)
    assert "the result of workflow returns_it" in str(outcome.error)


def test_an_argument_that_cannot_be_serialised_fails_the_task_even_if_caught() -> None:
    @workflow
    def passes_it() -> str:
        try:
            call(a, object())
        except PayloadError:
            return "caught"
        return "passed"

    outcome = History(passes_it).task().cold()
    assert isinstance(outcome.error, PayloadError)
    assert "the arguments of activity a" in str(outcome.error)


def test_an_argument_of_three_megabytes_fails_the_task_and_says_so() -> None:
    @workflow
    def passes_it() -> None:
        call(a, "x" * 3_000_000)

    outcome = History(passes_it).task().cold()
    assert isinstance(outcome.error, PayloadTooLargeError)


def test_arguments_that_do_not_decode_fail_the_task() -> None:
    outcome = History(two_in_a_row, "not a number").task().cold()
    assert isinstance(outcome.error, PayloadError)
    assert "the arguments of workflow two_in_a_row" in str(outcome.error)


def test_wrong_arguments_to_an_activity_raise_as_a_call_would() -> None:
    @workflow
    def wrong() -> None:
        call(a, 1, 2, 3)  # pyright: ignore[reportCallIssue]

    outcome = History(wrong).task().cold()
    assert isinstance(outcome.error, TypeError)
    assert "too many positional arguments" in str(outcome.error)

"""What the log says of attempts that failed: each a line, the whole traceback now and then."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, PollWorkflowTaskQueueResponse

from perdure.api.tracebacks import traceback_text
from perdure.errors import ApplicationError
from perdure.sdk.convert import Converter, failure_of
from perdure.sdk.worker.failing import FULL_PER_MINUTE, Failed, FailureLog

SECOND_NS = 1_000_000_000


def task(attempt: int = 1, *, within_s: int = 0, spent_s: int = 0, **policy: Any) -> PollActivityTaskQueueResponse:
    made = PollActivityTaskQueueResponse(attempt=attempt)
    made.activity_type.name = "charge"
    made.workflow_execution.workflow_id = "order-1"
    made.retry_policy.initial_interval.FromSeconds(1)
    made.retry_policy.maximum_interval.FromSeconds(100)
    made.retry_policy.backoff_coefficient = 2.0
    for name, value in policy.items():
        if isinstance(value, list):
            getattr(made.retry_policy, name).extend(value)
        else:
            setattr(made.retry_policy, name, value)
    made.schedule_to_close_timeout.FromSeconds(within_s)
    made.scheduled_time.FromSeconds(1000)
    made.started_time.FromSeconds(1000 + spent_s)
    return made


def workflow_task(attempt: int) -> PollWorkflowTaskQueueResponse:
    made = PollWorkflowTaskQueueResponse(attempt=attempt)
    made.workflow_type.name = "order"
    made.workflow_execution.workflow_id = "order-1"
    return made


def raised(error: BaseException) -> Failure:
    try:
        raise error
    except type(error) as caught:
        return failure_of(caught, Converter())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The first line of each warning."""
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [record.getMessage().splitlines()[0] for record in caplog.records]


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (
            task(7, maximum_attempts=0),
            ConnectionError("down"),
            "(attempt 7, next try in 1 min 4 s): ConnectionError: down",
        ),
        (task(9), ConnectionError("down"), "(attempt 9, next try in 1 min 40 s)"),
        (task(3, maximum_attempts=3), KeyError("b"), "(attempt 3, the last): KeyError: 'b'"),
        (task(2, maximum_attempts=3), KeyError("b"), "(attempt 2, next try in 2 s)"),
        (task(1), ApplicationError("no", type="Declined", non_retryable=True), "(attempt 1, the last): Declined: no"),
        (task(1, non_retryable_error_types=["KeyError"]), KeyError("b"), "(attempt 1, the last)"),
        (task(1), ApplicationError("busy", next_retry_delay="90m"), "(attempt 1, next try in 1 h 30 min)"),
        (task(4, within_s=60, spent_s=50), KeyError("b"), "(attempt 4, next try in 8 s)"),
        (task(5, within_s=60, spent_s=50), KeyError("b"), "(attempt 5, the last)"),
        (task(1), AssertionError(), "AssertionError (at test_failing.py:"),
    ],
)
def test_a_failed_attempt_is_a_line_with_its_number_the_next_try_and_the_users_line(
    made: PollActivityTaskQueueResponse, error: BaseException, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    FailureLog().activity(made, raised(error))
    (line,) = lines(caplog)
    assert line.startswith("activity charge of workflow 'order-1' failed (") and said in line
    assert "(at test_failing.py:" in line and " in raised" in line


def test_the_whole_traceback_comes_with_attempts_1_10_and_100(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog()
    for attempt in range(1, 121):
        log.activity(task(attempt), raised(KeyError("b")))
        log.workflow_task(workflow_task(attempt), raised(KeyError("b")))
    assert len(caplog.records) == 240, "a line for each attempt"
    full = [record.getMessage() for record in caplog.records if "\n" in record.getMessage()]
    assert [text.split("(attempt ")[1].split(",")[0] for text in full] == ["1", "1", "10", "10", "100", "100"]
    for text in full:
        assert "Traceback (most recent call last):\n" in text
        assert text.endswith("\nKeyError: 'b'")


def test_a_crowd_that_fails_does_not_fill_the_log_with_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = FailureLog(clock=lambda: now)

    def full_ones() -> int:
        caplog.clear()
        for _ in range(500):
            log.activity(task(1), raised(KeyError("b")))
        assert len(caplog.records) == 500
        return sum("\n" in record.getMessage() for record in caplog.records)

    assert (full_ones(), full_ones()) == (FULL_PER_MINUTE, 0)
    now = 59.0
    assert full_ones() == 0
    now = 60.0
    assert full_ones() == FULL_PER_MINUTE


def test_a_time_out_is_told_with_the_time_that_was_given(caplog: pytest.LogCaptureFixture) -> None:
    made = task(2)
    made.start_to_close_timeout.FromSeconds(10)
    FailureLog().timed_out(made, 10 * SECOND_NS)
    made.schedule_to_close_timeout.FromSeconds(60)
    FailureLog().timed_out(made, 3 * SECOND_NS)
    assert [line.removeprefix("activity charge of workflow 'order-1' failed ") for line in lines(caplog)] == [
        "(attempt 2, next try in 2 s): TimedOutError: not done within 10 s",
        "(attempt 2, the last): TimedOutError: not done within 1 min",
    ]


def test_whoever_listens_is_told_of_each(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Failed] = []
    log = FailureLog(heard.append)
    error = KeyError("b")
    log.activity(task(2, maximum_attempts=5), raised(error), error)
    log.local_activity(task(1), raised(error), None)
    log.workflow_task(workflow_task(3), raised(error))
    assert [(one.attempt, one.has_end, one.is_workflow_task, one.error) for one in heard] == [
        (2, True, False, error), (1, False, False, None), (3, False, True, None),
    ]  # fmt: skip
    assert "local activity charge of workflow 'order-1' failed (attempt 1, the last): KeyError" in caplog.text


def test_a_traceback_shows_the_causes_first_as_python_does() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        text = traceback_text(failure_of(error, Converter()))
    assert text.index("KeyError: 'inner'") < text.index("direct cause") < text.index("ValueError: outer")
    assert text.count("Traceback (most recent call last):") == 2
    assert traceback_text(Failure(message="somebody else's", cause=Failure(message="no place"))) == ""


PROGRAM = """
from perdure import Engine, activity, call, workflow

@activity
def charge(order):
    return {}["price"]

@workflow
def order(n):
    return call(charge, n)

@workflow
def typo(n):
    return order.nmae

with Engine("memory://") as engine:
    started = engine.start(WHICH, 1, id="order-1")
    try:
        started.result(timeout="1s")
    except TimeoutError:
        pass
"""


BUGS = {
    "order": "activity charge of workflow 'order-1' failed (attempt 1, next try in 1 s): KeyError: 'price' (at shop",
    "typo": "workflow task of typo 'order-1' failed (attempt 1, tried again until the code is mended): AttributeError",
}


@pytest.mark.parametrize("which", BUGS)
def test_without_any_logging_configured_it_is_on_the_terminal(tmp_path: Path, which: str) -> None:
    program = tmp_path / "shop.py"
    program.write_text(textwrap.dedent(PROGRAM).replace("WHICH", which))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0].startswith(BUGS[which])
    assert said[1] == "Traceback (most recent call last):"
    assert any("shop.py" in one for one in said[2:])

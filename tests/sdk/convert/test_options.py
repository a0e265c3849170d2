"""Durations as users write them, retry policies, activity options."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.api.bounds import DURATION_MAX_NS
from perdure.sdk.options import (
    DEFAULT_START_TO_CLOSE_NS,
    SECOND_NS,
    Retry,
    activity_options,
    count,
    duration_message,
    duration_ns,
    parse_duration,
    sum_of_durations,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("2 days", 172800),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("1 day and 2 hours", 93600),
        ("1 day, 30 min", 88200),
        ("250us", 0.00025),
        (5, 5),
        (0.25, 0.25),
        (0, 0),
        (timedelta(days=2, microseconds=3), 172800.000003),
    ],
)
def test_a_duration_is_what_it_says(written: Any, seconds: float) -> None:
    assert parse_duration(written) == round(seconds * SECOND_NS)


@pytest.mark.parametrize("written", ["", "  ", "x", "5", "3 foo", "s", "1h-3m", "5 ss", -1, float("nan"), float("inf")])
def test_what_is_not_a_duration_is_refused_with_an_example(written: Any) -> None:
    with pytest.raises(ValueError, match=r"timeout .*(30s|negative|finite)"):
        parse_duration(written, "timeout")


@pytest.mark.parametrize(
    "written",
    [
        *(timedelta.max, timedelta(days=36501), 3_153_600_001, 1e12, 1e300, 10**30),
        pytest.param(10**5000, id="a number of 5,000 digits"),
        *("36501 days", "9" * 90 + " days"),
        pytest.param("1." + "9" * 5000 + " s", id="a fraction of 5,000 digits"),
        pytest.param("9" * 5000 + " s", id="a text of 5,000 digits"),
    ],
)
def test_a_duration_beyond_a_century_is_refused_and_its_bound_is_said(written: Any) -> None:
    with pytest.raises(ValueError, match=r"run_timeout .*(at most 100 years|text of 50\d\d characters)"):
        parse_duration(written, "run_timeout")


@pytest.mark.parametrize("written", ["36500 days", timedelta(days=36500), 3_153_600_000, 3_153_600_000.0])
def test_a_century_is_a_duration(written: Any) -> None:
    assert parse_duration(written) == DURATION_MAX_NS


@pytest.mark.parametrize(
    "parts", [{"days": 1e10}, {"hours": float("nan")}, {"seconds": float("inf")}, {"days": 30_000}]
)
def test_durations_together_have_the_same_bound(parts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"nap must be .*at most 100 years"):
        sum_of_durations("nap", "30000 days", **parts)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (-1, ValueError),
        (1 << 63, ValueError),
        pytest.param(10**5000, ValueError, id="a number of 5,000 digits"),
        (1.0, TypeError),
        (True, TypeError),
    ],
)
def test_a_count_is_bounded_and_named(number: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="actions must be"):
        count(number, "actions")


@pytest.mark.parametrize("written", [None, True, [], object()])
def test_what_is_no_duration_at_all_is_a_type_error(written: Any) -> None:
    with pytest.raises(TypeError, match="seconds, a timedelta or text"):
        parse_duration(written)


@given(st.integers(0, 10**18))
def test_the_wires_duration_holds_every_nanosecond(ns: int) -> None:
    assert duration_ns(duration_message(ns)) == ns


def test_a_retry_policy_is_checked_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="backoff_coefficient"):
        Retry(backoff_coefficient=0.5)
    for coefficient in (float("nan"), float("inf"), 1e308, -2.0, 10**400):
        with pytest.raises(ValueError, match=r"backoff_coefficient must be at least 1 and at most 3.1536e\+18"):
            Retry(backoff_coefficient=coefficient)
    with pytest.raises(ValueError, match="maximum_attempts"):
        Retry(maximum_attempts=-1)
    with pytest.raises(ValueError, match="maximum_attempts must be from 0 to 2147483647"):
        Retry(maximum_attempts=1 << 31)
    with pytest.raises(ValueError, match=r"initial_interval must be at most 100 years"):
        Retry(initial_interval=timedelta.max)
    with pytest.raises(ValueError, match="maximum_interval"):
        Retry(initial_interval="10s", maximum_interval="1s")
    with pytest.raises(ValueError, match="jitter"):
        Retry(jitter=2)
    with pytest.raises(TypeError, match="sequence of names"):
        Retry(non_retryable_error_types="ValueError")
    with pytest.raises(ValueError, match="initial_interval"):
        Retry(initial_interval=0)


def test_a_retry_policy_has_its_wire_form() -> None:
    message = Retry("2s", 3.0, "1m", 5, [ValueError, "CardDeclined"])._message
    assert duration_ns(message.initial_interval) == 2 * SECOND_NS
    assert duration_ns(message.maximum_interval) == 60 * SECOND_NS
    assert (message.backoff_coefficient, message.maximum_attempts) == (3.0, 5)
    assert list(message.non_retryable_error_types) == ["ValueError", "CardDeclined"]


def test_a_retry_policy_can_be_sent_to_another_process() -> None:
    retry = Retry("2s", maximum_attempts=3)
    assert pickle.loads(pickle.dumps(retry)) == retry


def test_an_activity_has_a_time_limit_even_when_none_is_given() -> None:
    assert activity_options().start_to_close_ns == DEFAULT_START_TO_CLOSE_NS
    assert activity_options(schedule_to_close_timeout="1h").start_to_close_ns is None


def test_options_of_a_call_go_over_those_of_the_declaration() -> None:
    declared = activity_options(start_to_close_timeout="30s", heartbeat_timeout="5s", task_queue="gpu")
    changed = activity_options(declared, start_to_close_timeout="5s")
    assert changed.start_to_close_ns == 5 * SECOND_NS
    assert changed.heartbeat_ns == 5 * SECOND_NS
    assert changed.task_queue == "gpu"


def test_a_time_out_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="start_to_close_timeout must be longer than nothing"):
        activity_options(start_to_close_timeout=0)

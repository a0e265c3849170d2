"""What an error cannot carry is refused where it is made."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest

from perdure.sdk import errors


class Code(Enum):
    DECLINED = "declined"


class Word(StrEnum):
    DECLINED = "declined"


Make = Callable[..., Any]
KINDS: list[Make] = [
    errors.ApplicationError,
    errors.CancelledError,
    errors.TimedOutError,
    errors.TerminatedError,
    errors.ServerError,
    errors.FailureError,
    lambda message: errors.ActivityError(message, activity_type="a"),
    lambda message: errors.ChildWorkflowError(message, workflow_type="w"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", [5, None, {"reason": "limit"}, ["x"], b"x", Code.DECLINED, ValueError, object()])
def test_a_message_that_is_no_text_is_refused(kind: Make, message: object) -> None:
    with pytest.raises(TypeError, match=r"the message of \w+ must be a str, not "):
        kind(message)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_stands_for_its_text(kind: Make) -> None:
    assert kind(ValueError("declined")).message == "declined"
    assert kind(ValueError()).message == "ValueError"
    assert kind(Word.DECLINED).message == "declined"


@pytest.mark.parametrize("type", [5, Code.DECLINED, ValueError, b"T", ["T"]])
def test_a_type_that_is_no_text_is_refused(type: Any) -> None:
    with pytest.raises(TypeError, match="type must be a str, not "):
        errors.ApplicationError("m", type=type)


def test_a_type_that_is_a_text_of_an_enum_is_its_value() -> None:
    error = errors.ApplicationError("m", type=Word.DECLINED)
    assert type(error.type) is str
    assert str(error) == "declined: m"


WITH_DETAILS: list[Make] = [
    lambda details: errors.ApplicationError("m", details=details),
    lambda details: errors.CancelledError("m", details=details),
    lambda details: errors.TerminatedError("m", details=details),
    lambda details: errors.TimedOutError("m", last_heartbeat_details=details),
]


@pytest.mark.parametrize("make", WITH_DETAILS)
@pytest.mark.parametrize(
    "details",
    ["limit", b"limit", bytearray(b"x"), {"reason": "limit"}, MappingProxyType({}), 5, {1, 2}, None, iter([1])],
)
def test_details_that_are_no_list_are_refused(make: Make, details: object) -> None:
    with pytest.raises(TypeError, match=r"details must be a list or tuple of values, not \w+: write \w*details=\["):
        make(details)


def test_details_may_be_set_and_are_checked_then_too() -> None:
    error = errors.ApplicationError("m", details=[1])
    error.details = [2, 3]
    assert error.details == (2, 3)
    with pytest.raises(TypeError, match="details must be"):
        error.details = {"reason": "limit"}  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "make",
    [
        lambda: errors.ApplicationError("m", non_retryable="no"),  # pyright: ignore[reportArgumentType]
        lambda: errors.ServerError("m", non_retryable=1),  # pyright: ignore[reportArgumentType]
        lambda: errors.ApplicationError("m", next_retry_delay=[1]),  # pyright: ignore[reportArgumentType]
        lambda: errors.TimedOutError("m", timeout_type="HEARTBEAT"),  # pyright: ignore[reportArgumentType]
        lambda: errors.ActivityError("m", activity_type=5),  # pyright: ignore[reportArgumentType]
        lambda: errors.ActivityError("m", activity_type="a", scheduled_event_id="5"),  # pyright: ignore
        lambda: errors.ActivityError("m", activity_type="a", retry_state=5),  # pyright: ignore[reportArgumentType]
        lambda: errors.ChildWorkflowError("m", workflow_type="w", workflow_id=None),  # pyright: ignore
    ],
)
def test_other_fields_are_checked_too(make: Make) -> None:
    with pytest.raises(TypeError, match=" must be "):
        make()


def test_the_root_of_causes_that_go_in_a_circle_is_one_of_them() -> None:
    error = errors.ApplicationError("m")
    error.__cause__ = other = ValueError()
    other.__cause__ = error
    assert error.root in (error, other)

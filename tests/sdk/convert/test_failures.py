"""Exceptions to failures and back."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from perdure.sdk import errors
from perdure.sdk.convert import Converter, error_of, failure_of

CONVERTER = Converter()


def recorded(error: BaseException) -> Failure:
    """Its failure, by way of bytes, as history keeps it."""
    return Failure.FromString(failure_of(error, CONVERTER).SerializeToString())


def there_and_back(error: BaseException) -> errors.FailureError:
    return error_of(recorded(error), CONVERTER)


def test_a_users_exception_keeps_its_type_text_and_place() -> None:
    try:
        raise ValueError("out of stock")
    except ValueError as error:
        back = there_and_back(error)
    assert isinstance(back, errors.ApplicationError)
    assert (back.type, back.message, back.non_retryable) == ("ValueError", "out of stock", False)
    assert "test_failures.py" in back.stack_trace


def test_an_application_error_keeps_all_it_says_about_retries() -> None:
    error = errors.ApplicationError(
        "card declined", type="CardDeclined", non_retryable=True, next_retry_delay="5s", details=[{"code": 51}, "x"]
    )
    back = there_and_back(error)
    assert isinstance(back, errors.ApplicationError)
    assert (back.type, back.non_retryable, back.next_retry_delay_ns) == ("CardDeclined", True, 5_000_000_000)
    assert back.details == ({"code": 51}, "x")
    assert str(back) == "CardDeclined: card declined"


def test_the_cause_chain_is_kept() -> None:
    try:
        try:
            try:
                raise KeyError("sku")
            except KeyError as error:
                raise ConnectionError("gateway") from error
        except ConnectionError:
            raise RuntimeError("order failed")  # noqa: B904 - the implicit chain is what is tested
    except RuntimeError as error:
        back = there_and_back(error)
    types = []
    link: BaseException | None = back
    while link is not None:
        assert isinstance(link, errors.ApplicationError)
        types.append(link.type)
        link = link.__cause__
    assert types == ["RuntimeError", "ConnectionError", "KeyError"]
    assert back.root.args == ("'sku'",)


def test_a_chain_without_end_is_cut() -> None:
    error = RuntimeError("0")
    first = error
    for number in range(100):
        error.__cause__ = RuntimeError(str(number))
        error = error.__cause__
    failure, depth = failure_of(first, CONVERTER), 0
    while failure.HasField("cause"):
        failure, depth = failure.cause, depth + 1
    assert depth == 20


@pytest.mark.parametrize(
    "error",
    [
        errors.CancelledError("stop", details=["so far", 3]),
        errors.TimedOutError("late", timeout_type=errors.TimeoutType.HEARTBEAT, last_heartbeat_details=[7]),
        errors.TerminatedError("enough"),
        errors.ServerError("full", non_retryable=True),
        errors.ActivityError(
            "activity error",
            activity_type="charge",
            activity_id="3",
            scheduled_event_id=5,
            started_event_id=6,
            identity="me",
            retry_state=errors.RetryState.MAXIMUM_ATTEMPTS_REACHED,
        ),
    ],
)
def test_every_kind_of_failure_comes_back_as_it_went(error: errors.FailureError) -> None:
    back = there_and_back(error)
    assert type(back) is type(error)
    ignored = {"failure", "stack_trace"}
    assert {k: v for k, v in vars(back).items() if k not in ignored} == {
        k: v for k, v in vars(error).items() if k not in ignored
    }


def test_an_activity_error_tells_why_in_one_line() -> None:
    error = errors.ActivityError("x", activity_type="charge")
    error.__cause__ = errors.ApplicationError("no funds", type="Declined")
    assert str(there_and_back(error)) == "activity charge failed: Declined: no funds"


def test_a_recorded_failure_that_passes_through_is_written_as_it_was_read() -> None:
    failure = Failure(message="m", source="GoSDK", stack_trace="goroutine 1")
    failure.application_failure_info.type = "T"
    assert failure_of(error_of(failure, CONVERTER), CONVERTER) == failure


def test_a_failure_of_an_unknown_kind_passes_through_too() -> None:
    failure = Failure(message="child failed")
    failure.child_workflow_execution_failure_info.workflow_type.name = "Child"
    error = error_of(failure, CONVERTER)
    assert error.message == "child failed"
    assert failure_of(error, CONVERTER) == failure


def test_details_that_cannot_be_recorded_do_not_hide_the_failure() -> None:
    back = there_and_back(errors.ApplicationError("real reason", details=[object()]))
    assert "real reason" in back.message
    assert "type object" in back.message


def test_an_exception_whose_text_fails_is_still_recorded() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    back = there_and_back(Rude())
    assert isinstance(back, errors.ApplicationError)
    assert back.type == "Rude"


def test_a_huge_text_is_shortened() -> None:
    failure = failure_of(ValueError("x" * 3_000_000), CONVERTER)
    assert failure.ByteSize() < 50_000
    assert "3,000,000 characters" in failure.message


def test_a_payload_error_is_never_retried() -> None:
    assert failure_of(errors.PayloadTooLargeError("x"), CONVERTER).application_failure_info.non_retryable


def test_attributes_that_another_sdk_encoded_are_read() -> None:
    failure = Failure(message="Encoded failure")
    failure.encoded_attributes.CopyFrom(CONVERTER.to_payload({"message": "secret", "stack_trace": "at x"}))
    failure.application_failure_info.type = "T"
    error = error_of(failure, CONVERTER)
    assert (error.message, error.stack_trace) == ("secret", "at x")


def test_unknown_details_do_not_decode_silently() -> None:
    failure = Failure(message="m")
    failure.application_failure_info.details.payloads.append(Payload(metadata={"encoding": b"odd"}))
    with pytest.raises(errors.PayloadError, match="odd"):
        error_of(failure, CONVERTER)

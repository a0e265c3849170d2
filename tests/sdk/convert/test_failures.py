"""Exceptions to failures and back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from perdure.api.failures import FAILURE_DEPTH_MAX
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
    assert depth == FAILURE_DEPTH_MAX - 1
    assert failure.message == "99", "of a chain too long the root is kept"


def test_causes_that_go_in_a_circle_are_told_once() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    failure = failure_of(one, CONVERTER)
    assert (failure.message, failure.cause.message, failure.cause.HasField("cause")) == ("one", "two", False)


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


def test_notes_and_another_cause_are_written_with_an_error_that_passes_through() -> None:
    failure = Failure(message="m", cause=Failure(message="as recorded"))
    failure.application_failure_info.type = "T"
    error = error_of(failure, CONVERTER)
    error.add_note("in step 3")
    assert failure_of(error, CONVERTER).message == "m\nin step 3"
    assert failure.message == "m"
    error.__cause__ = KeyError("sku")
    assert failure_of(error, CONVERTER).cause.application_failure_info.type == "KeyError"


def test_a_recorded_cause_that_from_none_took_away_is_written_all_the_same() -> None:
    failure = Failure(message="m", cause=Failure(message="as recorded"))
    with pytest.raises(errors.FailureError) as caught:
        raise error_of(failure, CONVERTER) from None
    assert failure_of(caught.value, CONVERTER) == failure


def test_recorded_failures_that_are_wrapped_again_and_again_stay_readable() -> None:
    error: BaseException = ConnectionError("the root of all")
    for number in range(150):
        wrapped = errors.ActivityError(f"{number}", activity_type="a")
        wrapped.__cause__ = error_of(recorded(error), CONVERTER)
        error = wrapped
    read = recorded(error)
    assert read.message == "149"
    assert error_of(read, CONVERTER).root.args == ("the root of all",)


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


def test_a_text_that_utf_8_cannot_hold_is_told_with_replacement_characters() -> None:
    back = there_and_back(OSError("cannot read caf\udce9.csv, \ud83d\ude00"))
    assert back.message == "cannot read caf\ufffd.csv, \N{GRINNING FACE}"


def test_notes_are_told() -> None:
    error = ValueError("bad row")
    error.add_note("row 17 of upload.csv")
    assert there_and_back(error).message == "bad row\nrow 17 of upload.csv"


def test_a_group_tells_its_members_their_lines_and_their_notes() -> None:
    def fail() -> None:
        raise errors.ApplicationError("host db-7 is down", type="Down")

    with pytest.raises(errors.ApplicationError) as caught:
        fail()
    noted = KeyError("sku")
    noted.add_note("row 17")
    back = there_and_back(ExceptionGroup("two failed", [caught.value, ExceptionGroup("inner", [noted])]))
    assert back.message == (
        "two failed (2 sub-exceptions): "
        "[Down: host db-7 is down; ExceptionGroup: inner (1 sub-exception): [KeyError: 'sku'; row 17]]"
    )
    assert "in fail" in back.stack_trace
    assert isinstance(back.cause, errors.ApplicationError)
    assert back.cause.type == "Down"


def never(delay: float | None = None) -> errors.ApplicationError:
    return errors.ApplicationError("no", non_retryable=True, next_retry_delay=delay)


@pytest.mark.parametrize(
    ("members", "final"),
    [
        ([never()], True),
        ([never(), errors.PayloadError("x"), errors.CancelledError()], True),
        ([never(), ExceptionGroup("inner", [never(), never()])], True),
        ([never(), ValueError("x")], False),
        ([never(), ExceptionGroup("inner", [never(), ValueError("x")])], False),
        ([errors.PayloadCodecError("the key service is down")], False),
        ([errors.ApplicationError("later")], False),
    ],
)
def test_a_group_is_final_if_all_that_is_in_it_is(members: list[Exception], final: bool) -> None:
    assert failure_of(ExceptionGroup("g", members), CONVERTER).application_failure_info.non_retryable is final


def test_a_group_waits_as_long_as_the_member_that_asks_for_most() -> None:
    group = ExceptionGroup("g", [errors.ApplicationError("a", next_retry_delay=n) for n in (5, 9, 7)])
    assert failure_of(group, CONVERTER).application_failure_info.next_retry_delay.seconds == 9
    silent = failure_of(ExceptionGroup("g", [OSError()]), CONVERTER)
    assert not silent.application_failure_info.HasField("next_retry_delay")


def test_a_group_that_holds_itself_two_to_the_hundredth_times_is_told() -> None:
    group = ExceptionGroup("0", [OSError("leaf")])
    for number in range(100):
        group = ExceptionGroup(str(number), [group, group])
    failure = failure_of(group, CONVERTER)
    assert failure.message.startswith("99 (2 sub-exceptions): [ExceptionGroup: 98 (2")
    assert failure.ByteSize() < 100_000


def test_a_group_of_very_many_is_told_in_part() -> None:
    failure = failure_of(ExceptionGroup("crowd", [ValueError(str(n)) for n in range(100_000)]), CONVERTER)
    assert "… 99,950 more" in failure.message
    assert failure.ByteSize() < 10_000


def test_frames_of_this_package_are_left_out_unless_nothing_else_remains() -> None:
    from perdure.sdk.options import parse_duration

    with pytest.raises(ValueError, match="not a duration") as caught:
        parse_duration("soon")
    lines = failure_of(caught.value, CONVERTER).stack_trace
    assert "test_failures.py" in lines
    assert "options.py" not in lines
    trace = caught.value.__traceback__
    while trace is not None and "options.py" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    assert "options.py" in failure_of(caught.value.with_traceback(trace), CONVERTER).stack_trace


def test_a_stack_a_thousand_calls_deep_is_told_from_its_inner_end() -> None:
    def dive(left: int) -> None:
        if left == 0:
            raise ValueError("bottom")
        (dive if left % 2 else dive_too)(left - 1)

    def dive_too(left: int) -> None:
        dive(left - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        dive(900)
    trace = failure_of(caught.value, CONVERTER).stack_trace
    assert len(trace) <= 20_000
    assert 'raise ValueError("bottom")' in trace


def test_source_that_cannot_be_read_does_not_hide_the_lines() -> None:
    class Loader:
        def get_source(self, name: str) -> str:
            raise RuntimeError("no source for you")

    names: dict[str, object] = {"__name__": "gone", "__loader__": Loader()}
    exec(compile("def f(): raise ValueError('x')", "/nowhere/gone.py", "exec"), names)
    with pytest.raises(ValueError, match="x") as caught:
        names["f"]()  # pyright: ignore
    assert 'File "/nowhere/gone.py", line 1, in f' in failure_of(caught.value, CONVERTER).stack_trace


def test_details_leave_room_for_what_went_wrong() -> None:
    error = errors.ApplicationError("outer", details=["x" * 700])
    error.__cause__ = errors.ApplicationError("inner", details=["y" * 700])
    failure = failure_of(error, Converter(limit_bytes=1_000))
    assert failure.application_failure_info.details.payloads
    assert not failure.cause.application_failure_info.HasField("details")
    assert "details left out" in failure.cause.message


class Down(Exception):
    pass


class DownCodec:
    """A key service that is down, until it is up."""

    up = False

    def encode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        if not self.up:
            raise Down("the key service is down")
        return payloads

    decode = encode


def test_an_error_is_told_while_its_codec_is_down() -> None:
    failure = failure_of(errors.ApplicationError("real reason", details=["secret"]), Converter(DownCodec()))
    assert failure.message.startswith("real reason (details left out: ")
    assert "the key service is down" in failure.message


def test_details_are_read_once_their_codec_is_up() -> None:
    failure = failure_of(errors.ApplicationError("m", details=["secret"]), CONVERTER)
    codec = DownCodec()
    error = error_of(failure, Converter(codec))
    assert isinstance(error, errors.ApplicationError)
    with pytest.raises(errors.PayloadCodecError, match="the key service is down"):
        _ = error.details
    codec.up = True
    assert error.details == ("secret",)


def test_a_codec_that_is_down_is_worth_another_try() -> None:
    with pytest.raises(errors.PayloadCodecError) as caught:
        Converter(DownCodec()).to_payloads([1], "the result of activity f")
    assert str(caught.value) == "the result of activity f: the codec failed: Down: the key service is down"
    assert not failure_of(caught.value, CONVERTER).application_failure_info.non_retryable


def test_a_subclass_that_forgets_to_call_init_is_told() -> None:
    class Declined(errors.ApplicationError):
        def __init__(self, code: int) -> None:
            self.code = code

    back = there_and_back(Declined(51))
    assert isinstance(back, errors.ApplicationError)
    assert (back.message, back.type, back.details) == ("51", "ApplicationError", ())


def test_kinds_and_numbers_of_a_later_temporal_are_read() -> None:
    failure = Failure(message="late")
    failure.timeout_failure_info.timeout_type = 99  # pyright: ignore[reportAttributeAccessIssue]
    error = error_of(failure, CONVERTER)
    assert isinstance(error, errors.TimedOutError)
    assert error.timeout_type is errors.TimeoutType.UNKNOWN
    failure = Failure()
    failure.nexus_handler_failure_info.type = "INTERNAL"
    assert str(error_of(failure, CONVERTER)) == "a failure without a text (nexus_handler_failure_info)"
    failure = Failure(message="odd")
    failure.application_failure_info.next_retry_delay.seconds = -5
    assert error_of(failure, CONVERTER).message == "odd"


def test_encoded_attributes_that_cannot_be_read_leave_the_rest() -> None:
    failure = Failure(message="Encoded failure")
    failure.encoded_attributes.CopyFrom(Payload(metadata={"encoding": b"binary/encrypted"}))
    failure.application_failure_info.type = "Declined"
    error = error_of(failure, CONVERTER)
    assert isinstance(error, errors.ApplicationError)
    assert error.type == "Declined"
    assert error.message.startswith("Encoded failure (its text could not be read: ")


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


def test_details_that_cannot_be_read_hide_nothing_and_are_not_made_up() -> None:
    failure = Failure(message="real reason", cause=Failure(message="its cause"))
    failure.application_failure_info.details.payloads.append(Payload(metadata={"encoding": b"odd"}))
    error = error_of(failure, CONVERTER)
    assert isinstance(error, errors.ApplicationError)
    assert (str(error), str(error.cause)) == ("real reason", "its cause")
    with pytest.raises(errors.PayloadError, match="odd"):
        _ = error.details
    assert failure_of(error, CONVERTER) == failure

"""What is told of an error, whether it may pass, when the same is tried again."""

from __future__ import annotations

import errno
import logging

import pytest

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.node.faults import Faults, Setbacks, as_rejected, is_passing
from perdure.stores.api import Damaged, ReadsBusy, ReadTooLong, StoreError, Unstorable

CODES: list[tuple[Exception, StatusCode, bool]] = [
    (StoreError("the disk is full"), StatusCode.UNAVAILABLE, True),
    (ReadTooLong("narrow its filter"), StatusCode.DEADLINE_EXCEEDED, False),
    (ReadsBusy("too many"), StatusCode.RESOURCE_EXHAUSTED, True),
    (Unstorable("too large a number", True), StatusCode.INVALID_ARGUMENT, False),
    (Unstorable("it contradicts itself", False), StatusCode.INTERNAL, False),
    (Damaged("a bit was flipped"), StatusCode.DATA_LOSS, False),
    (MemoryError(), StatusCode.RESOURCE_EXHAUSTED, True),
    (RuntimeError("can't start new thread"), StatusCode.RESOURCE_EXHAUSTED, True),
    (OSError(errno.EMFILE, "Too many open files"), StatusCode.RESOURCE_EXHAUSTED, True),
    (RuntimeError("a bug"), StatusCode.INTERNAL, False),
    (ZeroDivisionError("a bug"), StatusCode.INTERNAL, False),
    (Rejected(StatusCode.ABORTED, "busy"), StatusCode.ABORTED, True),
    (Rejected(StatusCode.NOT_FOUND, "gone"), StatusCode.NOT_FOUND, False),
]


@pytest.mark.parametrize(("error", "code", "passes"), CODES, ids=repr)
def test_every_error_has_its_code_and_may_pass_or_not(error: Exception, code: StatusCode, passes: bool) -> None:
    assert as_rejected(error).code is code
    assert is_passing(error) is passes


def test_a_pause_doubles_up_to_the_longest_and_begins_anew() -> None:
    now = [100.0]
    setbacks = Setbacks[str](1.0, 5.0, lambda: now[0])
    assert setbacks.rest_s() is None
    assert [setbacks.add("a").pause_s for _ in range(5)] == [1, 2, 4, 5, 5]
    assert setbacks.add("b", MemoryError()).faults == 0
    assert (setbacks.rests("a"), setbacks.rests("b"), setbacks.rests("c")) == (True, True, False)
    assert setbacks.rest_s() == 1
    now[0] += 2
    assert (setbacks.rests("a"), setbacks.rests("b"), setbacks.rest_s()) == (True, False, 0)
    setbacks.keep({"a"})
    assert setbacks.rest_s() == 3
    setbacks.forget("a")
    assert len(setbacks) == 0
    assert setbacks.add("a").pause_s == 1


def test_faults_in_a_row_are_counted_until_it_fails_by_what_passes() -> None:
    setbacks = Setbacks[str](1.0, 5.0, lambda: 0.0)
    assert [setbacks.add("a", ZeroDivisionError()).faults for _ in range(3)] == [1, 2, 3]
    told = setbacks.add("a", StoreError("full"))
    assert (told.faults, told.failures, told.pause_s) == (0, 4, 1.0)


def fail(how: int) -> Exception:
    try:
        return ZeroDivisionError(1 // 0) if how else ValueError(int("x"))
    except Exception as error:
        return error


def test_a_fault_is_told_with_its_traceback_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    faults = Faults(logging.getLogger("perdure.test"), lambda: now[0])
    for how in (0, 0, 1, 0, 1):
        faults.tell(fail(how), "step %d of %r", 7, "order-1")
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True, False, False]
    assert caplog.records[1].getMessage().startswith("step 7 of 'order-1': ValueError: invalid literal")
    now[0] = 61
    faults.tell(fail(0), "step %d", 7)
    assert caplog.records[-1].exc_info is not None


def test_the_memory_of_what_was_told_is_bounded() -> None:
    faults = Faults(logging.getLogger("perdure.test"), lambda: 0.0)
    for number in range(3000):
        faults.tell(type(f"E{number}", (Exception,), {})(), "x")
    assert len(faults._told_at) <= 1000

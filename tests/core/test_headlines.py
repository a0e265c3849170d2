"""A failure in one line, as logs and descriptions show it."""

from __future__ import annotations

import pytest
from temporalio.api.failure.v1 import Failure

from perdure.api.failures import HEADLINE_MAX, headline

TRACE = """  File "/app/shop.py", line 12, in w
    call(charge)
  File "/app/shop.py", line 41, in charge
    prices["sku"]
  File "/usr/lib/python3.13/collections/__init__.py", line 1122, in __getitem__
    raise KeyError(key)
"""


def application(type: str, message: str, stack_trace: str = "") -> Failure:
    failure = Failure(message=message, stack_trace=stack_trace)
    failure.application_failure_info.type = type
    return failure


def test_type_message_and_the_users_own_line() -> None:
    assert headline(application("KeyError", "'sku'", TRACE)) == "KeyError: 'sku' (at shop.py:41 in charge)"


def test_without_a_message_the_source_of_the_line_says_what_was_wrong() -> None:
    trace = '  File "C:\\shop\\till.py", line 4, in w\n    assert 1 == 2\n           ^^^^^^\n'
    assert headline(application("AssertionError", "", trace)) == "AssertionError (at till.py:4 in w: assert 1 == 2)"


def test_source_text_that_is_not_there_is_not_made_up() -> None:
    trace = '  File "<string>", line 1, in <module>\n  File "<string>", line 2, in w\n'
    assert headline(application("StopIteration", "", trace)) == "StopIteration (at <string>:2 in w)"
    outer = trace + '  File "/usr/lib/python3.13/json/decoder.py", line 338, in decode\n    obj = scan()\n'
    assert headline(application("StopIteration", "", outer)) == "StopIteration (at <string>:2 in w)"


def test_a_trace_of_libraries_alone_names_its_innermost_line() -> None:
    trace = '  File "/v/lib/python3.13/site-packages/stripe/http.py", line 7, in send\n    raise\n'
    assert headline(application("OSError", "down", trace)) == "OSError: down (at http.py:7 in send)"


def test_a_wrapper_says_whose_failure_it_is() -> None:
    child = Failure(message="child workflow failed", cause=Failure(message="activity failed"))
    child.child_workflow_execution_failure_info.workflow_type.name = "Pack"
    child.cause.activity_failure_info.activity_type.name = "weigh"
    child.cause.cause.CopyFrom(application("ValueError", "too heavy", TRACE))
    assert headline(child) == (
        "child workflow Pack failed: activity weigh failed: ValueError: too heavy (at shop.py:41 in charge)"
    )


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ("timeout_failure_info", "TimedOutError: late"),
        ("canceled_failure_info", "CancelledError: late"),
        ("terminated_failure_info", "TerminatedError: late"),
        ("server_failure_info", "ServerError: late"),
        ("nexus_handler_failure_info", "late"),
    ],
)
def test_other_kinds_have_the_name_of_their_exception(info: str, text: str) -> None:
    failure = Failure(message="late")
    getattr(failure, info).SetInParent()
    assert headline(failure) == text


def test_a_headline_is_one_line_of_bounded_length_and_never_empty() -> None:
    assert headline(application("E", "a\n  b\r\n\tc")) == "E: a b c"
    assert headline(application("E", "x" * 5_000)) == "E: " + "x" * HEADLINE_MAX + "…"
    assert headline(Failure()) == "a failure without a text"
    assert headline(application("", "", "at com.shop.Till(Till.java:7)")) == "a failure without a text"

"""Whatever is raised can be told, and whatever was told can be read."""

from __future__ import annotations

import os
from random import Random

import pytest
from temporalio.api.failure.v1 import Failure

from perdure.api.digest import failure_text
from perdure.api.failures import FAILURE_DEPTH_MAX, headline
from perdure.api.tracebacks import traceback_text
from perdure.sdk.convert import Converter, error_of, failure_of
from tests.sdk.convert import strange

CASES = int(os.environ.get("PERDURE_EXCEPTIONS", "3000"))
"""`PERDURE_EXCEPTIONS=100000 make test ARGS=tests/sdk/convert/test_any_exception.py` looks at more."""
PARTS = 10
BYTES_MAX = 600_000
"""Of texts and stack traces alone: history holds 2 MiB, details among them."""


@pytest.mark.parametrize("part", range(PARTS))
def test_any_exception_becomes_a_failure_and_an_exception_again(part: int) -> None:
    for number in range(part, CASES, PARTS):
        try:
            there_and_back(number)
        except BaseException as problem:
            raise AssertionError(f"seed {number}: there_and_back({number})") from problem


def there_and_back(seed: int) -> None:
    dice = Random(seed)
    converter = strange.a_converter(dice)
    error = strange.an_exception(dice)
    failure = failure_of(error, converter)
    data = failure.SerializeToString()
    assert len(data) <= BYTES_MAX + converter.limit_bytes
    read = Failure.FromString(data)
    links = 0
    link = read
    while True:
        assert (link.message + link.application_failure_info.type).strip(), "it says nothing"
        assert len(link.message) <= 40_000
        if not link.HasField("cause"):
            break
        link, links = link.cause, links + 1
    assert links < FAILURE_DEPTH_MAX
    assert headline(read) not in ("", "a failure without a text")
    assert failure_text(read)
    traceback_text(read)
    back = error_of(read, converter)
    assert str(back) is not None and repr(back)
    assert failure_of(back, Converter()) == read, "an error that passes through is written as it was read"

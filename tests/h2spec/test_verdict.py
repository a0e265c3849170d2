"""What is made of h2spec's report. The suite itself needs go, and is `make h2spec`."""

from __future__ import annotations

from pathlib import Path

from tests.h2spec.verdict import SpecTest, exceptions, judge, outcomes

REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="5.3.1. Stream Dependencies" package="http2/5.3.1" tests="3" skipped="1" errors="1">
    <testcase package="http2/5.3.1" classname="Sends this" time="0.0000"></testcase>
    <testcase package="http2/5.3.1" classname="Sends that" time="2.0000"><error>GOAWAY Frame
Timeout</error></testcase>
    <testcase package="http2/5.3.1" classname="Sends more" time="0.0000"><skipped></skipped></testcase>
  </testsuite>
</testsuites>
"""
THIS, THAT, MORE = (SpecTest("http2/5.3.1", f"Sends {what}") for what in ("this", "that", "more"))
FOUND = outcomes(REPORT)


def test_a_report_says_what_came_of_each_test() -> None:
    assert FOUND == {THIS: "passed", THAT: "GOAWAY Frame / Timeout", MORE: "skipped"}


def test_what_fails_or_is_skipped_must_be_explained() -> None:
    verdict = judge(FOUND, {})
    assert (verdict.passed, verdict.explained) == (1, 0)
    assert [complaint.split("\n")[0] for complaint in verdict.complaints] == [str(THAT), str(MORE)]


def test_what_is_explained_may_fail_and_may_not_pass() -> None:
    assert judge({THIS: "passed", THAT: "Timeout"}, {THAT: "so it is"}).complaints == []
    (complaint,) = judge({THIS: "passed", THAT: "passed"}, {THAT: "so it is"}).complaints
    assert "but passed" in complaint
    (complaint,) = judge({THIS: "passed"}, {THAT: "so it is"}).complaints
    assert "but was not run" in complaint


def test_a_suite_that_ran_nothing_is_complained_of() -> None:
    assert judge({}, {}).complaints


def test_the_page_explains_its_exceptions() -> None:
    page = Path(__file__).parents[2] / "docs" / "http2.md"
    found = exceptions(page.read_text(encoding="utf-8"))
    assert found
    assert all(test.section.startswith(("http2/", "hpack/", "generic/")) for test in found)

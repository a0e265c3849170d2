"""What a run of h2spec means: every test passes but those that `docs/http2.md` explains, and those do not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree

_ROW = re.compile(r"^\| `(?P<section>[a-z0-9/.]+)` \| (?P<title>.+?) \| (?P<reason>.+?) \|$", re.MULTILINE)


class SpecTest(NamedTuple):
    """One test of the suite."""

    section: str
    title: str

    def __str__(self) -> str:
        return f"{self.section}: {self.title}"


class Verdict(NamedTuple):
    """Figures of a run, and what is wrong with it."""

    passed: int
    explained: int
    complaints: list[str]


def exceptions(page: str) -> dict[SpecTest, str]:
    """The tests that are not passed on purpose, and why, as a page explains them."""
    return {SpecTest(row["section"], row["title"]): row["reason"] for row in _ROW.finditer(page)}


def outcomes(report: str) -> dict[SpecTest, str]:
    """What came of each test by h2spec's report in JUnit's format: "passed", or what was got instead."""
    found: dict[SpecTest, str] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        section, title = case.attrib["package"], case.attrib["classname"]
        wrong = next((one for one in case if one.tag in ("error", "failure", "skipped")), None)
        if wrong is None:
            found[SpecTest(section, title)] = "passed"
        elif wrong.tag == "skipped":
            found[SpecTest(section, title)] = "skipped"
        else:
            found[SpecTest(section, title)] = " / ".join((wrong.text or "failed").split("\n"))
    return found


def judge(found: Mapping[SpecTest, str], explained: Mapping[SpecTest, str]) -> Verdict:
    """A suite that ran nothing is as wrong as a test that fails, or one that is excused and passes."""
    passed = sum(outcome == "passed" for outcome in found.values())
    complaints = [
        f"{test}\n    {outcome}" for test, outcome in found.items() if outcome != "passed" and test not in explained
    ]
    for test in explained:
        outcome = found.get(test, "was not run")
        if outcome in ("passed", "skipped", "was not run"):
            complaints.append(f"{test}\n    is explained as an exception, but {outcome}: take it out of the page")
    if not passed:
        complaints.append("no test passed: was it run at all?")
    return Verdict(passed, sum(found.get(test, "passed") != "passed" for test in explained), complaints)

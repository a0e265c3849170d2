"""Names of the version before: a program that uses them all runs unchanged, and each of its lines names the new one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from perdure import activity
from tests.tidy.files import ROOT

PROGRAM = Path(__file__).parent / "version_before.py"
CHANGELOG = ROOT / "CHANGELOG.md"
WARNING = re.compile(rf"{re.escape(str(PROGRAM))}:(\d+): DeprecationWarning: .+ is deprecated: write (.+)")


def marked() -> dict[int, set[str]]:
    """The new names that each line of the program is to be told."""
    lines = PROGRAM.read_text(encoding="utf-8").splitlines()
    marks = {number: line.partition("# now: ")[2] for number, line in enumerate(lines, start=1)}
    return {number: set(names.split(" + ")) for number, names in marks.items() if names}


def test_a_program_of_the_version_before_runs_and_its_lines_are_told_the_new_names() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", str(PROGRAM)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[int, set[str]] = defaultdict(set)
    for line in done.stderr.splitlines():
        warning = WARNING.fullmatch(line)
        assert warning or line.startswith("  "), f"it says something else: {line}\n{done.stderr}"
        if warning:
            told[int(warning[1])].add(warning[2])
    assert told == marked()


def test_python_shows_them_by_default_and_each_once() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    shown = [(int(number), new) for number, new in WARNING.findall(done.stderr)]
    assert sorted(shown) == sorted((number, new) for number, names in marked().items() for new in names)


def test_every_new_name_stands_in_the_changelog() -> None:
    section = CHANGELOG.read_text(encoding="utf-8").partition("### Deprecated")[2].partition("###")[0]
    named = [word for names in marked().values() for name in names for word in re.findall(r"[\w.]+(?=[=(]|$)", name)]
    missing = [name for name in named if f"{name}" not in section]
    assert missing == []


def test_both_names_of_one_option_are_refused() -> None:
    with pytest.raises(TypeError, match="has no option 'start_to_close': write start_to_close_timeout"):
        activity(start_to_close="1s", start_to_close_timeout="2s")  # pyright: ignore[reportCallIssue]

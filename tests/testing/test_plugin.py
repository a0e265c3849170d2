"""The fixtures, as pytest finds them in a user's project."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = """
from perdure import activity, call, workflow

@activity
def charge(cents: int) -> str:
    raise AssertionError("not in a test")

@workflow
def pay(cents: int) -> str:
    workflow.sleep(days=30)
    return call(charge, cents)

def test_mocked(perdure_engine):
    perdure_engine.mock("charge", lambda cents: f"paid {cents}")
    assert perdure_engine.run(pay, 42, id="w") == "paid 42"

def test_each_test_has_its_own(perdure_engine):
    assert perdure_engine.count() == 0

def test_made_to_measure(make_perdure_engine):
    first, second = make_perdure_engine(workflows=[pay], activities=[]), make_perdure_engine(seed=2)
    first.mock(charge, returns="paid")
    assert first.run(pay, 1, id="w") == "paid"
    assert (first.count(), second.count()) == (1, 0)
"""


def test_the_fixtures_work_in_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "perdure.testing.pytest_plugin",
        "-W",
        "error",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout


def test_pytest_is_told_of_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"perdure": "perdure.testing.pytest_plugin"}

"""The tests that the testing guide shows pass, as tests. (Fragments, which cannot run alone, are fenced as `py`.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.tidy.files import text_of

PYTHON_BLOCK = re.compile(r"^```py(?:thon)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(guide: str) -> list[str]:
    return PYTHON_BLOCK.findall(text_of(Path("docs") / guide))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_tests_of_the_testing_guide_pass(tmp_path: Path) -> None:
    first, asynchronous, _fragment, fixture, stored = blocks("testing.md")
    (tmp_path / "record.py").write_text(first + _RECORD, encoding="utf-8")
    recorded = run(tmp_path, "record.py")
    assert recorded.returncode == 0, recorded.stderr
    (tmp_path / "test_guide.py").write_text("\n".join((first, asynchronous, fixture, stored)), encoding="utf-8")
    ran = run(tmp_path, "-m", "pytest", "-q", "-p", "perdure.testing.pytest_plugin", "test_guide.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout


_RECORD = """
from perdure.testing import format_history
with TestEngine() as engine:
    engine.mock("charge_card", returns="paid")
    engine.start(subscription, "1001", 12, id="sub-1001")
    engine.advance("100 days")
    open("sub-1001.json", "w").write(format_history(engine.get("sub-1001").history()))
"""

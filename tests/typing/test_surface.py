"""The public interface is typed as its users need it: `call` returns what the activity returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_users_program_is_typed() -> None:
    command = [sys.executable, "-m", "pyright", "--outputjson", "tests/typing/surface.py"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(run.stdout)
    complaints = [
        f"line {d['range']['start']['line'] + 1}: {d['message']}"
        for d in report["generalDiagnostics"]
        if d["severity"] == "error"
    ]
    assert complaints == []
    assert report["summary"]["filesAnalyzed"] == 1

"""What the README shows runs, what it names exists, and its figures were measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import figures
from tests.tidy.files import ROOT, text_of, tracked

DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def python_blocks() -> list[str]:
    """Every Python example in the README."""
    return PYTHON_BLOCK.findall(text_of(Path("README.md")))


def run_example(script: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, in a folder of its own."""
    return subprocess.run(
        [sys.executable, script.name], cwd=script.parent, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("block", python_blocks())
def test_an_example_runs_and_running_it_again_gives_the_same(block: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    first = run_example(script)
    assert (first.returncode, first.stderr) == (0, "")
    assert "receipt 1001 $42.00" in first.stdout
    again = run_example(script)
    assert (again.returncode, again.stderr, again.stdout) == (0, "", first.stdout)


def test_there_is_an_example() -> None:
    assert len(python_blocks()) == 1


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(Path("Makefile")), re.MULTILINE))
    named = {
        (path.name, target)
        for path in DOCUMENTS
        for target in re.findall(r"(?:^ {4}|`)(?:\w+=\w+ )*make ([a-z]+)", text_of(path), re.MULTILINE)
    }
    assert named
    assert [(document, target) for document, target in sorted(named) if target not in targets] == []


def test_every_link_leads_somewhere() -> None:
    broken = [
        f"{path}: {link}"
        for path in DOCUMENTS
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(path))
        if "://" not in link and not (ROOT / path.parent / link).exists()
    ]
    assert broken == []


def test_the_figures_were_measured() -> None:
    shown = figures.figures_in(text_of(Path("README.md")))
    source = figures.source_of(shown)
    if source is None:
        assert shown.strip() == "", "figures that name no result"
    else:
        assert shown.strip() == figures.render(source).strip()

"""What the documents show runs, what they name exists, and the README's figures were measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from perdure.cli.main import cli
from scripts import figures
from tests.tidy.files import ROOT, text_of, tracked

DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


WARNED = re.compile(
    r"^activity \w+ of workflow '[^']+' failed \(attempt \d+, [^)]+\): ApplicationError: .*\n"
    r"Traceback \(most recent call last\):\n(?:  .*\n)+ApplicationError: .*\n",
    re.MULTILINE,
)
"""What the log says of an attempt that an example makes fail on purpose."""


def examples() -> list[tuple[Path, str]]:
    """Every Python example, with the document that shows it. A fragment that cannot run alone is fenced as `py`."""
    return [(path, block) for path in DOCUMENTS for block in PYTHON_BLOCK.findall(text_of(path))]


def run_example(script: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, in a folder of its own."""
    return subprocess.run(
        [sys.executable, script.name], cwd=script.parent, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("document", "block"), examples(), ids=lambda value: value.stem if isinstance(value, Path) else ""
)
def test_an_example_runs_and_running_it_again_gives_the_same(document: Path, block: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    first = run_example(script)
    assert (first.returncode, WARNED.sub("", first.stderr)) == (0, ""), document
    again = run_example(script)
    assert (again.returncode, again.stderr, again.stdout) == (0, "", first.stdout), document


def test_the_readme_has_the_order() -> None:
    shown = [block for path, block in examples() if path == Path("README.md")]
    assert len(shown) == 1
    assert 'Engine("sqlite:///orders.db")' in shown[0]


def test_every_command_that_is_named_exists() -> None:
    named = {
        (path.name, command)
        for path in DOCUMENTS
        for command in re.findall(r"(?:^ {4}|`)perdure ((?:[a-z-]+ ?)+)", text_of(path), re.MULTILINE)
    }
    unknown = [(document, command) for document, command in sorted(named) if not is_command(command.split())]
    assert unknown == []


def is_command(words: list[str]) -> bool:
    """Whether the words, up to the first that is an argument, name a command of the command line."""
    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group):
            return True
        if word not in command.commands:
            return False
        command = command.commands[word]
    return True


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(Path("Makefile")), re.MULTILINE))
    named = {
        (path.name, target)
        for path in DOCUMENTS
        for target in re.findall(r"(?:^ {4}|`)(?:\w+=\w+ )*make ([a-z0-9-]+)", text_of(path), re.MULTILINE)
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


def test_every_source_file_that_is_named_exists() -> None:
    """Documents name files of the package as `core/lost.py`."""
    named = {
        (path, source)
        for path in DOCUMENTS
        for source in re.findall(r"`((?:api|core|stores|engine|frontend|sdk|cli|testing)/[\w/]+\.\w+)`", text_of(path))
    }
    assert len(named) > 10
    assert [f"{path}: {source}" for path, source in sorted(named) if not (ROOT / "src/perdure" / source).exists()] == []


def test_every_question_is_answered_in_one_place() -> None:
    """Of the table at the end of the architecture."""
    table = text_of(Path("docs/ARCHITECTURE.md")).partition("## Where to find what")[2]
    questions = re.findall(r"^\| ([^|]+\?) \|", table, re.MULTILINE)
    assert len(questions) > 30
    assert [question for question in questions if questions.count(question) > 1] == []


def test_every_test_that_is_named_exists() -> None:
    """As `tests/core/test_state.py::test_name`; the page of docks names its own by their names alone."""
    named = {pair for path in DOCUMENTS for pair in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(path))}
    docks = text_of(Path("tests/tidy/test_docks.py")) + text_of(Path("tests/tidy/test_map.py"))
    alone = set(re.findall(r"`(test_\w+)`", text_of(Path("docs/where.md"))))
    assert len(named) > 10
    assert [f"{path}::{name}" for path, name in sorted(named) if f"def {name}(" not in text_of(Path(path))] == []
    assert [name for name in sorted(alone) if f"def {name}(" not in docks] == []


@pytest.mark.parametrize("page", figures.PAGES, ids=lambda page: page.kind)
def test_the_figures_were_measured(page: figures.Page) -> None:
    source = figures.source_of(page.shown())
    if source is None:
        assert page.shown().strip() == "", "figures that name no result"
    else:
        assert page.shown().strip() == page.render(source).strip()

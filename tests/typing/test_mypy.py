"""mypy, strictly: the programs that the documents show, and a user's program that makes mistakes on purpose.

pyright looks at the same program in `make types`; its mistakes are marked there with `# pyright: ignore`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.test_documents import examples
from tests.tidy.files import ROOT, text_of, tracked

PROGRAM = Path("tests/typing/user_program.py")
ERROR = re.compile(r"^([^:\n]+):(\d+): error: (.*)$", re.MULTILINE)


def errors(*paths: Path) -> list[tuple[str, int, str]]:
    """File, line and text of what mypy has against these files."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return [(name, int(line), text) for name, line, text in ERROR.findall(done.stdout)]


def test_a_program_of_a_user_has_the_mistakes_that_it_makes_on_purpose_and_no_others() -> None:
    lines = text_of(PROGRAM).splitlines()
    found = {line: text for _, line, text in errors(PROGRAM)}
    assert {line: text for line, text in found.items() if "pyright: ignore" not in lines[line - 1]} == {}
    to_messages = [
        number
        for number, line in enumerate(lines, start=1)
        if re.search(r"\.(signal|query|update)\(.*# pyright: ignore", line)
    ]
    assert [number for number in to_messages if number not in found] == []
    assert len(to_messages) >= 8


def test_every_example_is_typed() -> None:
    programs = [path for path in tracked() if path.suffix == ".py" and path.is_relative_to("examples")]
    assert len(programs) > 15
    assert errors(*programs) == []


def test_what_the_documents_show_is_typed(tmp_path: Path) -> None:
    for number, (document, block) in enumerate(examples()):
        (tmp_path / f"{document.stem.replace('-', '_').lower()}_{number}.py").write_text(block, encoding="utf-8")
    assert errors(*sorted(tmp_path.iterdir())) == []

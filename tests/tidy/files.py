"""Which files belong to the repository, and their text."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = {".py", ".sql", ".sh"}
BINARY = {".png", ".ico", ".gz", ".db"}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file under version control or about to be, relative to the root, in order."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (Path(name) for name in listing.stdout.split("\0") if name)
    return tuple(sorted(path for path in paths if (ROOT / path).is_file() and path.suffix not in BINARY))


@cache
def text_of(path: Path) -> str:
    """The file's text, UTF-8."""
    return (ROOT / path).read_text(encoding="utf-8")


def python_files(*folders: str) -> list[Path]:
    """Tracked Python files, all or those under the given folders."""
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and (not folders or any(path.is_relative_to(folder) for folder in folders))
    ]


def code_files() -> list[Path]:
    """Tracked files that people read as code."""
    return [path for path in tracked() if path.suffix in CODE or path.name in {"Makefile", "run"}]

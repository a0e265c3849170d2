"""`python -m tests.typing.snippets`: pyright on every program that the documents show. `make types` asks for it.

mypy is asked by `test_mypy.py`. The programs are checked as a user's are, in basic mode, against the package as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.test_documents import examples
from tests.tidy.files import ROOT


def write(folder: Path) -> list[Path]:
    """Each program in a file of its own, named for its document."""
    written: list[Path] = []
    for number, (document, block) in enumerate(examples()):
        path = folder / f"{document.stem.replace('-', '_').lower()}_{number}.py"
        path.write_text(block, encoding="utf-8")
        written.append(path)
    return written


def main() -> int:
    """The exit code of pyright."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert write(folder), "the documents show programs"
        settings = {
            "include": ["."],
            "extraPaths": [str(ROOT / "src")],
            "typeCheckingMode": "basic",
            "pythonVersion": "3.11",
        }
        (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "pyright", "--project", name, "--pythonpath", sys.executable]
        ended = subprocess.run(command, cwd=ROOT, check=False)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())

"""The example of a start in a program's own transaction runs, on a database of PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from tests.docs.test_documents import run_example
from tests.servers.fixtures import url
from tests.servers.server import Server
from tests.tidy.files import text_of

SHOWN = "postgresql://shop@localhost/shop"


def test_the_example_of_a_start_in_a_transaction_runs(
    postgres_server: Server, postgres_database: str, tmp_path: Path
) -> None:
    [example] = [block for block in text_of(Path("docs/exactly-once.md")).split("```py\n")[1:] if SHOWN in block]
    script = tmp_path / "example.py"
    script.write_text(example.split("```")[0].replace(SHOWN, url(postgres_server, postgres_database)), encoding="utf-8")
    for _ in range(2):
        ended = run_example(script)
        assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "reservation 1\n")

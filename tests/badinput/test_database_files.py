"""Files that are no database of ours, or cannot be one any more: what opening an engine on them says."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure import EngineError, StoreError
from perdure.stores.sqlite import open_file
from tests.badinput.ordinary import opened, ordinary, others_go_on

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def refusal(path: Path) -> str:
    """What opening an engine on the file is refused with."""
    with pytest.raises(StoreError) as refused, opened(path):
        pass
    assert str(path) in str(refused.value), "the error names the file"
    return str(refused.value)


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = path.read_bytes()
    assert "another application" in refusal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam,\n" * 400)
    assert "is not a SQLite database" in refusal(path)
    assert path.read_text() == "Dear Sir or Madam,\n" * 400


def test_a_damaged_file_is_refused_and_its_backup_serves(tmp_path: Path) -> None:
    path, backup = tmp_path / "orders.db", tmp_path / "backup.db"
    with opened(path) as engine:
        others_go_on(engine, 20)
    backup.write_bytes(path.read_bytes())
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    assert "damaged" in refusal(path)
    with opened(backup) as engine:
        assert engine.count() == 20
        others_go_on(engine)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "mkdir -p" in refusal(tmp_path / "nowhere" / "orders.db")


def test_a_read_only_file_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "orders.db"
        with opened(path) as engine:
            others_go_on(engine)
        for file in (path.parent, *path.parent.iterdir()):
            file.chmod(0o555 if file.is_dir() else 0o444)
        with without_root():
            message = refusal(path)
        assert "read-only" in message or "cannot be written" in message
        path.parent.chmod(0o755)


@contextmanager
def without_root() -> Generator[None]:
    """Rights are checked: root may write everywhere, so root is not root for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_second_process_works_with_the_first_and_harms_it_not(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with opened(path) as engine:
        code = (
            "from pathlib import Path\nfrom tests.badinput.ordinary import opened, others_go_on\n"
            f"with opened(Path({str(path)!r})) as engine: others_go_on(engine)"
        )
        second = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert second.returncode == 0, second.stderr
        assert engine.count() == 5
        others_go_on(engine)


def test_a_second_engine_in_the_same_process_works_with_the_first_and_harms_it_not(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with opened(path) as engine:
        with opened(path) as second:
            others_go_on(second)
        others_go_on(engine)
        assert engine.count() == 10


def test_a_file_that_is_deleted_under_an_engine_is_told_and_nothing_more_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "_LOOK_S", -1.0)
    path = tmp_path / "orders.db"
    with opened(path) as engine:
        others_go_on(engine, 3)
        path.unlink()
        with pytest.raises(EngineError, match=r"orders\.db was deleted or moved away"):
            engine.start(ordinary, 1, id="after")
    assert not path.exists(), "no new file stands in its place"

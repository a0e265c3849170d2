"""The table and the history agree after every SIGKILL; `python -m benchmarks.transactional_kills` does 10,000 runs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.transactional_kills import run_under_kills


def test_table_and_history_agree_on_every_run_after_every_kill(tmp_path: Path) -> None:
    dealt, seen = run_under_kills(tmp_path, runs=150, kills=5, seed=3)
    assert dealt >= 3
    assert (seen.started, seen.booked, seen.problems) == (150, 150, [])

"""The same on a database file: what is durable is what is on the disk.

Nodes of a fleet share one open store, as they share the memory store elsewhere: a file has one owner.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.checks import ORDER, check_run, same_result, some_points
from tests.simulation.faults import crash_points
from tests.simulation.programs import MESSAGES, Program, generate
from tests.simulation.sqlite_storage import SqliteStorage


@pytest.mark.parametrize("program", [ORDER, *map(generate, (3, 8, 9))], ids=lambda program: str(program.seed))
def test_stopped_at_every_commit(program: Program, tmp_path: Path) -> None:
    whole = check_run(program)
    for point in crash_points(whole.boundaries):
        directory = tmp_path / str(point).removeprefix("--crash ").replace(":", "-")
        directory.mkdir()
        with SqliteStorage(directory) as storage:
            crashed = check_run(program, [point], storage)
            same_result(whole, crashed)


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize(
    "program", [ORDER, *map(generate, (8, MESSAGES + 1, MESSAGES + 5))], ids=lambda program: str(program.seed)
)
def test_fleets_at_some_commits(program: Program, nodes: int, tmp_path: Path) -> None:
    whole = check_run(program, nodes=nodes)
    for number, point in enumerate(some_points(program, nodes, whole.boundaries, 4)):
        directory = tmp_path / str(number)
        directory.mkdir()
        with SqliteStorage(directory) as storage:
            crashed = check_run(program, [point], storage, nodes)
            same_result(whole, crashed)

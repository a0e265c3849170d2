"""The same on databases that nodes share: each has connections of its own, and any may stop at any commit.

Time is simulated and the databases are real. As a rule one program is played on each kind; `make test-stores` plays
more of them on one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdure import Engine
from tests.servers.chosen import CHOSEN, kinds
from tests.servers.stores import new_store
from tests.simulation.checks import ORDER, RELAY, check_run, same_result, some_points
from tests.simulation.database_storage import DatabaseStorage
from tests.simulation.faults import KINDS, crash_points
from tests.simulation.programs import MESSAGES, Program, generate

PROGRAMS = [ORDER, RELAY, *map(generate, (3, 8, 9, MESSAGES + 1, MESSAGES + 5, MESSAGES + 7))] if CHOSEN else [ORDER]
POINTS = 8 if CHOSEN else 2


@pytest.fixture(
    scope="module", params=[kind for kind in kinds("postgres", "mariadb") if kind not in ("memory", "sqlite")]
)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store in a database, whose tables are there."""
    with new_store(request.param, tmp_path_factory.mktemp("store")) as url:
        with Engine(url, worker=False):
            pass
        yield url


@pytest.mark.parametrize("nodes", [1, 2, 3] if CHOSEN else [2])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.seed))
def test_a_fleet_at_some_commits(program: Program, nodes: int, database: str) -> None:
    with DatabaseStorage(database) as storage:
        whole = check_run(program, storage=storage, nodes=nodes)
    for point in some_points(program, nodes, whole.boundaries, POINTS):
        with DatabaseStorage(database) as storage:
            same_result(whole, check_run(program, [point], storage, nodes))


if CHOSEN:

    @pytest.mark.parametrize("nodes", [1, 2])
    def test_the_order_workflow_at_every_commit(nodes: int, database: str) -> None:
        with DatabaseStorage(database) as storage:
            whole = check_run(ORDER, storage=storage, nodes=nodes)
        for point in crash_points(whole.boundaries, KINDS):
            with DatabaseStorage(database) as storage:
                same_result(whole, check_run(ORDER, [point], storage, nodes))

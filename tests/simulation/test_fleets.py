"""The same programs on one, two and three nodes that share a store: whichever node stops, the others carry on.

Here a few commits of each are drawn; `make simulate` takes all of them, of as many programs as one likes.
"""

from __future__ import annotations

import pytest

from tests.simulation.checks import ORDER, RELAY, crash_everywhere, crash_somewhere, crash_twice
from tests.simulation.faults import KINDS
from tests.simulation.programs import MESSAGES, Program, generate

PROGRAMS = [ORDER, RELAY, *map(generate, (*range(6), *range(MESSAGES, MESSAGES + 12)))]


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_the_order_workflow_at_every_commit(nodes: int) -> None:
    assert crash_everywhere(ORDER, nodes, KINDS) >= 6 * len(KINDS)  # an order is six commits, of whichever node


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.seed))
def test_a_program_at_some_commits(program: Program, nodes: int) -> None:
    assert crash_somewhere(program, nodes, 4) == 4


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("program", PROGRAMS[::4], ids=lambda program: str(program.seed))
def test_a_program_of_which_two_nodes_stop_one_after_the_other(program: Program, nodes: int) -> None:
    assert crash_twice(program, nodes) > 0

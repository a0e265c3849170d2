"""The same programs on two and three nodes that share a store: whichever node stops, the others carry on."""

from __future__ import annotations

import pytest

from tests.simulation.checks import ORDER, crash_everywhere
from tests.simulation.faults import KINDS
from tests.simulation.programs import generate

PROGRAMS = 6


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_the_order_workflow_on_a_fleet(nodes: int) -> None:
    assert crash_everywhere(ORDER, nodes, KINDS) == 40


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_generated_program_on_a_fleet(seed: int, nodes: int) -> None:
    assert crash_everywhere(generate(seed), nodes, KINDS) > 0

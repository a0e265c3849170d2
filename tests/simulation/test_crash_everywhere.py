"""The engine is stopped at every commit boundary in turn, before and after it is durable, and restarted."""

from __future__ import annotations

import pytest

from tests.simulation.checks import ORDER, RELAY, crash_everywhere, crash_twice
from tests.simulation.programs import MESSAGES, generate

PROGRAMS = 200
WITH_MESSAGES = 40


def test_the_order_workflow() -> None:
    assert crash_everywhere(ORDER) == 12


def test_signals_that_are_carried_from_run_to_run() -> None:
    assert crash_everywhere(RELAY) > 20


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_generated_program(seed: int) -> None:
    assert crash_everywhere(generate(seed)) > 0


@pytest.mark.parametrize("seed", range(MESSAGES, MESSAGES + WITH_MESSAGES))
def test_a_program_that_is_talked_to_and_talks_to_others(seed: int) -> None:
    assert crash_everywhere(generate(seed)) > 0


@pytest.mark.parametrize("seed", [*range(0, PROGRAMS, 10), *range(MESSAGES, MESSAGES + WITH_MESSAGES, 10)])
def test_a_program_whose_recovery_is_stopped_too(seed: int) -> None:
    assert crash_twice(generate(seed)) > 0

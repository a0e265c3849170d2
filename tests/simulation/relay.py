"""A workflow that takes one signal in each of its runs; what else has come is carried to the next."""

from __future__ import annotations

from perdure import workflow
from tests.simulation.programs import Program

SIGNALS = 6


@workflow(name="simulated_relay")
def simulated_relay(program: Program, heard: list[int] | None = None) -> list[int]:
    """All that it was told, in order."""
    heard = [*(heard or []), workflow.wait_signal("number")]
    if len(heard) == SIGNALS:
        return heard
    workflow.continue_as_new(program, heard)

"""A workflow that nothing is wrong with: what the others do while somebody misbehaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from perdure import Engine, activity, call, workflow
from perdure.embedded import EngineSeams, seamed

EFFECTS: Counter[str] = Counter()
"""How often each idempotency key's effect was asked for, in this process."""


@activity(start_to_close_timeout="30s")
def ordinary_step(number: int) -> int:
    EFFECTS[activity.info().idempotency_key] += 1
    return number + 1


@workflow
def ordinary(number: int) -> int:
    return call(ordinary_step, number)


def others_go_on(engine: Engine, count: int = 5) -> None:
    """Ordinary workflows start and finish. Raises AssertionError, and what running them raises."""
    runs_before = engine.count()
    for number in range(count):
        assert engine.run(ordinary, number, id=f"ordinary-{runs_before + number}") == number + 1


def opened(path: Path, *workflows: Any, activities: tuple[Any, ...] = (), seams: EngineSeams | None = None) -> Engine:
    """An engine on a file that knows the ordinary workflow and these."""
    return seamed(
        Engine,
        seams or EngineSeams(),
        f"sqlite:///{path}",
        workflows=[ordinary, *workflows],
        activities=[ordinary_step, *activities],
    )

"""The workflow of `benchmarks.sleepers`."""

from __future__ import annotations

from perdure import workflow


@workflow
def sleeper(number: int, due_s: float) -> int:
    """Sleeps until `due_s`, seconds since the epoch."""
    workflow.sleep(seconds=max(0.001, due_s - workflow.time()))
    return number

"""The workflow of `benchmarks.sleepers`."""

from __future__ import annotations

from perdure import workflow


@workflow
def sleeper(number: int) -> int:
    workflow.sleep(days=30)
    return number

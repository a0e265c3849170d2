"""`check_replay` on 10,000 open executions: does it find exactly those that a change would wedge, and how fast?

    python -m benchmarks.check_replay [--count 10000]

A third of the subscriptions are in their first month, the others further; the new code does something else after the
first month. So exactly the others would break. Afterwards the engine is opened with the new code and a month passes:
the very executions that were reported must be wedged, and no other.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from perdure import activity, call, workflow
from perdure.testing import AsyncTestEngine, ReplayReport, TestEngine, virtual_time

AT_ONCE = 500
SMALL = 30


@activity(name="check_replay.charge")
def charge(order: int) -> str:
    return f"receipt {order}"


@activity(name="check_replay.remind")
def remind(order: int) -> None:
    """Sends nothing."""


@workflow(name="check_replay.subscription")
def subscription(order: int) -> int:
    for _ in range(12):
        call(charge, order)
        workflow.sleep(days=30)
    return order


@workflow(name="check_replay.subscription")
def changed(order: int) -> int:
    call(charge, order)
    workflow.sleep(days=30)
    for _ in range(11):
        call(remind, order)
        call(charge, order)
        workflow.sleep(days=30)
    return order


@virtual_time
async def fill(url: str, count: int) -> set[str]:
    """Start them; the ids of those that are past their first month."""
    early = [number for number in range(count) if number % 3]
    late = [number for number in range(count) if not number % 3]
    async with AsyncTestEngine(url, workflows=[subscription], activities=[charge, remind]) as engine:
        for numbers in (early, late):
            for chunk in batched(numbers, AT_ONCE):
                await asyncio.gather(*(engine.start(subscription, n, id=f"order-{n}") for n in chunk))
            await engine.advance("31 days" if numbers is early else "1 h")
    return {f"order-{number}" for number in early}


@virtual_time
async def wedged(url: str, count: int) -> set[str]:
    """Run the new code on the store until every one has had to go on; those whose workflow task fails."""
    found: set[str] = set()
    when = datetime(2025, 2, 2, tzinfo=UTC)
    async with AsyncTestEngine(url, workflows=[changed], activities=[charge, remind], starts_at=when) as engine:
        await engine.advance("29 days 2 hours")
        for number in range(count):
            if (await engine.get(f"order-{number}").describe()).workflow_task_failure:
                found.add(f"order-{number}")
    return found


def batched(numbers: list[int], size: int) -> list[list[int]]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def check(url: str) -> tuple[set[str], str]:
    """Who is reported, and the report in one line with what it took of memory."""
    seen: list[float] = []

    def sample(report: ReplayReport) -> None:
        if report.checked.total() % 200 == 0:
            seen.append(resident_mb())

    with TestEngine(url, workflows=[changed], activities=[charge, remind]) as engine:
        before = resident_mb()
        report = engine.check_replay([changed], progress=sample)
    grown = max(seen, default=before) - before
    return {problem.workflow_id for problem in report.problems}, f"{report}; memory grew by {grown:.0f} MB"


def resident_mb() -> float:
    """Of this process, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description="check_replay on many open executions.")
    parser.add_argument("--count", type=int, default=10_000)
    count: int = parser.parse_args().count
    logging.getLogger("perdure").addHandler(logging.NullHandler())  # what fails here is meant to fail
    with tempfile.TemporaryDirectory(prefix="perdure-check-") as directory:
        url = f"sqlite:///{Path(directory) / 'subscriptions.db'}"
        begin = time.perf_counter()
        expected = fill(url, count)
        print(f"{count:,} open executions in {time.perf_counter() - begin:.1f} s, {len(expected):,} past the change")
        reported, line = check(url)
        print(f"check_replay: {line}")
        assert reported == expected, f"{len(reported ^ expected)} were judged wrongly"
        small = f"sqlite:///{Path(directory) / 'small.db'}"
        expected = fill(small, SMALL)
        assert check(small)[0] == expected
        stuck = wedged(small, SMALL)
        assert stuck == expected, f"{len(stuck ^ expected)} behave otherwise than was reported"
        print(f"and when {SMALL} of them run on with the new code, {len(stuck)} are wedged: exactly those reported")


if __name__ == "__main__":
    main()

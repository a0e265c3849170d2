"""What the replay machine itself costs: a sticky step, a cold replay, a sleeping workflow's memory.

    python -m benchmarks.replay_micro [--json]

Each figure is the best of several rounds: on a busy machine the best is the one that says most about
the code. The history is built outside of the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure.sdk.activity import activity
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History

ROUNDS = 7


@activity(start_to_close_timeout="30s")
def step(order: dict[str, Any]) -> dict[str, Any]:
    """Never run here."""
    raise AssertionError


ORDER: dict[str, Any] = {"id": "order-1001", "customer": "c-17", "items": ["a", "b"], "amount_cents": 4200}


@workflow
def steps_sync(count: int) -> int:
    """`count` activities, one after another."""
    for _ in range(count):
        call(step, ORDER)
    return count


@workflow
async def steps_async(count: int) -> int:
    """The same, on the loop."""
    for _ in range(count):
        await start(step, ORDER)
    return count


@workflow
async def gathered(count: int) -> int:
    """All at once."""
    await asyncio.gather(*(start(step, ORDER) for _ in range(count)))
    return count


@workflow
def sleeper_sync(days: int) -> int:
    """Waits for a timer."""
    workflow.sleep(days=days)
    return days


@workflow
async def sleeper_async(days: int) -> int:
    """Waits for a timer."""
    await workflow.sleep(days=days)
    return days


def _best(run: Callable[[], int]) -> float:
    """The least time of a round, in nanoseconds per unit; `run` returns how many units it did and is timed inside."""
    return min(run() for _ in range(ROUNDS))


def sticky_step(definition: Any, count: int = 300) -> float:
    """Nanoseconds of process() from one completed activity to the next command."""
    history = History(definition, count).task()
    tasks = [history.since()]
    for number in range(1, count):
        seen = history.last
        history.done().scheduled("step").completed(str(number), ORDER).task()
        tasks.append(history.since(seen))

    def run() -> int:
        machine = history.machine()
        machine.process(tasks[0])
        began = time.perf_counter_ns()
        for task in tasks[1:]:
            machine.process(task)
        spent = time.perf_counter_ns() - began
        assert machine.activity_count == count
        machine.close()
        return spent // (count - 1)

    return _best(run)


def cold_replay(definition: Any, events: int = 1000) -> float:
    """Nanoseconds of process() for a history of about so many events, six per activity."""
    count = events // 6
    history = History(definition, count).task()
    for number in range(1, count + 1):
        history.done().scheduled("step").completed(str(number), ORDER).task()
    task = history.since()

    def run() -> int:
        machine = history.machine()
        began = time.perf_counter_ns()
        outcome = machine.process(task)
        spent = time.perf_counter_ns() - began
        assert outcome.finished
        machine.close()
        return spent * 1000 // history.last

    return _best(run)


def whole_workflow(definition: Any, steps: int = 4) -> float:
    """Nanoseconds of machine time of a workflow of so many activities, from its creation to its last command."""
    history = History(definition, steps).task()
    tasks = [history.since()]
    for number in range(1, steps + 1):
        seen = history.last
        history.done().scheduled("step").completed(str(number), ORDER).task()
        tasks.append(history.since(seen))

    def run() -> int:
        began = time.perf_counter_ns()
        for _ in range(100):
            machine = history.machine()
            for task in tasks:
                outcome = machine.process(task)
            assert outcome.finished
            machine.close()
        return (time.perf_counter_ns() - began) // 100

    return _best(run)


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * 4096


def sleeping(definition: Any, count: int = 2000) -> dict[str, int]:
    """Bytes per cached sleeping workflow: of Python objects, and of resident memory; and whether close() frees them."""
    history = History(definition, 30).task()
    task = history.since()
    warm = history.machine()
    warm.process(task)
    warm.close()
    gc.collect()
    before_rss = _resident()
    machines = [history.machine() for _ in range(count)]
    for machine in machines:
        machine.process(task)
    resident = (_resident() - before_rss) // count
    for machine in machines:
        machine.close()
    del machines
    gc.collect()
    tracemalloc.start()
    kept = tracemalloc.get_traced_memory()[0]
    machines = [history.machine() for _ in range(200)]
    for machine in machines:
        machine.process(task)
    objects = (tracemalloc.get_traced_memory()[0] - kept) // 200
    for machine in machines:
        machine.close()
    del machine, machines
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - kept
    tracemalloc.stop()
    return {"object_bytes": objects, "resident_bytes": resident, "left_after_close_bytes": left}


def measure() -> dict[str, Any]:
    """All figures, by name."""
    return {
        "sticky_step_us": {"def": sticky_step(steps_sync) / 1000, "async def": sticky_step(steps_async) / 1000},
        "cold_replay_1000_events_ms": {
            "def": cold_replay(steps_sync) / 1e6,
            "async def": cold_replay(steps_async) / 1e6,
        },
        "workflow_of_4_activities_us": {
            "def": whole_workflow(steps_sync) / 1000,
            "async def": whole_workflow(steps_async) / 1000,
        },
        "sleeping_workflow": {"def": sleeping(sleeper_sync), "async def": sleeping(sleeper_async)},
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="as JSON")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures, indent=2))
        return
    for name, kinds in figures.items():
        for kind, value in kinds.items():
            text = f"{value:.2f}" if isinstance(value, float) else ", ".join(f"{k} {v}" for k, v in value.items())
            print(f"{name:30} {kind:10} {text}")


if __name__ == "__main__":
    main()

"""A hundred thousand workflows asleep for thirty days: what they cost, and how fast they all wake.

usage: python -m benchmarks.sleepers [--count N]

Three processes after one another, on one database file: the first starts the workflows and ends when
all of them sleep; the second opens the file while they sleep, to be weighed; the third opens it
thirty days later, by the clock it is given, and waits until every one has finished.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import rows
from benchmarks.inside import store_of

DAYS = 30
DAY_NS = 86_400 * 1_000_000_000
IN_FLIGHT = 500


class ShiftedClock:
    """The machine's clock, so many nanoseconds ahead."""

    def __init__(self, ahead_ns: int) -> None:
        self._ahead_ns = ahead_ns

    def now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns


def peak_rss_mb() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rss_mb() -> float:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def disk_bytes(path: Path) -> int:
    """The database file and its log."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


async def fall_asleep(path: Path, count: int) -> dict[str, Any]:
    """Start `count` sleepers; when all of them sleep, stop."""
    from benchmarks.sleeper_workflow import sleeper
    from perdure import Engine

    began = time.perf_counter()
    async with Engine(f"sqlite:///{path}") as engine:
        numbers = iter(range(count))

        async def lane() -> None:
            for number in numbers:
                await engine.start(sleeper, number, id=f"sleeper-{number}")

        await asyncio.gather(*[lane() for _ in range(IN_FLIGHT)])
        store = store_of(engine)
        while await store.queues() or await store.in_flight(None, 1):
            await asyncio.sleep(0.05)
    seconds = time.perf_counter() - began
    return {"started_per_s": count / seconds, "peak_rss_mb": peak_rss_mb(), "disk_bytes": disk_bytes(path)}


async def be_weighed(path: Path, began: float) -> dict[str, Any]:
    """Open the file while all sleep. `began`: the monotonic clock when this process was started."""
    from benchmarks.sleeper_workflow import sleeper
    from perdure import Engine, WorkflowStatus

    async with Engine(f"sqlite:///{path}", workflows=[sleeper]) as engine:
        opened_s = time.monotonic() - began
        running = (await engine.count_by_status())[WorkflowStatus.RUNNING]
        return {"start_up_s": opened_s, "rss_mb": rss_mb(), "threads": threading.active_count(), "asleep": running}


async def wake_up(path: Path, count: int) -> dict[str, Any]:
    """Open the file thirty days later and wait until every sleeper has finished."""
    from benchmarks.sleeper_workflow import sleeper
    from perdure import Engine, WorkflowStatus
    from perdure.embedded import EngineSeams, seamed

    seams = EngineSeams(clock=ShiftedClock(DAYS * DAY_NS))
    began, cpu = time.perf_counter(), time.process_time()
    async with seamed(Engine, seams, f"sqlite:///{path}", workflows=[sleeper]) as engine:
        while (await engine.count_by_status()).get(WorkflowStatus.COMPLETED, 0) < count:
            await asyncio.sleep(0.2)
        seconds = time.perf_counter() - began
        cpu_ms = (time.process_time() - cpu) * 1e3 / count
        results = [await engine.get(f"sleeper-{number}").result() for number in range(0, count, max(1, count // 100))]
        assert results == list(range(0, count, max(1, count // 100))), "a sleeper forgot what it was to return"
    return {"woken_per_s": count / seconds, "seconds": seconds, "cpu_ms_each": cpu_ms, "peak_rss_mb": peak_rss_mb()}


def in_a_process_of_its_own(phase: str, path: Path, count: int) -> dict[str, Any]:
    """Run one phase and return its figures."""
    command = [sys.executable, "-m", "benchmarks.sleepers", "--phase", phase, "--path", str(path)]
    command += ["--count", str(count), "--began", str(time.monotonic())]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(path: Path, count: int) -> dict[str, dict[str, Any]]:
    """All three phases, by name."""
    return {phase: in_a_process_of_its_own(phase, path, count) for phase in ("asleep", "weighed", "awake")}


def as_table(figures: dict[str, dict[str, Any]], count: int) -> Table:
    """What a person wants to know."""
    asleep, weighed, awake = figures["asleep"], figures["weighed"], figures["awake"]
    table = Table(title=f"{count:,} workflows asleep for {DAYS} days, on SQLite")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("falling asleep", f"{asleep['started_per_s']:,.0f} workflows/s")
    table.add_row("disk", f"{asleep['disk_bytes'] / count:,.0f} bytes a sleeper")
    table.add_row("process restarted: ready after", f"{weighed['start_up_s']:.2f} s (interpreter and imports included)")
    table.add_row("process restarted: memory", f"{weighed['rss_mb']:.0f} MB")
    table.add_row("process restarted: threads", str(weighed["threads"]))
    table.add_row("thirty days later: all awake and finished after", f"{awake['seconds']:.1f} s")
    table.add_row("waking and finishing", f"{awake['woken_per_s']:,.0f} workflows/s")
    table.add_row("waking and finishing: CPU", f"{awake['cpu_ms_each']:.2f} ms each")
    table.add_row("waking and finishing: most memory", f"{awake['peak_rss_mb']:.0f} MB")
    return table


@click.command()
@click.option("--count", default=100_000, show_default=True, help="How many sleepers.")
@click.option("--phase", type=click.Choice(["asleep", "weighed", "awake"]), hidden=True)
@click.option("--path", type=click.Path(path_type=Path), hidden=True)
@click.option("--began", type=float, hidden=True)
def main(count: int, phase: str | None, path: Path | None, began: float | None) -> None:
    """Weigh workflows that sleep for thirty days, and wake them."""
    if phase is None or path is None:
        measured_on = rows.machine()
        with tempfile.TemporaryDirectory(prefix="perdure-sleepers-") as directory:
            figures = measure(Path(directory) / "sleepers.db", count)
        console = Console()
        console.print(as_table(figures, count))
        console.print(f"kept as {rows.write('sleepers', [], measured_on, count=count, days=DAYS, figures=figures)}")
        return
    if phase == "asleep":
        figures = asyncio.run(fall_asleep(path, count))
    elif phase == "weighed":
        figures = asyncio.run(be_weighed(path, began or time.monotonic()))
    else:
        figures = asyncio.run(wake_up(path, count))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

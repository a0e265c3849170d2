"""The load: so many lanes, each running one workflow after another, every one of them timed."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.rows import Row, quantile

STEPS = 4
WARM_UP = 50


SERVER_PID = "PERDURE_BENCH_SERVER_PID"
"""The environment variable that names the database server's process: what it and its children use is measured too."""


def server_cpu_s() -> float:
    """The CPU seconds that the database server's processes have used which live now; 0 where none is named."""
    first = os.environ.get(SERVER_PID)
    if not first:
        return 0.0
    used_ns = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
                if first in (process.name, parent):
                    tasks = list((process / "task").iterdir())
                    used_ns += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
    return used_ns / 1e9


class Stopwatch:
    """Measures one load, from `start` to `row`, which is asked for while the database's connections are open."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._wall = self._cpu = self._server = 0.0

    def start(self) -> None:
        self._server = server_cpu_s()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def row(self, engine: str, concurrency: int, note: str) -> Row:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        server = server_cpu_s() - self._server
        count, ordered = len(self.latencies), sorted(self.latencies)
        return Row(
            engine=engine,
            count=count,
            concurrency=concurrency,
            workflows_per_s=count / wall,
            steps_per_s=STEPS * count / wall,
            p50_ms=quantile(ordered, 0.50) * 1e3,
            p99_ms=quantile(ordered, 0.99) * 1e3,
            cpu_ms_per_workflow=cpu * 1e3 / count,
            rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            note=note,
            server_cpu_ms_per_workflow=server * 1e3 / count,
        )


def from_threads(one: Callable[[int], object], count: int, concurrency: int, watch: Stopwatch) -> None:
    """Call `one(i)` for i = 1…count from `concurrency` threads, after a warm-up."""
    for i in range(WARM_UP):
        one(-i - 1)
    numbers: Iterator[int] = iter(range(1, count + 1))

    def lane(_: int) -> list[float]:
        times: list[float] = []
        for i in numbers:
            began = time.perf_counter()
            one(i)
            times.append(time.perf_counter() - began)
        return times

    with ThreadPoolExecutor(concurrency) as pool:
        watch.start()
        for times in pool.map(lane, range(concurrency)):
            watch.latencies += times


async def from_loop(one: Callable[[int], Awaitable[object]], count: int, concurrency: int, watch: Stopwatch) -> None:
    """Await `one(i)` for i = 1…count in `concurrency` coroutines, after a warm-up."""
    for i in range(WARM_UP):
        await one(-i - 1)
    numbers: Iterator[int] = iter(range(1, count + 1))

    async def lane() -> None:
        for i in numbers:
            began = time.perf_counter()
            await one(i)
            watch.latencies.append(time.perf_counter() - began)

    watch.start()
    await asyncio.gather(*[lane() for _ in range(concurrency)])


def emit(row: Row) -> None:
    """Hand the row to the process that started this one: the last line of standard output."""
    print(json.dumps(asdict(row)), flush=True)

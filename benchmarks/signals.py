"""Signals: how long from a client's call to the workflow's handler, and how many a second.

    python -m benchmarks.signals [--scale 1.0]

`alone`: one at a time to one execution. `one`: 1,000 a second to one execution, which continues as new whenever that is
suggested. `many`: to 10,000 executions at random, so many in flight. Each in a process of its own, on SQLite with
a full fsync on every commit. The handler notes the time at which it runs; a signal that waited to be sent is
counted from the moment when it was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import rows
from benchmarks.rows import quantile
from perdure import AsyncEngine, Engine, workflow
from perdure.embedded.loop_thread import new_event_loop
from perdure.stores.reading import StoreFile

HEARD: dict[int, float] = {}
"""When the handler first ran, by the signal's number."""
END = -1


@dataclass(slots=True, frozen=True)
class SignalRow:
    """One part. `acknowledged`: until the client had its answer, `handled`: until the handler ran, in milliseconds."""

    part: str
    what: str
    executions: int
    in_flight: int
    signals: int
    signals_per_s: float
    acknowledged_p50_ms: float
    acknowledged_p99_ms: float
    handled_p50_ms: float
    handled_p99_ms: float
    cpu_ms_per_signal: float
    runs: int
    longest_history: int


@workflow(name="signals.ear")
def ear() -> int:
    """Hears until it is told to end; begins a new run when its history is long."""
    fresh: list[int] = []

    def tick(number: int) -> None:
        if number not in HEARD:
            with workflow.unsafe.unguarded():  # the clock is what is wanted here
                HEARD[number] = time.perf_counter()
        fresh.append(number)

    workflow.on_signal("tick", tick)
    workflow.wait_condition(lambda: workflow.info().continue_as_new_suggested or (bool(fresh) and fresh[-1] == END))
    if fresh[-1] != END:
        workflow.continue_as_new()
    return len(fresh)


class Meter:
    """Measures from its making to `row`."""

    def __init__(self) -> None:
        self.due: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    async def send(self, engine: AsyncEngine, target: str, number: int, due: float | None = None) -> None:
        self.due[number] = time.perf_counter() if due is None else due
        await engine.get(target).signal("tick", number)
        self.answered[number] = time.perf_counter()

    async def all_heard(self) -> None:
        while any(number not in HEARD for number in self.due):
            await asyncio.sleep(0.002)

    async def send_and_wait(self, engine: AsyncEngine, target: str, number: int) -> None:
        """Until the handler ran: looked for every millisecond, for all that wait at once."""
        await self.send(engine, target, number)
        if number not in HEARD:
            heard = self._waiting[number] = asyncio.get_running_loop().create_future()
            if len(self._waiting) == 1:
                self._look()
            await heard

    def _look(self) -> None:
        for number in [number for number in self._waiting if number in HEARD]:
            self._waiting.pop(number).set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_later(0.001, self._look)

    def row(self, part: str, what: str, executions: int, in_flight: int) -> SignalRow:
        last = max(HEARD[number] for number in self.due)
        cpu, count = time.process_time() - self._cpu, len(self.due)
        answered = sorted(self.answered[number] - due for number, due in self.due.items())
        handled = sorted(HEARD[number] - due for number, due in self.due.items())
        return SignalRow(
            part=part,
            what=what,
            executions=executions,
            in_flight=in_flight,
            signals=count,
            signals_per_s=round(count / (last - self._wall), 1),
            acknowledged_p50_ms=round(quantile(answered, 0.50) * 1e3, 2),
            acknowledged_p99_ms=round(quantile(answered, 0.99) * 1e3, 2),
            handled_p50_ms=round(quantile(handled, 0.50) * 1e3, 2),
            handled_p99_ms=round(quantile(handled, 0.99) * 1e3, 2),
            cpu_ms_per_signal=round(cpu * 1e3 / count, 3),
            runs=0,
            longest_history=0,
        )


async def alone(engine: AsyncEngine, scale: float) -> SignalRow:
    """The next one is sent a while after the one before was handled, so that all is quiet."""
    await engine.start(ear, id="ear")
    for number in range(-100, -50):
        await engine.get("ear").signal("tick", number)
    meter = Meter()
    for number in range(int(500 * scale)):
        await meter.send(engine, "ear", number)
        await meter.all_heard()
        await asyncio.sleep(0.01)
    row = meter.row("alone", "one at a time, to one workflow", 1, 1)
    await engine.get("ear").signal("tick", END)
    return row


async def one(engine: AsyncEngine, scale: float) -> SignalRow:
    """1,000 a second for ten seconds, sent when they are due whether or not the ones before were answered."""
    await engine.start(ear, id="ear")
    await engine.get("ear").signal("tick", -100)
    meter, rate = Meter(), 1000
    began = time.perf_counter()
    sending: set[asyncio.Task[None]] = set()
    for number in range(int(10_000 * scale)):
        due = began + number / rate
        if due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
        task = asyncio.ensure_future(meter.send(engine, "ear", number, due))
        sending.add(task)
        task.add_done_callback(sending.discard)
    await asyncio.gather(*sending)
    await meter.all_heard()
    row = meter.row("one", "1,000 a second, to one workflow", 1, 0)
    await engine.get("ear").signal("tick", END)
    await engine.get("ear").result()
    return row


async def many(engine: AsyncEngine, scale: float) -> SignalRow:
    """To a random one of them, 200 sent and not handled at any time."""
    executions, count, lanes = int(10_000 * scale), int(30_000 * scale), 200
    chance = random.Random(7)
    await in_lanes(lanes, iter(range(executions)), lambda number: engine.start(ear, id=f"ear-{number}"))
    meter = Meter()
    await in_lanes(
        lanes,
        iter(range(count)),
        lambda number: meter.send_and_wait(engine, f"ear-{chance.randrange(executions)}", number),
    )
    return meter.row("many", f"{lanes} in flight, to {executions:,} workflows", executions, lanes)


async def in_lanes(lanes: int, numbers: Iterator[int], work: Callable[[int], Awaitable[object]]) -> None:
    async def lane() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(lane() for _ in range(lanes)))


PARTS: dict[str, Callable[[AsyncEngine, float], Awaitable[SignalRow]]] = {"alone": alone, "one": one, "many": many}


async def measure(part: str, path: Path, scale: float) -> None:
    """The child's work: the row, as JSON on standard output."""
    async with Engine(f"sqlite:///{path}", workflows=[ear], activities=[]) as engine:
        row = await PARTS[part](engine, scale)
    with StoreFile(str(path)) as store:
        summaries = store.executions()
        longest = max(summary.history_length for summary in summaries)
    print(json.dumps({**asdict(row), "runs": len(summaries), "longest_history": longest}), flush=True)


def run_part(part: str, scale: float) -> SignalRow:
    with tempfile.TemporaryDirectory(prefix="perdure-signals-") as directory:
        command = [sys.executable, "-m", "benchmarks.signals", "--part", part, "--file", f"{directory}/signals.db"]
        done = subprocess.run(
            [*command, "--scale", str(scale)], cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, check=True
        )
    return SignalRow(**json.loads(done.stdout))


def table(results: list[SignalRow]) -> Table:
    found = Table(title="Signals, on SQLite with a full fsync on every commit")
    for name in (
        "part",
        "executions",
        "signals",
        "a second",
        "answer p50 ms",
        "p99",
        "handler p50 ms",
        "p99",
        "CPU ms",
    ):
        found.add_column(name, justify="left" if name == "part" else "right", no_wrap=True)
    for row in results:
        found.add_row(
            row.part, f"{row.executions:,}", f"{row.signals:,}", f"{row.signals_per_s:,.0f}",
            f"{row.acknowledged_p50_ms:.1f}", f"{row.acknowledged_p99_ms:.1f}",
            f"{row.handled_p50_ms:.1f}", f"{row.handled_p99_ms:.1f}", f"{row.cpu_ms_per_signal:.2f}",
        )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer signals and executions")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(measure(options.part, options.file, options.scale))
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    measured_on = rows.machine()
    results = [run_part(part, options.scale) for part in PARTS]
    console.print(table(results))
    console.print(f"kept as {rows.write('signals', results, measured_on)}")


if __name__ == "__main__":
    main()

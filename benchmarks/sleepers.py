"""A million workflows asleep: what each costs, what a node among them weighs, and how a tenth of them wakes.

usage: python -m benchmarks.sleepers [--count N] [--due N] [--store sqlite|postgres|mariadb] [--keep DIR] [--only PHASE]

Processes after one another, on one store that waits for its disk:

* `fill` starts the workflows by an embedded engine and ends when all of them sleep;
* `sizes` asks the store what they take;
* `weigh` starts `perdure server` on the store, as anybody would, until `/healthz` says that it serves;
* `rate` starts some more, in turn on the full store and on an empty one;
* `wake` opens the store thirty days later, by the clock that it is given, when some come due within one minute, while
  orders of four activities are started at an even pace;
* `audit` reads when each of them ended.

The rest sleeps on. With `--keep DIR` the store stays there: `fill` goes on where it was interrupted, at any time and
under any load, and the other phases are run again whenever the machine is quiet. Each `wake` takes another wave of
sleepers: there are five, a day apart.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from benchmarks import rows
from benchmarks.inside import store_of
from benchmarks.server_order import BIN, free_port
from benchmarks.sleeper_stores import Kept, Progress, stores
from perdure import AsyncEngine
from perdure.embedded import EngineSeams, seamed
from perdure.errors import WorkflowAlreadyStartedError
from perdure.stores.api import Store
from perdure.stores.open import open_store
from perdure.stores.sizes import measure
from perdure.stores.visibility import bind, parse

ROOT = Path(__file__).parent.parent
DAYS = 30
DAY_S = 86_400
WAVES = 5
"""So many times `wake` can be run on one store."""
WINDOW_S = 60.0
"""Those that wake come due within so long."""
BEFORE_S = 20.0
"""Orders alone, before the first of them."""
IN_FLIGHT = 100
"""Starts at a time: as many as the engine's worker has slots, so that they fall asleep as fast as they are started."""
AWAKE_MAX = 2_000
"""Started and not asleep: who is faster than the worker waits for it."""
RATE_ROUND = 2_000
RATE_ROUNDS = 7
_TELL_S = 1.0
"""How often a phase says how far it is."""
PHASES = ("fill", "sizes", "weigh", "rate", "wake", "audit")
_READY_S = 120
_SETTLE_S = 900
_ENDED = bind(parse("WorkflowType = 'sleeper' AND ExecutionStatus = 'Completed'"), {})


class ShiftedClock:
    """The machine's clock, so many nanoseconds ahead."""

    def __init__(self, ahead_ns: int) -> None:
        self._ahead_ns = ahead_ns

    def now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns


def peak_rss_mb() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rss_mb(pid: int | str = "self") -> float:
    """What a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def tell(done: int, of: int) -> None:
    """Say how far this phase is to whoever started its process."""
    print(json.dumps({"done": done, "of": of}), flush=True)


def due_s(number: int, due: int, base_s: float) -> float:
    """When a sleeper is to wake: the first `due` of them within one minute, thirty days after `base_s`, as many a day
    later, and so on; those that are in no wave a year later."""
    if number < due * WAVES:
        wave, place = divmod(number, due)
        return base_s + (DAYS + wave) * DAY_S + WINDOW_S * place / due
    return base_s + 365 * DAY_S + number


# --- fill -----------------------------------------------------------------------------------------


class Starter:
    """Starts sleepers, a hundred at a time and no faster than they fall asleep.

    Attributes:
        done: how many were started; those that were there before count.
        moments: when it began, and when each tenth was done.
    """

    def __init__(self, engine: AsyncEngine, due: int, base_s: float, prefix: str) -> None:
        self._engine = engine
        self._due = due
        self._base_s = base_s
        self._prefix = prefix
        self._store = store_of(engine)
        self._room = asyncio.Event()
        self._is_ended = False
        self.done = 0
        self.moments: list[float] = []

    def end(self) -> None:
        """Start no more."""
        self._is_ended = True

    async def start_all(self, numbers: range, told: Callable[[int], None] | None = None) -> None:
        """Start these; `told` hears now and then how many it were."""
        left = iter(numbers)
        self.moments = [time.perf_counter()]
        keeper = asyncio.create_task(self._keep_room(told))
        try:
            await asyncio.gather(*[self._lane(left, len(numbers)) for _ in range(IN_FLIGHT)])
        finally:
            keeper.cancel()

    async def _lane(self, left: Iterator[int], count: int) -> None:
        from benchmarks.sleeper_workflow import sleeper

        for number in left:
            await self._room.wait()
            if self._is_ended:
                return
            try:
                await self._engine.start(
                    sleeper, number, due_s(number, self._due, self._base_s), id=f"{self._prefix}-{number}"
                )
            except WorkflowAlreadyStartedError:
                pass  # the last time, when the process was killed before it said so
            self.done += 1
            if self.done * 10 % count < 10:
                self.moments.append(time.perf_counter())

    async def _keep_room(self, told: Callable[[int], None] | None) -> None:
        """Whoever is faster than the worker waits for it."""
        tell_at = 0.0
        while True:
            awake = sum([await self._store.count_tasks(queue) for queue in await self._store.queues()])
            self._room.set() if awake < AWAKE_MAX else self._room.clear()
            if told is not None and time.monotonic() >= tell_at:
                tell_at = time.monotonic() + _TELL_S
                told(self.done)
            await asyncio.sleep(0.2)


async def all_sleep(store: Store) -> None:
    """Return when no worker has, or is owed, a task."""
    ends_at = time.monotonic() + _SETTLE_S
    while await store.queues() or await store.in_flight(None, 1):
        if time.monotonic() > ends_at:
            raise TimeoutError("they do not fall asleep")
        await asyncio.sleep(0.05)


async def fill(url: str, count: int, progress: Progress) -> dict[str, Any]:
    """Start sleepers until there are `count`; when all of them sleep, stop. SIGTERM and SIGINT end it early."""
    from benchmarks.sleeper_workflow import sleeper

    first = progress.filled
    async with AsyncEngine(url, workflows=[sleeper], activities=[]) as engine:
        starter = Starter(engine, progress.due, progress.base_s, "sleeper")
        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, starter.end)
        cpu = time.process_time()
        await starter.start_all(range(first, count), lambda done: tell(first + max(0, done - IN_FLIGHT), count))
        await all_sleep(store_of(engine))
        while await store_of(engine).due(time.time_ns(), 1):  # deadlines of tasks that were answered: looked at once
            await asyncio.sleep(0.2)
        moments, done = starter.moments, starter.done
        seconds = time.perf_counter() - moments[0]
        cpu_ms = (time.process_time() - cpu) * 1e3 / max(1, done)
    tenths = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return {
        "first": first,
        "filled": first + done,
        "started_per_s": done / seconds,
        "tenths_per_s": [(count - first) / 10 / tenth for tenth in tenths],
        "cpu_ms_each": cpu_ms,
        "peak_rss_mb": peak_rss_mb(),
    }


# --- weigh ----------------------------------------------------------------------------------------


def weigh(url: str) -> dict[str, Any]:
    """`perdure server` on the store: how soon it serves, what it weighs when it did nothing for a while."""
    http = free_port()
    command = [str(BIN / "perdure"), "server", "--store", url, "--address", f"127.0.0.1:{free_port()}"]
    began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen([*command, "--http-address", f"127.0.0.1:{http}"], stdout=subprocess.DEVNULL) as server:
        try:
            while not _is_serving(http):
                if server.poll() is not None or time.monotonic() - began > _READY_S:
                    raise RuntimeError("the server does not serve")
                time.sleep(0.02)
            start_up_s = time.monotonic() - began
            time.sleep(20.0)
            resting_mb = rss_mb(server.pid)
        finally:
            server.terminate()
            server.wait(30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "start_up_s": start_up_s,
        "rss_mb": resting_mb,
        "cpu_s": after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime,
    }


def _is_serving(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


async def sizes(url: str) -> dict[str, Any]:
    """What they take in the store."""
    store = open_store(url)
    await store.open()
    try:
        measured = await measure(store, 0)
    finally:
        await store.close()
    tables = {
        table.name: [table.bytes, sum(table.indexes.values())] for table in measured.tables if table.all_bytes > 1 << 20
    }
    return {
        "bytes": measured.bytes,
        "bytes_each": measured.bytes_per_execution,
        "open": measured.open_executions,
        "state_bytes": measured.open_state_bytes,
        "history_bytes": measured.open_history_bytes,
        "tables": tables,
    }


# --- rate -----------------------------------------------------------------------------------------


async def rate(url: str, empty_url: str) -> dict[str, Any]:
    """Starts a second on the full store and on one that was empty, in turn; a round ends when all of it sleep."""
    found: dict[str, list[tuple[float, float]]] = {"full": [], "empty": []}
    from benchmarks.sleeper_workflow import sleeper

    known: dict[str, Any] = {"workflows": [sleeper], "activities": []}
    async with AsyncEngine(url, **known) as full, AsyncEngine(empty_url, **known) as empty:
        for turn in range(RATE_ROUNDS + 1):
            tell(turn, RATE_ROUNDS + 1)
            for name, engine in (("full", full), ("empty", empty)):
                began, cpu = time.perf_counter(), time.process_time()
                await Starter(engine, 0, time.time(), f"rate-{time.time_ns()}").start_all(range(RATE_ROUND))
                await all_sleep(store_of(engine))
                if turn:  # the first one warms it
                    spent = (time.process_time() - cpu) * 1e3 / RATE_ROUND
                    found[name].append((RATE_ROUND / (time.perf_counter() - began), spent))
    figures: dict[str, Any] = {}
    for name, rounds in found.items():
        figures[f"{name}_per_s"] = statistics.median(one for one, _ in rounds)
        figures[f"{name}_cpu_ms"] = statistics.median(cpu for _, cpu in rounds)
    return {
        **figures,
        "share": statistics.median(a[0] / b[0] for a, b in zip(found["full"], found["empty"], strict=True)),
    }


# --- wake -----------------------------------------------------------------------------------------


async def wake(url: str, progress: Progress, orders_per_s: float) -> dict[str, Any]:
    """Open the store a little before the next wave comes due; until all of it have ended, start orders."""
    from benchmarks.perdure_order import charge_async, fulfill_async, notify_async, reserve_async, ship_async
    from benchmarks.sleeper_workflow import sleeper

    due = progress.due
    begins_s = progress.base_s + (DAYS + progress.waves) * DAY_S
    ahead_ns = round((begins_s - BEFORE_S - time.time()) * 1e9)
    clock = ShiftedClock(ahead_ns)
    orders: list[tuple[float, float]] = []
    running: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    seams = EngineSeams(clock=clock)
    activities = [charge_async, reserve_async, ship_async, notify_async]
    async with seamed(AsyncEngine, seams, url, workflows=[sleeper, fulfill_async], activities=activities) as engine:
        opened_s = time.monotonic() - began
        before_mb = rss_mb()
        cpu = time.process_time()

        async def order(number: int) -> None:
            at = time.perf_counter()
            await engine.run(fulfill_async, {"id": number}, id=f"order-{clock.now_ns()}-{number}")
            orders.append((clock.now_ns() / 1e9, time.perf_counter() - at))

        ends_at = time.monotonic() + BEFORE_S + _SETTLE_S
        number, asked_at, left = 0, 0.0, due
        before = due * progress.waves  # of the waves that were woken before
        pace = time.monotonic()
        while left:
            task = asyncio.create_task(order(number))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            now = time.monotonic()
            if clock.now_ns() / 1e9 > begins_s + WINDOW_S and now - asked_at > 2.0:
                asked_at = now
                left = before + due - await _ended(store_of(engine))
                tell(due - left, due)
            if now > ends_at:
                raise TimeoutError(f"{left} did not wake")
            pace += 1 / orders_per_s
            await asyncio.sleep(max(0.0, pace - time.monotonic()))
        await asyncio.gather(*running)
        await all_sleep(store_of(engine))
        cpu_s = time.process_time() - cpu
    calm = sorted(took for at, took in orders if at < begins_s)
    busy = sorted(took for at, took in orders if at >= begins_s)
    return {
        "opened_s": opened_s,
        "orders": len(orders),
        "orders_before_ms": _spread_ms(calm),
        "orders_while_ms": _spread_ms(busy),
        "rss_before_mb": before_mb,
        "peak_rss_mb": peak_rss_mb(),
        "cpu_s": cpu_s,
    }


def _spread_ms(ordered: Sequence[float]) -> list[float]:
    """Median, 99th percentile and the longest; nothing, of none."""
    return [rows.quantile(ordered, q) * 1e3 for q in (0.5, 0.99, 1.0)] if ordered else []


async def _ended(store: Store) -> int:
    """How many sleepers have woken and ended. Asked of the list: a timer comes due later than its sleeper meant, by as
    long as the answer took that began it, so what is due by then says nothing."""
    return sum((await store.count_executions("default", _ENDED)).values())


async def audit(url: str, progress: Progress) -> dict[str, Any]:
    """When each of the last wave had ended, after it was to wake."""
    due, wave = progress.due, progress.waves - 1
    store = open_store(url)
    await store.open()
    lags: list[float] = []
    ended: list[float] = []
    try:
        after = None
        while True:
            page = await store.find_executions("default", _ENDED, after, 1000)
            for one in page:
                closed_s = (one.execution.closed_at_ns or 0) / 1e9
                number = int(one.execution.key.workflow_id.rpartition("-")[2])
                if number // due != wave:
                    continue
                lags.append(closed_s - due_s(number, due, progress.base_s))
                ended.append(closed_s)
            if not page.more:
                break
            after = page[-1].cursor
    finally:
        await store.close()
    if len(lags) != due:
        raise RuntimeError(f"{len(lags)} ended, and {due} were to")
    lags.sort()
    ended.sort()
    return {
        "woken": due,
        "lag_s": [rows.quantile(lags, q) for q in (0.5, 0.99, 1.0)],
        "seconds": ended[-1] - ended[0],
        "woken_per_s": due / (ended[-1] - ended[0]),
    }


# --- the whole ------------------------------------------------------------------------------------


class Run:
    """One run: phases, each in a process of its own, on one pair of stores."""

    def __init__(self, kept: Kept, url: str, empty_url: str, count: int, orders_per_s: float) -> None:
        self._kept = kept
        self._told = {"url": url, "empty_url": empty_url, "count": count, "orders_per_s": orders_per_s}
        self._console = Console(stderr=True)
        self.is_ended = False
        """Somebody wants it to end."""

    def phase(self, phase: str) -> dict[str, Any]:
        """Run it, keep its figures and return them."""
        progress = self._kept.progress
        if phase == "wake" and (progress.waves + 1) * progress.due > min(progress.filled, WAVES * progress.due):
            raise click.UsageError(f"all waves of {progress.filled} sleepers have been woken")
        load = os.getloadavg()[0]
        told = {**self._told, "phase": phase, **{name: getattr(progress, name) for name in _HANDED_ON}}
        words = [word for name, value in told.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        if phase == "wake":
            progress.waves += 1  # from now on it is no wave that nobody has touched
            self._kept.save()
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sleepers", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as child:
            before = [signal.signal(which, self._end_of(child)) for which in _ENDING]
            try:
                figures = self._listen(phase, child)
            finally:
                for which, handler in zip(_ENDING, before, strict=True):
                    signal.signal(which, handler)
        if child.returncode or figures is None:
            raise click.ClickException(f"{phase} ended with {child.returncode}")
        if phase == "fill":
            progress.filled = figures["filled"]
        figures["load"] = [round(load, 1), round(os.getloadavg()[0], 1)]
        progress.figures.setdefault(phase, []).append(figures)
        self._kept.save()
        return figures

    def _end_of(self, child: subprocess.Popen[str]) -> Callable[[int, object], None]:
        def end(number: int, frame: object) -> None:
            self.is_ended = True
            child.terminate()

        return end

    def _listen(self, phase: str, child: subprocess.Popen[str]) -> dict[str, Any] | None:
        """What the phase found; meanwhile, how far it is."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        figures: dict[str, Any] | None = None
        assert child.stdout is not None
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(phase, total=None)
            for line in child.stdout:
                said = json.loads(line)
                if "of" not in said:
                    figures = said
                    continue
                bar.update(task, completed=said["done"], total=said["of"])
                if phase == "fill":
                    self._kept.progress.filled = said["done"]
                    self._kept.save()
        return figures


_HANDED_ON = ("base_s", "due", "filled", "waves")
_ENDING = (signal.SIGTERM, signal.SIGINT)


def run_phase(
    phase: str, url: str, empty_url: str, count: int, progress: Progress, orders_per_s: float
) -> dict[str, Any]:
    """One phase, in this process."""
    if phase == "weigh":
        return weigh(url)
    if phase == "fill":
        return asyncio.run(fill(url, count, progress))
    if phase == "sizes":
        return asyncio.run(sizes(url))
    if phase == "rate":
        return asyncio.run(rate(url, empty_url))
    if phase == "wake":
        return asyncio.run(wake(url, progress, orders_per_s))
    return asyncio.run(audit(url, progress))


@click.command()
@click.option("--count", default=1_000_000, show_default=True, help="How many sleepers.")
@click.option("--due", default=100_000, show_default=True, help="How many of them come due within one minute.")
@click.option("--store", "kind", type=click.Choice(["sqlite", "postgres", "mariadb"]), default="sqlite")
@click.option("--orders-per-s", default=20.0, show_default=True, help="Orders that are started while they wake.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Where the store is, and stays.")
@click.option("--only", type=click.Choice(PHASES), multiple=True, help="These phases alone; may be repeated.")
@click.option("--phase", type=click.Choice(PHASES), hidden=True)
@click.option("--url", default="", hidden=True)
@click.option("--empty-url", default="", hidden=True)
@click.option("--base-s", default=0.0, hidden=True)
@click.option("--filled", default=0, hidden=True)
@click.option("--waves", default=0, hidden=True)
def main(
    count: int,
    due: int,
    kind: str,
    orders_per_s: float,
    keep: Path | None,
    only: tuple[str, ...],
    phase: str | None,
    url: str,
    empty_url: str,
    **come: Any,
) -> None:
    """Weigh workflows that sleep, and wake some."""
    due = min(due, count)
    if phase is not None:
        print(json.dumps(run_phase(phase, url, empty_url, count, Progress(due=due, **come), orders_per_s)))
        return
    measured_on = rows.machine()
    kept = Kept(keep, due)
    progress = kept.progress
    figures: dict[str, Any] = {}
    console = Console()
    with stores(kind, keep) as (url, empty_url):
        run = Run(kept, url, empty_url, count, orders_per_s)
        for one in only or PHASES:
            if one == "fill" and progress.filled >= count:
                continue
            figures[one] = run.phase(one)
            console.print(one, figures[one])
            if run.is_ended:
                console.print(f"ended by a signal: {progress.filled} sleep; the same command goes on")
                return
    name, filled = f"sleepers-{kind}", progress.filled
    written = rows.write(name, [], measured_on, store=kind, count=filled, due=progress.due, figures=figures)
    console.print(f"kept as {written}")


if __name__ == "__main__":
    main()

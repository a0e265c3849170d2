"""A million workflows asleep: what each costs, what a node among them weighs, and how a tenth of them wakes.

usage: python -m benchmarks.sleepers [--count N] [--due N] [--store sqlite|postgres|mariadb]

Processes after one another, on one store that waits for its disk:

* `fill` starts the workflows by an embedded engine and ends when all of them sleep;
* `weigh` starts `perdure server` on the store, as anybody would, until `/healthz` says that it serves;
* `rate` starts some more, in turn on the full store and on an empty one;
* `wake` opens the store thirty days later, by the clock that it is given, when some come due within one minute, while
  orders of four activities are started at an even pace;
* `audit` reads when each of them ended.

The rest sleeps on. With `--url` the store is one of yours, and stays.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import rows
from benchmarks.inside import store_of
from benchmarks.server_order import BIN, free_port
from perdure import AsyncEngine
from perdure.embedded import EngineSeams, seamed
from perdure.stores.api import Store
from perdure.stores.open import open_store
from perdure.stores.sizes import measure
from perdure.stores.visibility import bind, parse

ROOT = Path(__file__).parent.parent
DAYS = 30
DAY_S = 86_400
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


def due_s(number: int, due: int, base_s: float) -> float:
    """When a sleeper is to wake: the first `due` of them within one minute, thirty days after `base_s`; the others a
    year later."""
    if number < due:
        return base_s + DAYS * DAY_S + WINDOW_S * number / due
    return base_s + 365 * DAY_S + number


# --- fill -----------------------------------------------------------------------------------------


async def start_all(engine: AsyncEngine, numbers: range, due: int, base_s: float, prefix: str) -> list[float]:
    """Start these; the moments when each tenth of them was acknowledged."""
    from benchmarks.sleeper_workflow import sleeper

    left = iter(numbers)
    moments: list[float] = [time.perf_counter()]
    done = 0
    store, room = store_of(engine), asyncio.Event()

    async def keep_room() -> None:
        while True:
            awake = sum([await store.count_tasks(queue) for queue in await store.queues()])
            room.set() if awake < AWAKE_MAX else room.clear()
            await asyncio.sleep(0.2)

    async def lane() -> None:
        nonlocal done
        for number in left:
            await room.wait()
            await engine.start(sleeper, number, due_s(number, due, base_s), id=f"{prefix}-{number}")
            done += 1
            if done * 10 % len(numbers) < 10:
                moments.append(time.perf_counter())

    keeper = asyncio.create_task(keep_room())
    await asyncio.gather(*[lane() for _ in range(IN_FLIGHT)])
    keeper.cancel()
    return moments


async def all_sleep(store: Store) -> None:
    """Return when no worker has, or is owed, a task."""
    ends_at = time.monotonic() + _SETTLE_S
    while await store.queues() or await store.in_flight(None, 1):
        if time.monotonic() > ends_at:
            raise TimeoutError("they do not fall asleep")
        await asyncio.sleep(0.05)


async def fill(url: str, count: int, due: int) -> dict[str, Any]:
    """Start `count` sleepers; when all of them sleep, stop."""
    base_s = time.time()
    from benchmarks.sleeper_workflow import sleeper

    async with AsyncEngine(url, workflows=[sleeper], activities=[]) as engine:
        cpu = time.process_time()
        moments = await start_all(engine, range(count), due, base_s, "sleeper")
        await all_sleep(store_of(engine))
        seconds = time.perf_counter() - moments[0]
        cpu_ms = (time.process_time() - cpu) * 1e3 / count
    tenths = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return {
        "base_s": base_s,
        "started_per_s": count / seconds,
        "first_tenth_per_s": count / 10 / tenths[0],
        "last_tenth_per_s": count / 10 / tenths[-1],
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
            for name, engine in (("full", full), ("empty", empty)):
                began, cpu = time.perf_counter(), time.process_time()
                await start_all(engine, range(RATE_ROUND), 0, time.time(), f"rate-{time.time_ns()}")
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


async def wake(url: str, due: int, base_s: float, orders_per_s: float) -> dict[str, Any]:
    """Open the store a little before the first comes due; until all of those have ended, start orders."""
    from benchmarks.perdure_order import charge_async, fulfill_async, notify_async, reserve_async, ship_async
    from benchmarks.sleeper_workflow import sleeper

    begins_s = base_s + DAYS * DAY_S
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
        pace = time.monotonic()
        while left:
            task = asyncio.create_task(order(number))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            now = time.monotonic()
            if clock.now_ns() / 1e9 > begins_s + WINDOW_S and now - asked_at > 2.0:
                asked_at = now
                left = due - await _ended(store_of(engine))
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


async def audit(url: str, due: int, base_s: float) -> dict[str, Any]:
    """When each of those that came due had ended, after it was to wake."""
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
                lags.append(closed_s - due_s(number, due, base_s))
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


# --- stores ---------------------------------------------------------------------------------------


@contextmanager
def stores(kind: str) -> Generator[tuple[str, str], None, None]:
    """The URLs of two empty stores of a kind, on a server of their own that waits for its disk."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="perdure-sleepers-") as directory:
            yield f"sqlite:///{directory}/sleepers.db", f"sqlite:///{directory}/empty.db"
        return
    from tests.servers.fixtures import execute_mariadb
    from tests.servers.fixtures import url as url_of
    from tests.servers.server import Server

    with Server.private(kind) as server:
        if kind == "mariadb":
            execute_mariadb(server, "CREATE DATABASE perdure")
            execute_mariadb(server, "CREATE DATABASE empty")
            yield url_of(server, "perdure"), url_of(server, "empty")
        else:
            yield url_of(server, "postgres"), url_of(server, "postgres") + "?schema=empty"


# --- the whole ------------------------------------------------------------------------------------


def in_a_process_of_its_own(phase: str, url: str, empty_url: str, **told: object) -> dict[str, Any]:
    """Run one phase and return its figures."""
    command = [sys.executable, "-m", "benchmarks.sleepers", "--phase", phase, "--url", url, "--empty-url", empty_url]
    for name, value in told.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=7200)
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_phase(
    phase: str, url: str, empty_url: str, count: int, due: int, base_s: float, orders: float
) -> dict[str, Any]:
    """One phase, in this process."""
    if phase == "weigh":
        return weigh(url)
    if phase == "fill":
        return asyncio.run(fill(url, count, due))
    if phase == "sizes":
        return asyncio.run(sizes(url))
    if phase == "rate":
        return asyncio.run(rate(url, empty_url))
    if phase == "wake":
        return asyncio.run(wake(url, due, base_s, orders))
    return asyncio.run(audit(url, due, base_s))


@click.command()
@click.option("--count", default=1_000_000, show_default=True, help="How many sleepers.")
@click.option("--due", default=100_000, show_default=True, help="How many of them come due within one minute.")
@click.option("--store", "kind", type=click.Choice(["sqlite", "postgres", "mariadb"]), default="sqlite")
@click.option("--orders-per-s", default=20.0, show_default=True, help="Orders that are started while they wake.")
@click.option("--phase", type=click.Choice(PHASES), help="This one alone, on --url.")
@click.option("--url", help="A store of one's own.")
@click.option("--empty-url", default="", help="Another one, for `rate`.")
@click.option("--base-s", default=0.0, help="What `fill` has printed.")
def main(
    count: int,
    due: int,
    kind: str,
    orders_per_s: float,
    phase: str | None,
    url: str | None,
    empty_url: str,
    base_s: float,
) -> None:
    """Weigh workflows that sleep, and wake some."""
    due = min(due, count)
    if phase is not None:
        if url is None:
            raise click.UsageError("--phase needs --url")
        print(json.dumps(run_phase(phase, url, empty_url, count, due, base_s, orders_per_s)))
        return
    measured_on = rows.machine()
    figures: dict[str, Any] = {}
    console = Console()
    with stores(kind) as (url, empty_url):
        for one in PHASES:
            told: dict[str, object] = {"count": count, "due": due, "orders_per_s": orders_per_s}
            if "fill" in figures:
                told["base_s"] = figures["fill"]["base_s"]
            figures[one] = in_a_process_of_its_own(one, url, empty_url, **told)
            console.print(one, figures[one])
    name = f"sleepers-{kind}"
    console.print(f"kept as {rows.write(name, [], measured_on, store=kind, count=count, due=due, figures=figures)}")


if __name__ == "__main__":
    main()

"""`python -m benchmarks.server_order`: perdure's server and Temporal's, in turn, under the official Python SDK.

The order workflow (four trivial activities in sequence) by one client process, against

* `perdure server --store sqlite:///...`, fsync on every commit,
* `temporal server start-dev --db-filename ...`, its counterpart on disk,
* `temporal server start-dev`, which keeps everything in memory.

Every server gets its own process and an empty directory for each round; the contenders take turns within a
round; the medians over the rounds are reported. CPU and memory are the server's.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import rows
from benchmarks.rows import Row

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
OURS, DISK, MEMORY = "perdure server", "temporal on disk", "temporal in memory"
WORKFLOWS_PER_ROUND = {OURS: 1500, DISK: 400, MEMORY: 600}
ALONE_SHARE = 10
"""One at a time, so many times fewer workflows."""
READY_S = 60


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def command(name: str, port: int, directory: Path, store: str = "") -> Sequence[str]:
    """How a contender's server is started. `store`: the URL of ours, a file if it is not said."""
    if name == OURS:
        store = store or f"sqlite:///{directory / 'perdure.db'}"
        address, http = f"127.0.0.1:{port}", "127.0.0.1:0"
        return [str(BIN / "perdure"), "server", "--store", store, "--address", address, "--http-address", http]
    on_disk = ["--db-filename", str(directory / "temporal.db")] if name == DISK else []
    ports = ["--port", str(port), "--ui-port", str(free_port()), "--metrics-port", str(free_port())]
    return [
        *(str(BIN / "temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "never"),
        *(*ports, *on_disk),
    ]


@contextmanager
def server(name: str, store: str = "") -> Generator[tuple[str, int], None, None]:
    """A server in an empty directory: its address and process id."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
        port = free_port()
        process = subprocess.Popen(
            command(name, port, Path(directory), store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await_port(port, process)
            yield f"127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(30)


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when somebody listens. Raises RuntimeError when the server ends, or does not come."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode} before it listened")
        time.sleep(0.05)
    raise RuntimeError(f"the server did not listen within {READY_S} s")


def run_once(name: str, count: int, concurrency: int, store: str = "") -> Row:
    """One contender under one load."""
    with server(name, store) as (address, pid):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.server_load", name, address, *map(str, (count, concurrency, pid))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=600,
        )
    return Row(**json.loads(done.stdout.strip().splitlines()[-1]))


def table_of(results: Sequence[Row]) -> Table:
    """The rows as a table."""
    table = Table(title="The order workflow through the official Python SDK: 4 activities in sequence")
    for head in ("server", "in flight", "workflows/s", "p50 ms", "p99 ms", "server CPU ms/wf", "RSS MB", "note"):
        table.add_column(head, justify="left" if head in ("server", "note") else "right", no_wrap=True)
    for row in results:
        table.add_row(
            row.engine, str(row.concurrency), f"{row.workflows_per_s:,.1f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}",
            f"{row.cpu_ms_per_workflow:.2f}", f"{row.rss_mb:.0f}", row.note,
        )  # fmt: skip
    return table


def verdict(results: Sequence[Row], loaded: int) -> list[str]:
    """What the figures mean."""
    by = {(row.engine, row.concurrency): row for row in results}
    ours, disk, memory = (by[name, loaded] for name in (OURS, DISK, MEMORY))
    return [
        f"workflows/s: {ours.workflows_per_s / disk.workflows_per_s:.1f} × Temporal's on disk, "
        f"{ours.workflows_per_s / memory.workflows_per_s:.1f} × its in-memory mode",
        f"server CPU per workflow: 1/{disk.cpu_ms_per_workflow / ours.cpu_ms_per_workflow:.1f} of Temporal's on disk, "
        f"1/{memory.cpu_ms_per_workflow / ours.cpu_ms_per_workflow:.1f} of its in-memory mode",
        f"one at a time, p50: {by[OURS, 1].p50_ms:.1f} ms (Temporal: {by[DISK, 1].p50_ms:.1f} on disk, "
        f"{by[MEMORY, 1].p50_ms:.1f} in memory)",
    ]


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often every contender takes its turn.")
@click.option("--concurrency", default=50, show_default=True, help="Workflows in flight under load.")
@click.option("--scale", default=1.0, show_default=True, help="More or fewer workflows in each round.")
def main(rounds: int, concurrency: int, scale: float) -> None:
    """Run the order workflow through the official SDK against perdure's server and Temporal's, in turn."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    measured_on = rows.machine()
    measured: dict[tuple[str, int], list[Row]] = {}
    for round_ in range(rounds):
        for level in (concurrency, 1):
            for name, full in WORKFLOWS_PER_ROUND.items():
                count = max(level, int(full * scale) // (ALONE_SHARE if level == 1 else 1))
                row = run_once(name, count, level)
                measured.setdefault((name, level), []).append(row)
                console.print(
                    f"round {round_ + 1}: {name}, {level} in flight: {row.workflows_per_s:.1f} wf/s", style="dim"
                )
    results = [rows.median_row(of_load) for of_load in measured.values()]
    console.print(table_of(results))
    lines = verdict(results, concurrency)
    for line in lines:
        console.print(line, highlight=False)
    path = rows.write("server-order", results, measured_on, rounds=rounds, verdict=lines)
    console.print(f"kept as {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

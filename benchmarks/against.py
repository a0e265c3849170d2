"""`python -m benchmarks.against DIRECTORY`: this checkout beside another one of perdure, in turn.

DIRECTORY is a checkout of another commit with a `.venv` of its own (`git worktree add DIRECTORY COMMIT`, then
`make -C DIRECTORY dev`). The order workflow in both styles, one at a time and fifty in flight, and the server under
the official Python SDK; the two take turns within a round, and a round's ratio is of runs that follow each other. What
counts is the median ratio: a machine that is busy, or slow today, is so for both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.rows import Row
from benchmarks.server_order import await_port, free_port

HERE = Path(__file__).parent.parent
Measure = Callable[[Path, float], Row]


def _run(checkout: Path, *arguments: str) -> Row:
    done = subprocess.run(
        [checkout / ".venv/bin/python", "-m", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=600,
    )
    return Row(**json.loads(done.stdout.strip().splitlines()[-1]))


def embedded(style: str, concurrency: int, count: int) -> Measure:
    """The order workflow in one process; `count` workflows at scale 1."""

    def measure(checkout: Path, scale: float) -> Row:
        with tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
            asked = (style, str(max(1, int(count * scale))), str(concurrency), directory)
            return _run(checkout, "benchmarks.perdure_order", *asked)

    return measure


def served(concurrency: int, count: int) -> Measure:
    """The same through the server; the SDK's process is always this checkout's, so that the servers alone differ."""

    def measure(checkout: Path, scale: float) -> Row:
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
            store = f"sqlite:///{directory}/orders.db"
            command = ["server", "--store", store, "--address", f"127.0.0.1:{port}", "--http-address", ""]
            process = subprocess.Popen(
                [checkout / ".venv/bin/perdure", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                await_port(port, process)
                asked = (str(max(1, int(count * scale))), str(concurrency), str(process.pid))
                return _run(HERE, "benchmarks.server_load", "perdure server", f"127.0.0.1:{port}", *asked)
            finally:
                process.terminate()
                process.wait(30)

    return measure


LOADS: dict[str, Measure] = {
    "def, 1 in flight": embedded("def", 1, 500),
    "def, 50 in flight": embedded("def", 50, 3000),
    "async, 1 in flight": embedded("async", 1, 500),
    "async, 50 in flight": embedded("async", 50, 3000),
    "server, 1 in flight": served(1, 150),
    "server, 50 in flight": served(50, 1500),
}


def table_of(pairs: dict[str, list[tuple[Row, Row]]]) -> Table:
    """A line for each load: medians of both, and the medians of the rounds' ratios."""
    table = Table(title="this checkout ÷ the other one (workflows/s: more is faster; CPU: less is better)")
    for head in ("load", "other wf/s", "this wf/s", "ratio", "from", "to", "other CPU ms", "this CPU ms", "CPU ratio"):
        table.add_column(head, justify="left" if head == "load" else "right", no_wrap=True)
    for load, rows in pairs.items():
        speed = [this.workflows_per_s / other.workflows_per_s for other, this in rows]
        cpu = [this.cpu_ms_per_workflow / other.cpu_ms_per_workflow for other, this in rows]
        table.add_row(
            load,
            f"{statistics.median(other.workflows_per_s for other, _ in rows):,.0f}",
            f"{statistics.median(this.workflows_per_s for _, this in rows):,.0f}",
            f"{statistics.median(speed):.3f}",
            f"{min(speed):.2f}",
            f"{max(speed):.2f}",
            f"{statistics.median(other.cpu_ms_per_workflow for other, _ in rows):.3f}",
            f"{statistics.median(this.cpu_ms_per_workflow for _, this in rows):.3f}",
            f"{statistics.median(cpu):.3f}",
        )
    return table


@click.command(help=__doc__)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=5, show_default=True, help="How often each load is run on both.")
@click.option("--scale", default=1.0, show_default=True, help="More or fewer workflows in each run.")
@click.option("--only", default="", help="Loads whose name contains this.")
def main(directory: Path, rounds: int, scale: float, only: str) -> None:
    """See the module's text."""
    other = directory.resolve()
    loads = {name: measure for name, measure in LOADS.items() if only in name}
    pairs: dict[str, list[tuple[Row, Row]]] = {name: [] for name in loads}
    with Progress(console=Console(stderr=True)) as progress:
        steps = progress.add_task("measuring", total=rounds * len(loads))
        for number in range(rounds):
            for name, measure in loads.items():
                # Who goes first alternates: whatever one leaves behind (caches, a warm disk) serves both alike.
                if number % 2:
                    this, before = measure(HERE, scale), measure(other, scale)
                else:
                    before, this = measure(other, scale), measure(HERE, scale)
                pairs[name].append((before, this))
                progress.advance(steps)
    Console(width=140).print(table_of(pairs))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks`: the order workflow, perdure and DBOS in turn, and where our time goes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import rows, stages
from benchmarks.rows import Row

CONTENDERS: dict[str, Sequence[str]] = {
    "perdure": ("benchmarks.perdure_order", "def"),
    "dbos": ("benchmarks.dbos_order", "def"),
    "perdure async": ("benchmarks.perdure_order", "async"),
}
RIVAL = "dbos"
LIKE_FOR_LIKE = "perdure"
"""The rival's own shape: `def` workflow and steps, called from threads."""
WORKFLOWS_PER_ROUND = {"perdure": 3000, "perdure async": 3000, RIVAL: 500}


def run_once(contender: str, count: int, concurrency: int) -> Row:
    """One contender under one load, in a process and a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
        done = subprocess.run(
            [sys.executable, "-m", *CONTENDERS[contender], str(count), str(concurrency), directory],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
    return Row(**json.loads(done.stdout.strip().splitlines()[-1]))


def run_rounds(rounds: int, concurrencies: Sequence[int], scale: float, console: Console) -> list[Row]:
    """Every contender under every load, in turn, `rounds` times over; the medians."""
    loads = [(name, level) for level in concurrencies for name in CONTENDERS]
    measured: dict[tuple[str, int], list[Row]] = {load: [] for load in loads}
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds * len(loads))
        for _ in range(rounds):
            for name, level in loads:
                progress.update(task, description=f"{name}, {level} in flight")
                count = max(level, int(WORKFLOWS_PER_ROUND[name] * scale))
                measured[name, level].append(run_once(name, count, level))
                progress.advance(task)
    return [rows.median_row(of_load) for of_load in measured.values()]


def comparison(results: Sequence[Row]) -> Table:
    """The rows as a table, with the ratio to the rival under the same load."""
    rival = {row.concurrency: row.workflows_per_s for row in results if row.engine == RIVAL}
    table = Table(title="The order workflow: 4 trivial activities in sequence, on SQLite, fsync on every commit")
    for name in ("engine", "in flight", "workflows/s", "steps/s", "p50 ms", "p99 ms", "CPU ms/wf", "RSS MB"):
        table.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True)
    table.add_column(f"× {RIVAL}", justify="right", style="bold")
    for row in results:
        table.add_row(
            row.engine, str(row.concurrency), f"{row.workflows_per_s:,.0f}", f"{row.steps_per_s:,.0f}",
            f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}", f"{row.cpu_ms_per_workflow:.2f}", f"{row.rss_mb:.0f}",
            f"{row.workflows_per_s / rival[row.concurrency]:.1f}",
        )  # fmt: skip
        if row is results[-1] or results[results.index(row) + 1].concurrency != row.concurrency:
            table.add_section()
    return table


def verdict(results: Sequence[Row]) -> list[str]:
    """The headline, like for like, and what the figures mean."""
    best = {name: max((r for r in results if r.engine == name), key=lambda r: r.workflows_per_s) for name in CONTENDERS}
    rival = best[RIVAL].workflows_per_s
    lines = [f"{row.engine}: {row.note}" for row in best.values()]
    for name in CONTENDERS:
        if name != RIVAL:
            kind = "like for like" if name == LIKE_FOR_LIKE else "in its own style"
            ratio = best[name].workflows_per_s / rival
            lines.append(f"{name} ({kind}), best load of each: {ratio:.1f} × {RIVAL}'s workflows/s")
    return lines + [f"{r.engine}, one at a time: p50 {r.p50_ms:.1f} ms" for r in results if r.concurrency == 1]


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often every contender takes its turn.")
@click.option("--concurrency", "concurrencies", multiple=True, type=int, default=(1, 50, 200), show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="More or fewer workflows in each round.")
@click.option("--stages/--no-stages", "with_stages", default=True, show_default=True, help="Profile ours by stage.")
@click.option(
    "--store", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True,
    help="postgresql: on servers of databases, started for it, with 50 in flight.",
)  # fmt: skip
def main(rounds: int, concurrencies: tuple[int, ...], scale: float, with_stages: bool, store: str) -> None:
    """Run the order workflow on perdure and on DBOS, in turn, and say where our time goes."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    if store == "postgresql":
        from benchmarks import databases  # which needs what the tests need

        databases.main(rounds, 50, scale, console)
        return
    measured_on = rows.machine()
    results = run_rounds(rounds, concurrencies, scale, console)
    console.print(comparison(results))
    for line in verdict(results):
        console.print(line, highlight=False)
    profiles = {style: stages.profile_in_process_of_its_own(style) for style in ("def", "async") if with_stages}
    for style, profile in profiles.items():
        console.print(stages.as_table(profile, f"perdure, {style} style: where the CPU time goes"))
    path = rows.write("order-workflow", results, measured_on, rounds=rounds, verdict=verdict(results), stages=profiles)
    console.print(f"kept as {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()

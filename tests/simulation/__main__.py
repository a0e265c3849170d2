"""Tell the story of one run, or look for seeds that fail: `python -m tests.simulation --help`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.simulation.checks import ORDER, RELAY, check_report, crash_everywhere, crash_twice
from tests.simulation.faults import CrashPoint
from tests.simulation.harness import simulate
from tests.simulation.programs import Program, generate


@click.command()
@click.argument("seed", required=False)
@click.option("--crash", "crashes", multiple=True, metavar="before:N|after:N", help="Stop a life at its N-th commit.")
@click.option("--seeds", default=2000, show_default=True, help="Without SEED: how many to run.")
@click.option("--first", default=1000, show_default=True, help="Without SEED: the first of them.")
def main(seed: str | None, crashes: tuple[str, ...], seeds: int, first: int) -> None:
    """Stop many generated programs at every commit in turn; or, with a SEED, tell the story of one run.

    SEED is a number, or "order" for the order workflow, or "relay" for signals over many runs. Programs with messages,
    children and runs that follow one another have the seeds from 1,000,000 on.
    """
    if seed is None:
        sys.exit(_search(range(first, first + seeds)))
    _tell(
        {"order": ORDER, "relay": RELAY}.get(seed) or generate(int(seed)), [CrashPoint.parse(text) for text in crashes]
    )


def _tell(program: Program, crashes: Sequence[CrashPoint]) -> None:
    """The program, every durable commit, and the outcome; then the checks. Raises what they raise."""
    click.echo(f"a program of seed {program.seed}, {program.colour}:")
    for step in program.steps:
        click.echo(f"  {step}")
    report = simulate(program, crashes)
    for now_ns, _, version, names in report.disk.trace:
        click.echo(f"{now_ns / 1e9:16.6f} s  version {version:3}  {' '.join(names) or '(no event)'}")
    click.echo(f"{report.lives} lives, {report.outcome}")
    check_report(program, report)


def _search(seeds: range) -> int:
    """Crash every program everywhere; 1 if any seed failed."""
    logging.disable()
    console = Console()
    failed = crashes = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(seeds))
        for seed in seeds:
            try:
                crashes += crash_everywhere(generate(seed)) + crash_twice(generate(seed))
            except AssertionError as error:
                failed += 1
                console.print(f"[red]fails:[/red] {error}", highlight=False)
            progress.update(task, advance=1, description=f"{crashes:,} crashes, {failed} seeds fail")
    return min(failed, 1)


if __name__ == "__main__":
    main()

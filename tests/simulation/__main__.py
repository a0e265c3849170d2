"""Tell the story of one run, or look for seeds that fail: `python -m tests.simulation --help`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.simulation.campaign import Tally, campaign, program_of
from tests.simulation.checks import check_report
from tests.simulation.faults import KINDS, CrashPoint
from tests.simulation.harness import simulate
from tests.simulation.programs import Program


def _numbers(_: object, __: object, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter("numbers with commas between them, such as 1,2,3") from None


@click.command()
@click.argument("seed", required=False)
@click.option("--nodes", default="1,2,3", show_default=True, callback=_numbers, help="How many share the store.")
@click.option(
    "--crash", "points", multiple=True, metavar="KIND:N", help="At the N-th commit: before, after, drain or stall."
)
@click.option("--crashes", default=3000, show_default=True, help="Without SEED: how many, over all sizes of fleets.")
@click.option("--first", default=1000, show_default=True, help="Without SEED: the first one.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Without SEED: processes.")
@click.option("--result", type=click.Path(path_type=Path), help="Without SEED: write the figures to this file.")
def main(
    seed: str | None,
    nodes: list[int],
    points: tuple[str, ...],
    crashes: int,
    first: int,
    jobs: int,
    result: Path | None,
) -> None:
    """Stop the nodes of many generated programs at every commit in turn; or, with a SEED, tell the story of one run.

    SEED is a number, or "order" for the order workflow, or "relay" for signals over many runs. Programs with messages,
    children and runs that follow one another have the seeds from 1,000,000 on.
    """
    if seed is None:
        sys.exit(_search(nodes, crashes, first, jobs, result))
    _tell(program_of(seed), [CrashPoint.parse(text) for text in points], nodes[0])


def _tell(program: Program, points: Sequence[CrashPoint], nodes: int) -> None:
    """The program, every durable commit, and the outcome; then the checks. Raises what they raise."""
    click.echo(f"a program of seed {program.seed}, {program.colour}, on {nodes} node(s):")
    for step in (*program.steps, *program.letters):
        click.echo(f"  {step}")
    logging.basicConfig(level=logging.WARNING)
    report = simulate(program, points, nodes=nodes, tell=click.echo)
    click.echo(f"{report.lives} lives, {report.outcome}")
    check_report(program, report)


def _search(sizes: list[int], crashes: int, first: int, jobs: int, result: Path | None) -> int:
    """Attack fleets of every size; 1 if anything failed."""
    logging.disable()
    console = Console()
    tallies = {nodes: Tally() for nodes in sizes}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for nodes, tally in tallies.items():
            share = crashes // len(sizes)
            task = progress.add_task("", total=share)
            for unit in campaign(nodes, share, first, jobs):
                tally.add(unit)
                for failure in unit.failures:
                    console.print(f"[red]fails:[/red] {failure}", highlight=False)
                about = f"{nodes} node(s): {tally.programs:,} programs, {len(tally.failures)} failures"
                progress.update(task, completed=tally.crashes, description=about)
    if result is not None:
        result.write_text(json.dumps(_figures(tallies), indent=2) + "\n", encoding="utf-8")
    return int(any(tally.failures for tally in tallies.values()))


def _figures(tallies: dict[int, Tally]) -> dict[str, object]:
    rows = [
        {
            "nodes": nodes,
            "programs": tally.programs,
            **{kind: tally.faults[kind] for kind in (*KINDS, "twice")},
            "crashes": tally.crashes,
            "failures": len(tally.failures),
        }
        for nodes, tally in tallies.items()
    ]
    return {"machine": {"cpus": os.cpu_count()}, "rows": rows}


if __name__ == "__main__":
    main()

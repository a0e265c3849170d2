"""Attack every RPC: `python -m tests.badinput --inputs 100000 --seed 7` (see `tests.badinput.attack`)."""

from __future__ import annotations

import sys

import click

from tests.badinput.attack import attack

_SLICE = 5_000
"""Inputs of one world: then the next seed begins another."""


@click.command()
@click.option("--inputs", default=100_000, show_default=True, help="How many requests are made.")
@click.option("--seed", "first", default=1, show_default=True, help="Of the first world.")
@click.option("--memory", is_flag=True, help="On the memory store.")
def main(inputs: int, first: int, memory: bool) -> None:
    """Ask every RPC for what nobody should ask for, and see that the server says so and serves on."""
    found = 0
    for number, done in enumerate(range(0, inputs, _SLICE)):
        report = attack(min(_SLICE, inputs - done), first + number, not memory)
        codes = ", ".join(f"{code} {count:,}" for code, count in report.codes.most_common())
        click.echo(f"seed {first + number}: {report.inputs:,} inputs: {codes}; {report.histories:,} read back")
        for finding in report.findings:
            click.echo(finding)
        found += len(report.findings)
    click.echo(f"{found} findings")
    sys.exit(bool(found))


main()

"""`perdure demo`: see it happen."""

from __future__ import annotations

from pathlib import Path

import click

from perdure.cli.output import console, plain_errors


@click.command(short_help="See an order survive kill -9, then a thousand.")
@click.option(
    "--seed", default=1001, show_default=True, help="Decides when the engine is killed and the services fail."
)
@click.option("--orders", default=1000, show_default=True, type=click.IntRange(min=1), help="How many orders in act 3.")
@click.option("--kills", default=20, show_default=True, type=click.IntRange(min=0), help="How many SIGKILLs in act 3.")
@click.option("--fast", is_flag=True, help="200 orders and 5 kills in act 3.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep ledgers and engine files there.")
@click.option(
    "--store",
    "store_url",
    default="",
    metavar="URL",
    help="A database for the engine (postgresql://, mysql://); as a rule it has a file of its own.",
)
@click.option("--no-color", is_flag=True, help="No colours, even on a terminal.")
def demo(seed: int, orders: int, kills: int, fast: bool, keep: Path | None, store_url: str, no_color: bool) -> None:
    """ORDER #1001 survives a crash and is charged once; then 1,000 orders under 20 kills, and an audit."""
    from perdure.demo.processes import ProcessFailed  # imported when played: `perdure --help` shall be quick
    from perdure.demo.show import Options, run_demo

    if fast:
        orders, kills = min(orders, 200), min(kills, 5)
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"--keep {keep}: the directory is not empty; name a new one.")
    if store_url.startswith(("memory:", "grpc:", "grpcs:")):
        raise click.UsageError(f"--store {store_url}: the engine is killed, so its store must be a file or a database.")
    try:
        with plain_errors():
            code = run_demo(console(no_color=no_color), Options(seed, orders, kills, keep, store_url))
    except ProcessFailed as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(code)

"""`perdure`: the command line. A noun, then a verb; a file of this package per noun.

Tables for people, `--json` for programs. What goes wrong is told in one sentence on standard error; the exit code is
1 when it could not be done and 2 when it was asked wrongly. A traceback is a bug.
"""

from __future__ import annotations

import io
import sys
from importlib.metadata import version

import click

from perdure.cli.demo import demo
from perdure.cli.nodes import nodes
from perdure.cli.options import group
from perdure.cli.replay import replay
from perdure.cli.requests import requests
from perdure.cli.schedule import schedule
from perdure.cli.server import server
from perdure.cli.steering import activity
from perdure.cli.store import store
from perdure.cli.workflow import workflow


@group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("perdure"), prog_name="perdure", message="%(prog)s %(version)s")
def cli() -> None:
    """Durable execution: functions that survive crashes, restarts and redeploys, and still finish."""


cli.add_command(demo)
cli.add_command(workflow)
cli.add_command(activity)
cli.add_command(schedule)
cli.add_command(store)
cli.add_command(nodes)
cli.add_command(requests)
cli.add_command(replay)
cli.add_command(server)


def main() -> None:
    """The entry point of the `perdure` command."""
    out: object = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # a terminal that knows no arrows shall not stop us
    try:
        cli()
    except BrokenPipeError:
        # Whoever was reading (`| head`) has seen enough; Python would complain once more when it flushes at exit.
        sys.stderr.close()
        sys.exit(1)

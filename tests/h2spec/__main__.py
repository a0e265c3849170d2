"""h2spec, the conformance suite of HTTP/2, against `perdure server`: `make h2spec`.

Needs go, which builds h2spec on the first run, into `.venv`. Fails when a test fails that `docs/http2.md` does not
explain, and when one passes that it does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.differential.servers import perdure
from tests.h2spec.verdict import exceptions, judge, outcomes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "http2.md"
MODULE = "github.com/summerwind/h2spec/cmd/h2spec"
VERSION = "v2.2.1+incompatible"
RUN_S_MAX = 600

NO_GO = """\
go is not installed, and h2spec is built from source.
On Debian and Ubuntu: sudo apt install golang-go; where that is too old for it: https://go.dev/dl/.
Or say where h2spec is: make h2spec ARGS="--binary /path/to/h2spec"."""


def build() -> Path:
    """The suite, built once for each version."""
    folder = ROOT / ".venv" / "h2spec" / VERSION
    binary = folder / "h2spec"
    if not binary.exists():
        if shutil.which("go") is None:
            raise click.ClickException(NO_GO)
        click.echo(f"Building {MODULE}@{VERSION} (once) ...")
        built = subprocess.run(
            ["go", "install", f"{MODULE}@{VERSION}"], env={**os.environ, "GOBIN": str(folder)}, check=False
        )
        if built.returncode:
            raise click.ClickException("go could not build h2spec; what it says is above.")
    return binary


def run(binary: Path, address: str, timeout_s: int) -> str:
    """The report of all tests, the strict ones too."""
    host, _, port = address.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [str(binary), "--strict", "-h", host, "-p", port, "-o", str(timeout_s), "-j", str(report)]
        # Its own code says whether all pass, which is for us to judge.
        ran = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False)
        if not report.exists():
            raise click.ClickException(f"h2spec made no report:\n{ran.stdout}{ran.stderr}")
        return report.read_text(encoding="utf-8")


async def report_on_own_server(binary: Path, timeout_s: int) -> str:
    async with perdure() as address:
        return await asyncio.to_thread(run, binary, address, timeout_s)


@click.command(help=__doc__)
@click.option("--binary", type=click.Path(exists=True, path_type=Path), help="An h2spec that is there already.")
@click.option("--address", help="A server that runs already, instead of one of our own.")
@click.option(
    "--timeout", "timeout_s", default=2, show_default=True, help="Seconds to wait for an answer, in one test."
)
def main(binary: Path | None, address: str | None, timeout_s: int) -> None:
    binary = binary or build()
    report = run(binary, address, timeout_s) if address else asyncio.run(report_on_own_server(binary, timeout_s))
    found = outcomes(report)
    verdict = judge(found, exceptions(PAGE.read_text(encoding="utf-8")))
    click.echo(f"{len(found)} tests, {verdict.passed} passed, {verdict.explained} explained in docs/{PAGE.name}")
    for complaint in verdict.complaints:
        click.echo(f"  {complaint}", err=True)
    sys.exit(bool(verdict.complaints))


main()

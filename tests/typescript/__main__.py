"""Temporal's official TypeScript SDK against `perdure server`: `make test-typescript`.

Needs node and npm; fetches the SDK on the first run. Another server can be tested instead, to see whether a
test is right: `make test-typescript ARGS="--address 127.0.0.1:7233"`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tests.servers.chosen import CHOSEN, KINDS
from tests.servers.stores import new_store

HERE = Path(__file__).parent
READY = "perdure server: ready on "


@contextmanager
def perdure_server(kind: str) -> Iterator[str]:
    """The address of a server of our own, on a store of its own."""
    with tempfile.TemporaryDirectory() as directory, new_store(kind, Path(directory)) as url:
        command = [sys.executable, "-m", "perdure", "server", "--address", "127.0.0.1:0", "--http-address", ""]
        command += ["--store", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                if not line.startswith(READY):
                    raise click.ClickException(f"the server did not start: {line or process.wait()}")
                yield line.removeprefix(READY).split(",")[0]
            finally:
                process.terminate()


def prepare() -> None:
    """The SDK as the lock has it, and the tests compiled."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise click.ClickException(f"{tool} is not installed; on Debian and Ubuntu: sudo apt install nodejs npm")
    stamp, lock = HERE / "node_modules" / ".installed", HERE / "package-lock.json"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        # Not `npm ci`: it insists on optional packages for other platforms, which a mirror may not have.
        subprocess.run(
            ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, check=True
        )
        stamp.write_bytes(lock.read_bytes())
    subprocess.run(["npm", "run", "--silent", "build"], cwd=HERE, check=True)


@click.command(help=__doc__)
@click.option("--address", help="A server that runs already, instead of one of our own.")
@click.option("--store", default=CHOSEN or "sqlite", type=click.Choice(KINDS), show_default=True, help="Of our own.")
def main(address: str | None, store: str) -> None:
    prepare()
    if address:
        sys.exit(conformance(address))
    with perdure_server(store) as own:
        code = conformance(own)
    sys.exit(code)


def conformance(address: str) -> int:
    return subprocess.run(
        ["npm", "run", "--silent", "test"], cwd=HERE, env={**os.environ, "PERDURE_ADDRESS": address}, check=False
    ).returncode


main()

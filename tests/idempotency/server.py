"""A PostgreSQL of our own, made from the machine's binaries for the length of a test session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IS_THERE = all(shutil.which(program) for program in ("initdb", "pg_ctl", "postgres"))
"""Whether this machine has one. Without it the suite proves SQLite alone."""


def _as_other_user() -> tuple[list[str], int | None]:
    """PostgreSQL refuses to run as root: then another user of the system runs it."""
    if os.geteuid() != 0:
        return [], None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    identity = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return identity, user.pw_uid


@contextmanager
def postgres() -> Iterator[str]:
    """The connection string of an empty database; it listens on a socket in its own directory alone."""
    prefix, uid = _as_other_user()
    with tempfile.TemporaryDirectory(prefix="perdure-pg-") as name:
        directory = Path(name)
        if uid is not None:
            os.chown(directory, uid, -1)
        data = directory / "data"
        environment = {**os.environ, "LC_ALL": "C"}
        _run(
            [*prefix, "initdb", "-D", str(data), "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8"], environment
        )
        options = f"-c listen_addresses='' -c unix_socket_directories='{directory}' -c fsync=off"
        control = [*prefix, "pg_ctl", "-D", str(data), "-w"]
        _run([*control, "-o", options, "-l", str(directory / "log"), "start"], environment)
        try:
            yield f"host={directory} user=tester dbname=postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"], environment)


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()

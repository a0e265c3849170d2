"""The stores of `benchmarks.sleepers`: for one run, or kept, so that what took long to fill is measured often.

A kept directory holds the store (a file, or the data directory of a server that the run starts), and `state.json`: how
many sleep there, who of them has been woken, and every figure that was found.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_SHARED_BUFFERS = "256MB"


@dataclass(slots=True)
class Progress:
    """How far a store has come."""

    base_s: float
    """Seconds since the epoch: what all deadlines are counted from."""
    due: int
    """So many come due in one minute of each wave."""
    filled: int = 0
    """At least so many sleep, or have."""
    waves: int = 0
    """So many waves of them have been woken."""
    figures: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    """By phase, the newest last."""


class Kept:
    """A directory, or nothing that stays."""

    def __init__(self, directory: Path | None, due: int) -> None:
        self._file = None if directory is None else directory / "state.json"
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        if self._file is not None and self._file.exists():
            self.progress = Progress(**json.loads(self._file.read_text()))
        else:
            self.progress = Progress(base_s=time.time(), due=due)

    def save(self) -> None:
        """Write down how far it has come."""
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(asdict(self.progress), indent=1) + "\n")
            new.replace(self._file)


@contextmanager
def stores(kind: str, directory: Path | None) -> Generator[tuple[str, str], None, None]:
    """The URLs of two stores of a kind, on a server of their own that waits for its disk; the second one is empty.

    With a directory the first one is there, as it was left; without, it is empty as well.
    """
    if kind == "sqlite":
        with _directory(directory) as place:
            shutil.rmtree(place / "empty", ignore_errors=True)
            (place / "empty").mkdir()
            yield f"sqlite:///{place}/sleepers.db", f"sqlite:///{place}/empty/empty.db"
        return
    from tests.servers.fixtures import execute_mariadb
    from tests.servers.fixtures import url as url_of
    from tests.servers.server import Server

    settings: dict[str, Any] = {"settings": {"shared_buffers": _SHARED_BUFFERS}} if kind == "postgres" else {}
    if directory is not None:
        place = directory / "server"
        place.mkdir(exist_ok=True)
        settings["directory"] = str(place.resolve())
    with Server.private(kind, **settings) as server:
        if kind == "mariadb":
            execute_mariadb(server, "CREATE DATABASE IF NOT EXISTS perdure")
            execute_mariadb(server, "DROP DATABASE IF EXISTS empty")
            execute_mariadb(server, "CREATE DATABASE empty")
            yield url_of(server, "perdure"), url_of(server, "empty")
        else:
            _drop_empty(server)
            yield url_of(server, "postgres"), url_of(server, "postgres") + "?schema=empty"


def _drop_empty(server: Any) -> None:
    import psycopg

    from tests.servers.fixtures import conninfo

    with psycopg.connect(conninfo(server), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS empty CASCADE")


@contextmanager
def _directory(kept: Path | None) -> Generator[Path, None, None]:
    if kept is not None:
        yield kept.resolve()
        return
    place = tempfile.mkdtemp(prefix="perdure-sleepers-")
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)

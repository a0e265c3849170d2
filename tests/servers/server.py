"""A server as a test process has it: held by a connection to its keeper, which is closed when the process ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from tests.servers.keeper import READY_S, abstract
from tests.servers.kinds import KINDS, Address

_ROOT = Path(__file__).parents[2]
_SESSION = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
"""The same in all processes of a test session."""
_keepers: list[subprocess.Popen[bytes]] = []
"""Those that this process has started: they end by themselves, later perhaps than it."""


class Server:
    """One server, started if nobody in this session has; it ends when nobody holds it any more."""

    def __init__(self, kind: str, name: str, options: dict[str, Any]) -> None:
        self.kind = kind
        self.name = name
        self._connection, line = _hold(kind, name, options)
        said = json.loads(line)
        if "error" in said:
            self._connection.close()
            raise RuntimeError(f"{kind}: {said['error']}")
        self.address: Address = said["address"]

    @classmethod
    def shared(cls, kind: str, *, durable: bool = False, **options: Any) -> Server:
        """The one of this test session. Raises NotInstalled."""
        KINDS[kind].programs()
        name = f"{_SESSION}-{kind}{'-durable' if durable else ''}"
        return cls(kind, name, {"durable": durable, **options})

    @classmethod
    def private(cls, kind: str, *, durable: bool = True, **options: Any) -> Server:
        """One that may be killed: nobody else has it. With `directory`, its data is there, from the last time and for
        the next one. Raises NotInstalled."""
        KINDS[kind].programs()
        return cls(kind, f"{uuid.uuid4().hex}-{kind}", {"durable": durable, **options})

    def kill(self) -> None:
        """End it with SIGKILL, with all of its processes; returns when it is gone."""
        self._ask("kill")

    def start(self) -> None:
        """After a kill, at the same place; returns when it serves."""
        self._ask("start")

    def pause(self) -> None:
        """As if the network to it were cut: it does nothing, and closes no connection."""
        self._ask("pause")

    def resume(self) -> None:
        """After a pause: it goes on as if nothing had been."""
        self._ask("resume")

    def release(self) -> None:
        """It is not needed here any more."""
        self._connection.close()

    def _ask(self, what: str) -> None:
        self._connection.sendall(what.encode() + b"\n")
        refusal = json.loads(_line(self._connection))
        if refusal:
            raise RuntimeError(f"{self.kind}: {refusal}")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _hold(kind: str, name: str, options: dict[str, Any]) -> tuple[socket.socket, str]:
    """A connection to the keeper, and what it says; a keeper is started while there is none."""
    ends_at = time.monotonic() + 2 * READY_S
    keeper: subprocess.Popen[bytes] | None = None
    while time.monotonic() < ends_at:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(2 * READY_S)
        try:
            connection.connect(abstract(name))
            line = _line(connection)
            if line:
                return connection, line
        except ConnectionError:
            pass  # not yet, or not any more: below
        connection.close()
        if keeper is None or keeper.poll() is not None:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.keeper", name, kind, json.dumps(options)],
                cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            _keepers.append(keeper)
        time.sleep(0.02)  # the keeper's socket is not there yet
    raise RuntimeError(f"the keeper of {kind} did not answer")


def _line(connection: socket.socket) -> str:
    """Up to its end, or empty when the keeper has gone."""
    with connection.makefile("rb") as lines:
        return lines.readline().decode()

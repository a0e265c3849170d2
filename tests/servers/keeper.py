"""The process that keeps one server: it lives as long as somebody is connected to it, and so does the server.

    python -m tests.servers.keeper NAME KIND OPTIONS

It listens on the abstract socket of that name, which only one process can have: whoever else was started for the same
name ends at once. A test process that is killed is disconnected like any other, so no server outlives the tests; and a
server whose keeper is killed is ended by the kernel.

To everybody who connects it says one line, where the server is or why it is not. To `kill`, `start`, `pause` and
`resume` it answers with a line when that is done.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.servers.kinds import ENVIRONMENT, KINDS, Kind, become_server, free_port, server_user

READY_S = 60.0
STOP_S = 10.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def abstract(name: str) -> str:
    """The address of a keeper."""
    return f"\0perdure-tests-{name}"


class Kept:
    """The server."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        given: str | None = options.pop("directory", None)
        self.stays = given is not None
        """The directory is its owner's: what is in it is used again, and left there."""
        self.directory = Path(given or tempfile.mkdtemp(prefix=f"perdure-{kind}-"))
        user = server_user()
        if user is not None:
            os.chown(self.directory, user, -1)
        durable = options.pop("durable", False)
        port = free_port()
        is_mysql = kind in ("mariadb", "mysql")
        place = self.directory / "socket" if is_mysql else self.directory
        who = "root" if is_mysql else "tester"
        self.address = {"host": "127.0.0.1", "port": port, "socket": str(place), "user": who, **options}
        self.kind: Kind = KINDS[kind](self.directory, self.address, durable=durable)
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        if not (self.stays and (self.directory / "data").exists()):
            self.kind.prepare()
        self.start()

    def start(self) -> None:
        """Returns when it serves. Raises RuntimeError."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.kind.command(), cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=self._before_exec, start_new_session=True,
            )  # fmt: skip
        ends_at = time.monotonic() + READY_S
        while not self.kind.is_ready():
            if self.process.poll() is not None or time.monotonic() > ends_at:
                log_text = (self.directory / "log").read_text(errors="replace")
                raise RuntimeError(f"the server did not start: {log_text[-3000:]}")
            time.sleep(0.02)  # a server that starts has no event for others

    def _before_exec(self) -> None:
        become_server()
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # the last of it: a change of user would undo it

    def kill(self) -> None:
        """As if the machine had lost it: with all that it started."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It does nothing any more, and closes nothing."""
        self._signal_all(signal.SIGSTOP)
        assert self.process is not None
        for _ in range(1000):
            if _stands_still(self.process.pid):
                return
            time.sleep(0.005)  # its threads stop one after another, and may answer until then

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, which: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, which)

    def stop(self) -> None:
        if self.stays:
            self._end(self.kind.stop_gently_with, READY_S)
        else:
            self._end(self.kind.stop_with)

    def _end(self, how: signal.Signals, patience_s: float = STOP_S) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if how is signal.SIGKILL:
            _kill_group(process.pid)
        else:
            process.send_signal(how)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            process.wait()


def _stands_still(pid: int) -> bool:
    """Whether all threads of a process are stopped."""
    return all(") T " in stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat"))


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself


def serve(listener: socket.socket, kept: Kept) -> None:
    """Until nobody is connected any more."""
    try:
        kept.prepare()
        line = json.dumps({"address": kept.address})
    except Exception as error:
        line = json.dumps({"error": str(error)})
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        held = 0
        while True:
            for key, _ in selector.select(None if held else READY_S) or _nobody():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.sendall(line.encode() + b"\n")
                    selector.register(connection, selectors.EVENT_READ)
                    held += 1
                    continue
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                asked = _receive(connection)
                if asked:
                    connection.sendall(_do(kept, asked) + b"\n")
                else:
                    selector.unregister(connection)
                    connection.close()
                    held -= 1
            if not held and not _is_wanted(listener):
                return


def _nobody() -> Any:
    raise SystemExit("whoever started this has gone before it asked for anything")


def _is_wanted(listener: socket.socket) -> bool:
    """Whether somebody waits to be let in."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        return bool(selector.select(0))


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(64)
    except ConnectionError:
        return b""


def _do(kept: Kept, asked: bytes) -> bytes:
    try:
        {b"kill\n": kept.kill, b"start\n": kept.start, b"pause\n": kept.pause, b"resume\n": kept.resume}[asked]()
    except Exception as error:
        return json.dumps(str(error)).encode()
    return b'""'


def main() -> None:
    name, kind, options = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(abstract(name))
        except OSError:
            return  # another one is first
        listener.listen()
        kept = Kept(kind, json.loads(options))
        try:
            serve(listener, kept)
        finally:
            listener.close()
            kept.stop()
            if not kept.stays:
                shutil.rmtree(kept.directory, ignore_errors=True)


if __name__ == "__main__":
    main()

"""`perdure server --processes N`: server processes of one host behind one address, and a parent that keeps them.

Every process is a node of its own: it listens on the same address (SO_REUSEPORT: the kernel shares out connections),
and has a side door of its own, at the port that was named and those after it. The parent serves nobody. It starts the
first alone, which makes the tables, and then the others; it starts one again that has died; it hands SIGTERM on, and
ends when all have ended. Should the parent itself be killed, the processes find the pipe closed that it held, and
drain as if told to.

What a process is to do comes through that pipe and not as arguments, which everybody on the machine can read: a store's
URL may hold a password.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import closing

import click
import msgspec

from perdure.cli import logs
from perdure.cli.output import plain_errors
from perdure.cli.serving import serve
from perdure.engine.node.config import EngineConfig
from perdure.frontend.authorization import AuthorizationConfig
from perdure.frontend.grpc.address import split_address
from perdure.frontend.tls import TlsConfig
from perdure.stores.open import open_store, shown_url

_log = logging.getLogger(__name__)

PROCESSES_MAX = 256
"""Far more than one host has use for."""
_PAUSE_S = 0.5
"""Before one that has died is started again; doubled each time that it dies soon, up to `_PAUSE_S_MAX`."""
_PAUSE_S_MAX = 30.0
_SOON_S = 60.0
"""Who has served for so long did not die of its start."""


class Settings(msgspec.Struct, kw_only=True):
    """What a process is to serve, and where."""

    store: str
    address: str
    http_address: str
    namespaces: Sequence[str]
    log_level: str
    log_format: str
    engine: EngineConfig
    tls: TlsConfig | None = None
    authorization: AuthorizationConfig | None = None
    insecure: bool = False
    number: int = 0
    """Of the process among its siblings; the first is 1."""


class _Serving(msgspec.Struct):
    """What a process tells its parent, once it serves."""

    http_address: str


def check_processes(count: int, store_url: str, http_address: str) -> None:
    """Raises ValueError, StoreError for what several processes cannot do."""
    if not 1 <= count <= PROCESSES_MAX:
        raise ValueError(f"{count} processes: write a number from 1 to {PROCESSES_MAX}")
    if count == 1:
        return
    if not open_store(store_url).is_shared:
        raise ValueError(
            f"{shown_url(store_url)} can be served by one process alone: leave --processes out, or keep the store in a "
            "database that several processes share (--store postgresql://... or mysql://...; `perdure store copy` "
            "brings along what there is)"
        )
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("this system cannot share a port among processes (SO_REUSEPORT): leave --processes out")
    if http_address and split_address(http_address)[1] + count - 1 > 65_535:
        raise ValueError(f"{count} processes need {count} ports from {http_address} on: begin lower")


def _reserve(address: str) -> tuple[str, socket.socket]:
    """The address with a port that is ours while the socket is open; it does not listen. Raises OSError."""
    host, port = split_address(address)
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with closing(socket.socket(family, kind, protocol)) as probe:
        # Without SO_REUSEPORT, so that whoever listens there already is found, be it a fleet like this one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(place)
    except BaseException:
        held.close()
        raise
    return f"{address.rpartition(':')[0]}:{held.getsockname()[1]}", held


class _Place:
    """One of the N, whichever process fills it now."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: asyncio.subprocess.Process | None = None
        self.serves = asyncio.Event()
        """It does, or did: what is wrong for it now was not wrong when it was started first."""
        self.http_address = ""

    @property
    def name(self) -> str:
        return f"process {self.settings.number}"

    async def start(self) -> None:
        """Start the process, and wait until it serves or has ended."""
        self.process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            process_group=0,  # a terminal's Ctrl-C is for the parent, which tells them
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(_encode(self.settings) + b"\n")
        said = await process.stdout.readline()
        if said:
            self.http_address = msgspec.json.decode(said, type=_Serving).http_address
            self.serves.set()

    def stop(self) -> None:
        """SIGTERM: it drains."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()


class Processes:
    """The parent's work; see the module's text."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._places = [_Place(_settings_of(settings, number)) for number in range(count)]
        self._stopping = asyncio.Event()
        self._has_failed = False

    async def run(self) -> int:
        """Keep them until a signal comes; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        async with asyncio.TaskGroup() as keepers:
            first, *others = self._places
            keepers.create_task(self._keep(first))
            await self._until_served(first)
            if self._stopping.is_set():
                others = []
            for place in others:
                keepers.create_task(self._keep(place))
            for place in others:
                await self._until_served(place)
            if not self._stopping.is_set():
                self._say_ready()
        return int(self._has_failed)

    def _say_ready(self) -> None:
        https = ", ".join(place.http_address for place in self._places if place.http_address)
        http = f", http {https}" if https else ""
        settings = self._settings
        click.echo(
            f"perdure server: ready on {settings.address}, {len(self._places)} processes{http}, "
            f"store {shown_url(settings.store)}"
        )

    async def _until_served(self, place: _Place) -> None:
        """Or all are told to stop."""
        waits = [asyncio.ensure_future(one.wait()) for one in (place.serves, self._stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _stop(self) -> None:
        self._stopping.set()
        for place in self._places:
            place.stop()

    async def _keep(self, place: _Place) -> None:
        """Have a process in this place until all are told to stop."""
        loop = asyncio.get_running_loop()
        pause_s = _PAUSE_S
        while True:
            began = loop.time()
            await place.start()
            process = place.process
            assert process is not None, "it was started"
            if self._stopping.is_set():
                place.stop()  # the signal came while it was being made
            elif place.serves.is_set() and process.returncode is None:
                http = f", http {place.http_address}" if place.http_address else ""
                _log.info("%s serves: pid %d%s", place.name, process.pid, http)
            code = await process.wait()
            if self._stopping.is_set():
                self._has_failed |= code not in (0, -signal.SIGTERM)
                return
            if not place.serves.is_set():
                _log.error("%s could not be started (%s): none is", place.name, _ended(code))
                self._has_failed = True
                self._stop()
                return
            pause_s = _PAUSE_S if loop.time() - began > _SOON_S else pause_s
            _log.warning("%s (pid %d) %s: it is started again in %g s", place.name, process.pid, _ended(code), pause_s)
            try:
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
                return
            except TimeoutError:
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)


def _settings_of(settings: Settings, before: int) -> Settings:
    """Of a process with so many before it: HTTP is so many ports further on; a free port stays one, and none none."""
    host, colon, port = settings.http_address.rpartition(":")
    if colon and int(port):
        port = str(int(port) + before)
    return msgspec.structs.replace(settings, number=before + 1, http_address=f"{host}{colon}{port}")


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended with code {code}"


def run_processes(settings: Settings, count: int) -> int:
    """Serve with so many processes until a signal comes; the exit code. Raises OSError when the address is taken."""
    settings.address, held = _reserve(settings.address)
    with closing(held), asyncio.Runner() as runner:
        return runner.run(_keep_all(settings, count))


async def _keep_all(settings: Settings, count: int) -> int:
    return await Processes(settings, count).run()


_encode = msgspec.json.Encoder().encode


def main() -> None:
    """A process's own work: `python -m perdure.cli.processes`, with its settings as the first line of its input."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    logs.set_up(settings.log_level, settings.log_format, process=settings.number)
    with plain_errors(OSError, ValueError):
        serve(
            settings.store,
            _tell_parent,
            until_closed=sys.stdin.fileno(),
            address=settings.address,
            http_address=settings.http_address,
            namespaces=settings.namespaces,
            engine=settings.engine,
            tls=settings.tls,
            authorization=settings.authorization,
            insecure=settings.insecure,
            shares_port=True,
        )


def _tell_parent(address: str, http_address: str) -> None:
    sys.stdout.buffer.write(_encode(_Serving(http_address)) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)

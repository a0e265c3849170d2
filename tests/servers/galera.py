"""Galera: MariaDB members that certify one another's transactions, each on a port of its own.

A member that was lost comes back with what the others have kept for it (IST), or, when its data are gone, with a copy
of all (SST, by rsync).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers.kinds import ENVIRONMENT, MariaDb, NotInstalled, become_server, free_port
from tests.servers.machine import Machine, need, need_namespaces
from tests.servers.patroni import own

PACKAGES = "mariadb-server galera-4 rsync lsof iproute2"
_LIBRARIES = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
_READY_S = 90.0
_POSITION = re.compile(r"WSREP: Recovered position:\s*(\S+)")


class Member:
    """A machine with a MariaDB server."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.port, self.group, self._ist, self._sst = (free_port() for _ in range(4))
        self._directory = directory / name
        self._directory.mkdir(mode=0o700)
        own(self._directory)
        self.data = self._directory / "data"
        self._install, self._server = MariaDb.programs()
        self._settings: list[str] = []
        self.machine: Machine | None = None

    def prepare(self, groups: str) -> None:
        """Make the data directory, as a part of a group."""
        self.wipe()
        socket = self._directory / "socket"
        library = next((path for path in _LIBRARIES if Path(path).exists()), None)
        if library is None:
            raise NotInstalled(f"libgalera_smm.so is not on this machine: `apt-get install {PACKAGES}`")
        provider = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.group}", "ist.recv_addr": f"127.0.0.1:{self._ist}",
            "evs.keepalive_period": "PT0.5S", "evs.suspect_timeout": "PT2S", "evs.inactive_timeout": "PT4S",
            "evs.inactive_check_period": "PT0.5S", "evs.install_timeout": "PT4S", "gcache.size": "128M",
        }  # fmt: skip
        settings = {
            "datadir": self.data, "socket": socket, "bind-address": "127.0.0.1", "port": self.port,
            "tmpdir": self._directory, "pid-file": self._directory / "pid", "max-connections": 300,
            "innodb-buffer-pool-size": "128M", "skip-name-resolve": None, "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": 2, "wsrep-on": "ON", "wsrep-provider": library, "wsrep-cluster-name": "perdure",
            "wsrep-cluster-address": f"gcomm://{groups}", "wsrep-node-name": self.name,
            "wsrep-node-address": "127.0.0.1",
            "wsrep-node-incoming-address": f"127.0.0.1:{self.port}", "wsrep-sst-method": "rsync",
            "wsrep-sst-receive-address": f"127.0.0.1:{self._sst}", "wsrep-slave-threads": 2,
            "wsrep-provider-options": ";".join(f"{name}={value}" for name, value in provider.items()),
        }  # fmt: skip
        self._settings = [f"--{name}" if value is None else f"--{name}={value}" for name, value in settings.items()]
        self.machine = Machine([self._server, "--no-defaults", *self._settings], self._directory)

    def wipe(self) -> None:
        """Its data are gone: new ones, with nothing in them."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            self._install, "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--skip-name-resolve",
        )  # fmt: skip

    def start(self, *more: str) -> None:
        """It begins, and joins from where it had come; see `Galera.await_members`."""
        assert self.machine is not None
        told = self._run(self._server, "--no-defaults", *self._settings, "--wsrep-recover")
        found = _POSITION.search(told)
        position = [f"--wsrep-start-position={found[1]}"] if found is not None else []
        self.machine.start(*position, *more)

    def lose(self) -> None:
        """SIGKILL."""
        assert self.machine is not None
        self.machine.kill()

    def is_ready(self) -> bool:
        """Whether it is in step with the others."""
        try:
            [[state]] = self.execute("SHOW GLOBAL STATUS WHERE variable_name = 'wsrep_local_state_comment'", column=1)
        except Exception:  # not there, not ready, or not let in: it is not in step
            return False
        return state == "Synced"

    def execute(self, sql: str, column: int = 0) -> list[Any]:
        """A column of the rows, in rows of one, as its administrator."""
        import asyncmy

        async def execute() -> list[Any]:
            connection = await asyncio.wait_for(
                asyncmy.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True), 3
            )
            try:
                async with connection.cursor() as cursor:
                    await asyncio.wait_for(cursor.execute(sql), 10)
                    return [[row[column]] for row in await cursor.fetchall()] if cursor.description else []
            finally:
                connection.close()

        return asyncio.run(execute())

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd="/", env=ENVIRONMENT, capture_output=True, text=True, preexec_fn=become_server, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout + done.stderr


class Galera:
    """See the module's text. Raises NotInstalled."""

    def __init__(self, members: int = 3) -> None:
        need(PACKAGES, "rsync", "lsof", "ss")
        need_namespaces()
        self._directory = Path(tempfile.mkdtemp(prefix="perdure-galera-"))
        own(self._directory)
        self.members = [Member(f"db{number}", self._directory) for number in range(members)]
        groups = ",".join(f"127.0.0.1:{one.group}" for one in self.members)
        for one in self.members:
            one.prepare(groups)

    def start(self) -> None:
        """Return when all are in step. Raises RuntimeError."""
        for number, one in enumerate(self.members):
            one.start(*(["--wsrep-new-cluster"] if number == 0 else []))
            self._await(one.is_ready, f"{one.name} did not begin", one)
        self.members[0].execute("CREATE DATABASE perdure")

    def url(self, number: int) -> str:
        """Of the database at one of the members."""
        return f"mysql://root@127.0.0.1:{self.members[number % len(self.members)].port}/perdure"

    def await_member(self, member: Member) -> None:
        """Return when it is in step. Raises RuntimeError."""
        self._await(member.is_ready, f"{member.name} did not come back", member)

    def release(self) -> None:
        """It is not needed any more."""
        for one in self.members:
            if one.machine is not None:
                one.machine.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _await(self, is_so: Callable[[], bool], complaint: str, member: Member) -> None:
        ends_at = time.monotonic() + _READY_S
        assert member.machine is not None
        while not is_so():
            if time.monotonic() > ends_at or not member.machine.is_alive:
                raise RuntimeError(f"{complaint}: {member.machine.complaint()}")
            time.sleep(0.2)  # a server that starts has no event for others

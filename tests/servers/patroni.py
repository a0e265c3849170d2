"""PostgreSQL under Patroni: members of which one leads, etcd to agree on it, HAProxy before them.

What Patroni needs to notice within seconds that a leader has gone is in `_TIMES`; `ttl` is what it comes down to. From
3.1 on Patroni makes 20 of a shorter one. Replication is synchronous and strict: without a stand-by that has it, no
commit is answered.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.servers.kinds import Postgres, free_port, server_user
from tests.servers.machine import Machine, need

PACKAGES = "patroni etcd-server haproxy"
_TIMES = {"ttl": 8, "loop_wait": 1, "retry_timeout": 3}
"""Seconds. A leader that says nothing for `ttl` is deposed; Patroni wants it to be loop_wait + 2 × retry_timeout."""
_READY_S = 60.0
_USER = "tester"
_TRUSTED = [
    ("local all", "trust"), ("host all", "127.0.0.1/32 trust"), ("host replication", "127.0.0.1/32 trust")
]  # fmt: skip
_HAPROXY = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 1s
listen primary
    bind 127.0.0.1:{port}
    maxconn 500
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
"""


class Member:
    """A machine with Patroni and a PostgreSQL server."""

    def __init__(self, name: str, directory: Path, etcd: str, programs: list[str]) -> None:
        self.name = name
        self.port, self.rest = free_port(), free_port()
        self._directory = directory / name
        self._directory.mkdir(mode=0o700)
        self._data = self._directory / "data"
        file = self._directory / "patroni.yml"  # YAML, of which JSON is a part
        file.write_text(json.dumps(self._settings(etcd, Path(programs[1]).resolve().parent)))
        own(self._directory, file)
        self.machine = Machine([programs[0], str(file)], self._directory)

    def _settings(self, etcd: str, bin_dir: Path) -> object:
        users = {"superuser": _USER, "replication": "replicator", "rewind": _USER}
        return {
            "scope": "perdure",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": {"hosts": etcd},
            "bootstrap": {
                "dcs": {
                    **_TIMES,
                    "maximum_lag_on_failover": 1 << 20,
                    "master_start_timeout": 0,
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {
                            "max_connections": 200, "wal_log_hints": "on", "wal_keep_size": "256MB",
                            "hot_standby": "on", "shared_buffers": "64MB", "wal_sender_timeout": "5s",
                            "wal_receiver_timeout": "5s", "wal_retrieve_retry_interval": "500ms",
                        },
                    },
                },
                "initdb": [{"encoding": "UTF8"}, "no-locale", {"auth": "trust"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self._data),
                "bin_dir": str(bin_dir),
                "pgpass": str(self._directory / "pgpass"),
                "authentication": {role: {"username": name, "password": "x"} for role, name in users.items()},
                "pg_hba": [f"{what} all {where}" for what, where in _TRUSTED],
                "parameters": {"unix_socket_directories": str(self._directory)},
            },
            "watchdog": {"mode": "off"},
        }  # fmt: skip

    def start(self) -> None:
        """It begins; see `Patroni.await_members`."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # of a machine that is gone, with its processes
        self.machine.start()

    def role(self) -> str:
        """ "leader", "sync_standby", "replica"; empty: it does not answer, or is not running."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/patroni", timeout=2) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:  # it says so when it is no leader, with the same document
            told = json.load(error)
        except OSError:
            return ""
        if told.get("state") != "running":
            return ""
        if told.get("role") in ("master", "primary"):
            return "leader"
        return "sync_standby" if told.get("sync_standby") else "replica"


class Patroni:
    """See the module's text. Raises NotInstalled.

    Attributes:
        port: of HAProxy: whoever leads is behind it.
    """

    def __init__(self, members: int = 3) -> None:
        patroni, etcd, haproxy = need(PACKAGES, "patroni", "etcd", "haproxy")
        postgres = Postgres.programs()[1]
        self._directory = Path(tempfile.mkdtemp(prefix="perdure-patroni-"))
        own(self._directory)
        client, peer = free_port(), free_port()
        self._etcd = Machine(
            [etcd, "--data-dir", str(self._directory / "etcd"), "--listen-client-urls", f"http://127.0.0.1:{client}",
             "--advertise-client-urls", f"http://127.0.0.1:{client}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-cluster", f"default=http://127.0.0.1:{peer}"],
            self._directory,
        )  # fmt: skip
        self.members = [
            Member(f"pg{number}", self._directory, f"127.0.0.1:{client}", [patroni, postgres])
            for number in range(members)
        ]
        self.port = free_port()
        text = _HAPROXY.format(port=self.port) + "".join(
            f"    server {one.name} 127.0.0.1:{one.port} check port {one.rest}\n" for one in self.members
        )
        (self._directory / "haproxy.cfg").write_text(text)
        self._haproxy = Machine([haproxy, "-db", "-f", str(self._directory / "haproxy.cfg")], self._directory)
        self._leader_before: Member | None = None

    def start(self) -> None:
        """Return when one leads, the others follow, and HAProxy has found it. Raises RuntimeError."""
        self._etcd.start()
        self._haproxy.start()
        for member in self.members:
            member.start()
        self.await_members()
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("CREATE DATABASE perdure")

    @property
    def url(self) -> str:
        """Of the database, through HAProxy."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/perdure"

    @property
    def conninfo(self) -> str:
        """For psycopg, through HAProxy."""
        return f"host=127.0.0.1 port={self.port} user={_USER} dbname=postgres connect_timeout=2"

    def leader(self) -> Member | None:
        """Who leads now."""
        return next((one for one in self.members if one.role() == "leader"), None)

    def await_members(self) -> None:
        """Return when one leads and a stand-by has all that it commits. Raises RuntimeError."""
        self._await(lambda: {"leader", "sync_standby"} <= {one.role() for one in self.members}, "agree on a leader")
        self._await(self._serves, "serve through HAProxy")

    def switch_over(self) -> None:
        """Have the stand-by lead that is known to have everything; returns when Patroni says it is done, or was not."""
        leader = self.leader()
        heir = next((one for one in self.members if one.role() == "sync_standby"), None)
        if leader is None or heir is None:
            return
        body = json.dumps({"leader": leader.name, "candidate": heir.name}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{leader.rest}/switchover", body, method="POST")
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except OSError:
            pass  # it was not fit for it at this moment: the members say so in their logs

    def release(self) -> None:
        """It is not needed any more."""
        for machine in (self._haproxy, *(one.machine for one in self.members), self._etcd):
            machine.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _serves(self) -> bool:
        try:
            with psycopg.connect(self.conninfo) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        except psycopg.OperationalError:
            return False

    def _await(self, is_so: Callable[[], bool], what: str) -> None:
        ends_at = time.monotonic() + _READY_S
        while not is_so():
            if time.monotonic() > ends_at:
                logs = "\n".join(f"{one.name}: {one.machine.complaint()}" for one in self.members)
                raise RuntimeError(f"the members did not {what}: {logs}")
            time.sleep(0.2)  # Patroni has no event for others


def own(*paths: Path) -> None:
    """Give paths to who runs servers."""
    user = server_user()
    for path in paths:
        if user is not None:
            os.chown(path, user, -1)

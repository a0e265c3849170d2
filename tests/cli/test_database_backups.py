"""Backups of stores in databases: with the database's own tools, beside engines that run; the copy goes on."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from perdure import Engine, activity, call, workflow
from perdure.cli.main import cli
from tests.eventually import eventually
from tests.servers.fixtures import conninfo, hold, new_mariadb_database, url
from tests.servers.kinds import postgres_tool
from tests.servers.server import Server

charged: Counter[str] = Counter()
"""By the key that a service would know a charge by."""
allowed = threading.Event()


@activity(start_to_close_timeout="30s", heartbeat_timeout="30s")
def charge(order: str, part: str) -> str:
    if part == "second":
        allowed.wait(20)
    charged[activity.info().idempotency_key] += 1
    return f"{order} {part}"


@workflow
def order(name: str) -> list[str]:
    return [call(charge, name, "first"), call(charge, name, "second")]


@workflow
def sleeper() -> str:
    workflow.sleep(seconds=0.2)
    return "slept"


class Postgres:
    """`pg_dump` of one database, restored into another one on the same server."""

    def __init__(self, server: Server, database: str, tmp_path: Path) -> None:
        self.url, self.copy_url = url(server, database), url(server, f"{database}_copy")
        self._server, self._database, self._dump = server, database, tmp_path / "dump"

    def back_up(self) -> None:
        dump = hold(postgres_tool, "pg_dump")
        subprocess.run(
            [dump, "--format=custom", f"--file={self._dump}", "-d", conninfo(self._server, self._database)], check=True
        )

    def restore(self) -> None:
        target = f"{self._database}_copy"
        with psycopg.connect(conninfo(self._server), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {target}".encode())
        restore = hold(postgres_tool, "pg_restore")
        subprocess.run([restore, "-d", conninfo(self._server, target), str(self._dump)], check=True)

    def close(self) -> None:
        with psycopg.connect(conninfo(self._server), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {self._database}_copy WITH (FORCE)".encode())


class MariaDb:
    """`mariadb-dump` of one database, restored into another one on the same server."""

    def __init__(self, server: Server, database: str, copy: str, tmp_path: Path) -> None:
        self.url, self.copy_url = url(server, database), url(server, copy)
        self._database, self._copy, self._dump = database, copy, tmp_path / "dump"
        where = server.address
        self._options = [f"--socket={where['socket']}", f"--user={where['user']}"]

    def back_up(self) -> None:
        command = [_tool("mariadb-dump"), "--no-defaults", *self._options, "--single-transaction", "--hex-blob"]
        with self._dump.open("wb") as file:
            subprocess.run([*command, self._database], stdout=file, check=True)

    def restore(self) -> None:
        with self._dump.open("rb") as file:
            command = [_tool("mariadb"), "--no-defaults", *self._options, "--binary-mode", self._copy]
            subprocess.run(command, stdin=file, check=True)


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} comes with the server"
    return found


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Postgres | MariaDb]:
    """An empty database, and the way of its kind to copy it."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    name: str = request.getfixturevalue(f"{request.param}_database")
    if request.param == "postgres":
        made = Postgres(server, name, tmp_path)
        yield made
        made.close()
    else:
        with new_mariadb_database(server) as copy:
            yield MariaDb(server, name, copy, tmp_path)


def test_a_copy_goes_on_and_what_was_done_after_the_backup_is_done_again_under_the_same_key(
    database: Postgres | MariaDb,
) -> None:
    charged.clear()
    allowed.clear()
    names = [f"order-{number}" for number in range(5)]
    with Engine(database.url, workflows=[order, sleeper], activities=[charge]) as engine:
        handles = [engine.start(order, name, id=name) for name in names]
        engine.start(sleeper, id="sleeper")
        eventually(lambda: len(charged) == 5, "the first half of each is charged")
        eventually(lambda: all(one.describe().history_length >= 7 for one in handles), "and that is durable")
        database.back_up()
        allowed.set()
        assert [one.result() for one in handles] == [[f"{name} first", f"{name} second"] for name in names]
    assert set(charged.values()) == {1} and len(charged) == 10

    database.restore()
    with Engine(database.copy_url, workflows=[order, sleeper], activities=[charge]) as engine:
        results = [engine.get(name).result() for name in names]
        assert engine.get("sleeper").result() == "slept"
        assert engine.run(order, "new", id="new") == ["new first", "new second"]

    assert results == [[f"{name} first", f"{name} second"] for name in names]
    assert sorted(charged.values()) == [1] * 7 + [2] * 5, "the second halves were charged after the backup: twice"
    checked = CliRunner().invoke(cli, ["store", "check", "--store", database.copy_url])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("kind", "tools"), [("postgresql", ["pg_dump", "pg_basebackup"]), ("mariadb", ["mariadb-dump", "mariadb-backup"])]
)
def test_backup_and_restore_leave_a_database_to_its_own_tools(tmp_path: Path, kind: str, tools: list[str]) -> None:
    address = f"{kind}://me:secret@127.0.0.1/orders"
    for command in (["backup", str(tmp_path / "new"), "--store", address], ["restore", str(tmp_path / "old"), address]):
        result = CliRunner().invoke(cli, ["store", *command])
        assert result.exit_code == 1
        assert all(tool in result.output for tool in [*tools, "store copy"]), result.output
        assert "secret" not in result.output
    assert not list(tmp_path.iterdir())

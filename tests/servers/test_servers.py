"""The servers of the tests: shared where they can be, gone with whoever held them, never silently missing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from _pytest.outcomes import Failed, Skipped

from tests.eventually import eventually
from tests.servers import fixtures, kinds
from tests.servers.fixtures import conninfo, hold, url
from tests.servers.kinds import KINDS
from tests.servers.server import Server

HOLDER = """
import sys
from tests.servers.server import Server
server = Server(sys.argv[1], sys.argv[2], {})
print(server.address["port"], server.address["socket"], flush=True)
sys.stdin.read()
"""


def holder(kind: str, name: str) -> subprocess.Popen[str]:
    """Another process that holds a server."""
    command = [sys.executable, "-c", HOLDER, kind, name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def is_up(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_server_lives_as_long_as_somebody_holds_it_and_no_longer(kind: str) -> None:
    hold(KINDS[kind].programs)  # or a skip
    name = f"test-{kind}-{os.getpid()}"
    with holder(kind, name) as one, holder(kind, name) as other:
        assert one.stdout is not None and other.stdout is not None
        place = one.stdout.readline()
        assert other.stdout.readline() == place, "both have the same one"
        port, directory = int(place.split()[0]), Path(place.split()[1])
        one.kill()
        one.wait()
        assert is_up(port)
        other.kill()
    eventually(lambda: not is_up(port) and not directory.exists(), "the server is gone, and its directory")


def test_a_keeper_that_is_killed_takes_its_server_along() -> None:
    with hold(Server.private, "postgres", durable=False) as server:
        children = Path("/proc").glob("[0-9]*/cmdline")
        keeper = next(int(path.parent.name) for path in children if server.name.encode() in _text(path))
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: not is_up(server.address["port"]), "the server is gone")
        shutil.rmtree(server.address["socket"])


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


def test_what_was_committed_is_there_after_a_kill() -> None:
    with hold(Server.private, "postgres") as server:
        with psycopg.connect(conninfo(server)) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        server.kill()
        assert not is_up(server.address["port"])
        server.start()
        with psycopg.connect(conninfo(server)) as connection:
            assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_a_database_is_emptied_however_the_last_test_left_it(postgres_server: Server, postgres_database: str) -> None:
    here = conninfo(postgres_server, postgres_database)
    with psycopg.connect(here) as left_open:
        left_open.execute("CREATE TABLE public.t (n int); CREATE SCHEMA mine; CREATE TABLE mine.t (n int)")
        left_open.commit()
        left_open.execute("LOCK TABLE public.t")
        fixtures.empty_postgres(postgres_server, postgres_database)
        with psycopg.connect(here) as connection:
            connection.execute("CREATE TABLE public.t (n int); CREATE SCHEMA mine")
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            left_open.execute("SELECT 1")


def test_a_mariadb_database_is_empty(mariadb_server: Server, mariadb_database: str) -> None:
    fixtures.execute_mariadb(mariadb_server, f"CREATE TABLE {mariadb_database}.t (n int)")
    assert url(mariadb_server, mariadb_database).startswith("mysql://root@127.0.0.1:")


def test_the_same_database_is_had_through_pgbouncer(
    postgres_server: Server, pgbouncer_server: Server, postgres_database: str
) -> None:
    with psycopg.connect(conninfo(postgres_server, postgres_database)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
    with psycopg.connect(conninfo(pgbouncer_server, postgres_database), prepare_threshold=None) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(7,)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_missing_is_skipped_by_name_and_fails_where_it_must_be_there(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds.shutil, "which", lambda name, path: None)
    monkeypatch.delenv("PERDURE_TEST_SERVERS", raising=False)
    with pytest.raises(Skipped, match="is not on this machine: `apt-get install"):
        hold(Server.shared, kind)
    monkeypatch.setenv("PERDURE_TEST_SERVERS", "required")
    with pytest.raises(Failed, match=r"PERDURE_TEST_SERVERS=required, and .* is not on this machine"):
        hold(Server.shared, kind)

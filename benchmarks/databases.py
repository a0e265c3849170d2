"""`python -m benchmarks --store postgresql`: the order workflow on database servers, perdure and DBOS in turn.

One PostgreSQL server and one MariaDB server of the benchmark's own, which wait for the disk (their settings are read
back), hold everything that is compared:

* perdure and DBOS, each embedded in a process that is its own load generator, with `def` functions called from threads
  and with coroutines, on PostgreSQL; perdure on MariaDB beside them;
* `perdure server --store postgresql://...` under Temporal's official Python SDK, and the same on a SQLite file.

Each has a new database for each round, and they take turns within a round; the medians over the rounds are reported.
CPU is that of the process, and beside it the database server's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import rows, server_order
from benchmarks.load import SERVER_PID
from benchmarks.rows import Row
from tests.servers.fixtures import conninfo, execute_mariadb, url
from tests.servers.server import Server

ROOT = Path(__file__).parent.parent
POSTGRES, MARIADB, SQLITE = "PostgreSQL", "MariaDB", "SQLite"
EMBEDDED: Sequence[tuple[str, str, str, str, int]] = (
    ("perdure", "benchmarks.perdure_order", "def", POSTGRES, 2000),
    ("dbos", "benchmarks.dbos_order", "def", POSTGRES, 400),
    ("perdure async", "benchmarks.perdure_order", "async", POSTGRES, 2000),
    ("dbos async", "benchmarks.dbos_order", "async", POSTGRES, 400),
    ("perdure async", "benchmarks.perdure_order", "async", MARIADB, 2000),
)
"""Who, its program and style, on what, and how many workflows in a round."""
OFFICIAL = 1000
"""Workflows of a round through the official SDK."""
_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
_MARIADB_SETTINGS = ("innodb_flush_log_at_trx_commit", "innodb_doublewrite", "innodb_buffer_pool_size")


class Databases:
    """The servers, and in them one empty database after another."""

    def __init__(self, stack: ExitStack) -> None:
        self.servers = {
            POSTGRES: stack.enter_context(Server.private("postgres", durable=True)),
            MARIADB: stack.enter_context(Server.private("mariadb", durable=True)),
        }
        self._count = 0

    def pid(self, kind: str) -> int:
        """The process that the server consists of, or that is the parent of all that do."""
        place = Path(self.servers[kind].address["socket"])
        file = place / "data" / "postmaster.pid" if kind == POSTGRES else place.parent / "pid"
        return int(file.read_text().split()[0])

    def new(self, kind: str) -> str:
        """The URL of an empty one."""
        self._count += 1
        server, name = self.servers[kind], f"bench_{self._count}"
        self._execute(kind, f"CREATE DATABASE {name}")
        return url(server, name)

    def drop(self, kind: str, place: str) -> None:
        """It was measured: nothing of it is to be vacuumed while others are."""
        force = " WITH (FORCE)" if kind == POSTGRES else ""
        self._execute(kind, f"DROP DATABASE {place.rpartition('/')[2]}{force}")

    def _execute(self, kind: str, sql: str) -> list[Any]:
        server = self.servers[kind]
        if kind == MARIADB:
            return execute_mariadb(server, sql)
        with psycopg.connect(conninfo(server), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def settings(self) -> dict[str, dict[str, str]]:
        """What the servers say of themselves. Raises RuntimeError when a commit would not be durable."""
        postgres = {name: str(self._execute(POSTGRES, f"SHOW {name}")[0][0]) for name in _SETTINGS}
        postgres["version"] = str(self._execute(POSTGRES, "SHOW server_version")[0][0])
        mariadb = {name: str(self._execute(MARIADB, f"SELECT @@{name}")[0][0]) for name in _MARIADB_SETTINGS}
        mariadb["version"] = str(self._execute(MARIADB, "SELECT version()")[0][0])
        if (postgres["fsync"], postgres["synchronous_commit"]) != ("on", "on"):
            raise RuntimeError(f"nothing is measured that would not be durable: {postgres}")
        if mariadb["innodb_flush_log_at_trx_commit"] != "1":
            raise RuntimeError(f"nothing is measured that would not be durable: {mariadb}")
        return {POSTGRES: postgres, MARIADB: mariadb}


def run_embedded(databases: Databases, who: tuple[str, str, str, str, int], scale: float, concurrency: int) -> Row:
    """One contender in a process of its own, on a database of its own."""
    name, program, style, kind, full = who
    place = databases.new(kind)
    count = max(concurrency, int(full * scale))
    done = subprocess.run(
        [sys.executable, "-m", program, style, str(count), str(concurrency), place],
        cwd=ROOT,
        env={**os.environ, SERVER_PID: str(databases.pid(kind))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    databases.drop(kind, place)
    row = Row(**json.loads(done.stdout.strip().splitlines()[-1]))
    return replace(row, engine=f"{name} on {kind}")


def run_official(databases: Databases, kind: str, scale: float, concurrency: int) -> Row:
    """`perdure server` under the official SDK."""
    place = databases.new(kind) if kind != SQLITE else ""
    row = server_order.run_once(server_order.OURS, max(concurrency, int(OFFICIAL * scale)), concurrency, place)
    if place:
        databases.drop(kind, place)
    return replace(row, engine=f"official SDK, perdure server on {kind}")


def table_of(results: Sequence[Row]) -> Table:
    """The rows as a table."""
    table = Table(title="The order workflow: 4 trivial activities in sequence, on servers that wait for the disk")
    for head in ("engine", "in flight", "workflows/s", "p50 ms", "p99 ms", "CPU ms/wf", "database's"):
        table.add_column(head, justify="left" if head == "engine" else "right", no_wrap=True)
    for row in results:
        server = f"{row.server_cpu_ms_per_workflow:.2f}" if row.server_cpu_ms_per_workflow else ""
        table.add_row(
            row.engine, str(row.concurrency), f"{row.workflows_per_s:,.0f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}",
            f"{row.cpu_ms_per_workflow:.2f}", server,
        )  # fmt: skip
    return table


def verdict(measured: dict[str, list[Row]]) -> list[str]:
    """What the figures mean: ratios within a round, and their medians."""

    def ratio(one: str, other: str, figure: Callable[[Row], float]) -> float:
        pairs = zip(measured[one], measured[other], strict=True)
        return statistics.median(figure(ours) / figure(theirs) for ours, theirs in pairs)

    lines: list[str] = []
    for style in ("", " async"):
        ours, theirs = f"perdure{style} on {POSTGRES}", f"dbos{style} on {POSTGRES}"
        if ours in measured and theirs in measured:
            faster = ratio(ours, theirs, _rate)
            cheaper = ratio(theirs, ours, lambda row: row.cpu_ms_per_workflow)
            whole = ratio(theirs, ours, lambda row: row.cpu_ms_per_workflow + row.server_cpu_ms_per_workflow)
            lines.append(
                f"{ours}: {faster:.1f} × {theirs} in workflows/s, 1/{cheaper:.1f} of its CPU a workflow, "
                f"1/{whole:.1f} with the database's"
            )
    server = "official SDK, perdure server on {}"
    if server.format(SQLITE) in measured:
        share = ratio(server.format(POSTGRES), server.format(SQLITE), _rate)
        lines.append(f"official SDK through perdure server on {POSTGRES}: {share:.2f} × the same on {SQLITE}")
    return lines


def _rate(row: Row) -> float:
    return row.workflows_per_s


def main(rounds: int, concurrency: int, scale: float, console: Console) -> None:
    """Measure, print and keep."""
    measured_on = rows.machine()
    measured: dict[str, list[Row]] = {}
    with ExitStack() as stack:
        databases = Databases(stack)
        settings = databases.settings()
        for kind, values in settings.items():
            console.print(f"{kind}: {', '.join(f'{name} {value}' for name, value in values.items())}", highlight=False)
        for round_ in range(rounds):
            turns = [run_embedded(databases, who, scale, concurrency) for who in EMBEDDED]
            turns += [run_official(databases, kind, scale, concurrency) for kind in (POSTGRES, SQLITE)]
            for row in turns:
                measured.setdefault(row.engine, []).append(row)
                told = f"round {round_ + 1}: {row.engine}: {row.workflows_per_s:.0f} wf/s"
                console.print(f"{told}, CPU {row.cpu_ms_per_workflow:.2f} ms", style="dim", highlight=False)
    results = [rows.median_row(of_one) for of_one in measured.values()]
    console.print(table_of(results))
    lines = verdict(measured)
    for line in lines:
        console.print(line, highlight=False)
    load = {"load_average_at_the_end": round(os.getloadavg()[0], 1)}
    path = rows.write("databases", results, measured_on | load, rounds=rounds, settings=settings, verdict=lines)
    console.print(f"kept as {path.relative_to(ROOT)}")

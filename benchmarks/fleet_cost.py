"""What it costs that there are several: 1, 2 and 4 nodes on one database, all of them on this machine.

    python -m benchmarks.fleet_cost [--kind postgres|mariadb] [--part orders|idle|hot]

`orders`: order workflows of four activities through the official SDK, four workers that share out the nodes among
them: processor time of the nodes, and statements that the database was asked, for each workflow. `idle`: statements a
second of four nodes that have nothing to do. `hot`: one execution that is signalled by clients at one node, and by as
many in all at three, turn and turn about: signals a second; every one must be in history once.

Statements are counted by the database (PostgreSQL: pg_stat_statements, MariaDB: Questions), of all connections.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import psycopg
from temporalio.api.workflowservice import v1 as service
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks import rows
from benchmarks.fleet_kills import Child
from benchmarks.raw_client import RawClient
from benchmarks.server_load import ACTIVITIES, OrderWorkflow, cpu_ms
from benchmarks.server_order import BIN, free_port
from tests.servers.fixtures import conninfo, execute_mariadb, url
from tests.servers.server import Server

QUEUE = "orders"
IN_FLIGHT = 40
"""Orders of each node; and each has a worker."""
WARM_UP = 40
SETTLE_S = 6.0
"""After the start: nodes have found one another, and first looks are over."""


@dataclass(slots=True, frozen=True)
class OrdersRow:
    """Order workflows, by number of nodes. Processor time is all nodes' together."""

    part: str
    kind: str
    nodes: int
    in_flight: int
    workflows: int
    workflows_per_s: float
    nodes_cpu_ms_per_workflow: float
    statements_per_workflow: float
    commits_per_statement: float
    """Runs that went on in each group that was written."""
    notices_per_workflow: float
    lost_races: int


@dataclass(slots=True, frozen=True)
class IdleRow:
    """A fleet that has nothing to do."""

    part: str
    kind: str
    nodes: int
    seconds: float
    statements_per_s: float
    nodes_cpu_percent: float


@dataclass(slots=True, frozen=True)
class HotRow:
    """One execution that is signalled; the median of the rounds."""

    part: str
    kind: str
    nodes: int
    clients: int
    signals: int
    signals_per_s: float
    nodes_cpu_ms_per_signal: float
    statements_per_signal: float
    lost_races_per_signal: float
    lost: int
    doubled: int


class Database:
    """A server of its own, with its disk, and what it counts."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._server = server = Server.private(kind)
        if kind == "mariadb":
            execute_mariadb(server, "CREATE DATABASE perdure")
            self.url = url(server, "perdure")
            return
        with psycopg.connect(conninfo(server), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        server.kill()
        server.start()
        with psycopg.connect(conninfo(server), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute("CREATE DATABASE perdure")
        self.url = url(server, "perdure")

    def statements(self) -> int:
        """How many it was asked until now."""
        if self.kind == "mariadb":
            [[_, count]] = execute_mariadb(self._server, "SHOW GLOBAL STATUS LIKE 'Questions'")
            return int(count)
        return sum(self.texts().values())

    def texts(self) -> Counter[str]:
        """By text, what the nodes have asked PostgreSQL."""
        sql = (
            "SELECT query, sum(calls)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
            "WHERE d.datname = 'perdure' GROUP BY query"
        )
        with psycopg.connect(conninfo(self._server), autocommit=True) as connection:
            return Counter(dict(connection.execute(sql).fetchall()))

    def empty(self) -> None:
        """Begin anew."""
        if self.kind == "mariadb":
            execute_mariadb(self._server, "DROP DATABASE perdure; CREATE DATABASE perdure")
            return
        with psycopg.connect(conninfo(self._server), autocommit=True) as connection:
            connection.execute("DROP DATABASE perdure")
            connection.execute("CREATE DATABASE perdure")

    def release(self) -> None:
        """It is not needed any more."""
        self._server.release()


class Node(Child):
    """`perdure server`, and what it counts."""

    def __init__(self, number: int, store: str, directory: Path) -> None:
        port, self.http = free_port(), free_port()
        command = [str(BIN / "perdure"), "server", "--store", store, "--address", f"127.0.0.1:{port}"]
        command += ["--http-address", f"127.0.0.1:{self.http}"]
        self.target = f"127.0.0.1:{port}"
        super().__init__(f"node {number}", command, directory / f"node-{number}.log", ("127.0.0.1", port))

    @property
    def cpu_ms(self) -> float:
        """Processor time until now."""
        assert self._process is not None
        return cpu_ms(self._process.pid)

    def counts(self) -> Counter[str]:
        """Its metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        named = (line.removeprefix("perdure_").split() for line in lines if "{" not in line and line[:1] != "#")
        return Counter({name.removesuffix("_total"): int(float(value)) for name, value in named})


class Meter:
    """What nodes and database have used since it was made."""

    def __init__(self, nodes: Sequence[Node], database: Database) -> None:
        self._nodes, self._database = nodes, database
        self._before = self._look()
        self._began = time.perf_counter()

    def _look(self) -> tuple[float, Counter[str], int]:
        counts = sum((node.counts() for node in self._nodes), Counter[str]())
        return sum(node.cpu_ms for node in self._nodes), counts, self._database.statements()

    def read(self) -> tuple[float, float, Counter[str], int]:
        """Seconds, the nodes' milliseconds, counts and statements."""
        seconds = time.perf_counter() - self._began
        cpu, counts, statements = self._look()
        cpu_before, counts_before, statements_before = self._before
        counts.subtract(counts_before)
        return seconds, cpu - cpu_before, counts, statements - statements_before


@contextmanager
def fleet(database: Database, count: int) -> Generator[list[Node], None, None]:
    """So many that serve, on an empty database."""
    with tempfile.TemporaryDirectory(prefix="perdure-fleet-") as directory:
        nodes = [Node(number, database.url, Path(directory)) for number in range(count)]
        started: list[Node] = []
        try:
            for node in nodes:
                node.start()
                started.append(node)
            time.sleep(SETTLE_S)
            yield nodes
        finally:
            for node in started:
                node.stop()
    database.empty()


async def orders(nodes: Sequence[Node], database: Database, count: int, in_flight: int) -> OrdersRow:
    """A fleet of so many times the same: a worker and its orders for each node."""
    quiet = Runtime(telemetry=TelemetryConfig(logging=None))
    clients = [await Client.connect(node.target, runtime=quiet) for node in nodes]
    workers = [
        Worker(
            client, task_queue=QUEUE, workflows=[OrderWorkflow], activities=ACTIVITIES,
            workflow_runner=UnsandboxedWorkflowRunner(), max_concurrent_activities=50, max_concurrent_workflow_tasks=50,
        )
        for client in clients
    ]  # fmt: skip
    room = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with room:
            client = clients[number % len(clients)]
            result = await client.execute_workflow(
                OrderWorkflow.run, {"id": number}, id=f"o-{number}", task_queue=QUEUE
            )
            assert result == "track-1"

    running = [asyncio.create_task(worker.run()) for worker in workers]
    await asyncio.gather(*(one(-1 - number) for number in range(WARM_UP)))
    meter = Meter(nodes, database)
    await asyncio.gather(*(one(number) for number in range(count)))
    seconds, cpu, counts, statements = meter.read()
    await asyncio.gather(*(worker.shutdown() for worker in workers), *running)
    return OrdersRow(
        "orders", database.kind, len(nodes), in_flight, count, round(count / seconds, 1), round(cpu / count, 2),
        round(statements / count, 2), round(counts["commits"] / max(1, counts["batches"]), 2),
        round(counts["notices_sent"] / count, 2), counts["conflicts"],
    )  # fmt: skip


def idle(nodes: Sequence[Node], database: Database, seconds: float) -> IdleRow:
    """After a while, in which pauses grow to what they are."""
    time.sleep(20)
    before = database.texts() if database.kind == "postgres" else Counter[str]()
    meter = Meter(nodes, database)
    time.sleep(seconds)
    passed, cpu, _, statements = meter.read()
    if before:
        found = database.texts()
        found.subtract(before)
        for text, count in found.most_common(20):
            click.echo(f"  {count / passed:6.2f}/s  {' '.join(text.split())[:130]}")
    return IdleRow(
        "idle", database.kind, len(nodes), round(passed, 1), round(statements / passed, 1),
        round(cpu / passed / 10, 2),
    )  # fmt: skip


async def hot(nodes: Sequence[Node], database: Database, clients: int, count: int) -> HotRow:
    """So many clients at as many nodes as there are; each sends its next signal when the one before is answered."""
    workflow_id = f"hot-{len(nodes)}-{clients}-{time.monotonic_ns()}"
    calls = [RawClient(node.target) for node in nodes]
    await calls[0].start(workflow_id, QUEUE)

    async def signal(call: RawClient, name: str) -> None:
        request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name=name, request_id=name)
        request.workflow_execution.workflow_id = workflow_id
        await call.call("SignalWorkflowExecution", request, service.SignalWorkflowExecutionResponse)

    async def client(number: int, names: Sequence[str]) -> None:
        for name in names:
            await signal(calls[number % len(calls)], name)

    each = count // clients
    await asyncio.gather(*(client(number, [f"warm-{number}-{turn}" for turn in range(5)]) for number in range(clients)))
    meter = Meter(nodes, database)
    await asyncio.gather(*(client(number, [f"{number}-{turn}" for turn in range(each)]) for number in range(clients)))
    seconds, cpu, counts, statements = meter.read()
    heard = await _heard(calls[0], workflow_id)
    sent = {f"{number}-{turn}" for number in range(clients) for turn in range(each)}
    for call in calls:
        await call.channel.close()
    total = each * clients
    return HotRow(
        "hot", database.kind, len(nodes), clients, total, round(total / seconds, 1), round(cpu / total, 3),
        round(statements / total, 3), round(counts["conflicts"] / total, 3),
        len(sent - heard.keys()), sum(heard[name] - 1 for name in sent if heard[name] > 1),
    )  # fmt: skip


async def _heard(call: RawClient, workflow_id: str) -> Counter[str]:
    """How often each signal is in history."""
    found = Counter[str]()
    request = service.GetWorkflowExecutionHistoryRequest(namespace="default")
    request.execution.workflow_id = workflow_id
    while True:
        page: Any = await call.call("GetWorkflowExecutionHistory", request, service.GetWorkflowExecutionHistoryResponse)
        for event in page.history.events:
            if event.HasField("workflow_execution_signaled_event_attributes"):
                found[event.workflow_execution_signaled_event_attributes.signal_name] += 1
        if not page.next_page_token:
            return found
        request.next_page_token = page.next_page_token


def _median(found: Sequence[HotRow]) -> HotRow:
    first = asdict(found[0])
    for name in ("signals_per_s", "nodes_cpu_ms_per_signal", "statements_per_signal", "lost_races_per_signal"):
        first[name] = round(statistics.median(getattr(row, name) for row in found), 3)
    for name in ("lost", "doubled"):
        first[name] = sum(getattr(row, name) for row in found)
    return HotRow(**first)


def measure_hot(database: Database, signals: int, rounds: int) -> list[HotRow]:
    """One node and three, turn and turn about, so that whatever else the machine does meets both."""
    found: dict[tuple[int, int], list[HotRow]] = {}
    for _ in range(rounds):
        for count in (1, 3):
            with fleet(database, count) as nodes:
                for clients in (30, 120):
                    row = asyncio.run(hot(nodes, database, clients, signals))
                    click.echo(json.dumps(asdict(row)))
                    found.setdefault((count, clients), []).append(row)
    return [_median(some) for some in found.values()]


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(["postgres", "mariadb"]), help="Default: both.")
@click.option("--part", "parts", multiple=True, type=click.Choice(["orders", "idle", "hot"]), help="Default: all.")
@click.option("--orders", "count", default=800, show_default=True)
@click.option("--signals", default=3000, show_default=True, help="Of each round.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=30.0, show_default=True, help="For which the idle fleet is watched.")
@click.option("--save/--no-save", default=True, help="Keep the figures in benchmarks/results.")
def main(
    kinds: Sequence[str], parts: Sequence[str], count: int, signals: int, rounds: int, seconds: float, save: bool
) -> None:
    """Measure what a fleet costs."""
    measured_on = rows.machine()
    found: list[Any] = []
    for kind in kinds or ("postgres", "mariadb"):
        database = Database(kind)
        try:
            if "orders" in (parts or ("orders",)):
                for number in (1, 2, 4):
                    with fleet(database, number) as nodes:
                        found.append(asyncio.run(orders(nodes, database, count, IN_FLIGHT * number)))
                    click.echo(json.dumps(asdict(found[-1])))
            if "idle" in (parts or ("idle",)):
                with fleet(database, 4) as nodes:
                    found.append(idle(nodes, database, seconds))
                click.echo(json.dumps(asdict(found[-1])))
            if "hot" in (parts or ("hot",)):
                found += measure_hot(database, signals, rounds)
        finally:
            database.release()
    for row in found:
        click.echo(json.dumps(asdict(row)))
    if save:
        click.echo(f"kept as {rows.write('fleet-cost', found, measured_on)}")


if __name__ == "__main__":
    main()

"""`python -m benchmarks.fleet_kills`: SIGKILL of nodes, workers and the database under a fleet at work.

Nodes are `perdure server` on one PostgreSQL (or MariaDB) server that waits for its disk; workers are processes of the
official SDK, each polling one node. Orders are started at an even pace, each through whichever node answers. Every few
seconds somebody is killed and started again. Afterwards every order whose start was answered must have completed in
one run, its customer charged once; `perdure store check` must find the store sound; and between two completions no
more time may have passed than a stall may last.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import click
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from benchmarks.fleet_worker import STEPS, FleetOrder, charges, make_ledger
from benchmarks.server_kills import RETRYABLE
from benchmarks.server_order import BIN, await_port, free_port
from tests.servers.fixtures import execute_mariadb, url
from tests.servers.server import Server

QUEUE = "fleet"
_CALL_S = 5
_OPEN_MAX = 200
"""Orders in flight: who is faster than the fleet waits for it."""
_SETTLE_S = 120
"""After the last kill everything must have ended by then."""


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _leave_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class Child:
    """A process that is killed and started again."""

    def __init__(self, name: str, command: Sequence[str], log: Path, port: int = 0) -> None:
        self.name = name
        self._command = command
        self._log = log
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it listens, if it does."""
        with self._log.open("ab") as log:
            # It ends with this one, whoever ends that: no node is left behind.
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, preexec_fn=_leave_with_parent)
        if self.port:
            await_port(self.port, self._process)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        """SIGTERM. Returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)


class Database:
    """The server that the nodes share, as a child."""

    name = "database"

    def __init__(self, kind: str) -> None:
        self._server = Server.private(kind)
        if kind == "mariadb":
            execute_mariadb(self._server, "CREATE DATABASE perdure")
        self.url = url(self._server, "perdure" if kind == "mariadb" else "postgres")

    def start(self) -> None:
        """Return when it serves."""
        self._server.start()

    def kill(self) -> None:
        """SIGKILL, of all its processes."""
        self._server.kill()

    def release(self) -> None:
        """It is not needed any more."""
        self._server.release()


@dataclass
class Findings:
    """What a campaign saw."""

    kills: Counter[str] = field(default_factory=Counter[str])
    started: list[str] = field(default_factory=list[str])
    """Orders whose start was answered."""
    ended_at: list[float] = field(default_factory=list[float])
    longest_s: float = 0.0
    """The most that one order took."""
    told: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    """One sentence for everything that must not be."""
    checked: str = ""

    @property
    def longest_stall_s(self) -> float:
        """Between two completions, while orders were started."""
        return max((later - earlier for earlier, later in itertools.pairwise(sorted(self.ended_at))), default=0.0)


class Fleet:
    """The processes of one campaign."""

    def __init__(self, directory: Path, kind: str, nodes: int, workers: int) -> None:
        self.directory = directory
        self.ledger = str(directory / "ledger.db")
        make_ledger(self.ledger)
        self.database = Database(kind)
        self.nodes = [self._node(number) for number in range(nodes)]
        self.workers = [self._worker(number) for number in range(workers)]

    def _node(self, number: int) -> Child:
        port = free_port()
        command = [str(BIN / "perdure"), "server", "--store", self.database.url, "--address", f"127.0.0.1:{port}"]
        return Child(f"node {number}", [*command, "--http-address", ""], self.directory / f"node-{number}.log", port)

    def _worker(self, number: int) -> Child:
        port = self.nodes[number % len(self.nodes)].port
        command = [sys.executable, "-m", "benchmarks.fleet_worker", f"127.0.0.1:{port}", QUEUE, self.ledger]
        return Child(f"worker {number}", command, self.directory / f"worker-{number}.log")

    def start(self) -> None:
        """Everything, one after another."""
        for child in (*self.nodes, *self.workers):
            child.start()

    def stop(self) -> list[str]:
        """In order. Returns what went wrong."""
        gone = [f"{worker.name} had ended by itself" for worker in self.workers if not worker.is_alive]
        for worker in self.workers:
            worker.kill()
        codes = {node.name: node.stop() for node in self.nodes}
        return gone + [f"{name} ended with code {code}" for name, code in codes.items() if code]

    def check(self, findings: Findings) -> None:
        """`perdure store check`, while nobody works."""
        command = [str(BIN / "perdure"), "store", "check", "--json", "--store", self.database.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        findings.checked = done.stdout
        if done.returncode:
            findings.wrong.append(f"store check: {done.stdout[-2000:]}{done.stderr[-2000:]}")


async def _one_order(clients: Sequence[Client], number: int, findings: Findings) -> None:
    """Start it through one node after another until one answers, and wait for its end likewise."""
    order, begin = f"order-{number}", time.monotonic()
    is_started = False
    for client in itertools.islice(itertools.cycle(clients), number, None):
        try:
            if not is_started:
                await client.start_workflow(
                    FleetOrder.run,
                    id=order,
                    task_queue=QUEUE,
                    task_timeout=timedelta(seconds=3),
                    request_eager_start=False,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    rpc_timeout=timedelta(seconds=_CALL_S),
                )
        except WorkflowAlreadyStartedError:
            pass  # by a call whose answer was lost
        except RPCError as error:
            _note(findings, order, error)
            await asyncio.sleep(0.1)
            continue
        if not is_started:
            is_started = True
            findings.started.append(order)
        try:
            result = await client.get_workflow_handle(order).result(rpc_timeout=timedelta(seconds=_CALL_S))
        except (TimeoutError, RPCError) as error:
            _note(findings, order, error)
            await asyncio.sleep(0.1)
            continue
        if result != list(STEPS):
            findings.wrong.append(f"{order}: {result!r}")
        findings.ended_at.append(time.monotonic())
        findings.longest_s = max(findings.longest_s, time.monotonic() - begin)
        return


def _note(findings: Findings, order: str, error: BaseException) -> None:
    status = getattr(error, "status", None)
    findings.told[status.name if status is not None else type(error).__name__] += 1
    if isinstance(error, RPCError) and error.status not in RETRYABLE and status.name != "CANCELLED":  # type: ignore[union-attr]
        findings.wrong.append(f"{order}: the client was told {error.status.name}: {error.message}")


async def _kill(fleet: Fleet, findings: Findings, seconds: float, between_s: tuple[float, float], seed: int) -> None:
    """Somebody every few seconds; who is killed is away for up to three."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    victims: list[tuple[str, Child | Database]] = []
    while True:
        await asyncio.sleep(chance.uniform(*between_s))
        if time.monotonic() > end:
            return
        if not victims:
            victims.extend(("node", one) for one in fleet.nodes)
            victims.extend(("worker", one) for one in fleet.workers[:3])
            victims += [("database", fleet.database)] * 2
            chance.shuffle(victims)
        kind, victim = victims.pop()
        findings.kills[kind] += 1
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(chance.uniform(0, 3))
        await asyncio.to_thread(victim.start)


async def _audit(client: Client, fleet: Fleet, findings: Findings, orders: int) -> None:
    charged = charges(fleet.ledger)
    for number in range(orders):
        order = f"order-{number}"
        if charged.get(order, 0) != 1:
            findings.wrong.append(f"{order}: charged {charged.get(order, 0)} times")
    for order in findings.started:
        description = await client.get_workflow_handle(order).describe()
        info = description.raw_description.workflow_execution_info
        if description.status is not WorkflowExecutionStatus.COMPLETED:
            findings.wrong.append(f"{order}: {description.status}")
        if info.first_run_id != description.run_id:
            findings.wrong.append(f"{order}: a second run")
    count = (await client.count_workflows("WorkflowType = 'FleetOrder'")).count
    if count != orders:
        findings.wrong.append(f"{orders} were started and {count} are known")


async def campaign(fleet: Fleet, orders: int, seconds: float, between_s: tuple[float, float], seed: int) -> Findings:
    """All of it."""
    findings = Findings()
    await asyncio.to_thread(fleet.start)
    quiet = Runtime(telemetry=TelemetryConfig(logging=None))
    clients = [await Client.connect(f"127.0.0.1:{node.port}", runtime=quiet, lazy=True) for node in fleet.nodes]
    room = asyncio.Semaphore(_OPEN_MAX)
    running: set[asyncio.Task[None]] = set()

    def is_over(task: asyncio.Task[None]) -> None:
        running.discard(task)
        room.release()
        if not task.cancelled() and task.exception() is not None:
            findings.wrong.append(f"an order was given up: {task.exception()!r}")

    begin = time.monotonic()
    killing = asyncio.create_task(_kill(fleet, findings, seconds, between_s, seed))
    for number in range(orders):
        await asyncio.sleep(max(0.0, begin + number * seconds / orders - time.monotonic()))
        await room.acquire()
        task = asyncio.create_task(_one_order(clients, number, findings))
        running.add(task)
        task.add_done_callback(is_over)
    await killing
    _, late = await asyncio.wait([*running, asyncio.create_task(asyncio.sleep(0))], timeout=_SETTLE_S)
    findings.wrong += [f"{len(late)} orders did not end within {_SETTLE_S} s"] if late else []
    for task in late:
        task.cancel()
    await _audit(clients[0], fleet, findings, orders)
    findings.wrong += await asyncio.to_thread(fleet.stop)
    await asyncio.to_thread(fleet.check, findings)
    return findings


def report(findings: Findings, seconds: float) -> Sequence[str]:
    """In words."""
    kills = ", ".join(f"{count} of {kind}s" for kind, count in sorted(findings.kills.items()))
    told = ", ".join(f"{name} {count} times" for name, count in sorted(findings.told.items())) or "nothing"
    return [
        f"{sum(findings.kills.values())} kills ({kills}) in {seconds:.0f} s: {len(findings.started)} orders were seen "
        f"to start, {len(findings.ended_at)} to end; {len(findings.wrong)} things are wrong",
        f"the longest time without a completion: {findings.longest_stall_s:.1f} s; the slowest order: "
        f"{findings.longest_s:.1f} s",
        f"beyond what it tried again on by itself, the client was told: {told}",
        f"store check: {findings.checked.strip()}",
        *findings.wrong[:20],
    ]


@click.command()
@click.option("--kind", type=click.Choice(["postgres", "mariadb"]), default="postgres", show_default=True)
@click.option("--nodes", default=3, show_default=True)
@click.option("--workers", default=4, show_default=True)
@click.option("--orders", default=5000, show_default=True)
@click.option("--seconds", default=600, show_default=True, help="In which they are started.")
@click.option(
    "--between", nargs=2, type=float, default=(5.0, 20.0), show_default=True, help="Seconds between two kills."
)
@click.option("--stall", default=15.0, show_default=True, help="Seconds without a completion that are too many.")
@click.option("--seed", default=1, show_default=True, help="Who is killed, and when.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Add the figures to that file.")
def main(
    kind: str, nodes: int, workers: int, orders: int, seconds: int, between: tuple[float, float], stall: float,
    seed: int, save: Path | None,
) -> None:  # fmt: skip
    """Kill nodes, workers and the database under load, and audit every order."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perdure-fleet-") as directory:
        fleet = Fleet(Path(directory), kind, nodes, workers)
        try:
            findings = asyncio.run(campaign(fleet, orders, seconds, between, seed))
        finally:
            fleet.database.release()
    if findings.longest_stall_s > stall:
        findings.wrong.append(f"nothing was completed for {findings.longest_stall_s:.1f} s")
    for line in report(findings, time.monotonic() - begin):
        click.echo(line)
    if save is not None:
        told = json.loads(save.read_text()) if save.exists() else {"machine": {"cpus": os.cpu_count()}, "rows": []}
        kills = {f"killed_{one}s": findings.kills[one] for one in ("node", "worker", "database")}
        told["rows"].append(
            {
                "kind": kind, "nodes": nodes, "workers": workers, "seconds": seconds, "seed": seed, **kills,
                "acknowledged": len(findings.started), "ended": len(findings.ended_at), "wrong": findings.wrong,
                "longest_stall_s": findings.longest_stall_s, "slowest_order_s": findings.longest_s,
                "told": findings.told, "checked": json.loads(findings.checked or "null"),
                "failures": len(findings.wrong),
            }
        )  # fmt: skip
        save.write_text(json.dumps(told, indent=2) + "\n")
    if findings.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

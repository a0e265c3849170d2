"""`python -m benchmarks.fleet_kills`: SIGKILL of nodes, workers and the database under a fleet at work.

Nodes are `perdure server` on one PostgreSQL (or MariaDB) server that waits for its disk; workers are processes of the
official SDK, each polling one node. Orders are started at an even pace, each through whichever node answers. Every few
seconds somebody is killed and started again. Afterwards every order whose start was answered must have completed in
one run, its customer charged once; `perdure store check` must find the store sound; and between two completions no
more time may have passed than a stall may last.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import click
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from benchmarks.fleet_faults import CUT_S, Absences, Database, FailOver, Fault, Group, OneServer, longest_gap_s
from benchmarks.fleet_worker import STEPS, FleetOrder, charges, make_ledger
from benchmarks.server_kills import RETRYABLE
from benchmarks.server_order import BIN, READY_S, free_port
from tests.servers.kinds import NotInstalled
from tests.servers.machine import leave_with_parent
from tests.servers.network import WAYS, Host, move_out

QUEUE = "fleet"
_CALL_S = 5
_OPEN_MAX = 200
"""Orders in flight: who is faster than the fleet waits for it."""
_NOTICED_MAX_S = 10.0
"""How long a node may say that it is ready while it is cut off, or that it is not when it is healed."""
_SETTLE_S = 120
"""After the last kill everything must have ended by then."""


class Child:
    """A process that is killed and started again."""

    def __init__(self, name: str, command: Sequence[str], log: Path, at: tuple[str, int] | None = None) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._at = at
        """Where it listens."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it listens, if it does."""
        with self._log.open("ab") as log:
            # It ends with this one, whoever ends that: no node is left behind.
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, preexec_fn=leave_with_parent)
        if self._at is not None:
            _await_listener(self._at, self._process)

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


class Order(NamedTuple):
    """One that ended."""

    name: str
    began_at: float
    """When it was to be started, Unix time."""
    ended_at: float
    """When its end was told."""

    @property
    def seconds(self) -> float:
        """From one to the other."""
        return self.ended_at - self.began_at


@dataclass
class Findings:
    """What a campaign saw."""

    kills: Counter[str] = field(default_factory=Counter[str])
    started: list[str] = field(default_factory=list[str])
    """Orders whose start was answered."""
    ended_at: list[float] = field(default_factory=list[float])
    orders: list[Order] = field(default_factory=list[Order])
    """Those that ended."""
    waited_for: str = ""
    """What the slowest of them did for most of its time."""
    told: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    """One sentence for everything that must not be."""
    checked: str = ""

    absences: Absences = field(default_factory=Absences)
    """Of the database."""
    refused_after_s: list[float] = field(default_factory=list[float])
    """How long those who wanted to start an order waited for a no."""
    unready_after_s: list[float] = field(default_factory=list[float])
    """How long a node that was cut off said that it was ready."""
    ready_after_s: list[float] = field(default_factory=list[float])
    """How long it said that it was not, when it was healed."""

    @property
    def slowest(self) -> Order:
        """Of all orders."""
        return max(self.orders, key=lambda order: order.seconds, default=Order("", 0.0, 0.0))

    def took_s(self, of_hundred: int) -> float:
        """The most that so many of a hundred orders took."""
        times = sorted(order.seconds for order in self.orders)
        return times[len(times) * of_hundred // 100] if times else 0.0

    @property
    def stalls_s(self) -> tuple[float, float]:
        """The most time between two completions while orders were started, and of it while the database was there."""
        return longest_gap_s(self.ended_at, self.absences)


class Fleet:
    """The processes of one campaign."""

    def __init__(
        self, logs: Path, directory: Path, database: Database, nodes: int, workers: int, *, is_apart: bool
    ) -> None:
        self._logs = logs
        self.ledger = str(directory / "ledger.db")
        make_ledger(self.ledger)
        self.database = database
        database.start_all()
        self.hosts = [Host(number) for number in range(nodes)] if is_apart else []
        """Where the nodes are, if each is on a machine of its own."""
        self.addresses: list[str] = []
        self.doors: list[str] = []
        """Their side doors."""
        self.nodes = [self._node(number) for number in range(nodes)]
        self.workers = [self._worker(number) for number in range(workers)]

    def _node(self, number: int) -> Child:
        host, url = "127.0.0.1", self.database.url(number)
        port, side_port = free_port(), free_port()
        if self.hosts:
            host, url = self.hosts[number].address, url.replace(host, self.hosts[number].database)
        self.addresses.append(f"{host}:{port}")
        self.doors.append(f"{host}:{side_port}")
        command = [str(BIN / "perdure"), "server", "--store", url, "--address", self.addresses[-1]]
        command += ["--http-address", self.doors[-1]]
        if self.hosts:
            command = self.hosts[number].command(*command)
        return Child(f"node {number}", command, self._logs / f"node-{number}.log", (host, port))

    def _worker(self, number: int) -> Child:
        address = self.addresses[number % len(self.nodes)]
        command = [sys.executable, "-m", "benchmarks.fleet_worker", address, QUEUE, self.ledger]
        return Child(f"worker {number}", command, self._logs / f"worker-{number}.log")

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

    def faults(self) -> list[Fault]:
        """Its nodes and three of its workers are killed."""
        killed = [("node", one) for one in self.nodes] + [("worker", one) for one in self.workers[:3]]
        return [Fault(kind, one.kill, one.start) for kind, one in killed]

    def release(self) -> None:
        """What is left of it ends."""
        for host in self.hosts:
            host.release()

    def check(self, findings: Findings) -> None:
        """`perdure store check`, while nobody works."""
        command = [str(BIN / "perdure"), "store", "check", "--json", "--store", self.database.url(0)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        findings.checked = done.stdout
        if done.returncode:
            findings.wrong.append(f"store check: {done.stdout[-2000:]}{done.stderr[-2000:]}")


async def _one_order(clients: Sequence[Client], number: int, findings: Findings) -> None:
    """Start it through one node after another until one answers, and wait for its end likewise."""
    order, begin = f"order-{number}", time.time()
    is_started = False
    for client in itertools.islice(itertools.cycle(clients), number, None):
        asked_at = time.monotonic()
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
            findings.refused_after_s.append(time.monotonic() - asked_at)
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
        findings.orders.append(Order(order, begin, time.time()))
        return


def _note(findings: Findings, order: str, error: BaseException) -> None:
    status = getattr(error, "status", None)
    findings.told[status.name if status is not None else type(error).__name__] += 1
    if isinstance(error, RPCError) and error.status not in RETRYABLE and status.name != "CANCELLED":  # type: ignore[union-attr]
        findings.wrong.append(f"{order}: the client was told {error.status.name}: {error.message}")


def _cuts(fleet: Fleet, findings: Findings, seed: int) -> list[Fault]:
    """Each node is cut off from its database, and looked at: does it say so?"""
    chance = random.Random(seed)

    def fault(host: Host, door: str) -> Fault:
        def strike() -> None:
            host.cut(chance.choice(WAYS))
            findings.unready_after_s.append(_await_page(f"http://{door}/readyz", 503))

        def heal() -> None:
            host.heal()
            findings.ready_after_s.append(_await_page(f"http://{door}/readyz", 200))

        return Fault("network", strike, heal, CUT_S)

    return [fault(host, door) for host, door in zip(fleet.hosts, fleet.doors, strict=True)]


def _await_page(url: str, status: int) -> float:
    """Seconds until a page has this status, `_NOTICED_MAX_S` at most."""
    begin = time.monotonic()
    while time.monotonic() - begin < _NOTICED_MAX_S:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
        except OSError:
            found = 0
        if found == status:
            break
        time.sleep(0.1)
    return time.monotonic() - begin


def _await_listener(at: tuple[str, int], process: subprocess.Popen[bytes]) -> None:
    """Return when somebody listens. Raises RuntimeError."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(at) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"a node did not listen at {at}: {process.poll()}")


async def _strike(
    deck: Sequence[Fault], findings: Findings, seconds: float, between_s: tuple[float, float], seed: int
) -> None:
    """One fault every few seconds, each once before one comes again."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    to_come: list[Fault] = []
    while True:
        await asyncio.sleep(chance.uniform(*between_s))
        if time.monotonic() > end:
            return
        if not to_come:
            to_come = list(deck)
            chance.shuffle(to_come)
        fault = to_come.pop()
        findings.kills[fault.kind] += 1
        await asyncio.to_thread(fault.strike)
        await asyncio.sleep(chance.uniform(*fault.away_s))
        await asyncio.to_thread(fault.heal)


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
    findings.waited_for = await _longest_wait(client, findings.slowest)
    count = (await client.count_workflows("WorkflowType = 'FleetOrder'")).count
    if count != orders:
        findings.wrong.append(f"{orders} were started and {count} are known")


async def _longest_wait(client: Client, order: Order) -> str:
    """Where the most of an order's time went: between which two events, before the first or behind the last."""
    moments = [(order.began_at, "it was to be started")]
    async for event in client.get_workflow_handle(order.name).fetch_history_events():
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        moments.append((event.event_time.ToNanoseconds() / 1e9, f"event {event.event_id} {name}"))
    moments.append((order.ended_at, "its end was told"))
    before, after = max(itertools.pairwise(moments), key=lambda pair: pair[1][0] - pair[0][0])
    return f"{after[0] - before[0]:.1f} s between {before[1]!r} and {after[1]!r}"


async def campaign(
    fleet: Fleet, is_cut: bool, orders: int, seconds: float, between_s: tuple[float, float], seed: int
) -> Findings:
    """All of it."""
    findings = Findings()
    await asyncio.to_thread(fleet.start)
    is_over = threading.Event()
    probing = asyncio.create_task(asyncio.to_thread(findings.absences.watch, fleet.database.probe(), is_over.is_set))
    quiet = Runtime(telemetry=TelemetryConfig(logging=None))
    clients = [await Client.connect(address, runtime=quiet, lazy=True) for address in fleet.addresses]
    room = asyncio.Semaphore(_OPEN_MAX)
    running: set[asyncio.Task[None]] = set()

    def note_end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        room.release()
        if not task.cancelled() and task.exception() is not None:
            findings.wrong.append(f"an order was given up: {task.exception()!r}")

    begin = time.monotonic()
    deck = _cuts(fleet, findings, seed) if is_cut else fleet.database.faults(fleet.faults())
    killing = asyncio.create_task(_strike(deck, findings, seconds, between_s, seed))
    for number in range(orders):
        await asyncio.sleep(max(0.0, begin + number * seconds / orders - time.monotonic()))
        await room.acquire()
        task = asyncio.create_task(_one_order(clients, number, findings))
        running.add(task)
        task.add_done_callback(note_end)
    await killing
    _, late = await asyncio.wait([*running, asyncio.create_task(asyncio.sleep(0))], timeout=_SETTLE_S)
    findings.wrong += [f"{len(late)} orders did not end within {_SETTLE_S} s"] if late else []
    for task in late:
        task.cancel()
    is_over.set()
    await probing
    await _audit(clients[0], fleet, findings, orders)
    findings.wrong += await asyncio.to_thread(fleet.stop)
    await asyncio.to_thread(fleet.check, findings)
    return findings


def report(findings: Findings, seconds: float) -> Sequence[str]:
    """In words."""
    kills = ", ".join(f"{count} of {kind}" for kind, count in sorted(findings.kills.items()))
    told = ", ".join(f"{name} {count} times" for name, count in sorted(findings.told.items())) or "nothing"
    stall_s, ours_s = findings.stalls_s
    lines = [
        f"{sum(findings.kills.values())} faults ({kills}) in {seconds:.0f} s: {len(findings.started)} orders were seen "
        f"to start, {len(findings.ended_at)} to end; {len(findings.wrong)} things are wrong",
        f"the longest time without a completion: {stall_s:.1f} s; the slowest order: "
        f"{findings.slowest.seconds:.1f} s ({findings.slowest.name}), of these {findings.waited_for}",
        f"half of the orders took up to {findings.took_s(50):.1f} s, 99 of a hundred {findings.took_s(99):.1f} s",
        f"beyond what it tried again on by itself, the client was told: {told}",
    ]
    if findings.absences.spans:
        lines.append(
            f"the database took no commits {len(findings.absences.spans)} times, {findings.absences.longest_s:.1f} s "
            f"at most; the longest time without a completion while it did: {ours_s:.1f} s"
        )
    for what, times in (
        ("a start was refused", findings.refused_after_s),
        ("a node that was cut off said so", findings.unready_after_s),
        ("a node that was healed said so", findings.ready_after_s),
    ):
        if times:
            middle = sorted(times)[len(times) // 2]
            lines.append(f"{what} after {middle:.1f} s in the middle, {max(times):.1f} s at most ({len(times)} times)")
    return [*lines, f"store check: {findings.checked.strip()}", *findings.wrong[:20]]


def row(findings: Findings) -> dict[str, object]:
    """The figures, to be kept."""
    stall_s, ours_s = findings.stalls_s
    kills = {f"killed_{one}s": findings.kills[one] for one in ("node", "worker", "database")}
    return {
        **kills, "faults": findings.kills,
        "what": ", ".join(f"{count} × {kind}" for kind, count in sorted(findings.kills.items())),
        "acknowledged": len(findings.started), "ended": len(findings.ended_at), "wrong": findings.wrong,
        "longest_stall_s": stall_s, "longest_absence_s": findings.absences.longest_s,
        "longest_stall_of_ours_s": ours_s, "slowest_order_s": findings.slowest.seconds,
        "half_took_s": findings.took_s(50), "most_took_s": findings.took_s(99),
        "slowest_order_waited_for": findings.waited_for,
        "refused_after_s": max(findings.refused_after_s, default=0.0),
        "unready_after_s": max(findings.unready_after_s, default=0.0),
        "ready_after_s": max(findings.ready_after_s, default=0.0),
        "told": findings.told, "checked": json.loads(findings.checked or "null"),
        "failures": len(findings.wrong),
    }  # fmt: skip


_DATABASES: dict[str, Callable[[], Database]] = {
    "postgres": lambda: OneServer("postgres"),
    "mariadb": lambda: OneServer("mariadb"),
    "patroni": FailOver,
    "galera": Group,
}


@click.command()
@click.option("--kind", type=click.Choice([*_DATABASES]), default="postgres", show_default=True, help="Of database.")
@click.option("--cuts", is_flag=True, help="Cut the network between a node and its database; nobody is killed.")
@click.option("--nodes", default=3, show_default=True)
@click.option("--workers", default=4, show_default=True)
@click.option("--orders", default=5000, show_default=True)
@click.option("--seconds", default=600, show_default=True, help="In which they are started.")
@click.option(
    "--between", nargs=2, type=float, default=(5.0, 20.0), show_default=True, help="Seconds between two faults."
)
@click.option("--stall", default=15.0, show_default=True, help="Seconds without a completion that are too many.")
@click.option("--seed", default=1, show_default=True, help="Which fault comes, and when.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Add the figures to that file.")
@click.option("--logs", type=click.Path(path_type=Path, file_okay=False), help="Where the nodes' logs are kept.")
def main(
    kind: str, cuts: bool, nodes: int, workers: int, orders: int, seconds: int, between: tuple[float, float],
    stall: float, seed: int, save: Path | None, logs: Path | None,
) -> None:  # fmt: skip
    """Kill nodes, workers and the database under load, or cut them apart, and audit every order."""
    begin = time.monotonic()
    try:
        if cuts:
            move_out()
        database = _DATABASES[kind]()
    except NotInstalled as error:
        raise click.ClickException(str(error)) from error
    with contextlib.ExitStack() as stack:
        stack.callback(database.release)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-fleet-"))
        fleet = Fleet(logs or Path(directory), Path(directory), database, nodes, workers, is_apart=cuts)
        stack.callback(fleet.release)
        findings = asyncio.run(campaign(fleet, cuts, orders, seconds, between, seed))
    if findings.stalls_s[0] > stall:
        findings.wrong.append(f"nothing was completed for {findings.stalls_s[0]:.1f} s")
    for line in report(findings, time.monotonic() - begin):
        click.echo(line)
    if save is not None:
        told = json.loads(save.read_text()) if save.exists() else {"machine": {"cpus": os.cpu_count()}, "rows": []}
        what = {"kind": kind, "cuts": cuts, "nodes": nodes, "workers": workers, "seconds": seconds, "seed": seed}
        told["rows"].append({**what, **row(findings)})
        save.write_text(json.dumps(told, indent=2) + "\n")
    if findings.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

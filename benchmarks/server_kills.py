"""`python -m benchmarks.server_kills`: SIGKILL of the server under load from the official SDK's worker, 20 times.

One process holds the official Python SDK's client and worker and goes on all the time; `perdure server` on a SQLite
file is killed at random moments and started again on the same port. Afterwards every workflow that the client saw
started must have completed, in one run, each of its four activities with one completion; and whatever the client
was told meanwhile must be a status that clients try again on.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import click
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.server_load import ACTIVITIES, Order, charge, notify, reserve, ship
from benchmarks.server_order import BIN, await_port, free_port

RETRYABLE = {
    RPCStatusCode.DATA_LOSS, RPCStatusCode.INTERNAL, RPCStatusCode.UNKNOWN, RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED, RPCStatusCode.OUT_OF_RANGE, RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
"""What the official clients try again on; and the deadline of a call that was under way at a kill."""


@workflow.defn(sandboxed=False)
class KilledOrder:
    """Four activities, with time-outs short enough to be waited for."""

    @workflow.run
    async def run(self, order: Order) -> str:
        timeout = timedelta(seconds=3)
        await workflow.execute_activity(charge, order, start_to_close_timeout=timeout)
        await workflow.execute_activity(reserve, order, start_to_close_timeout=timeout)
        tracking = await workflow.execute_activity(ship, order, start_to_close_timeout=timeout)
        await workflow.execute_activity(notify, order, start_to_close_timeout=timeout)
        return tracking


class KillableServer:
    """`perdure server` on one file and one port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._store = f"sqlite:///{directory / 'killed.db'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it listens."""
        address = f"127.0.0.1:{self.port}"
        command = [str(BIN / "perdure"), "server", "--store", self._store]
        self._process = subprocess.Popen(
            [*command, "--address", address, "--http-address", ""], stdout=subprocess.DEVNULL
        )
        await_port(self.port, self._process)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM. Returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)


@dataclass
class Findings:
    """What a campaign saw."""

    kills: int = 0
    started: set[str] = field(default_factory=set[str])
    """Workflows whose start was answered."""
    told: Counter[str] = field(default_factory=Counter[str])
    """Statuses that the client was told, beyond those that it tried again on by itself."""
    wrong: list[str] = field(default_factory=list[str])
    """One sentence for everything that must not be."""


async def load(client: Client, queue: str, findings: Findings, is_over: asyncio.Event, lane: int) -> None:
    """Start one workflow after another and await each, whatever the server does meanwhile."""
    number = 0
    while not is_over.is_set():
        number += 1
        workflow_id = f"{queue}-{lane}-{number}"
        try:
            handle = await client.start_workflow(
                KilledOrder.run,
                {"id": number},
                id=workflow_id,
                task_queue=queue,
                task_timeout=timedelta(seconds=2),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
            findings.started.add(workflow_id)
            await handle.result()
        except RPCError as error:
            findings.told[error.status.name] += 1
            if error.status not in RETRYABLE:
                findings.wrong.append(f"{workflow_id}: the client was told {error.status.name}: {error.message}")


async def audit(client: Client, findings: Findings) -> None:
    """Every workflow that was seen to start, one by one."""
    for workflow_id in sorted(findings.started):
        handle = client.get_workflow_handle(workflow_id)
        try:
            result = await asyncio.wait_for(handle.result(), 60)
            description = await handle.describe()
            history = await handle.fetch_history()
        except (RPCError, TimeoutError) as error:
            findings.wrong.append(f"{workflow_id}: {error!r}")
            continue
        done = [e.event_type for e in history.events].count(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        first_run_id = description.raw_description.workflow_execution_info.first_run_id
        if result != "track-1" or description.status is not WorkflowExecutionStatus.COMPLETED:
            findings.wrong.append(f"{workflow_id}: {description.status}, {result!r}")
        if done != len(ACTIVITIES):
            findings.wrong.append(f"{workflow_id}: {done} activities completed")
        if first_run_id != description.run_id:
            findings.wrong.append(f"{workflow_id}: a second run")
    count = (await client.count_workflows("WorkflowType = 'KilledOrder'")).count
    if count < len(findings.started):
        findings.wrong.append(f"{len(findings.started)} were started and {count} are known")


async def campaign(kills: int, lanes: int, seed: int, between_s: tuple[float, float] = (0.5, 2.5)) -> Findings:
    """All of it."""
    chance, findings = random.Random(seed), Findings()
    with tempfile.TemporaryDirectory(prefix="perdure-kills-") as directory:
        server = KillableServer(Path(directory))
        await asyncio.to_thread(server.start)
        quiet = Runtime(telemetry=TelemetryConfig(logging=None))
        client = await Client.connect(f"127.0.0.1:{server.port}", runtime=quiet)
        queue = f"killed-{uuid.uuid4().hex[:6]}"
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[KilledOrder],
            activities=ACTIVITIES,
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        is_over = asyncio.Event()
        async with worker:
            running = [asyncio.create_task(load(client, queue, findings, is_over, lane)) for lane in range(lanes)]
            try:
                for _ in range(kills):
                    await asyncio.sleep(chance.uniform(*between_s))
                    server.kill()
                    findings.kills += 1
                    await asyncio.sleep(chance.uniform(0, 1))
                    await asyncio.to_thread(server.start)
                is_over.set()
                await asyncio.gather(*running)
                await audit(client, findings)
            finally:
                for task in running:
                    task.cancel()
        if (code := await asyncio.to_thread(server.stop)) != 0:
            findings.wrong.append(f"the server ended with code {code}")
    return findings


def report(findings: Findings, seconds: float) -> Sequence[str]:
    """In words."""
    told = ", ".join(f"{name} {count} times" for name, count in findings.told.items()) or "nothing"
    return [
        f"{findings.kills} kills in {seconds:.0f} s: {len(findings.started)} workflows were seen to start; "
        f"{len(findings.wrong)} things are wrong",
        f"beyond what it tried again on by itself, the client was told: {told}",
        *findings.wrong[:20],
    ]


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--lanes", default=20, show_default=True, help="Workflows in flight.")
@click.option("--seed", default=1, show_default=True, help="When it is killed.")
def main(kills: int, lanes: int, seed: int) -> None:
    """Kill the server under load and audit every workflow."""
    began = time.monotonic()
    findings = asyncio.run(campaign(kills, lanes, seed))
    for line in report(findings, time.monotonic() - began):
        click.echo(line)
    sys.stdout.flush()
    raise SystemExit(1 if findings.wrong else 0)


if __name__ == "__main__":
    main()

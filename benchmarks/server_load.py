"""The order workflow through the official Temporal Python SDK, against a server that runs already.

usage: python -m benchmarks.server_load NAME HOST:PORT COUNT CONCURRENCY SERVER_PID

Client and worker are this one process, as an application would have them; the CPU time and memory in the row are the
server's, read from /proc. The client's own CPU time is in the note.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.load import Stopwatch, emit, from_loop

Order = dict[str, int]
READY_S = 60
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@activity.defn
async def charge(order: Order) -> dict[str, int]:
    return {"amount": 42}


@activity.defn
async def reserve(order: Order) -> bool:
    return True


@activity.defn
async def ship(order: Order) -> str:
    return "track-1"


@activity.defn
async def notify(order: Order) -> None:
    return None


ACTIVITIES = [charge, reserve, ship, notify]


@workflow.defn(sandboxed=False)
class OrderWorkflow:
    """Four activities, one after another."""

    @workflow.run
    async def run(self, order: Order) -> str:
        timeout = timedelta(seconds=30)
        await workflow.execute_activity(charge, order, start_to_close_timeout=timeout)
        await workflow.execute_activity(reserve, order, start_to_close_timeout=timeout)
        tracking = await workflow.execute_activity(ship, order, start_to_close_timeout=timeout)
        await workflow.execute_activity(notify, order, start_to_close_timeout=timeout)
        return tracking


def cpu_ms(pid: int) -> float:
    """User and system time that a process has used, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def rss_mb(pid: int) -> float:
    """The most memory that a process ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class ServerWatch(Stopwatch):
    """Also looks at the server's clock when the measured part begins."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid = pid
        self.server_ms = 0.0

    def start(self) -> None:
        super().start()
        self.server_ms = cpu_ms(self.pid)


async def connected(target: str) -> Client:
    """A client, when the server has its default namespace: it may listen before that. Raises after a minute."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            client = await Client.connect(target)
            await client.service_client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace="default")
            )
            return client
        except (RPCError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.25)


async def measure(name: str, target: str, count: int, concurrency: int, pid: int) -> None:
    """Run the load and emit its row."""
    client = await connected(target)
    queue = f"orders-{uuid.uuid4().hex[:6]}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[OrderWorkflow],
        activities=ACTIVITIES,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=200,
        max_concurrent_workflow_tasks=200,
    )

    async def one(number: int) -> None:
        result = await client.execute_workflow(
            OrderWorkflow.run, {"id": number}, id=f"{queue}-{number}", task_queue=queue
        )
        assert result == "track-1"

    watch = ServerWatch(pid)
    async with worker:
        await from_loop(one, count, concurrency, watch)
        row = watch.row(name, concurrency, "")
        server_ms = cpu_ms(pid) - watch.server_ms
    emit(
        dataclasses.replace(
            row,
            cpu_ms_per_workflow=server_ms / count,
            rss_mb=rss_mb(pid),
            note=f"client CPU {row.cpu_ms_per_workflow:.1f} ms/wf",
        )
    )


if __name__ == "__main__":
    asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
    sys.stdout.flush()
    os._exit(0)  # threads of the SDK's core sometimes abort the interpreter on its way out

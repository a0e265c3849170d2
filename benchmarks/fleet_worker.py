"""A worker of `benchmarks.fleet_kills`: the official SDK's, polling one node, writing what it charges into a ledger.

usage: python -m benchmarks.fleet_worker HOST:PORT TASK_QUEUE LEDGER

The ledger is the payment provider: it charges once for an idempotency key, however often it is asked.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from contextlib import closing
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

LEDGER_VARIABLE = "PERDURE_LEDGER"
STEPS = ("charge", "reserve", "ship", "notify")


def make_ledger(path: str) -> None:
    """An empty one."""
    with closing(_open(path)) as ledger:
        ledger.execute("PRAGMA journal_mode = wal")
        ledger.execute("CREATE TABLE charges (key TEXT PRIMARY KEY, workflow_id TEXT NOT NULL, at REAL NOT NULL)")


def charges(path: str) -> dict[str, int]:
    """How often each workflow charged its customer."""
    with closing(_open(path)) as ledger:
        return dict(ledger.execute("SELECT workflow_id, count(*) FROM charges GROUP BY workflow_id").fetchall())


def _open(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30, isolation_level=None)


def _charge(key: str, workflow_id: str) -> None:
    with closing(_open(os.environ[LEDGER_VARIABLE])) as ledger:
        ledger.execute("INSERT OR IGNORE INTO charges VALUES (?, ?, ?)", (key, workflow_id, time.time()))


@activity.defn
async def step(name: str) -> str:
    """One of `STEPS`; the first has an effect that must not be had twice."""
    info = activity.info()
    if name == STEPS[0]:
        key = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
        await asyncio.to_thread(_charge, key, str(info.workflow_id))
    return name


_SOON = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=1))


@workflow.defn(sandboxed=False)
class FleetOrder:
    """Four activities, with time-outs short enough to be waited for after a kill."""

    @workflow.run
    async def run(self) -> list[str]:
        return [
            await workflow.execute_activity(
                step,
                name,
                start_to_close_timeout=timedelta(seconds=4),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=1)
                ),
            )
            for name in STEPS
        ]


async def main(target: str, queue: str) -> None:
    """Work until somebody ends this process; begin anew when the node was gone at first, as supervised ones do."""
    runtime = Runtime(telemetry=TelemetryConfig(logging=None))
    while True:
        try:
            await _work(await Client.connect(target, runtime=runtime), queue)
        except RuntimeError as error:  # what the SDK raises when nobody answers
            print(f"begins anew: {error}", flush=True)
            await asyncio.sleep(0.2)


async def _work(client: Client, queue: str) -> None:
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[FleetOrder],
        activities=[step],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=500,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=3),
    )
    async with worker:
        print("polls", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    os.environ[LEDGER_VARIABLE] = sys.argv[3]
    asyncio.run(main(sys.argv[1], sys.argv[2]))

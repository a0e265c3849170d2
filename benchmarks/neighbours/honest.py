"""Those who must not notice: honest clients, and one that asks after the server's health."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass, field

from grpc import aio
from grpc_health.v1 import health_pb2
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice import v1 as service

from benchmarks.raw_client import RawClient
from benchmarks.rows import quantile

CLIENTS = 8
QUEUE = "honest"
HEALTH_EVERY_S = 0.02
CALL_S = 20.0
"""An honest call that takes longer has failed."""


@dataclass(slots=True)
class Seen:
    """What they met. Times in milliseconds."""

    calls: int = 0
    failures: list[str] = field(default_factory=list[str])
    runs_ms: list[float] = field(default_factory=list[float])
    health_ms: list[float] = field(default_factory=list[float])
    list_ms: list[float] = field(default_factory=list[float])


class Honest:
    """One client with a connection and a task queue of its own: start, poll, complete, and again."""

    def __init__(self, target: str, number: int, seen: Seen) -> None:
        self._client = RawClient(target)
        self._queue = f"{QUEUE}-{number}"
        self._seen = seen
        self._numbers = itertools.count()

    async def work(self, ends_at: float) -> None:
        while time.monotonic() < ends_at:
            began = time.perf_counter()
            try:
                await self._one()
            except aio.AioRpcError as error:
                self._seen.failures.append(f"{error.code().name}: {(error.details() or '')[:200]}")
                await asyncio.sleep(0.05)  # as an honest client does
            else:
                self._seen.runs_ms.append((time.perf_counter() - began) * 1e3)
        await self._client.channel.close()

    async def _one(self) -> None:
        workflow_id = f"{self._queue}-{next(self._numbers)}"
        await self._client.start(workflow_id, self._queue)
        self._seen.calls += 1
        while True:
            task = await self._client.poll_workflow(self._queue, CALL_S)
            self._seen.calls += 1
            if not task.task_token:
                continue
            done = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
            done.complete_workflow_execution_command_attributes.SetInParent()
            answer = service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token, commands=[done])
            await self._client.call(
                "RespondWorkflowTaskCompleted", answer, service.RespondWorkflowTaskCompletedResponse, CALL_S
            )
            self._seen.calls += 1
            if task.workflow_execution.workflow_id == workflow_id:  # others put theirs on this queue too
                return


async def ask_after_health(target: str, ends_at: float, seen: Seen) -> None:
    """`grpc.health.v1.Health/Check` at a steady pace, on a connection of its own."""
    client = RawClient(target)
    check = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    while time.monotonic() < ends_at:
        began = time.perf_counter()
        try:
            await check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
        except aio.AioRpcError as error:
            seen.failures.append(f"health: {error.code().name}")
        took_s = time.perf_counter() - began
        seen.health_ms.append(took_s * 1e3)
        await asyncio.sleep(max(0.0, HEALTH_EVERY_S - took_s))
    await client.channel.close()


async def list_a_few(target: str, ends_at: float, seen: Seen) -> None:
    """A short list now and then."""
    client = RawClient(target)
    request = service.ListWorkflowExecutionsRequest(namespace="default", page_size=10)
    while time.monotonic() < ends_at:
        began = time.perf_counter()
        try:
            await client.call("ListWorkflowExecutions", request, service.ListWorkflowExecutionsResponse, CALL_S)
        except aio.AioRpcError as error:
            seen.failures.append(f"list: {error.code().name}: {(error.details() or '')[:200]}")
        seen.calls += 1
        seen.list_ms.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.2)
    await client.channel.close()


@dataclass(slots=True, frozen=True)
class Report:
    """What the honest saw of one window, in milliseconds."""

    calls: int
    failures: int
    first_failures: list[str]
    runs: int
    p50_ms: float
    p99_ms: float
    health_p99_ms: float
    health_max_ms: float
    list_max_ms: float


def _report(seen: Seen) -> Report:
    runs, health = sorted(seen.runs_ms), sorted(seen.health_ms)
    return Report(
        calls=seen.calls,
        failures=len(seen.failures),
        first_failures=seen.failures[:5],
        runs=len(runs),
        p50_ms=round(quantile(runs, 0.5), 1) if runs else -1,
        p99_ms=round(quantile(runs, 0.99), 1) if runs else -1,
        health_p99_ms=round(quantile(health, 0.99), 1),
        health_max_ms=round(health[-1], 1),
        list_max_ms=round(max(seen.list_ms, default=0.0), 1),
    )


async def work(target: str, role: str, seconds: float) -> Report:
    """All clients for so long; `role`: "clients", or "health" for the one whose time is measured apart from theirs."""
    seen, ends_at = Seen(), time.monotonic() + seconds
    if role == "health":
        await ask_after_health(target, ends_at, seen)
    else:
        clients = [Honest(target, number, seen).work(ends_at) for number in range(CLIENTS)]
        await asyncio.gather(*clients, list_a_few(target, ends_at, seen))
        seen.health_ms.append(0.0)
    return _report(seen)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3]))))), flush=True)

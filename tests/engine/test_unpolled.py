"""A task queue that nobody polls is told of, once, with whose task waits there and what to do."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.workflowservice import v1 as service

from perdure import Engine, activity, call, workflow
from perdure.engine import Engine as Core
from perdure.frontend import WorkflowService
from perdure.testing import TestEngine
from tests.engine.fleet import Fleet
from tests.engine.world import (
    QUEUE,
    World,
    activity_poll,
    complete,
    completion,
    schedule,
    sleep,
    start_request,
    virtual_logged,
    workflow_poll,
)
from tests.eventually import eventually

ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "nobody polls" in r.getMessage()]


async def looks(engine: Core, count: int) -> None:
    await engine.unpolled.looks.reached(count)


@virtual_logged
async def test_a_workflow_task_that_nobody_takes_is_told_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for number in range(20):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
        await looks(engine, 1)
        (line,) = said(caplog)
        assert line.startswith(
            "nobody polls the task queue 'orders': a workflow task of workflow fulfil 'order-0' (run "
        )
        assert "has waited there for 5 s; start a worker for it, or correct the name" in line
        assert line.endswith("(there are no workers at all)")
        await connection.start_workflow_execution(start_request("another"))
        await asyncio.sleep(600)
        assert len(said(caplog)) == 1


@virtual_logged
async def test_an_activity_on_a_queue_of_its_own_is_told_of_with_the_queues_that_have_workers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        polling = asyncio.create_task(connection.poll_activity_task_queue(activity_poll("cpu")))
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        on_gpu = schedule("1")
        on_gpu.schedule_activity_task_command_attributes.task_queue.name = "gpu"
        await connection.respond_workflow_task_completed(completion(task.task_token, on_gpu))
        await looks(engine, 2)  # the first was at the queue of the workflow task, which was taken
        (line,) = said(caplog)
        assert "task queue 'gpu': activity charge of workflow fulfil 'order-1' (run " in line
        assert line.endswith("(there are workers for 'cpu')")
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


@virtual_logged
async def test_workers_that_come_in_time_or_are_busy_are_not_complained_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request("early"))
        await asyncio.sleep(4)
        assert (await connection.poll_workflow_task_queue(workflow_poll())).task_token
        await connection.start_workflow_execution(start_request("while-it-is-busy"))
        await looks(engine, 2)
        assert said(caplog) == [], "somebody polled a few seconds ago"
        await asyncio.sleep(timedelta(minutes=20).total_seconds())
        (line,) = said(caplog)  # nobody for twenty minutes: that worker is gone
        assert "'while-it-is-busy'" in line


@virtual_logged
async def test_what_waits_from_before_a_restart_is_told_of_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.engine() as engine:
        await WorkflowService(engine).start_workflow_execution(start_request())
    async with world.engine() as engine:
        await looks(engine, 1)
        assert len(said(caplog)) == 1


@virtual_logged
async def test_a_run_that_has_ended_meanwhile_is_not_complained_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        request = service.TerminateWorkflowExecutionRequest(namespace="default")
        request.workflow_execution.workflow_id = "order-1"
        await connection.terminate_workflow_execution(request)
        await looks(engine, 1)
        assert said(caplog) == []
        await connection.start_workflow_execution(start_request("order-2"))
        await looks(engine, 2)
        assert "'order-2'" in said(caplog)[0], "the row of the other one stands before it"


@virtual_logged
async def test_the_sticky_queue_of_a_worker_that_died_is_not_taken_for_one_without_workers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        polling = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll("sticky", "orders")))
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        kept = completion(task.task_token, sleep("nap", 3), sticky="sticky")
        kept.sticky_attributes.schedule_to_start_timeout.seconds = 3600
        await connection.respond_workflow_task_completed(kept)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await asyncio.sleep(4)
        assert [queue.name for queue in await world.store.queues()] == ["sticky"]
    async with world.engine() as engine:
        await looks(engine, 1)
        assert said(caplog) == []


@activity(name="unpolled.render", task_queue="gpu")
def render() -> str:
    return "rendered"


@workflow(name="unpolled.film")
def film() -> str:
    return call(render)


def test_an_engine_in_a_process_says_that_it_serves_one_queue(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with Engine(f"sqlite:///{tmp_path / 'film.db'}", workflows=[film], activities=[render]) as engine:
        engine.start(film, id="film-1")
        eventually(lambda: said(caplog), "a warning that nobody polls the queue")
    (line,) = said(caplog)
    assert "task queue 'gpu': activity unpolled.render of workflow unpolled.film 'film-1'" in line
    assert "this engine serves one queue: leave `task_queue=` out" in line and "workers for 'default'" in line


def test_virtual_time_is_not_spent_on_looking(caplog: pytest.LogCaptureFixture) -> None:
    with TestEngine(workflows=[film], activities=[render]) as engine:
        engine.start(film, id="film-1")
        engine.advance("365 days")
        assert len(said(caplog)) == 1


@virtual_logged
async def test_a_worker_in_this_process_polls_until_it_ends(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = activity_poll()
        request.worker_instance_key = "near"
        leave = connection.serve_activity_tasks(request, 3, lambda task, free: None)
        describing = service.DescribeTaskQueueRequest(namespace="default", task_queue_type=ACTIVITY)
        describing.task_queue.name = "orders"
        await asyncio.sleep(3600)
        (poller,) = (await connection.describe_task_queue(describing)).pollers
        assert poller.identity == "worker"
        leave()
        await connection.shutdown_worker(
            service.ShutdownWorkerRequest(namespace="default", worker_instance_key="near", identity="worker")
        )
        await asyncio.sleep(301)
        assert not (await connection.describe_task_queue(describing)).pollers


# --- in a fleet -----------------------------------------------------------------------------------


@virtual_logged
async def test_a_fleet_says_it_once_whichever_node_wrote_the_rows(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        for number in range(9):
            await WorkflowService(nodes[number % 3]).start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(600)
        assert len(said(caplog)) == 1


@virtual_logged
async def test_what_is_polled_at_another_node_is_not_complained_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the worker there was busy for a minute."""
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        await WorkflowService(nodes[0]).start_workflow_execution(start_request("early"))
        assert (await WorkflowService(nodes[2]).poll_workflow_task_queue(workflow_poll())).task_token
        for number in range(9):
            await WorkflowService(nodes[number % 3]).start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(60)
        assert said(caplog) == []
        await asyncio.sleep(timedelta(minutes=20).total_seconds())
        assert len(said(caplog)) == 1, "nobody for twenty minutes: that worker is gone"


@virtual_logged
async def test_a_queue_that_is_served_at_another_node_is_seldom_looked_at(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        nodes.sort(key=lambda node: node.duties.partitions.hold("default", QUEUE), reverse=True)
        worker = WorkflowService(nodes[2])  # not at the node that would say it
        for number in range(60):
            poll = asyncio.ensure_future(worker.poll_workflow_task_queue(workflow_poll()))
            await asyncio.sleep(1)
            await WorkflowService(nodes[number % 2]).start_workflow_execution(start_request(f"order-{number}"))
            await worker.respond_workflow_task_completed(completion((await poll).task_token, complete()))
        assert sum(node.unpolled.looks.count for node in nodes) <= 2
        assert said(caplog) == []


@virtual_logged
async def test_a_queue_of_a_node_that_dies_is_told_of_by_another(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(2)
        [mine] = [node for node in nodes if node.duties.partitions.hold("default", QUEUE)]
        await WorkflowService(nodes[0]).start_workflow_execution(start_request())
        await asyncio.sleep(1)
        await mine.abort()
        await asyncio.sleep(15)
        assert len(said(caplog)) == 1

"""A restart takes back what dead workers held, and loses nothing else."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.frontend import WorkflowService
from perdure.stores.api import StoreError
from tests.engine.world import (
    QUEUE,
    Worker,
    World,
    activity_poll,
    completion,
    history,
    names,
    outcome,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)


@virtual
async def test_a_held_workflow_task_is_given_out_again_at_once(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await connection.poll_workflow_task_queue(workflow_poll())
    async with world.engine(workers_died=True) as engine:
        begin = world.loop.time()
        connection = WorkflowService(engine)
        worker = Worker(connection).start()
        await outcome(connection, "order-1")
        assert world.loop.time() == begin
        assert "WORKFLOW_TASK_TIMED_OUT" in names(await history(connection))
        await worker.stop()


@virtual
async def test_a_held_activity_is_tried_again_at_once_if_it_may_be(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        commands = schedule("again"), schedule("once", attempts=1)
        await connection.respond_workflow_task_completed(completion(task.task_token, *commands))
        for _ in commands:
            assert (await connection.poll_activity_task_queue(activity_poll())).attempt == 1
    async with world.engine(workers_died=True) as engine:
        begin = world.loop.time()
        connection = WorkflowService(engine)
        activity = await connection.poll_activity_task_queue(activity_poll())
        assert (activity.activity_id, activity.attempt) == ("again", 2)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert names(task.history.events)[-3:-1] == ["ACTIVITY_TASK_TIMED_OUT", "WORKFLOW_TASK_SCHEDULED"]
        assert world.loop.time() == begin


@virtual
async def test_a_task_on_a_dead_sticky_queue_is_moved_at_once(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        sticky = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll("sticky-1", QUEUE)))
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        sticky.cancel()
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1"), sticky="sticky-1"))
        activity = await connection.poll_activity_task_queue(activity_poll())
        await connection.respond_activity_task_completed(
            service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
        )
    async with world.engine(workers_died=True) as engine:
        begin = world.loop.time()
        connection = WorkflowService(engine)
        assert (await connection.poll_workflow_task_queue(workflow_poll())).task_token
        assert world.loop.time() == begin


@virtual
async def test_many_are_recovered_page_by_page_before_the_first_poll(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for number in range(100):
            await connection.start_workflow_execution(start_request(f"order-{number:03}"))
            await connection.poll_workflow_task_queue(workflow_poll())
    batches = len(world.store.batches)
    async with world.engine(workers_died=True, recovery_page=30) as engine:
        assert world.store.batches[batches:] == [30, 30, 30, 10]
        worker = Worker(WorkflowService(engine)).start(pollers=5)
        for number in range(100):
            await outcome(WorkflowService(engine), f"order-{number:03}")
        await worker.stop()


@virtual
async def test_a_server_leaves_held_tasks_to_their_workers(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))
        assert "WORKFLOW_TASK_TIMED_OUT" not in names(await history(connection))


@pytest.mark.parametrize("method", ["in_flight", "load", "commit", "namespaces", "next_wake_at_ns"])
def test_a_start_that_fails_leaves_nothing_behind(method: str) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            await connection.start_workflow_execution(start_request())
            await connection.poll_workflow_task_queue(workflow_poll())
        tasks = asyncio.all_tasks()
        world.store.fails = lambda called: called == method
        with pytest.raises(StoreError):
            async with world.engine(workers_died=True):
                pass
        assert asyncio.all_tasks() == tasks
        world.store.fails = lambda called: False
        async with world.engine(workers_died=True) as engine:
            worker = Worker(WorkflowService(engine)).start()
            await outcome(WorkflowService(engine), "order-1")
            await worker.stop()

    scenario()


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("commits", range(1, 9))
def test_a_workflow_goes_on_after_a_stop_at_every_commit(commits: int, crash: bool) -> None:
    @virtual
    async def scenario(world: World) -> None:
        ran: list[tuple[str, str]] = []
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            worker = Worker(connection, steps=3).start()
            await asyncio.sleep(1)
            started = asyncio.create_task(connection.start_workflow_execution(start_request()))
            await engine.mailboxes.committed.reached(commits)
            if crash:
                await engine.abort()
            await worker.stop()
            await started
            ran += worker.ran
        async with world.engine(workers_died=True) as engine:
            worker = Worker(WorkflowService(engine), steps=3).start()
            await outcome(WorkflowService(engine), "order-1")
            await worker.stop()
            ran += worker.ran
            events = names(await history(WorkflowService(engine)))
        assert {activity for _, activity in ran} == {"1", "2", "3"}
        assert len(ran) <= 4, "at most the activity in flight ran twice"
        assert events.count("ACTIVITY_TASK_COMPLETED") == 3

    scenario()

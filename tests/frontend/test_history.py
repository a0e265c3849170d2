"""GetWorkflowExecutionHistory: pages, the closing event, the long poll, and what a worker is sent."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.frontend import WorkflowService
from tests.engine.world import (
    CLOSE_EVENT,
    ORDER,
    Worker,
    World,
    complete,
    completion,
    history,
    history_request,
    names,
    outcome,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)


async def finished(world: World, connection: WorkflowService) -> str:
    started = await connection.start_workflow_execution(start_request())
    worker = Worker(connection).start()
    await outcome(connection, "order-1")
    await worker.stop()
    return started.run_id


@virtual
async def test_pages_join_to_the_whole(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await finished(world, connection)
        for size in (1, 3, len(ORDER), 1_000):
            sizes: list[int] = []
            seen: list[str] = []
            token = b""
            while True:
                page = await connection.get_workflow_execution_history(
                    history_request(maximum_page_size=size, next_page_token=token)
                )
                sizes.append(len(page.history.events))
                seen += names(page.history.events)
                token = page.next_page_token
                if not token:
                    break
            assert seen == ORDER
            assert max(sizes) <= size


@virtual
async def test_pages_from_the_store_are_as_those_from_memory(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await finished(world, connection)
        warm = await history(connection)
    async with world.engine(history_page_bytes=200) as engine:
        cold = await history(WorkflowService(engine))
        assert cold == warm
        assert world.store.calls.count("history") > 2


@virtual
async def test_the_closing_event_alone(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = history_request(history_event_filter_type=CLOSE_EVENT)
        await connection.start_workflow_execution(start_request())
        page = await connection.get_workflow_execution_history(request)
        assert not page.history.events
        assert not page.next_page_token
        worker = Worker(connection).start()
        await outcome(connection, "order-1")
        page = await connection.get_workflow_execution_history(request)
        assert names(page.history.events) == ["WORKFLOW_EXECUTION_COMPLETED"]
        await worker.stop()


@virtual
async def test_a_long_poll_on_an_open_run_ends_with_a_token(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        started = await connection.start_workflow_execution(start_request())
        begin = world.loop.time()
        request = history_request(wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
        page = await connection.get_workflow_execution_history(request)
        assert world.loop.time() - begin == 20
        assert not page.history.events
        assert page.next_page_token
        request = history_request(run_id=started.run_id, wait_new_event=True, next_page_token=page.next_page_token)
        request.history_event_filter_type = CLOSE_EVENT
        waiting = asyncio.create_task(connection.get_workflow_execution_history(request))
        worker = Worker(connection).start()
        assert names((await waiting).history.events) == ["WORKFLOW_EXECUTION_COMPLETED"]
        await worker.stop()


@virtual
async def test_events_are_followed_as_they_come(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        worker = Worker(connection).start()
        seen: list[str] = []
        token = b""
        while not seen or token:
            page = await connection.get_workflow_execution_history(
                history_request(wait_new_event=True, next_page_token=token)
            )
            seen += names(page.history.events)
            token = page.next_page_token
        assert seen == ORDER
        await worker.stop()


@virtual
async def test_a_token_stays_with_its_run(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        run_id = await finished(world, connection)
        page = await connection.get_workflow_execution_history(history_request(maximum_page_size=2))
        await connection.start_workflow_execution(start_request())
        rest = await connection.get_workflow_execution_history(history_request(next_page_token=page.next_page_token))
        assert names(rest.history.events) == ORDER[2:]
        other = history_request(run_id="0199a0b0-0000-7000-8000-000000000000", next_page_token=page.next_page_token)
        with pytest.raises(Rejected, match="RunId does not match"):
            await connection.get_workflow_execution_history(other)
        assert run_id


@virtual
async def test_a_worker_gets_a_long_history_by_pages(world: World) -> None:
    async with world.engine(history_page_bytes=2_000, tail_events_max=10) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, steps=15).start()
        await connection.start_workflow_execution(start_request())
        await outcome(connection, "order-1")
        assert len(worker.ran) == 15
        await worker.stop()


@virtual
async def test_a_second_attempt_is_sent_events_that_are_not_in_history(world: World) -> None:
    async with world.engine(history_page_bytes=100, tail_events_max=1) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        for attempt in (2, 3):
            failed = service.RespondWorkflowTaskFailedRequest(task_token=task.task_token)
            await connection.respond_workflow_task_failed(failed)
            task = await connection.poll_workflow_task_queue(workflow_poll())
            assert task.attempt == attempt
            events = list(task.history.events)
            token = task.next_page_token
            while token:
                page = await connection.get_workflow_execution_history(history_request(next_page_token=token))
                events += page.history.events
                token = page.next_page_token
            assert [event.event_id for event in events] == list(range(1, task.started_event_id + 1))
            assert names(events)[-2:] == ["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"]
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        assert names(await history(connection)).count("WORKFLOW_TASK_FAILED") == 1


@virtual
async def test_a_watcher_who_leaves_is_forgotten(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        request = history_request(wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
        waits = [asyncio.create_task(connection.get_workflow_execution_history(request)) for _ in range(3)]
        await asyncio.sleep(1)
        assert engine.watchers._count == 3
        waits[0].cancel()
        await asyncio.sleep(1)
        assert engine.watchers._count == 2
        await engine.stop()
        assert engine.watchers._count == 0


@virtual
async def test_watchers_are_bounded(world: World) -> None:
    async with world.engine(watchers_max=1) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        request = history_request(wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
        first = asyncio.create_task(connection.get_workflow_execution_history(request))
        await asyncio.sleep(1)
        with pytest.raises(Rejected, match="Too many requests wait"):
            await connection.get_workflow_execution_history(request)
        assert not first.done()


@virtual
async def test_a_long_poll_ends_when_the_engine_stops(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        request = history_request(wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
        waiting = asyncio.create_task(connection.get_workflow_execution_history(request))
        await asyncio.sleep(1)
        begin = world.loop.time()
        await engine.stop()
        page = await waiting
        assert world.loop.time() == begin
        assert not page.history.events
        assert page.next_page_token


@virtual
async def test_an_activity_whose_schedule_left_memory_gets_its_input(world: World) -> None:
    async with world.engine(tail_events_max=1) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        commands = [schedule(str(step), data=f'"{step}"'.encode()) for step in range(30)]
        await connection.respond_workflow_task_completed(completion(task.task_token, *commands))
    async with world.engine(tail_events_max=1, decoded_bytes_max=2_000) as engine:
        connection = WorkflowService(engine)
        poll = service.PollActivityTaskQueueRequest(namespace="default")
        poll.task_queue.name = "orders"
        for step in range(30):
            activity = await connection.poll_activity_task_queue(poll)
            assert activity.input.payloads[0].data == f'"{step}"'.encode()

"""Pollers and tasks find each other: in memory, over the durable queue, and when callers leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commit import Commit
from perdure.core.names import QueueName, TaskKind
from perdure.engine import NodeConfig
from perdure.engine.matching.seats import Seat
from perdure.frontend import WorkflowService
from tests.engine.world import (
    ORDER,
    QUEUE,
    Worker,
    World,
    activity_poll,
    complete,
    completion,
    describe_request,
    history,
    names,
    outcome,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

Poll = service.PollWorkflowTaskQueueResponse


async def gone(awaitable: Awaitable[object]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await awaitable


@virtual
async def test_a_long_poll_ends_with_nothing_before_its_client_gives_up(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        begin = world.loop.time()
        polls = [
            connection.poll_workflow_task_queue(workflow_poll()),
            connection.poll_activity_task_queue(activity_poll()),
        ]
        for response in await asyncio.gather(*polls):
            assert not response.task_token
        assert 50 <= world.loop.time() - begin <= 60


@virtual
async def test_polls_are_served_in_order_of_arrival(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        polls = [asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll())) for _ in range(3)]
        await asyncio.sleep(1)
        for number, poll in enumerate(polls):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
            assert (await poll).workflow_execution.workflow_id == f"order-{number}"


@virtual
async def test_a_poll_whose_caller_left_takes_no_task(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        left = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        stays = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        left.cancel()
        await gone(left)
        await connection.start_workflow_execution(start_request())
        assert (await stays).task_token
        assert engine.metrics().orphans == 0


@virtual
async def test_a_task_whose_poller_left_during_the_commit_goes_to_the_next_poller(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        world.store.gate = asyncio.Event()
        started = asyncio.create_task(connection.start_workflow_execution(start_request()))
        await asyncio.sleep(1)
        poll.cancel()
        await gone(poll)
        world.store.gate.set()
        await started
        assert engine.metrics().orphans == 1
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert (task.attempt, task.started_event_id) == (1, 3)
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        assert names(await history(connection))[-1] == "WORKFLOW_EXECUTION_COMPLETED"


@virtual
async def test_a_delivered_task_survives_the_cancellation_of_its_poll(world: World) -> None:
    """The caller is cancelled in the very turn in which its task arrives."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        deliver = engine.matching.deliver

        def deliver_and_cancel(commit: Commit) -> None:
            deliver(commit)
            poll.cancel()

        engine.matching.deliver = deliver_and_cancel
        await connection.start_workflow_execution(start_request())
        await gone(poll)
        engine.matching.deliver = deliver
        assert (await connection.poll_workflow_task_queue(workflow_poll())).attempt == 1
        assert engine.metrics().orphans == 1


@virtual
async def test_an_orphan_that_timed_out_is_not_given_to_anybody(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        world.store.gate = asyncio.Event()
        started = asyncio.create_task(connection.start_workflow_execution(start_request()))
        await asyncio.sleep(1)
        poll.cancel()
        await gone(poll)
        world.store.gate.set()
        await started
        await asyncio.sleep(11)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert task.attempt == 2
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))


@virtual
async def test_a_history_that_cannot_be_read_does_not_swallow_the_task(world: World) -> None:
    async with world.engine(tail_events_max=1, tail_bytes_max=1) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        world.store.fails = lambda method: method == "history"
        with pytest.raises(Rejected) as refused:
            await connection.poll_workflow_task_queue(workflow_poll())
        assert refused.value.code is StatusCode.UNAVAILABLE
        world.store.fails = lambda method: False
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert (task.attempt, len(task.history.events)) == (1, 3)


@virtual
async def test_the_backlog_survives_a_restart(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for number in range(25):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
    async with world.engine(backlog_page=10) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start(pollers=3)
        for number in range(25):
            await outcome(connection, f"order-{number}")
            assert names(await history(connection, f"order-{number}")) == ORDER
        assert engine.metrics().stale_rows == 0
        await worker.stop()


@virtual
async def test_a_backlog_larger_than_memory_is_read_by_pages(world: World) -> None:
    async with world.engine(backlog_rows_max=5, backlog_page=4) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, steps=1)
        await worker.workflow_task_or_nothing()
        for number in range(40):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
        worker.start()
        for number in range(40):
            await outcome(connection, f"order-{number}")
        assert len(worker.ran) == len(set(worker.ran)) == 40
        await worker.stop()


@virtual
async def test_rows_that_another_node_added_are_found(world: World) -> None:
    async with world.engine(node=NodeConfig()) as one, world.engine(node=NodeConfig()) as two:
        poll = asyncio.create_task(WorkflowService(one).poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(20)
        await WorkflowService(two).start_workflow_execution(start_request())
        begin = world.loop.time()
        assert (await poll).task_token
        assert world.loop.time() - begin <= 1


@virtual
async def test_a_row_is_tried_again_when_the_store_failed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        for method in ("tasks", "commit"):
            world.store.fails = lambda called, method=method: called == method
            poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
            await asyncio.sleep(5)
            assert not poll.done()
            assert world.store.calls.count(method) < 10, "not in a tight loop"
            if method == "tasks":
                poll.cancel()
        world.store.fails = lambda method: False
        assert (await poll).task_token


@virtual
async def test_a_stale_row_is_dropped_and_the_poll_goes_on(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_activity_task_queue(activity_poll()))
        await asyncio.sleep(61)
        assert not (await poll).task_token
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))
        request = service.TerminateWorkflowExecutionRequest(namespace="default")
        request.workflow_execution.workflow_id = "order-1"
        await connection.terminate_workflow_execution(request)
        assert not (await connection.poll_activity_task_queue(activity_poll())).task_token
        assert engine.metrics().stale_rows == 1
        assert await world.store.queues() == [], "the store forgot it in the commit that ended the run"


@virtual
async def test_a_sticky_queue_without_its_worker_falls_back(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        assert not (await connection.poll_workflow_task_queue(workflow_poll("sticky-1", QUEUE))).task_token
        task = await connection.poll_workflow_task_queue(workflow_poll())
        answer = completion(task.task_token, schedule("1"), sticky="sticky-1")
        await connection.respond_workflow_task_completed(answer)
        activity = await connection.poll_activity_task_queue(activity_poll())
        await connection.respond_activity_task_completed(
            service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
        )
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert task.previous_started_event_id == 3
        assert task.history.events[0].event_id == 1, "a normal queue's worker is sent everything"


@virtual
async def test_a_worker_that_shuts_down_gives_up_its_sticky_queue(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        sticky = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll("sticky-1", QUEUE)))
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        answer = completion(task.task_token, schedule("1"), sticky="sticky-1")
        await connection.respond_workflow_task_completed(answer)
        await connection.shutdown_worker(
            service.ShutdownWorkerRequest(namespace="default", sticky_task_queue="sticky-1")
        )
        assert not (await sticky).task_token
        activity = await connection.poll_activity_task_queue(activity_poll())
        await connection.respond_activity_task_completed(
            service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
        )
        begin = world.loop.time()
        assert (await connection.poll_workflow_task_queue(workflow_poll())).task_token
        assert world.loop.time() == begin


@virtual
async def test_too_many_polls_of_one_queue_are_refused(world: World) -> None:
    async with world.engine(pollers_per_queue_max=3) as engine:
        connection = WorkflowService(engine)
        polls = [asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll())) for _ in range(3)]
        await asyncio.sleep(1)
        with pytest.raises(Rejected) as refused:
            await connection.poll_workflow_task_queue(workflow_poll())
        assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
        polls[1].cancel()
        await gone(polls[1])
        polls.append(asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll())))
        await asyncio.sleep(1)
        assert not polls[3].done(), "there was room again"


@virtual
async def test_queues_that_nobody_polls_are_forgotten(world: World) -> None:
    async with world.engine(long_poll_ns=1_000_000_000) as engine:
        connection = WorkflowService(engine)
        for number in range(600):
            await connection.poll_workflow_task_queue(workflow_poll(f"sticky-{number}"))
        assert len(engine.matching._queues) <= 256


@virtual
async def test_a_stop_answers_those_who_poll(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        await engine.stop()
        assert await poll == Poll()
        with pytest.raises(Rejected) as refused:
            await connection.poll_workflow_task_queue(workflow_poll())
        assert refused.value.code is StatusCode.UNAVAILABLE


@virtual
async def test_ten_thousand_activities_at_once(world: World) -> None:
    """Two hundred runs with fifty activities each, more than memory holds of the queue."""
    async with world.engine(backlog_rows_max=500, backlog_page=200, tail_events_max=20) as engine:
        connection = WorkflowService(engine)
        for number in range(200):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            commands = [schedule(str(step)) for step in range(50)]
            await connection.respond_workflow_task_completed(completion(task.task_token, *commands))
        done: set[tuple[str, str]] = set()

        async def run_activities() -> None:
            while len(done) < 10_000:
                activity = await connection.poll_activity_task_queue(activity_poll())
                if activity.task_token:
                    done.add((activity.workflow_execution.run_id, activity.activity_id))
                    await connection.respond_activity_task_completed(
                        service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
                    )

        workers: list[Callable[[], Awaitable[None]]] = [run_activities] * 40
        await asyncio.gather(*(worker() for worker in workers))
        described = await connection.describe_workflow_execution(describe_request("order-7"))
        assert not described.pending_activities
        assert engine.metrics().stale_rows == 0


@virtual
async def test_a_seat_takes_one_task_after_another_without_being_asked_for(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        taken: list[tuple[Poll, Callable[[], None]]] = []
        connection.serve_workflow_tasks(workflow_poll(), 1, lambda task, free: taken.append((task, free)))
        for number in range(2):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(100)
        assert [task.workflow_execution.workflow_id for task, _ in taken] == ["order-0"], "there is one seat"
        taken[0][1]()
        await asyncio.sleep(1)
        assert [task.workflow_execution.workflow_id for task, _ in taken] == ["order-0", "order-1"]


@virtual
async def test_a_seat_that_was_left_takes_nothing(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        taken: list[Poll] = []
        leave = connection.serve_workflow_tasks(workflow_poll(), 3, lambda task, free: taken.append(task))
        leave()
        await connection.start_workflow_execution(start_request())
        assert (await connection.poll_workflow_task_queue(workflow_poll())).task_token
        assert not taken


@virtual
async def test_a_seat_whose_task_cannot_be_read_gives_it_back_and_waits_a_moment(world: World) -> None:
    async with world.engine(tail_bytes_max=0) as engine:
        connection = WorkflowService(engine)
        taken: list[Poll] = []
        connection.serve_workflow_tasks(workflow_poll(), 1, lambda task, free: taken.append(task))
        failing = [True]
        world.store.fails = lambda method: method == "history" and bool(failing) and failing.pop()
        await connection.start_workflow_execution(start_request())
        await asyncio.sleep(0.5)
        assert not taken
        await asyncio.sleep(5)
        assert len(taken) == 1


@virtual
async def test_a_task_at_hand_reads_like_the_response_of_a_poll(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        taken: list[Poll] = []
        connection.serve_workflow_tasks(workflow_poll(), 1, lambda task, free: taken.append(task))
        await connection.start_workflow_execution(start_request())
        [task] = taken
        assert not task.HasField("query")
        assert task.HasField("workflow_execution_task_queue"), "asked of the message, which is made then"
        assert task.workflow_type.name == "fulfil"
        said = Poll.FromString(task.SerializeToString())
        assert list(said.history.events) == list(task.history.events)
        assert (said.task_token, said.attempt, said.started_event_id, said.workflow_execution) == (
            task.task_token, task.attempt, task.started_event_id, task.workflow_execution,
        )  # fmt: skip


@virtual
async def test_a_queue_is_polled_while_a_worker_of_this_process_has_seats_however_busy_it_is(world: World) -> None:
    """A seat never ceases to ask: between its tasks too, and while none of them is free."""
    queue, other = (QueueName("default", name, TaskKind.WORKFLOW) for name in (QUEUE, "others"))
    async with world.engine(polled_ns=1_000_000_000) as engine:
        matching = engine.matching
        assert not matching.is_polled(queue) and not matching.polled_now()
        held: list[object] = []
        seat = Seat(matching, queue, "it", "worker-1", lambda seat, task: held.append(task))
        assert matching.is_polled(queue), "before its first task"
        seat.free()
        await WorkflowService(engine).start_workflow_execution(start_request())
        await asyncio.sleep(60)
        assert len(held) == 1 and seat.done(), "for a minute it had no room"
        assert matching.is_polled(queue) and not matching.is_polled(other)
        assert matching.polled_now() == [queue]
        assert list(matching.pollers(queue)) == ["it"] and matching.polled("default", TaskKind.WORKFLOW) == [QUEUE]
        second = Seat(matching, queue, "it too", "worker-2", lambda seat, task: held.append(task))
        matching.end_worker("default", "worker-1")
        assert matching.is_polled(queue), "the other one is there"
        matching.end_worker("default", "worker-2")
        assert matching.is_polled(queue), "until a moment ago it was"
        await asyncio.sleep(2)
        assert not matching.is_polled(queue)
        second.free()
        assert second.done() and not matching.is_polled(queue), "who has ended does not ask any more"

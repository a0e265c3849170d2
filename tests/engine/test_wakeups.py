"""Deadlines: one number in memory, everything else in the store."""

from __future__ import annotations

import asyncio

import pytest

from perdure.api.errors import Rejected
from perdure.core.commands import StartWorkflow
from perdure.engine import NodeConfig
from perdure.engine.duties.wakeups import NEVER_NS
from perdure.frontend import WorkflowService
from tests.engine.test_mailboxes import start, status
from tests.engine.world import (
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
    sleep,
    start_request,
    virtual,
    virtual_logged,
    workflow_poll,
)

HOUR = 3600


async def fall_asleep(connection: WorkflowService, workflow_id: str, seconds: int) -> None:
    await connection.start_workflow_execution(start_request(workflow_id))
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token, sleep("nap", seconds)))


@virtual
async def test_nobody_is_woken_when_nobody_sleeps(world: World) -> None:
    async with world.engine() as engine:
        assert engine.waker.next_ns == NEVER_NS
        await asyncio.sleep(HOUR)
        assert "due" not in world.store.calls


@virtual
async def test_a_deadline_is_met_to_the_nanosecond(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await fall_asleep(connection, "order-1", HOUR)
        begin = world.loop.now_ns
        while names(await history(connection)).count("TIMER_FIRED") == 0:
            await engine.waker.passes.reached(engine.waker.passes.count + 1)
        assert world.loop.now_ns - begin == HOUR * 10**9


@virtual
async def test_an_earlier_deadline_is_heard_while_the_waker_sleeps(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await fall_asleep(connection, "late", 10 * HOUR)
        await asyncio.sleep(60)
        await fall_asleep(connection, "early", HOUR)
        await asyncio.sleep(HOUR + 1)
        assert "TIMER_FIRED" in names(await history(connection, "early"))
        assert "TIMER_FIRED" not in names(await history(connection, "late"))


@virtual
async def test_ten_thousand_due_at_once_go_by_in_pages(world: World) -> None:
    async with world.engine() as engine:
        for number in range(10_000):
            request = start_request(f"order-{number}")
            request.workflow_start_delay.seconds = 100 * HOUR
            await engine.submit("default", request.workflow_id, None, StartWorkflow(request))
    world.loop.advance(200 * HOUR * 10**9)
    async with world.engine(wake_page=500, cache_bytes_max=1 << 20) as engine:
        await engine.waker.passes.reached(1)
        metrics = engine.metrics()
        assert metrics.wakes == metrics.commits == 10_000
        assert world.store.calls.count("due") == 21
        assert metrics.cached_bytes <= 1 << 20
        assert engine.waker.next_ns == NEVER_NS
        for number in (0, 4_999, 9_999):
            assert "WORKFLOW_TASK_SCHEDULED" in names(await history(WorkflowService(engine), f"order-{number}"))


@virtual
async def test_what_is_started_while_very_many_wake_stands_behind_a_slice_or_two_of_them(world: World) -> None:
    async with world.engine() as engine:
        for number in range(1_000):
            request = start_request(f"order-{number}")
            request.workflow_start_delay.seconds = 100 * HOUR
            await engine.submit("default", request.workflow_id, None, StartWorkflow(request))
    world.loop.advance(200 * HOUR * 10**9)
    async with world.engine(wake_page=50) as engine:
        connection = WorkflowService(engine)
        before: list[str] = []
        most = 0
        while len(before) < 1_000:
            if len(before) == 300:
                await connection.start_workflow_execution(start_request("new"))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            before.append(task.workflow_execution.workflow_id)
            most = max(most, sum([await world.store.count_tasks(queue) for queue in await world.store.queues()]))
            await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
            await asyncio.sleep(0.01)
        assert before.index("new") < 350
        assert most <= 48


@virtual
async def test_workers_that_take_nothing_hold_up_nobody_who_is_due_for_long(world: World) -> None:
    async with world.engine() as engine:
        for number in range(200):
            request = start_request(f"order-{number}")
            request.workflow_start_delay.seconds = 100 * HOUR
            await engine.submit("default", request.workflow_id, None, StartWorkflow(request))
    world.loop.advance(200 * HOUR * 10**9)
    async with world.engine(wake_page=20, wake_patience_ns=3 * 10**9) as engine:
        begin = world.loop.now_ns
        connection = WorkflowService(engine)
        polled = await connection.poll_workflow_task_queue(workflow_poll())  # one task, and the queue counts as polled
        assert polled.task_token
        await engine.waker.passes.reached(1)
        assert engine.metrics().wakes >= 200  # and perhaps once more for the task that was taken and not answered
        assert 0 < (world.loop.now_ns - begin) / 10**9 <= 10 * 3


@virtual
async def test_a_store_that_fails_delays_wake_ups_and_loses_none(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await fall_asleep(connection, "order-1", 10)
        for method in ("due", "commit"):
            world.store.fails = lambda called, method=method: called == method
            await asyncio.sleep(100)
            assert world.store.calls.count("due") < 600, "not in a tight loop"
        assert "TIMER_FIRED" not in names(await history(connection))
        world.store.fails = lambda method: False
        await asyncio.sleep(2)
        assert "TIMER_FIRED" in names(await history(connection))


@virtual
async def test_one_that_cannot_be_woken_does_not_hold_up_the_others(world: World) -> None:
    async with world.engine(wake_page=2) as engine:
        connection = WorkflowService(engine)
        for number in range(6):
            await fall_asleep(connection, f"order-{number}", HOUR)
        submit = engine.waker._submit

        def refuse_some(namespace: str, workflow_id: str, run_id: str | None, command: object) -> object:
            if workflow_id in ("order-0", "order-1", "order-2"):
                raise Rejected(8, "too much")  # pyright: ignore[reportArgumentType]
            return submit(namespace, workflow_id, run_id, command)  # pyright: ignore[reportArgumentType]

        engine.waker._submit = refuse_some  # pyright: ignore[reportAttributeAccessIssue]
        await asyncio.sleep(HOUR + 1)
        fired = ["TIMER_FIRED" in names(await history(connection, f"order-{number}")) for number in range(6)]
        assert fired == [False, False, False, True, True, True]
        engine.waker._submit = submit
        await asyncio.sleep(2)
        assert "TIMER_FIRED" in names(await history(connection, "order-0"))


@virtual_logged
async def test_one_that_can_never_be_woken_is_tried_more_and_more_slowly_and_delays_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine(wake_page=1) as engine:
        connection = WorkflowService(engine)
        await fall_asleep(connection, "good-0", HOUR)
        for number in range(3):
            await fall_asleep(connection, f"bad-{number}", 60)
        await fall_asleep(connection, "good-1", 2 * HOUR)
        world.store.refuses = lambda commit: commit.key.workflow_id.startswith("bad")
        begin, before = world.loop.now_ns, engine.metrics().wakes
        for good in ("good-0", "good-1"):
            while "TIMER_FIRED" not in names(await history(connection, good)):
                await engine.waker.passes.reached(engine.waker.passes.count + 1)
        assert (world.loop.now_ns - begin) // 10**9 == 2 * HOUR, "to the second"
        tries = engine.metrics().wakes - before
        assert 3 * 15 <= tries <= 3 * 25, "more and more slowly, for two hours"
        assert engine.waker.is_stuck
        lines = [record for record in caplog.records if record.name.endswith("wakeups")]
        assert len(lines) <= tries
        assert "'bad-0' is due but cannot be woken, trying again in 1 s: no column is wide enough" in caplog.text
        assert "Traceback" not in caplog.text
        world.store.refuses = lambda commit: False
        await asyncio.sleep(601)
        assert "TIMER_FIRED" in names(await history(connection, "bad-2"))
        assert not engine.waker.is_stuck


@virtual_logged
async def test_many_that_cannot_be_woken_are_counted_and_not_each_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        for number in range(50):
            await fall_asleep(WorkflowService(engine), f"bad-{number}", 60)
        await asyncio.sleep(30)
        world.store.refuses = lambda commit: True
        await asyncio.sleep(30.5)
        lines = [record.getMessage() for record in caplog.records if record.name.endswith("wakeups")]
        assert len(lines) == 11
        assert lines[-1] == "40 other workflows are due but cannot be woken either"


@virtual
async def test_time_outs_and_back_offs_are_wake_ups_too(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, steps=1)
        await connection.start_workflow_execution(start_request())
        await worker.workflow_task()
        first = await connection.poll_activity_task_queue(activity_poll())
        await asyncio.sleep(29)
        described = await connection.describe_workflow_execution(describe_request())
        assert described.pending_activities[0].attempt == 1
        second = await connection.poll_activity_task_queue(activity_poll())
        assert (first.attempt, second.attempt) == (1, 2)


@virtual
async def test_a_jump_of_the_wall_clock_is_noticed_within_a_minute(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await fall_asleep(connection, "order-1", HOUR)
        world.clock._epoch_ns += 2 * HOUR * 10**9
        await asyncio.sleep(61)
        assert "TIMER_FIRED" in names(await history(connection))


@virtual
async def test_a_node_wakes_what_another_node_put_to_sleep(world: World) -> None:
    async with world.engine(node=NodeConfig()) as one:
        async with world.engine(node=NodeConfig()) as two:
            await fall_asleep(WorkflowService(two), "order-1", HOUR)
        await asyncio.sleep(HOUR + 1)
        assert "TIMER_FIRED" in names(await history(WorkflowService(one)))


@pytest.mark.parametrize("attempts", [1, 3])
def test_an_activity_that_nobody_answers_times_out(attempts: int) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            await connection.start_workflow_execution(start_request())
            task = await connection.poll_workflow_task_queue(workflow_poll())
            command = schedule("1", seconds=10, attempts=attempts)
            await connection.respond_workflow_task_completed(completion(task.task_token, command))
            for attempt in range(1, attempts + 1):
                assert (await connection.poll_activity_task_queue(activity_poll())).attempt == attempt
            task = await connection.poll_workflow_task_queue(workflow_poll())
            assert names(task.history.events)[-3:-1] == ["ACTIVITY_TASK_TIMED_OUT", "WORKFLOW_TASK_SCHEDULED"]

    scenario()


@virtual
async def test_wakes_are_no_ops_for_those_who_are_not_due(world: World) -> None:
    async with world.engine() as engine:
        await engine.submit("default", "order-1", None, start())
        assert await engine.read("default", "order-1", None, status) == 1
        commits = engine.metrics().commits
        await asyncio.sleep(HOUR)
        assert engine.metrics().commits == commits, "a workflow task that nobody polls has no deadline"
        worker = Worker(WorkflowService(engine)).start()
        await outcome(WorkflowService(engine), "order-1")
        await worker.stop()

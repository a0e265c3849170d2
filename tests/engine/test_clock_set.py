"""The wall clock of the machine is set under an engine: what is in hand goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.engine.engine import Engine
from perdure.engine.node.clock import Jump, WatchedClock
from perdure.frontend import WorkflowService
from perdure.testing import run_virtual
from tests.engine.test_mailboxes import start
from tests.engine.world import (
    ORDER,
    Worker,
    World,
    activity_poll,
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
SECOND_NS = 1_000_000_000
BOTH = (1, -1)


def set_clock(world: World, hours: float) -> None:
    world.clock._epoch_ns += round(hours * HOUR * SECOND_NS)


async def somebody_comes(engine: Engine, name: str) -> None:
    """Whatever is asked of an engine makes it look at the clock."""
    command = start(name)
    command.request.task_queue.name, command.request.workflow_type.name = "nobody's", "other"
    await engine.submit("default", name, None, command)


@pytest.mark.parametrize("hours", BOTH)
def test_what_workers_hold_is_not_timed_out_and_their_answers_are_taken(hours: int) -> None:
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            ids = [f"{hours}-task", f"{hours}-activity"]
            for name in ids:
                await connection.start_workflow_execution(start_request(name))
            tasks = [await connection.poll_workflow_task_queue(workflow_poll()) for _ in ids]
            await connection.respond_workflow_task_completed(completion(tasks[1].task_token, schedule("1", 30)))
            held = await connection.poll_activity_task_queue(activity_poll())
            set_clock(world, hours)
            await somebody_comes(engine, f"{hours}-other")
            await asyncio.sleep(5)
            assert engine.metrics().clock_jumps == 1
            await connection.respond_workflow_task_completed(completion(tasks[0].task_token, sleep("nap", 5)))
            answer = service.RespondActivityTaskCompletedRequest(task_token=held.task_token)
            await connection.respond_activity_task_completed(answer)
            for name in ids:
                assert not [one for one in names(await history(connection, name)) if "TIMED_OUT" in one], hours
            await asyncio.sleep(5)
            assert names(await history(connection, ids[0])).count("TIMER_FIRED") == 1, hours

    run_virtual(lambda loop: scenario(World(loop)))


@pytest.mark.parametrize("hours", BOTH)
def test_what_a_dead_worker_held_is_noticed_when_it_would_have_been(hours: int) -> None:
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            name = f"order-{hours}"
            await connection.start_workflow_execution(start_request(name))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", 30)))
            await connection.poll_activity_task_queue(activity_poll())
            begin = world.loop.time()
            await asyncio.sleep(10)
            set_clock(world, hours)
            await somebody_comes(engine, f"{hours}-other")
            described = await connection.describe_workflow_execution(describe_request(name))
            assert described.pending_activities[0].attempt == 1
            second = await connection.poll_activity_task_queue(activity_poll())
            assert second.attempt == 2
            assert round(world.loop.time() - begin) == 31, "thirty seconds, and a second of back-off"

    run_virtual(lambda loop: scenario(World(loop)))


@virtual
async def test_back_offs_and_sleeps_do_not_wait_for_the_hour_that_a_clock_was_set_back(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for name, command in (("retry", schedule("1", 30)), ("sleep", sleep("nap", 20))):
            await connection.start_workflow_execution(start_request(name))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token, command))
        held = await connection.poll_activity_task_queue(activity_poll())
        await connection.respond_activity_task_failed(
            service.RespondActivityTaskFailedRequest(task_token=held.task_token)
        )
        begin = world.loop.time()
        set_clock(world, -1)
        again = await connection.poll_activity_task_queue(activity_poll())
        assert again.attempt == 2
        assert round(world.loop.time() - begin) == 1
        await asyncio.sleep(20 - (world.loop.time() - begin) + 0.1)
        assert "TIMER_FIRED" in names(await history(connection, "sleep"))


@virtual
async def test_a_crowd_goes_on_without_a_pause(world: World) -> None:
    """Forty workflows of activities and sleeps, while the clock goes forward and back under them."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, steps=2, timer_s=3).start(pollers=4)
        begin = world.loop.time()
        for number in range(40):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
            if number % 8 == 3:
                set_clock(world, BOTH[number % 2] * (number + 1))
            await asyncio.sleep(0.2)
        for number in range(40):
            await outcome(connection, f"order-{number}")
            assert not [one for one in names(await history(connection, f"order-{number}")) if "TIMED_OUT" in one]
        assert world.loop.time() - begin < 40 * 0.2 + 5
        assert engine.metrics().clock_jumps == 5
        await worker.stop()


@virtual
async def test_a_batch_goes_on_when_the_clock_is_set_back(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for number in range(10):
            await engine.submit("default", f"order-{number}", None, start(f"order-{number}"))
        request = service.StartBatchOperationRequest(namespace="default", job_id="all", reason="test")
        request.visibility_query, request.max_operations_per_second = 'WorkflowType = "fulfil"', 2
        request.signal_operation.signal = "go"
        await connection.start_batch_operation(request)
        await asyncio.sleep(1.2)
        set_clock(world, -1)
        await somebody_comes(engine, "somebody")
        await asyncio.sleep(6)
        described = await connection.describe_batch_operation(
            service.DescribeBatchOperationRequest(namespace="default", job_id="all")
        )
        assert described.complete_operation_count == 10


@virtual_logged
async def test_it_is_told_of_once_and_a_clock_set_on_purpose_is_not(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        await somebody_comes(engine, "a")
        set_clock(world, 1)
        engine.clock_moved()
        await somebody_comes(engine, "b")
        assert (engine.metrics().clock_jumps, caplog.records) == (0, [])
        set_clock(world, 1)
        for name in ("c", "d"):
            await somebody_comes(engine, name)
        await asyncio.sleep(1)
        told = [record.getMessage() for record in caplog.records]
        assert told == ["the wall clock was set by +3600.0 s: 0 executions keep the time that they were given"]


@virtual
async def test_a_store_that_fails_meanwhile_puts_it_off(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        world.store.fails = lambda method: method == "in_flight"
        set_clock(world, 1)
        await somebody_comes(engine, "other")
        await asyncio.sleep(5)
        world.store.fails = lambda method: False
        await asyncio.sleep(2)
        await connection.respond_workflow_task_completed(completion(task.task_token))
        assert names(await history(connection)) == ORDER[:4]


# --- the watch ----------------------------------------------------------------------------------------


class TwoClocks:
    """A wall clock, and one that cannot be set; each look at the wall costs `lag` seconds."""

    def __init__(self) -> None:
        self.wall_s = 1_000.0
        self.steady_s = 0.0
        self.lag: list[float] = []
        self.jumps: list[Jump] = []
        self.watched = WatchedClock(self, self.jumps.append)
        self.watched.start(lambda: self.steady_s)

    def now_ns(self) -> int:
        seen_ns = round(self.wall_s * SECOND_NS)
        if self.lag:
            self.pass_by(self.lag.pop())
        return seen_ns

    def pass_by(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds


def test_a_jump_is_known_with_its_size_before_the_time_is_told() -> None:
    clocks = TwoClocks()
    clocks.pass_by(10)
    clocks.watched.now_ns()
    for by in (3600, -3600, 3, -86_400):
        clocks.wall_s += by
        told_ns = clocks.watched.now_ns()
        jump = clocks.jumps.pop()
        assert (jump.by_ns, jump.since_ns, jump.old_ns) == (by * SECOND_NS, told_ns, told_ns - by * SECOND_NS)
    assert clocks.jumps == []


def drift(clocks: TwoClocks) -> None:
    for _ in range(1000):
        clocks.pass_by(60)
        clocks.wall_s += 0.03
        clocks.watched.now_ns()


def stand_still(clocks: TwoClocks) -> None:
    """SIGSTOP between one clock and the other."""
    clocks.lag = [0, 0, 15, 15]
    clocks.watched.now_ns()
    clocks.watched.now_ns()


def sleep_long(clocks: TwoClocks) -> None:
    clocks.pass_by(86_400)
    clocks.watched.now_ns()


@pytest.mark.parametrize("act", [drift, stand_still, sleep_long])
def test_what_is_no_jump_is_taken_for_none(act: Callable[[TwoClocks], None]) -> None:
    clocks = TwoClocks()
    act(clocks)
    assert clocks.jumps == []
    assert clocks.watched.now_ns() == round(clocks.wall_s * SECOND_NS)

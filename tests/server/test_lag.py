"""Stalls of the event loop: counted, and told under the name of what held it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, GetSystemInfoRequest

from perdure.engine.deciding import mailboxes
from perdure.engine.node.metrics import Metrics
from perdure.frontend import lag
from perdure.frontend.http.exposition import exposition
from perdure.frontend.lag import LagWatch, Stalls
from tests.engine.world import start_request
from tests.server.given import World, served


def hold(watch: LagWatch) -> None:
    """Keep the loop busy until the thread has noticed, and a little longer: a stall is more than a late look."""
    watch.noticed.clear()
    begin = time.monotonic()
    while time.monotonic() - begin < 30 and not (watch.noticed.is_set() and time.monotonic() - begin > 3 * lag.LAG_S):
        sum(range(1_000))
    assert watch.noticed.is_set()


async def counted(watch: LagWatch) -> dict[str, Stalls]:
    await watch.strokes.reached(watch.strokes.count + 1)
    return watch.stalls


def watched(test: Callable[[LagWatch], object]) -> Callable[[], None]:
    def run() -> None:
        async def life() -> None:
            watch = LagWatch()
            watch.start()
            try:
                await test(watch)  # type: ignore[misc]
            finally:
                watch.stop()

        asyncio.run(life())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@watched
async def test_a_task_is_told_by_its_name_or_by_its_coroutine(watch: LagWatch) -> None:
    async def nameless() -> None:
        hold(watch)

    await asyncio.create_task(nameless(), name="ListSchedules")
    assert "ListSchedules" in await counted(watch)
    await asyncio.create_task(nameless())
    assert any(name.endswith("nameless") for name in await counted(watch))


@watched
async def test_a_callback_is_told_by_its_function(watch: LagWatch) -> None:
    done = asyncio.get_running_loop().create_future()

    def call() -> None:
        hold(watch)
        done.set_result(None)

    asyncio.get_running_loop().call_soon(call)
    await done
    assert "outside of perdure" in await counted(watch)


@watched
async def test_a_loop_that_is_idle_did_not_stand_still(watch: LagWatch) -> None:
    await watch.strokes.reached(5)
    assert sum(one.count for one in watch.stalls.values()) < 5, "a busy machine may be late now and then"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stalls_of_one_name_are_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    watch = LagWatch(clock := Clock())
    for _ in range(5):
        watch._seen["ListSchedules", "frontend/schedules.py:1 list"] += 1
        watch._count(clock.now, 0.25)
        watch._seen.clear()
        clock.now += 3
    watch._count(clock.now, 0.125)
    assert [record.getMessage() for record in caplog.records] == [
        "the event loop stood still for 250 ms: ListSchedules (frontend/schedules.py:1 list)",
        "the event loop stood still for 250 ms: ListSchedules (frontend/schedules.py:1 list); "
        "3 times more since this was last told",
        "the event loop stood still for 125 ms: unknown (nobody looked in time)",
    ]
    stalls = watch.stalls["ListSchedules"]
    assert (stalls.count, stalls.seconds, stalls.longest_s) == (5, 1.25, 0.25)


def test_metrics_say_who_held_the_loop() -> None:
    text = exposition(Metrics(), {}, {}, {'a "name"': Stalls(2, 0.5, 0.25)})
    assert 'perdure_loop_lag_stalls_total{what="a \\"name\\""} 2\n' in text
    assert 'perdure_loop_lag_seconds_total{what="a \\"name\\""} 0.5\n' in text
    assert 'perdure_loop_lag_seconds_max{what="a \\"name\\""} 0.25\n' in text


@served
async def test_an_rpc_that_holds_the_loop_is_told_by_its_name(world: World) -> None:
    watch = world.server.lag
    count = world.engine.count_executions

    async def slow(*arguments: object) -> object:
        hold(watch)
        return await count(*arguments)  # type: ignore[arg-type]

    world.engine.count_executions = slow  # type: ignore[method-assign,assignment]
    await world.client.call("GetSystemInfo", GetSystemInfoRequest())
    await world.client.call("CountWorkflowExecutions", CountWorkflowExecutionsRequest(namespace="default"))
    assert "CountWorkflowExecutions" in await counted(watch)
    assert 'perdure_loop_lag_stalls_total{what="CountWorkflowExecutions"}' in world.server._metrics()[2]


@served
async def test_a_decision_is_told_by_its_commands(world: World) -> None:
    watch = world.server.lag
    decide = mailboxes.decide

    def slow(*arguments: Any) -> Any:
        hold(watch)
        return decide(*arguments)

    mailboxes.decide = slow
    try:
        await world.client.call("StartWorkflowExecution", start_request())
    finally:
        mailboxes.decide = decide
    assert "StartWorkflow" in await counted(watch)

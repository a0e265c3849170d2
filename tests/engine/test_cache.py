"""One memory setting, and what it keeps."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from temporalio.api.workflowservice import v1 as service

from perdure.frontend import WorkflowService
from tests.engine.test_mailboxes import cancel, start
from tests.engine.world import (
    ORDER,
    Worker,
    World,
    completion,
    history,
    names,
    outcome,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)


@virtual
async def test_what_was_used_is_in_memory(world: World) -> None:
    async with world.engine() as engine:
        await engine.submit("default", "order-1", None, start())
        await engine.submit("default", "order-1", None, cancel())
        assert engine.metrics().cached == 1
        assert engine.metrics().loads == 0


@virtual
async def test_memory_stays_within_its_bound_and_nothing_is_lost(world: World) -> None:
    async with world.engine(cache_bytes_max=100_000) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start(pollers=5)
        ids = [f"order-{number}" for number in range(100)]
        await asyncio.gather(*(connection.start_workflow_execution(start_request(id_)) for id_ in ids))
        await asyncio.gather(*(outcome(connection, id_) for id_ in ids))
        metrics = engine.metrics()
        assert 0 < metrics.cached_bytes <= 100_000
        assert metrics.evictions > 50
        for id_ in ids:
            assert names(await history(connection, id_)) == ORDER
        await worker.stop()


@virtual
async def test_no_memory_at_all_works_too(world: World) -> None:
    async with world.engine(cache_bytes_max=0) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, sticky="sticky-1").start()
        await connection.start_workflow_execution(start_request())
        await outcome(connection, "order-1")
        assert names(await history(connection)) == ORDER
        assert engine.metrics().cached == 0
        assert engine.metrics().loads > 5
        await worker.stop()


@virtual
async def test_sleepers_are_evicted_before_those_whose_worker_will_answer(world: World) -> None:
    async with world.engine() as probe:
        await probe.submit("default", "probe", None, start("probe"))
        one = probe.metrics().cached_bytes
    async with world.engine(cache_bytes_max=6 * one) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request("working"))
        held = await connection.poll_workflow_task_queue(workflow_poll())
        for number in range(20):
            await connection.start_workflow_execution(start_request(f"asleep-{number}"))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token, sleep("nap", 3600)))
        evictions, loads = engine.metrics().evictions, engine.metrics().loads
        assert evictions >= 10
        await connection.respond_workflow_task_completed(completion(held.task_token, sleep("nap", 3600)))
        assert engine.metrics().loads == loads, "the working one was still there"


@virtual
async def test_of_closed_runs_the_latest_few_stay_in_memory(world: World) -> None:
    async with world.engine(closed_max=3) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start()
        for number in range(10):
            await connection.start_workflow_execution(start_request(f"order-{number}"))
            await outcome(connection, f"order-{number}")
        assert engine.metrics().cached == 3
        assert engine.metrics().loads == 0
        assert names(await history(connection, "order-0")) == ORDER
        await worker.stop()


@virtual
async def test_a_run_is_weighed_again_when_it_has_grown_by_more_than_a_little(world: World) -> None:
    """What every commit would pay for is paid once in a kilobyte, and never more than that is overlooked."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await connection.poll_workflow_task_queue(workflow_poll())  # and is not answered: the run stays on its shelf
        mailbox = engine.mailboxes.peek("default", "order-1")
        assert mailbox is not None and mailbox.execution is not None
        weights: list[tuple[int, int]] = []
        for _ in range(60):
            execution = mailbox.execution
            weights.append((execution.history_bytes + execution.facts.state_bytes, engine.metrics().cached_bytes))
            await connection.signal_workflow_execution(signal_of("order-1", 60))
        steps = [(new[0] - old[0], new[1] - old[1]) for old, new in pairwise(weights)]
        assert all(0 < grown < 512 for grown, _ in steps)
        weighed = [place for place, (_, change) in enumerate(steps) if change]
        assert 3 < len(weighed) < len(steps) / 2, "seldom"
        for last, this in pairwise(weighed):
            assert 1024 <= sum(grown for grown, _ in steps[last + 1 : this + 1]) < 1024 + 512
        before = engine.metrics().cached_bytes
        await connection.signal_workflow_execution(signal_of("order-1", 5_000))
        assert engine.metrics().cached_bytes - before > 5_000, "at once, if it grows by much"
        engine.mailboxes.forget(mailbox.execution.key)
        assert engine.metrics().cached_bytes == 0, "it gives back what it was said to weigh"


def signal_of(workflow_id: str, size: int) -> service.SignalWorkflowExecutionRequest:
    request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="go")
    request.workflow_execution.workflow_id = workflow_id
    request.input.payloads.add(data=b"x" * size)
    return request

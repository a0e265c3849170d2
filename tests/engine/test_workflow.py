"""A whole workflow through the front end, in the ways in which its tasks can travel."""

from __future__ import annotations

import asyncio

from perdure.frontend import WorkflowService
from tests.engine.world import ORDER, Worker, World, history, names, outcome, start_request, virtual


@virtual
async def test_a_workflow_runs_to_its_end(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start()
        started = await connection.start_workflow_execution(start_request())
        assert started.started
        closing = await outcome(connection, "order-1", started.run_id)
        assert closing.workflow_execution_completed_event_attributes.result.payloads[0].data == b'"done"'
        events = await history(connection)
        assert names(events) == ORDER
        assert [event.event_id for event in events] == list(range(1, len(ORDER) + 1))
        await worker.stop()


@virtual
async def test_waiting_pollers_get_their_tasks_in_the_commit_that_schedules_them(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start(pollers=3)
        await asyncio.sleep(1)
        await connection.start_workflow_execution(start_request())
        await outcome(connection, "order-1")
        metrics = engine.metrics()
        assert (metrics.sync_matches, metrics.row_starts) == (5, 0)
        assert metrics.commits == 6
        await worker.stop()


@virtual
async def test_tasks_wait_as_rows_for_a_worker_that_comes_later(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await asyncio.sleep(3600)
        worker = Worker(connection).start()
        await outcome(connection, "order-1")
        assert names(await history(connection)) == ORDER
        assert engine.metrics().row_starts >= 1
        await worker.stop()


@virtual
async def test_a_sticky_worker_is_sent_only_what_it_has_not_seen(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, sticky="sticky-1").start(pollers=2)
        await asyncio.sleep(1)
        await connection.start_workflow_execution(start_request())
        await outcome(connection, "order-1")
        assert "history" not in world.store.calls, "all that the worker was sent came from memory"
        assert names(await history(connection)) == ORDER
        await worker.stop()


@virtual
async def test_a_timer_wakes_the_workflow(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, steps=0, timer_s=50 * 3600).start()
        await connection.start_workflow_execution(start_request())
        begin = world.loop.time()
        await outcome(connection, "order-1")
        assert world.loop.time() - begin == 50 * 3600
        await worker.stop()


@virtual
async def test_many_workflows_share_transactions(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start(pollers=20)
        ids = [f"order-{number}" for number in range(100)]
        await asyncio.gather(*(connection.start_workflow_execution(start_request(id_)) for id_ in ids))
        await asyncio.gather(*(outcome(connection, id_) for id_ in ids))
        assert world.store.batches[0] == 100
        assert sorted(worker.ran) == sorted(set(worker.ran)), "no activity ran twice"
        assert len(worker.ran) == 200
        await worker.stop()

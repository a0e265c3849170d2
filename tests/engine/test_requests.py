"""Requests that are records: done in order, once, by whoever finds them; a refused one is kept with the reason."""

from __future__ import annotations

import asyncio

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service

from perdure.engine import Engine
from perdure.engine.records import requests
from perdure.frontend import WorkflowService
from perdure.stores.api import Record, RecordChange
from tests.engine.world import World, history, names, start_request, virtual

SECOND = 1_000_000_000


def start(workflow_id: str = "order-1", request_id: str = "start") -> requests.Start:
    return requests.Start(start_request(workflow_id, request_id=request_id).SerializeToString())


def signal(name: str, workflow_id: str = "order-1") -> requests.Signal:
    execution = WorkflowExecution(workflow_id=workflow_id)
    request = service.SignalWorkflowExecutionRequest(
        namespace="default", workflow_execution=execution, signal_name=name, request_id=name
    )
    return requests.Signal(request.SerializeToString())


async def written(engine: Engine, *asked: requests.Asked, workflow_id: str = "order-1") -> None:
    """As one transaction of a program's would write them."""
    now_ns = engine.clock.now_ns()
    data = requests._encode
    changes = [
        RecordChange(requests.KIND, "default", f"{workflow_id}\0{number}", 0, data(one), now_ns)
        for number, one in enumerate(asked)
    ]
    await engine.store.put_records(changes)
    engine.record_waker.lower(now_ns)


async def left(engine: Engine) -> list[Record]:
    """What is still there once the waker has looked."""
    passes = engine.record_waker.passes
    if engine.record_waker.is_busy:
        await passes.reached(passes.count + 1)
    return list(await engine.store.records(requests.KIND))


@virtual
async def test_they_are_done_in_their_order_behind_the_start_and_taken_away(world: World) -> None:
    async with world.engine() as engine:
        await written(engine, signal("a"), signal("b"), start(), signal("c"), signal("a"))
        assert await left(engine) == []
        events = await history(WorkflowService(engine))
        assert names(events)[:2] == ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]
        told = [event.workflow_execution_signaled_event_attributes.signal_name for event in events[2:]]
        assert told == ["a", "b", "c"], "and one that came twice is told once"


@virtual
async def test_a_start_that_was_done_before_is_taken_away(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        began = await connection.start_workflow_execution(start_request(request_id="start"))
        await written(engine, start())
        assert await left(engine) == []
        described = await connection.describe_workflow_execution(
            service.DescribeWorkflowExecutionRequest(
                namespace="default", execution=WorkflowExecution(workflow_id="order-1")
            )
        )
        assert described.workflow_execution_info.execution.run_id == began.run_id


@virtual
async def test_what_is_refused_is_kept_with_the_reason_for_as_long_as_executions_are(world: World) -> None:
    async with world.engine() as engine:
        await WorkflowService(engine).start_workflow_execution(start_request(request_id="somebody else's"))
        await written(engine, start(), signal("late", "nobody"))
        kept = [requests._decode(one.data) for one in await left(engine)]
        assert [one.refusal.split(".")[0] for one in kept] == [
            "Workflow execution is already running",
            "workflow execution not found",
        ]
        await asyncio.sleep(engine.namespaces.get("default").retention_ns / SECOND + 60)
        assert await left(engine) == []


@virtual
async def test_a_lost_store_costs_a_request_nothing(world: World) -> None:
    async with world.engine() as engine:
        failing = [True, True]
        world.store.fails = lambda method: method == "commit" and bool(failing) and failing.pop()
        await written(engine, start(), signal("a"))
        await asyncio.sleep(30)
        assert await left(engine) == []
        assert not failing
        assert len(await history(WorkflowService(engine))) == 3

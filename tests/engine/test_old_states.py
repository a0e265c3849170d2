"""What a node of several has in memory may be old: where it will do, and where the store is asked."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.frontend import WorkflowService
from perdure.stores.api import Hear, Store
from tests.engine.shared import Shared, at_once
from tests.engine.world import (
    CLOSE_EVENT,
    Worker,
    World,
    complete,
    completion,
    describe_request,
    history_request,
    outcome,
    start_request,
    virtual,
    workflow_poll,
)


class Losing:
    """Carries every notice, or none that says anything but that a node is there."""

    def __init__(self) -> None:
        self.loses = False

    def __call__(self, hear: Hear, notice: bytes | None) -> None:
        if not self.loses or notice is None or len(notice) < 50:
            at_once(hear, notice)


class Nodes:
    """Two of them, each with what it is asked through."""

    def __init__(self, world: World) -> None:
        self.carrier = Losing()
        shared = Shared(world.store, self.carrier)
        config = EngineConfig(node=NodeConfig(look_every_ns=10**15))
        self.here, self.there = (Engine(cast(Store, shared.face()), world.clock, world.ids, config) for _ in range(2))
        self.at_here, self.at_there = WorkflowService(self.here), WorkflowService(self.there)

    async def __aenter__(self) -> Nodes:
        await self.here.start()
        await self.there.start()
        await asyncio.sleep(10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.there.stop()
        await self.here.stop()

    async def end_there(self) -> None:
        task = await self.at_there.poll_workflow_task_queue(workflow_poll())
        await self.at_there.respond_workflow_task_completed(completion(task.task_token, complete()))


@virtual
async def test_who_waits_for_what_happens_here_reads_nothing(world: World) -> None:
    async with world.engine(node=NodeConfig()) as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection, sticky="sticky-1").start()
        before = engine.metrics().loads
        for number in range(10):
            started = await connection.start_workflow_execution(start_request(f"order-{number}"))
            await outcome(connection, f"order-{number}", started.run_id)
        assert engine.metrics().loads == before
        await worker.stop()


@pytest.mark.parametrize("is_told", [True, False])
def test_an_end_at_another_node_is_seen(is_told: bool) -> None:
    """`is_told`: the news of it come here, or this node learns no more than that something is missing."""

    @virtual
    async def scenario(world: World) -> None:
        async with Nodes(world) as nodes:
            started = await nodes.at_here.start_workflow_execution(start_request())
            nodes.carrier.loses = not is_told
            await nodes.end_there()
            await asyncio.sleep(5)
            began = world.loop.time()
            assert await outcome(nodes.at_here, "order-1", started.run_id)
            assert world.loop.time() == began, "it was known already"

    scenario()


@virtual
async def test_who_asks_again_does_not_wait_for_an_end_that_nobody_tells_of(world: World) -> None:
    async with Nodes(world) as nodes:
        started = await nodes.at_here.start_workflow_execution(start_request())
        key = (await nodes.at_there.describe_workflow_execution(describe_request())).workflow_execution_info.execution
        nodes.there.mailboxes._feed.publish = lambda commit: None  # it dies then
        await nodes.end_there()
        request = history_request(run_id=started.run_id, wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
        assert key.run_id == started.run_id
        first = await nodes.at_here.get_workflow_execution_history(request)
        assert not first.history.events
        request.next_page_token = first.next_page_token
        began = world.loop.time()
        assert (await nodes.at_here.get_workflow_execution_history(request)).history.events
        assert world.loop.time() == began


@virtual
async def test_a_closed_run_that_another_node_deletes_is_gone(world: World) -> None:
    async with Nodes(world) as nodes:
        started = await nodes.at_here.start_workflow_execution(start_request())
        await nodes.end_there()
        await outcome(nodes.at_here, "order-1", started.run_id)
        request = service.DeleteWorkflowExecutionRequest(namespace="default")
        request.workflow_execution.workflow_id = "order-1"
        await nodes.at_there.delete_workflow_execution(request)
        with pytest.raises(Rejected) as refused:
            await nodes.at_here.describe_workflow_execution(describe_request(run_id=started.run_id))
        assert refused.value.code is StatusCode.NOT_FOUND
        assert await nodes.at_here.start_workflow_execution(start_request()), "its id is free"

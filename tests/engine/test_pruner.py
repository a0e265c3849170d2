"""Retention: what closed longer ago than its namespace keeps it is deleted, and deleted namespaces are emptied."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.stores.api import Namespace
from tests.engine.world import World, start_request, virtual

HOUR_NS = 3600 * 10**9


async def end(engine: Engine, workflow_id: str, namespace: str = "default") -> None:
    """Start and terminate one."""
    connection = WorkflowService(engine)
    request = start_request(workflow_id)
    request.namespace = namespace
    await connection.start_workflow_execution(request)
    terminate = service.TerminateWorkflowExecutionRequest(namespace=namespace)
    terminate.workflow_execution.workflow_id = workflow_id
    await connection.terminate_workflow_execution(terminate)


@virtual
async def test_closed_executions_are_kept_as_long_as_their_namespace_says(world: World) -> None:
    async with world.engine(prune_every_ns=60 * 10**9, default_retention_ns=HOUR_NS, prune_page=2) as engine:
        await engine.namespaces.add(Namespace("archive", "id", 100 * HOUR_NS))
        for number in range(5):
            await end(engine, f"order-{number}")
        await end(engine, "kept", "archive")
        await WorkflowService(engine).start_workflow_execution(start_request("open"))
        await asyncio.sleep(3500)
        await end(engine, "late")
        assert (await engine.count_executions("default")) == {1: 1, 5: 6}
        await asyncio.sleep(200)
        assert (await engine.count_executions("default")) == {1: 1, 5: 1}
        assert (await engine.count_executions("archive")) == {5: 1}
        assert engine.metrics().pruned == 5
        assert await engine.read("default", "order-1", None, lambda execution: execution) is None
        await end(engine, "order-1")


@virtual
async def test_without_a_period_nothing_is_deleted(world: World) -> None:
    async with world.engine(default_retention_ns=HOUR_NS) as engine:
        await end(engine, "order-1")
        await asyncio.sleep(100_000)
        assert await engine.count_executions("default") == {5: 1}


@virtual
async def test_a_failing_store_is_told_and_tried_again(world: World) -> None:
    async with world.engine(prune_every_ns=60 * 10**9, default_retention_ns=HOUR_NS) as engine:
        await end(engine, "order-1")
        world.store.fails = lambda method: method == "delete_executions"
        await asyncio.sleep(4000)
        assert await engine.count_executions("default") == {5: 1}
        world.store.fails = lambda method: False
        await engine.pruner.passes.reached(engine.pruner.passes.count + 1)
        assert await engine.count_executions("default") == {}


@virtual
async def test_a_bug_of_the_store_ends_nothing(world: World) -> None:
    logging.getLogger("perdure.engine.duties.pruner").disabled = True
    try:
        async with world.engine(prune_every_ns=60 * 10**9) as engine:
            world.store.breaks = lambda method: method == "closed_before"
            await engine.pruner.passes.reached(engine.pruner.passes.count + 2)
            assert engine.is_started
    finally:
        logging.getLogger("perdure.engine.duties.pruner").disabled = False


@virtual
async def test_a_namespace_that_is_deleted_is_emptied(world: World) -> None:
    async with world.engine(prune_page=2) as engine:
        await engine.namespaces.add(Namespace("shop", "id", HOUR_NS))
        for number in range(3):
            await end(engine, f"order-{number}", "shop")
            request = start_request(f"open-{number}")
            request.namespace = "shop"
            await WorkflowService(engine).start_workflow_execution(request)
        await end(engine, "order-1")
        await engine.namespaces.change("shop", lambda known: replace(known, state=3))
        with pytest.raises(Exception, match="Namespace shop is not found"):
            engine.namespaces.get("shop")
        assert engine.namespaces.is_taken("shop")
        engine.pruner.hurry()
        await engine.pruner.passes.reached(engine.pruner.passes.count + 1)
        assert await engine.count_executions("shop") == {}
        assert not engine.namespaces.is_taken("shop")
        assert await engine.count_executions("default") == {5: 1}

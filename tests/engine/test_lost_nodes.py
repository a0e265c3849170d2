"""What workers held when their node died."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

from temporalio.api.workflowservice.v1 import (
    RespondActivityTaskCompletedRequest,
)

from perdure.api.errors import StatusCode
from perdure.core.names import QueueName, TaskKind
from perdure.engine import Engine
from perdure.engine.duties.duties import Duties
from perdure.engine.matching.seats import Seat
from perdure.frontend import WorkflowService
from tests.engine.fleet import BEAT_S, NOTICED_S, Fleet, changed
from tests.engine.world import (
    QUEUE,
    World,
    activity_poll,
    completion,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)
from tests.frontend.test_signals import refusal


async def hold_a_task(engine: Engine) -> None:
    connection = WorkflowService(engine)
    await connection.start_workflow_execution(start_request())
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", seconds=3600)))
    assert (await connection.poll_activity_task_queue(activity_poll())).task_token


@virtual
async def test_a_node_that_finds_nobody_alive_takes_back_what_dead_workers_held(world: World) -> None:
    async with Fleet(world) as fleet:
        one = await fleet.node(workers_died=True)
        await hold_a_task(one)
        await one.abort()
        began = world.loop.time()
        two = await fleet.node(workers_died=True)
        assert world.loop.time() - began < NOTICED_S + BEAT_S
        assert (await WorkflowService(two).poll_activity_task_queue(activity_poll())).attempt == 2


@virtual
async def test_a_node_that_finds_others_alive_leaves_them_what_their_workers_hold(world: World) -> None:
    async with Fleet(world) as fleet:
        one = await fleet.node(workers_died=True)
        await hold_a_task(one)
        began = world.loop.time()
        two = await fleet.node(workers_died=True)
        assert world.loop.time() - began <= 1.5 * BEAT_S, "one beat shows that it lives"
        assert not (await two.poll(QueueName("default", QUEUE, TaskKind.ACTIVITY), "worker", 10.0))


@virtual
async def test_nodes_that_start_together_leave_one_another_what_they_took(world: World) -> None:
    async with Fleet(world) as fleet:
        one = await fleet.node(workers_died=True)
        connection = WorkflowService(one)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        held = Embedded(one).held
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", seconds=3600)))
        await asyncio.sleep(0.1)
        with patch.object(Duties, "is_alone", True):  # as the other sees it that has not heard of this one yet
            two = await fleet.node(workers_died=True)
        assert not (await two.poll(QueueName("default", QUEUE, TaskKind.ACTIVITY), "worker", 10.0))
        await connection.respond_activity_task_completed(
            RespondActivityTaskCompletedRequest(task_token=held[-1].token, identity="worker")
        )


class Embedded:
    """A worker in the process of a node: it takes what comes, and answers nothing by itself."""

    def __init__(self, engine: Engine) -> None:
        self.held: list[Any] = []
        for kind in TaskKind:
            queue = QueueName("default", QUEUE, kind)
            Seat(engine.matching, queue, "embedded", "embedded", lambda seat, task: self.held.append(task)).free()


async def hold_one_each(world: World, fleet: Fleet, dies: Engine, lives: Engine) -> tuple[Any, Any, Any]:
    """Three orders with an activity for an hour: with a worker in a node that dies, in one that lives, and far away."""
    tokens: list[bytes] = []
    for number, node in enumerate((dies, lives, None)):
        connection = WorkflowService(dies)
        await connection.start_workflow_execution(start_request(f"order-{number}"))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        held = [] if node is None else Embedded(node).held
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", seconds=3600)))
        await asyncio.sleep(0.1)
        if node is None:
            tokens.append((await connection.poll_activity_task_queue(activity_poll())).task_token)
        else:
            tokens.append(held[-1].token)
    return tokens[0], tokens[1], tokens[2]


@virtual
async def test_what_the_workers_of_a_dead_node_held_is_tried_again_and_nothing_else(world: World) -> None:
    async with Fleet(world) as fleet:
        dies, lives, other = [await fleet.node(workers_died=True) for _ in range(3)]
        await asyncio.sleep(2 * BEAT_S)
        lost, held, far = await hold_one_each(world, fleet, dies, lives)
        await dies.abort()
        await asyncio.sleep(NOTICED_S + BEAT_S)
        connection = WorkflowService(other)
        again = await asyncio.wait_for(connection.poll_activity_task_queue(activity_poll()), 2)
        assert (again.workflow_execution.workflow_id, again.attempt) == ("order-0", 2)
        for token in (held, far):
            await connection.respond_activity_task_completed(
                RespondActivityTaskCompletedRequest(task_token=token, identity="worker")
            )
        late = await refusal(
            connection.respond_activity_task_completed(RespondActivityTaskCompletedRequest(task_token=lost))
        )
        assert late.code is StatusCode.NOT_FOUND
        assert not (await other.poll(QueueName("default", QUEUE, TaskKind.ACTIVITY), "worker", 60.0))


@virtual
async def test_a_store_that_fails_just_then_is_asked_again(world: World) -> None:
    async with Fleet(world) as fleet:
        dies, lives = [await fleet.node(workers_died=True) for _ in range(2)]
        await asyncio.sleep(2 * BEAT_S)
        await hold_one_each(world, fleet, dies, lives)
        await dies.abort()
        world.store.fails = lambda method: method == "in_flight"
        await changed(lives, NOTICED_S)
        await asyncio.sleep(3)
        world.store.fails = lambda method: False
        poll = WorkflowService(lives).poll_activity_task_queue(activity_poll())
        assert (await asyncio.wait_for(poll, 2)).attempt == 2


@virtual
async def test_nothing_is_looked_for_when_a_node_dies_that_had_no_workers(world: World) -> None:
    async with Fleet(world) as fleet:
        one, two, three = await fleet.nodes(3)
        await hold_a_task(one)
        await one.abort()
        await changed(two, NOTICED_S)
        await asyncio.sleep(2)
        assert "in_flight" not in world.store.calls
        assert not (await three.poll(QueueName("default", QUEUE, TaskKind.ACTIVITY), "worker", 10.0))

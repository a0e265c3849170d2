"""What nodes say of themselves, and of one that is about to go."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from perdure.core.names import QueueName, TaskKind
from perdure.engine.duties.nodes import Node, State, read_nodes
from perdure.engine.matching.seats import Seat
from perdure.engine.node.config import NodeConfig
from perdure.frontend import WorkflowService
from perdure.stores.api import Store
from perdure.stores.partitions import PARTITIONS
from tests.engine.fleet import BEAT_S, Fleet
from tests.engine.test_wakeups import fall_asleep
from tests.engine.world import QUEUE, World, history, names, virtual, workflow_poll


async def said(world: World) -> dict[str, Node]:
    """What each says, by name."""
    return {node.name: node for _, node in await read_nodes(cast(Store, world.store.inner))}


@virtual
async def test_a_node_says_who_it_is_and_what_it_has_to_do(world: World) -> None:
    async with Fleet(world) as fleet:
        engines = [await fleet.node(node=NodeConfig(name=name)) for name in ("one", "two", "three")]
        poll = asyncio.ensure_future(WorkflowService(engines[1]).poll_workflow_task_queue(workflow_poll()))
        for worker in ("a", "b"):
            queue = QueueName("default", QUEUE, TaskKind.WORKFLOW)
            Seat(engines[2].matching, queue, worker, worker, lambda seat, task: None).free()
        await asyncio.sleep(2.5 * BEAT_S)
        nodes = await said(world)
        assert sum(node.partitions for node in nodes.values()) == PARTITIONS
        assert [nodes[name].workers for name in ("one", "two", "three")] == [0, 1, 2]
        assert {node.state for node in nodes.values()} == {State.SERVING}
        for engine, node in zip(engines, nodes.values(), strict=True):
            assert node.version
            assert node.host
            assert world.clock.now_ns() - node.beat_at_ns <= BEAT_S * 1e9
            assert engine.metrics().nodes == 3
        assert [engine.metrics().partitions for engine in engines] == [
            nodes[name].partitions for name in ("one", "two", "three")
        ]
        poll.cancel()


@virtual
async def test_a_node_alone_counts_itself_and_all_there_is_to_do(world: World) -> None:
    async with world.engine() as engine:
        assert (engine.metrics().nodes, engine.metrics().partitions) == (1, PARTITIONS)


@virtual
async def test_a_node_that_drains_says_so_and_does_its_duties_to_the_end(world: World) -> None:
    async with Fleet(world) as fleet:
        engines = [await fleet.node(node=NodeConfig(name=name)) for name in ("one", "two")]
        await asyncio.sleep(2 * BEAT_S)
        ids = [f"sleeper-{number}" for number in range(12)]
        for workflow_id in ids:
            await fall_asleep(WorkflowService(engines[1]), workflow_id, 10)
        poll = asyncio.ensure_future(WorkflowService(engines[0]).poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(5)
        await engines[0].send_away()
        await asyncio.sleep(0.01)
        assert not (await poll).task_token
        assert (await said(world))["one"].state is State.DRAINING
        fleet.check_shares(*engines)
        await asyncio.sleep(6)
        for workflow_id in ids:
            assert "TIMER_FIRED" in names(await history(WorkflowService(engines[1]), workflow_id))
        await engines[0].stop()
        await asyncio.sleep(0.01)
        assert list(await said(world)) == ["two"]
        assert engines[1].duties.partitions.is_all


@virtual
async def test_a_node_that_stops_in_the_middle_of_a_beat_leaves_nothing_behind(world: World) -> None:
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        put_records = one.store.put_records

        async def slow(changes: Any) -> Any:
            outcomes = await put_records(changes)
            await asyncio.sleep(0.5)
            return outcomes

        setattr(one.store, "put_records", slow)
        await asyncio.sleep(1.2 * BEAT_S)
        await one.stop()
        assert len(await said(world)) == 1
        await asyncio.sleep(0.1)
        assert two.duties.partitions.is_all

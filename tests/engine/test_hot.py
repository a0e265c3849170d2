"""One execution that every node of a fleet writes to: nothing is lost or doubled, and nobody is kept from it for ever.

The way to the store takes its time here, so that nodes decide at the same time. What it costs is counted, not timed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.frontend import WorkflowService
from perdure.stores.api import Hear, Store
from tests.engine.shared import Face, Shared
from tests.engine.world import World, completion, history, start_request, virtual, workflow_poll

COMMIT_S, NOTICE_S = 0.002, 0.001
CLIENTS = 30
EACH = 40


class Slow(Face):
    """A face of a store to which there is a way, and which counts what is written."""

    def __init__(self, shared: Shared, load_s: float) -> None:
        super().__init__(shared)
        self._load_s = load_s
        self.commits = 0

    async def commit(self, commits: Sequence[Any]) -> Any:
        self.commits += 1
        await asyncio.sleep(COMMIT_S / 2)
        outcome = await self.shared.inner.commit(commits)
        await asyncio.sleep(COMMIT_S / 2)
        return outcome

    async def load(self, references: Sequence[Any]) -> Any:
        await asyncio.sleep(self._load_s / 2)
        found = await self.shared.inner.load(references)
        await asyncio.sleep(self._load_s / 2)
        return found

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        await asyncio.sleep(NOTICE_S / 2)
        await super().notify(channel, notices)


def late(hear: Hear, notice: bytes | None) -> None:
    asyncio.get_running_loop().call_later(NOTICE_S / 2, hear, notice)


class Node(WorkflowService):
    """An engine, and what it is asked through."""

    def __init__(self, engine: Engine, face: Slow) -> None:
        super().__init__(engine)
        self.engine = engine
        self.face = face

    @property
    def conflicts(self) -> int:
        return self.engine.metrics().conflicts


@asynccontextmanager
async def nodes(world: World, count: int, load_s: float = 0.001) -> AsyncIterator[list[Node]]:
    """Some that have heard of one another, and of order-1."""
    shared = Shared(world.store, late)
    config = EngineConfig(node=NodeConfig())
    faces = [Slow(shared, load_s) for _ in range(count)]
    made = [Node(Engine(cast(Store, face), world.clock, world.ids, config), face) for face in faces]
    for node in made:
        await node.engine.start()
    await asyncio.sleep(3)
    await made[0].start_workflow_execution(start_request())
    await asyncio.sleep(0.1)
    yield made
    for node in made:
        await node.engine.stop()


def signal_request(name: str) -> service.SignalWorkflowExecutionRequest:
    request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name=name, request_id=name)
    request.workflow_execution.workflow_id = "order-1"
    return request


async def signals(node: Node) -> Counter[str]:
    """How often each is in history."""
    said = [event.workflow_execution_signaled_event_attributes.signal_name for event in await history(node)]
    return Counter(name for name in said if name)


async def signal_at(node: Node, client: int) -> None:
    for turn in range(EACH):
        await node.signal_workflow_execution(signal_request(f"{client}-{turn}"))


@pytest.mark.parametrize("load_s", [0.001, 0.004])
def test_signals_at_three_nodes_are_all_taken_once_and_few_races_are_lost(load_s: float) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world, 3, load_s) as three:
            await asyncio.gather(*(signal_at(three[client % 3], client) for client in range(CLIENTS)))
            said = await signals(three[0])
            assert set(said.values()) == {1}
            assert len(said) == CLIENTS * EACH
            conflicts = sum(node.conflicts for node in three)
            tried = sum(node.face.commits for node in three)
            assert conflicts <= CLIENTS * EACH / 10, "fewer than one for ten signals"
            assert tried <= CLIENTS * EACH / 5, "five signals in a commit that is tried: ten wait at each node"

    scenario()


@pytest.mark.parametrize("load_s", [0.001, 0.004, 0.01])
def test_a_worker_at_another_node_is_let_through_a_stream_of_signals(load_s: float) -> None:
    """Each of its two commits has to follow a read that takes longer than the commits of the other node are apart."""

    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world, 2, load_s) as (here, there):
            sent = 0
            is_over = False

            async def client(number: int) -> None:
                nonlocal sent
                turn = 0
                while not is_over:
                    await here.signal_workflow_execution(signal_request(f"{number}-{turn}"))
                    sent, turn = sent + 1, turn + 1
                    if number % 2:  # so that they never pause together
                        await asyncio.sleep(0.001)

            async with asyncio.TaskGroup() as clients:
                for number in range(CLIENTS):
                    clients.create_task(client(number))
                for _ in range(20):
                    task = await asyncio.wait_for(there.poll_workflow_task_queue(workflow_poll()), 5)
                    await asyncio.wait_for(there.respond_workflow_task_completed(completion(task.task_token)), 5)
                is_over = True
            said = await signals(here)
            assert set(said.values()) == {1}
            assert len(said) == sent
            assert there.conflicts <= 20 * 2 * 4, "at most four for each commit of the worker"
            assert here.conflicts <= 20

    scenario()


@virtual
async def test_who_asks_for_room_and_dies_is_waited_for_no_longer_than_a_moment(world: World) -> None:
    async with nodes(world, 2) as (here, there):
        mailbox = here.engine.mailboxes.peek("default", "order-1")
        assert mailbox is not None
        asking = there.engine.mailboxes
        other = asking.peek("default", "order-1") or type(mailbox)("default", "order-1")
        other.conflicts = 3
        asking.contention.lost(other)
        await asyncio.sleep(2 * NOTICE_S)
        assert here.engine.mailboxes.contention.rooms
        began = world.loop.time()
        await here.signal_workflow_execution(signal_request("one"))
        assert 0.04 < world.loop.time() - began < 0.06
        assert not here.engine.mailboxes.contention.rooms


@virtual
async def test_a_workflow_that_goes_from_node_to_node_loses_no_race(world: World) -> None:
    """Whoever hears that another node went on with it does not decide on what it remembers."""
    async with nodes(world, 3) as three:
        for number in range(12):
            await three[number % 3].signal_workflow_execution(signal_request(f"{number}"))
            await asyncio.sleep(0.1)
        assert [node.conflicts for node in three] == [0, 0, 0]
        assert len(await signals(three[0])) == 12

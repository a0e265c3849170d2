"""Several nodes on one store: who looks after what, and what becomes of it when a node stops or dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import (
    TerminateWorkflowExecutionRequest,
)

from perdure.core.commands import Terminate
from perdure.engine import Engine, NodeConfig
from perdure.engine.duties.duties import share_of
from perdure.engine.duties.nodes import KIND, ClockSkewError
from perdure.engine.namespaces import DELETED
from perdure.frontend import WorkflowService
from perdure.stores.api import BEGINNING, Namespace, StoreError
from perdure.stores.partitions import ALL_PARTITIONS, PARTITIONS
from tests.engine.fleet import BEAT_S, DELIVERED_S, NODE, NOTICED_S, Fleet, changed
from tests.engine.test_mailboxes import start
from tests.engine.test_outbox import child
from tests.engine.test_schedules import BUFFER_ALL, Hand, create_request, describe, minutes, naps
from tests.engine.test_wakeups import fall_asleep
from tests.engine.world import (
    World,
    complete,
    completion,
    history,
    names,
    start_request,
    virtual,
    virtual_logged,
    workflow_poll,
)

# --- shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_the_partitions_are_shared_out_and_few_move_when_a_node_goes(count: int) -> None:
    nodes = [f"node-{number}" for number in range(count)]
    shares = {node: share_of(node, nodes) for node in nodes}
    held = Counter(partition for share in shares.values() for partition in share)
    assert set(held.values()) == {1}
    assert len(held) == PARTITIONS
    assert all(0.75 < len(share) * count / PARTITIONS < 1.25 for share in shares.values())
    for node in nodes[1:]:
        after = share_of(node, nodes[1:])
        assert shares[node] <= after, "nothing is taken from a node because another one goes"
        assert after - shares[node] <= shares[nodes[0]]


def test_the_share_of_a_node_is_the_same_on_every_machine() -> None:
    assert share_of("a", ["a"]) is ALL_PARTITIONS
    assert sorted(share_of("a", ["a", "b"]))[:8] == [0, 2, 3, 5, 6, 7, 8, 10]
    assert share_of("a", ["b", "a"]) == share_of("a", ["a", "b"])


@virtual
async def test_a_node_that_is_alone_has_everything_and_pays_nothing_for_it(world: World) -> None:
    async with world.engine(unpolled_ns=0) as engine:
        await engine.record_waker.passes.reached(1)
        assert engine.duties.partitions is ALL_PARTITIONS
        assert engine.duties.is_alone
        world.store.calls.clear()
        await asyncio.sleep(3600)
        assert world.store.calls == []


@virtual
async def test_nodes_that_come_take_a_share_and_one_that_stops_gives_it_back_at_once(world: World) -> None:
    async with Fleet(world) as fleet:
        one = await fleet.node()
        assert one.duties.partitions == ALL_PARTITIONS
        two = await fleet.node()
        await asyncio.sleep(0.01)
        fleet.check_shares(one, two)
        three = await fleet.node()
        await asyncio.sleep(0.01)
        fleet.check_shares(one, two, three)
        began = world.loop.time()
        await two.stop()
        await asyncio.sleep(0.01)
        fleet.check_shares(one, three)
        assert world.loop.time() - began < 0.1
        assert len(await world.store.inner.records(KIND)) == 2, "one that has stopped leaves nothing behind"


@virtual
async def test_what_a_node_left_is_looked_for_when_it_goes_and_not_when_one_comes(world: World) -> None:
    async with Fleet(world) as fleet:
        one = await fleet.node()
        looks: list[int] = []
        one.duties.subscribe(lambda: looks.append(len(one.duties.partitions)))
        two = await fleet.node()
        await asyncio.sleep(BEAT_S)
        assert looks == []
        await two.stop()
        await asyncio.sleep(BEAT_S)
        assert looks == [PARTITIONS]


def test_a_node_of_which_one_late_beat_would_be_a_death_cannot_be_configured() -> None:
    NodeConfig(beat_ns=1, silence_ns=3, skew_max_ns=2)
    wrong: list[dict[str, Any]] = [{"silence_ns": 2_900_000_000}, {"skew_max_ns": 1_900_000_000}, {"beat_ns": 0}]
    for settings in wrong:
        with pytest.raises(ValueError, match="three beats"):
            NodeConfig(**settings)


@virtual_logged
async def test_a_node_that_dies_is_noticed_in_time_and_buried(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with Fleet(world) as fleet:
        one, two, three = await fleet.nodes(3)
        await two.abort()
        assert await changed(one, NOTICED_S) > NODE.silence_ns / 1e9 - BEAT_S
        await asyncio.sleep(BEAT_S)
        fleet.check_shares(one, three)
        assert len(await world.store.inner.records(KIND)) == 2
        assert "is taken for dead" in caplog.text


@virtual
async def test_a_node_whose_notices_are_lost_still_sees_who_comes_and_goes(world: World) -> None:
    world.shared.post = lambda hear, notice: None
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        await two.stop()
        await changed(one, 1.1 * BEAT_S)
        assert one.duties.partitions == ALL_PARTITIONS


async def fails(changes: Any) -> Any:
    raise StoreError("the network is cut")


@virtual
async def test_a_node_that_was_taken_for_dead_comes_back(world: World) -> None:
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        setattr(two.store, "put_records", fails)
        await changed(one, NOTICED_S)
        assert one.duties.partitions == ALL_PARTITIONS
        assert two.duties.partitions != ALL_PARTITIONS, "it sees the other one, and does harm to nobody"
        delattr(two.store, "put_records")
        await changed(one, 2.1 * BEAT_S)
        await asyncio.sleep(BEAT_S)
        fleet.check_shares(one, two)


@virtual
async def test_a_node_that_stood_still_looks_again_before_it_takes_the_others_for_dead(world: World) -> None:
    """As a machine does that was put to sleep: to it the others have been silent for long, and it has not listened."""
    async with Fleet(world) as fleet:
        one, two, three = await fleet.nodes(3)
        nodes = one.duties._nodes
        assert nodes is not None
        await asyncio.sleep(BEAT_S / 2)
        before = one.duties.changes.count
        for other in (two, three):
            setattr(other.store, "put_records", fails)
        await asyncio.sleep(BEAT_S)
        for seen in nodes._seen.values():
            seen.at -= 3600
        for other in (two, three):
            delattr(other.store, "put_records")
        await asyncio.sleep(3 * BEAT_S)
        assert one.duties.changes.count == before
        fleet.check_shares(one, two, three)


# --- what is taken over ---------------------------------------------------------------------------


def deaf(engine: Engine) -> None:
    """From now on it commits messages and delivers none: it dies between the two."""
    setattr(engine.outbox, "hear", lambda news: None)


@virtual
async def test_messages_of_a_dead_node_are_delivered_soon_after_its_death_is_noticed(world: World) -> None:
    parents = [f"parent-{number}" for number in range(12)]
    async with Fleet(world) as fleet:
        one, two, three = await fleet.nodes(3)
        deaf(one)
        connection = WorkflowService(one)
        for parent in parents:
            await connection.start_workflow_execution(start_request(parent))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token, child(f"kid of {parent}")))
        await one.abort()
        await changed(two, NOTICED_S)
        await asyncio.sleep(DELIVERED_S)
        assert await world.store.inner.pending_messages(BEGINNING, 100) == []
        for parent in parents:
            assert "CHILD_WORKFLOW_EXECUTION_STARTED" in names(await history(WorkflowService(three), parent))


@virtual
async def test_messages_that_are_left_behind_by_one_that_stops_are_delivered_at_once(world: World) -> None:
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        deaf(one)
        connection = WorkflowService(one)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, child()))
        await one.stop()
        await asyncio.sleep(0.1)
        assert "CHILD_WORKFLOW_EXECUTION_STARTED" in names(await history(WorkflowService(two)))


@virtual
async def test_a_message_that_its_node_does_not_deliver_is_delivered_by_who_has_the_duty(world: World) -> None:
    """And not at once: for whoever has committed it is about to."""
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        deaf(one)
        deaf(two)
        before = one.metrics().commits + two.metrics().commits
        connection = WorkflowService(one)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, child()))
        await asyncio.sleep(3.9)
        assert len(await world.store.inner.pending_messages(BEGINNING, 100)) == 1
        await asyncio.sleep(4.2)
        assert await world.store.inner.pending_messages(BEGINNING, 100) == []
        assert "CHILD_WORKFLOW_EXECUTION_STARTED" in names(await history(connection))
        assert one.metrics().commits + two.metrics().commits - before == 5, "nothing was delivered twice"


@virtual
async def test_timers_go_off_on_time_whoever_set_them_and_whoever_dies(world: World) -> None:
    sleepers = [f"sleeper-{number}" for number in range(12)]
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        for sleeper in sleepers:
            await fall_asleep(WorkflowService(one), sleeper, 60)
        await one.abort()
        await asyncio.sleep(60 + NODE.look_every_ns / 1e9)
        for sleeper in sleepers:
            assert "TIMER_FIRED" in names(await history(WorkflowService(two), sleeper))


@virtual
async def test_a_node_that_comes_later_wakes_its_share_of_those_that_sleep(world: World) -> None:
    sleepers = [f"sleeper-{number}" for number in range(12)]
    async with Fleet(world) as fleet:
        one = await fleet.node()
        for sleeper in sleepers:
            await fall_asleep(WorkflowService(one), sleeper, 60)
        two = await fleet.node()
        await asyncio.sleep(60 + NODE.look_every_ns / 1e9)
        mine = sum(two.duties.partitions.hold("default", sleeper) for sleeper in sleepers)
        assert 0 < mine < len(sleepers)
        wakes = 2 * len(sleepers)  # the first of each corrects a deadline that was stored too early
        assert (one.metrics().wakes, two.metrics().wakes) == (wakes - 2 * mine, 2 * mine)
        for sleeper in sleepers:
            assert "TIMER_FIRED" in names(await history(WorkflowService(one), sleeper))


@virtual
async def test_who_takes_over_looks_at_once(world: World) -> None:
    """Not with the next look that comes by itself."""
    seldom = NodeConfig(look_every_ns=10**15)
    async with Fleet(world) as fleet:
        one, two = [await fleet.node(node=seldom) for _ in range(2)]
        for number in range(12):
            await fall_asleep(WorkflowService(one), f"sleeper-{number}", 60)
        await WorkflowService(one).create_schedule(create_request())
        await one.abort()
        await asyncio.sleep(120)
        for number in range(12):
            assert "TIMER_FIRED" in names(await history(WorkflowService(two), f"sleeper-{number}"))
        assert (await describe(WorkflowService(two))).info.action_count == 1, "and it skips those that overlap"


@virtual
async def test_closed_runs_are_deleted_by_who_has_the_duty(world: World) -> None:
    settings: dict[str, Any] = {"prune_every_ns": 60 * 10**9, "retentions": {"default": 3600 * 10**9}}
    orders = [f"order-{number}" for number in range(12)]
    async with Fleet(world) as fleet:
        one, two = [await fleet.node(**settings) for _ in range(2)]
        for order in orders:
            await one.submit("default", order, None, start(order))
            request = TerminateWorkflowExecutionRequest(namespace="default")
            await one.submit("default", order, None, Terminate(request))
        await asyncio.sleep(7200)
        assert await world.store.inner.count_executions("default") == {}
        mine = sum(two.duties.partitions.hold("default", order) for order in orders)
        assert 0 < mine < len(orders)
        assert (one.metrics().pruned, two.metrics().pruned) == (len(orders) - mine, mine)


@virtual
async def test_a_deleted_namespace_is_removed_by_one_node(world: World) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        await nodes[0].namespaces.add(Namespace("gone", "id", 1, state=DELETED))
        for node in nodes:
            await node.namespaces.refresh()
        world.store.calls.clear()
        for node in nodes:
            node.pruner.hurry()
        await asyncio.sleep(1)
        assert world.store.calls.count("remove_namespace") == 1


@virtual
async def test_a_schedule_goes_on_when_the_node_that_followed_its_run_dies(world: World) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        asked = WorkflowService(nodes[0])
        await asked.create_schedule(create_request(overlap=BUFFER_ALL, limited_actions=True, remaining_actions=2))
        await minutes(world, 1.1)
        [follower] = [node for node in nodes if node.schedules.watched]
        other = next(node for node in nodes if node is not follower)
        await follower.abort()
        connection = WorkflowService(other)
        await changed(other, NOTICED_S)
        await asyncio.sleep(1)
        assert sum(bool(node.schedules.watched) for node in nodes if node is not follower) == 1, "by one alone"
        async with Hand(connection, naps(30)) as hand:
            await minutes(world, 5)
        assert len(hand.begun) == 2
        described = await describe(connection)
        assert described.info.action_count == 2
        assert not described.info.running_workflows


@virtual
async def test_schedules_that_are_made_at_one_node_act_in_time_by_others(world: World) -> None:
    """They are told of the deadline: no look that comes by itself finds it."""
    seldom = NodeConfig(look_every_ns=10**15)
    async with Fleet(world) as fleet:
        nodes = [await fleet.node(node=seldom) for _ in range(3)]
        await asyncio.sleep(2 * BEAT_S)
        ids = [f"every-minute-{number}" for number in range(12)]
        for schedule_id in ids:
            request = create_request(schedule_id)
            request.schedule.action.start_workflow.workflow_id = schedule_id
            await WorkflowService(nodes[0]).create_schedule(request)
        assert {node.duties.partitions.hold("default", schedule_id) for node in nodes for schedule_id in ids} == {
            True,
            False,
        }
        await minutes(world, 1.01)
        for schedule_id in ids:
            assert (await describe(WorkflowService(nodes[0]), schedule_id)).info.action_count == 1


@virtual
async def test_a_timer_is_looked_for_by_one_node_alone(world: World) -> None:
    seldom = NodeConfig(look_every_ns=10**15)
    async with Fleet(world) as fleet:
        nodes = [await fleet.node(node=seldom) for _ in range(3)]
        await asyncio.sleep(2 * BEAT_S)
        passes = [node.waker.passes.count for node in nodes]
        for number in range(12):
            connection = WorkflowService(nodes[number % 3])
            await fall_asleep(connection, f"sleeper-{number}", 60)
            await asyncio.sleep(100)
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        looks = sum(node.waker.passes.count for node in nodes) - sum(passes)
        assert looks <= 3 * 12, "one for the timer, and one for the time-out of each workflow task"


@virtual
async def test_a_firing_is_carried_out_by_one_node_alone(world: World) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        await WorkflowService(nodes[0]).create_schedule(create_request())
        async with Hand(WorkflowService(nodes[1])) as hand:
            await minutes(world, 1.5)
            world.store.calls.clear()
            before = await describe(WorkflowService(nodes[0]))
            await minutes(world, 5)
            assert len(hand.begun) == 6
        changes = world.store.calls.count("put_records") - 3 * 300
        assert changes <= 5 * 3 + 3, "beats aside, three for each firing"
        assert before.info.action_count == 1


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew_s", "said"), [(3.6, "3.[6789] s ahead of"), (-2.6, "2.[456] s behind"), (3600.0, "3600.. s ahead of")]
)
def test_a_node_whose_clock_is_wrong_refuses_to_start_and_says_by_how_much(skew_s: float, said: str) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with Fleet(world) as fleet:
            await fleet.nodes(1)
            with pytest.raises(ClockSkewError, match=said):
                await fleet.node(skew_s)
            await asyncio.sleep(BEAT_S)
            assert fleet.engines[0].duties.partitions == ALL_PARTITIONS
            assert len(await world.store.inner.records(KIND)) == 1, "it has not joined"

    scenario()


@pytest.mark.parametrize("skew_s", [1.5, -1.5])
def test_a_node_whose_clock_differs_a_little_starts_at_once(skew_s: float) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with Fleet(world) as fleet:
            one, *_ = await fleet.nodes(1)
            two = await fleet.node(skew_s)
            await asyncio.sleep(2 * BEAT_S)
            fleet.check_shares(one, two)

    scenario()


@pytest.mark.parametrize("away_s", [3.0, 3600.0])
def test_what_a_dead_node_left_keeps_nobody_from_starting(away_s: float) -> None:
    """Its last beat is as old as that of a clock that is wrong; but it does not beat."""

    @virtual
    async def scenario(world: World) -> None:
        async with Fleet(world) as fleet:
            one, *_ = await fleet.nodes(1)
            await one.abort()
            await asyncio.sleep(away_s)
            began = world.loop.time()
            two = await fleet.node()
            assert world.loop.time() - began <= 2.5 * BEAT_S
            if not two.duties.is_alone:
                await changed(two, NOTICED_S)
            assert two.duties.partitions == ALL_PARTITIONS
            assert len(await world.store.inner.records(KIND)) == 1

    scenario()

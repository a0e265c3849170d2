"""The clock of one machine of a fleet is set, or those of all: nothing happens before its time."""

from __future__ import annotations

import asyncio

import pytest

from perdure.engine import Engine
from perdure.frontend import WorkflowService
from tests.engine.fleet import BEAT_S, Fleet, Skewed
from tests.engine.test_schedules import create_request, describe
from tests.engine.test_wakeups import fall_asleep
from tests.engine.world import World, history, names, virtual, virtual_logged

IDS = [f"sleeper-{number}" for number in range(12)]
HOUR_S = 3600.0


def set_clock(engine: Engine, by_s: float) -> None:
    """Somebody sets the machine's clock to be ahead of the true time by so much."""
    assert isinstance(engine.clock, Skewed)
    engine.clock.set(by_s)


def held_s(engine: Engine) -> float:
    return engine._watched.held_ns / 1e9


async def fired(engine: Engine) -> int:
    """How many of the sleepers have been woken."""
    connection = WorkflowService(engine)
    return [names(await history(connection, workflow_id)).count("TIMER_FIRED") for workflow_id in IDS].count(1)


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
def test_one_clock_that_is_set_wrong_is_not_followed(by_s: float, caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with Fleet(world) as fleet:
            one, two, _ = await fleet.nodes(3)
            for workflow_id in IDS:
                await fall_asleep(WorkflowService(two), workflow_id, 600)
            assert any(one.duties.partitions.hold("default", workflow_id) for workflow_id in IDS)
            set_clock(one, by_s)
            await asyncio.sleep(500)
            assert await fired(two) == 0
            assert held_s(one) == pytest.approx(by_s, abs=0.1)
            assert caplog.text.count("those of the other nodes were not") == 1
            late = await fleet.node()
            assert not late.duties.is_alone, "nobody is taken for one whose clock is wrong"
            await asyncio.sleep(105)
            assert await fired(two) == 12
            set_clock(one, 0)
            await asyncio.sleep(2 * BEAT_S)
            assert held_s(one) == pytest.approx(0, abs=0.1)

    scenario()


@virtual
async def test_clocks_that_are_all_set_are_followed_once_most_are(world: World) -> None:
    async with Fleet(world) as fleet:
        nodes = await fleet.nodes(3)
        for workflow_id in IDS:
            await fall_asleep(WorkflowService(nodes[1]), workflow_id, 600)
        await WorkflowService(nodes[0]).create_schedule(create_request(every_s=7200))
        for node in nodes:
            assert held_s(node) == 0
            set_clock(node, HOUR_S)
            await asyncio.sleep(1.3 * BEAT_S)
        await asyncio.sleep(3 * BEAT_S)
        assert [held_s(node) for node in nodes] == [0, 0, 0]
        assert await fired(nodes[2]) == 12, "set forward, timers come due by the new time"
        await asyncio.sleep(7200 - HOUR_S)
        assert (await describe(WorkflowService(nodes[0]))).info.action_count == 1


@virtual_logged
async def test_a_machine_that_slept_has_the_right_time_afterwards(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be set stood still with it, so its clock seems to have been set: to the others' time."""
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        set_clock(one, -HOUR_S)
        await asyncio.sleep(3 * BEAT_S)
        assert held_s(one) == pytest.approx(-HOUR_S, abs=0.1)
        set_clock(one, 0)
        await asyncio.sleep(2 * BEAT_S)
        assert held_s(one) == pytest.approx(0, abs=0.1)
        assert held_s(two) == 0


@virtual
async def test_the_last_node_goes_by_its_own_clock(world: World) -> None:
    async with Fleet(world) as fleet:
        one, two = await fleet.nodes(2)
        for workflow_id in IDS:
            await fall_asleep(WorkflowService(two), workflow_id, 600)
        set_clock(one, HOUR_S)
        await asyncio.sleep(3 * BEAT_S)
        assert held_s(one) == pytest.approx(HOUR_S, abs=0.1)
        await two.stop()
        await asyncio.sleep(2 * BEAT_S)
        assert held_s(one) == 0
        assert await fired(one) == 12

"""The wall clock is set: what is in hand has the time that it was given, no more and no less."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure.core import commands as law
from perdure.core import deadlines
from tests.core.given import SECOND, World, after, in_first_task, retry, schedule, timer

HOUR = 3600
ONCE = retry(attempts=1)
BOTH = pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])


def set_clock(world: World, hours: float) -> None:
    by_ns = round(hours * HOUR * SECOND)
    world.now_ns += by_ns
    world.when(law.MoveClock(by_ns, world.now_ns))
    assert world.run.wake_at_ns == deadlines.earliest(world.run)


def lasts(world: World) -> float:
    """Seconds until something happens by itself that history tells of."""
    begin, length = world.now_ns, len(world.history)
    for _ in range(20):
        assert world.run.wake_at_ns is not None
        world.now_ns = max(world.now_ns, world.run.wake_at_ns)
        world.when(law.Wake())
        if len(world.history) > length or world.rows:
            return (world.now_ns - begin) / SECOND
    raise AssertionError("nothing happens")


@BOTH
def test_a_workflow_task_has_its_time(hours: int) -> None:
    world, _ = in_first_task()
    world.now_ns += 4 * SECOND
    set_clock(world, hours)
    assert not world.when(law.Wake()).events
    assert lasts(world) == 6
    assert "WorkflowTaskTimedOut" in world.tail(2)


ATTEMPTS: list[tuple[Callable[[], World], float]] = [
    (lambda: after(schedule(start_to_close=10, policy=ONCE)), 6),
    (lambda: after(schedule(start_to_close=0, schedule_to_close=10)), 6),
    (lambda: after(schedule(start_to_close=100, heartbeat=10, policy=ONCE)), 6),
]


@BOTH
@pytest.mark.parametrize(("given", "left"), ATTEMPTS, ids=["start-to-close", "schedule-to-close", "heartbeat"])
def test_an_attempt_has_its_time(given: Callable[[], World], left: float, hours: int) -> None:
    world = given()
    world.activity_task()
    world.now_ns += 4 * SECOND
    set_clock(world, hours)
    assert lasts(world) == left


@BOTH
def test_an_attempt_that_began_by_the_new_time_is_not_moved(hours: int) -> None:
    world = after(schedule(start_to_close=10, policy=ONCE))
    by_ns = hours * HOUR * SECOND
    world.now_ns += by_ns
    since_ns = world.now_ns
    world.now_ns += SECOND
    world.activity_task()
    world.now_ns += SECOND
    world.when(law.MoveClock(by_ns, since_ns))
    assert lasts(world) == 9


@BOTH
def test_a_task_that_was_answered_in_time_is_taken(hours: int) -> None:
    world = after(schedule(start_to_close=10))
    task = world.activity_task()
    set_clock(world, hours)
    world.when(law.Wake())
    world.complete_activity(task)
    assert world.tail(2) == ["ActivityTaskCompleted", "WorkflowTaskScheduled"]


def test_a_back_off_does_not_wait_for_the_hour_that_a_clock_was_set_back() -> None:
    world = after(schedule(policy=retry(initial=5)))
    world.fail_activity(world.activity_task())
    world.now_ns += 2 * SECOND
    set_clock(world, -1)
    assert lasts(world) == 3


def test_a_back_off_by_the_new_time_is_as_long_as_it_should_be() -> None:
    world = after(schedule(policy=retry(initial=5)))
    task = world.activity_task()
    by_ns = -HOUR * SECOND
    world.now_ns += by_ns
    since_ns = world.now_ns
    world.fail_activity(task)
    world.when(law.MoveClock(by_ns, since_ns))
    assert lasts(world) == 5


def test_a_timer_never_takes_longer_than_it_was_asked_to() -> None:
    for hours, left in ((-1, 6.0), (1, 0.0)):
        world = after(timer("t", 10))
        world.now_ns += 4 * SECOND
        set_clock(world, hours)
        assert lasts(world) == left


def test_a_timer_begun_by_the_new_time_keeps_its_time() -> None:
    world, task = in_first_task()
    by_ns = -HOUR * SECOND
    world.now_ns += by_ns
    world.complete_task(task, timer("t", 10))
    world.when(law.MoveClock(by_ns, world.now_ns - SECOND))
    assert lasts(world) == 10


@BOTH
def test_a_clock_that_is_set_again_moves_again(hours: int) -> None:
    world = after(schedule(start_to_close=0, schedule_to_close=20, policy=ONCE))
    world.activity_task()
    for by in (hours, hours, -2 * hours):
        world.now_ns += 4 * SECOND
        set_clock(world, by)
    assert world.run.facts.attempts[world.run.activity_ids["1"]].moved_ns == 0
    assert lasts(world) == 8


def test_a_run_that_has_closed_is_left() -> None:
    world = after(timer())
    world.terminate()
    assert not world.when(law.MoveClock(HOUR * SECOND, world.now_ns)).changed


@BOTH
def test_a_run_time_out_and_a_start_delay_are_moved(hours: int) -> None:
    world = World()
    world.start(workflow_run_timeout=20.0)
    world.now_ns += 4 * SECOND
    set_clock(world, hours)
    assert deadlines.earliest(world.run) == world.now_ns + 16 * SECOND

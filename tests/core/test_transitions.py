"""Every transition of every table is taken by a named play, and the page that shows them is up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.core import activity
from perdure.core.diagrams import TABLES, document
from perdure.core.table import IllegalTransition
from tests.core import test_activity_control, test_pause
from tests.core.given import World, after, in_first_task, schedule, timer
from tests.core.given import retry as policy
from tests.core.test_oracle import ALL, CoreStage

PAGE = Path(__file__).parents[2] / "docs" / "transitions.md"


@pytest.fixture
def _watched() -> Iterator[None]:
    for table in TABLES:
        table.watch = set()
    yield
    for table in TABLES:
        table.watch = None


def failing_task_backs_off_then_is_queued() -> None:
    _backing_off().elapse(6)


def failing_task_backs_off_and_is_terminated() -> None:
    _backing_off().terminate()


def _backing_off() -> World:
    world = World()
    world.start()
    for _ in range(3):
        world.fail_task(world.workflow_task())
    assert world.rows == []
    return world


def later_attempt_is_queued_and_terminated() -> None:
    world, task = in_first_task()
    world.fail_task(task)
    world.terminate()


def lost_activity_is_tried_at_once() -> None:
    world = after(schedule())
    world.activity_task()
    world.lose_workers()
    assert len(world.rows) == 1


def everybody_slept_past_the_end_of_a_backing_off_activity() -> None:
    world = after(schedule(start_to_close=0, schedule_to_close=10, policy=policy(initial=5)), timer("late", 60))
    world.fail_activity(world.activity_task())
    world.now_ns += 30 * 10**9
    world.elapse(0)
    assert "ActivityTaskTimedOut" in world.tail(3)


def completed_by_id_in_its_back_off() -> None:
    world = after(schedule())
    world.fail_activity(world.activity_task())
    world.complete_by_id("1")
    assert world.tail(2) == ["ActivityTaskCompleted", "WorkflowTaskScheduled"]


PLAYS: list[Callable[[], None]] = [
    failing_task_backs_off_then_is_queued,
    failing_task_backs_off_and_is_terminated,
    later_attempt_is_queued_and_terminated,
    lost_activity_is_tried_at_once,
    everybody_slept_past_the_end_of_a_backing_off_activity,
    completed_by_id_in_its_back_off,
]


@pytest.mark.usefixtures("_watched")
def test_every_transition_is_taken() -> None:
    for scenario in ALL.values():
        scenario(CoreStage())
    modules = (test_activity_control, test_pause)
    controls = [play for module in modules for name, play in vars(module).items() if name.startswith("test_")]
    for play in [*PLAYS, *controls]:
        play()
    for table in TABLES:
        taken = table.watch or set()
        missing = [(old.name, how.name) for old, how in table.transitions if (old, how) not in taken]
        assert missing == [], table.name


def test_a_missing_key_is_the_error() -> None:
    with pytest.raises(IllegalTransition, match="Activity: START in state 5"):
        activity.TABLE.next(activity.State.CLOSED, activity.Trigger.START)


def test_the_page_shows_the_tables_as_they_are() -> None:
    assert PAGE.read_text() == document(), "run: python scripts/transitions.py"

"""Heartbeat details and what a run began with stand beside the snapshot; `given.World` checks that they come back."""

from __future__ import annotations

import msgspec
import pytest

from perdure.api.errors import Rejected
from perdure.core.apart import APART_BYTES_MIN
from perdure.core.execution import decode, encode
from perdure.core.limits import Limits
from tests.core import given
from tests.core.given import World, names, payloads, retry, schedule

BIG = "x" * 100_000


def beating(count: int = 1, limits: Limits | None = None) -> tuple[World, list[given.StartedActivityTask]]:
    """A run with so many activities that workers run."""
    world = World(limits)
    world.start()
    world.complete_task(world.workflow_task(), *[schedule(str(number)) for number in range(count)])
    return world, [world.activity_task() for _ in range(count)]


def test_details_that_are_large_are_written_once_and_not_with_every_commit() -> None:
    world, [activity] = beating()
    world.heartbeat(activity, BIG)
    assert world.parts.keys() == {activity.scheduled_event_id}
    assert len(encode(world.run)) < 5_000
    commit = world.when(given.law.Signal(given.signal_request()))
    assert commit.parts == {}
    [attempt] = world.run.facts.attempts.values()
    assert len(attempt.heartbeat_details) > len(BIG)


def test_details_that_are_small_stay_in_the_snapshot() -> None:
    world, [activity] = beating()
    world.heartbeat(activity, "x" * (APART_BYTES_MIN // 2))
    assert world.parts == {}


def test_details_that_become_small_leave_their_row() -> None:
    world, [activity] = beating()
    world.heartbeat(activity, BIG)
    world.heartbeat(activity, "done")
    assert world.parts == {}
    [attempt] = world.run.facts.attempts.values()
    assert b"done" in attempt.heartbeat_details


def test_the_rows_of_an_activity_go_when_it_closes() -> None:
    world, activities = beating(2)
    for activity in activities:
        world.heartbeat(activity, BIG)
    world.complete_activity(activities[0])
    assert world.parts.keys() == {activities[1].scheduled_event_id}


def test_the_rows_of_a_run_go_when_it_closes() -> None:
    world, [activity] = beating()
    world.heartbeat(activity, BIG)
    world.terminate()
    assert world.parts == {}


def test_the_next_attempt_is_given_them() -> None:
    world, [activity] = beating()
    world.heartbeat(activity, BIG)
    world.fail_activity(activity)
    world.elapse(5)
    assert BIG.encode() in world.activity_task().heartbeat_details


def test_what_a_run_with_a_retry_policy_began_with_stands_beside_its_snapshot() -> None:
    world = World()
    world.start(input=payloads(BIG), retry_policy=retry(attempts=2))
    assert world.parts.keys() == {1}
    assert len(encode(world.run)) < 5_000
    world.complete_task(world.workflow_task(), given.fail())
    assert BIG.encode() in world.history[0].SerializeToString(), "the next run begins as this one did"
    assert world.parts.keys() == {1}


def test_what_an_older_perdure_kept_in_the_snapshot_is_moved_when_it_is_next_written() -> None:
    world, [activity] = beating()
    [attempt] = world.run.facts.attempts.values()
    attempt.heartbeat_details = payloads(BIG).SerializeToString()
    world.execution = decode(encode(world.run))
    assert world.run.facts.apart == set()
    world.when(given.law.Signal(given.signal_request()))
    assert world.parts.keys() == {activity.scheduled_event_id}
    assert len(encode(world.run)) < 5_000


def test_a_state_whose_parts_are_missing_is_damaged() -> None:
    world, [activity] = beating()
    world.heartbeat(activity, BIG)
    snapshot = encode(world.run)
    with pytest.raises(msgspec.DecodeError, match=f"events \\[{activity.scheduled_event_id}\\]"):
        decode(snapshot, dict)
    [attempt] = decode(snapshot).facts.attempts.values()
    assert attempt.heartbeat_details == b"", "a list leaves them out"


def test_a_run_whose_state_is_too_big_is_terminated_with_the_reason() -> None:
    limits = Limits(state_bytes=250_000)
    world, activities = beating(3, limits)
    world.heartbeat(activities[0], BIG)
    world.heartbeat(activities[1], BIG)
    world.heartbeat(activities[1], BIG)
    assert world.run.is_open, "details replace those before"
    world.heartbeat(activities[2], BIG)
    assert names(world.history)[-1] == "WorkflowExecutionTerminated"
    reason = world.history[-1].workflow_execution_terminated_event_attributes.reason
    assert reason == "Workflow mutable state size exceeds limit."
    with pytest.raises(Rejected):
        world.heartbeat(activities[0], BIG)


def test_a_state_that_grows_by_something_else_ends_the_run_as_well() -> None:
    world = World(Limits(state_bytes=50_000))
    world.start(memo=given.memo(BIG))
    world.when(given.law.Signal(given.signal_request()))
    assert not world.run.is_open


def test_what_a_run_was_started_with_is_not_growth_of_its_state() -> None:
    world = World(Limits(state_bytes=50_000))
    world.start(input=payloads(BIG), retry_policy=retry(attempts=2))
    world.when(given.law.Signal(given.signal_request()))
    assert world.run.is_open

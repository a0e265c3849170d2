"""Snapshots: what is written comes back, older ones still do, and what is none is refused."""

from __future__ import annotations

import msgspec
import pytest
from temporalio.api.history.v1 import HistoryEvent

from perdure.core.execution import UnknownEvent, blank, decode, encode, evolve
from perdure.core.invariants import InvariantBroken, check, check_commit
from perdure.core.state import AttemptState, Execution
from tests.core import given
from tests.core.given import after, in_first_task, schedule, timer


def test_a_snapshot_is_small() -> None:
    world = after(timer("t", 3600))
    assert len(encode(world.run)) < 200


def test_a_snapshot_without_the_newest_fields_still_decodes() -> None:
    world = after(timer("t", 3600))
    fields = msgspec.msgpack.decode(encode(world.run))
    older = decode(msgspec.msgpack.encode(fields[:10]))
    assert (older.workflow_type, older.started_task_completed, older.timers) == ("order", 0, {})


@pytest.mark.parametrize("data", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1, 2, 3])])
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_two_executions_never_share_their_collections() -> None:
    one, other = blank(after().run.key), blank(after().run.key)
    one.activities[5] = after(schedule()).run.activities[5]
    one.facts.buffered.append(b"event")
    assert (other.activities, other.facts.buffered) == ({}, [])


def test_an_event_of_a_newer_version_is_not_folded_silently() -> None:
    with pytest.raises(UnknownEvent, match="type 99"):
        evolve(blank(after().run.key), HistoryEvent(event_id=1, event_type=99))  # pyright: ignore[reportArgumentType]


def broken(name: str, run: Execution) -> None:
    with pytest.raises(InvariantBroken, match=name):
        check(run)


def test_invariants_are_able_to_fail() -> None:
    run = after(schedule(), timer()).run
    run.facts.attempts.clear()
    broken("I6", run)
    run = after(timer()).run
    run.wake_at_ns = None
    broken("I11", run)
    run = after(timer()).run
    run.facts.buffered.append(b"")
    broken("I9", run)
    run = after(timer()).run
    run.facts.fired_timers.add("t")
    broken("I8", run)
    run = after(given.complete()).run
    run.wake_at_ns = 1
    broken("I5", run)
    world, _ = in_first_task()
    world.run.facts.transient_task = world.run.workflow_task
    broken("I3", world.run)
    run = after(schedule()).run
    run.facts.attempts[5].state = AttemptState.CLOSING
    broken("I7", run)


def test_invariants_of_a_commit_are_able_to_fail() -> None:
    world, task = in_first_task()
    request = given.RespondWorkflowTaskCompletedRequest(commands=[schedule()])
    commit = world.when(given.law.CompleteWorkflowTask(given.decode_token(task.token), request))
    commit.events[0].workflow_task_completed_event_attributes.started_event_id = 9
    with pytest.raises(InvariantBroken, match="I12"):
        check_commit(commit)
    world.run.facts.attempts.clear()
    commit.events[0].workflow_task_completed_event_attributes.started_event_id = 3
    with pytest.raises(InvariantBroken, match="I10"):
        check_commit(commit)
    commit.events.reverse()
    with pytest.raises(InvariantBroken, match="I1"):
        check_commit(commit)

"""Nodes whose clocks differ write one history: no event of it is earlier than the one before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from temporalio.api.command.v1 import Command
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from perdure.api import enums
from perdure.api.times import timestamp_ns
from perdure.core import commands as law
from perdure.core.execution import decode, encode
from perdure.core.turn import SKEW_MAX_NS
from perdure.stores.folding import differences, fold
from tests.core import given
from tests.core.given import SECOND, START_NS, in_first_task, timer


@examples(st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, SKEW_MAX_NS - 1)), max_size=12))
def test_time_goes_forward_in_a_history_whichever_clock_writes_it(steps: list[tuple[int, int]]) -> None:
    """Each step: time that passes, and how far the clock of the node that writes next is behind the fastest."""
    world, task = in_first_task()
    world.complete_task(task)
    true_ns = world.now_ns
    for passed_ns, behind_ns in steps:
        true_ns += passed_ns
        world.now_ns = true_ns - behind_ns
        world.when(law.Signal(given.signal_request()))
        if world.rows:
            world.complete_task(world.workflow_task())
    times = [timestamp_ns(event.event_time) for event in world.history]
    assert times == sorted(times)
    assert world.run.last_event_ns == times[-1]


def test_a_timer_counts_from_the_event_that_started_it() -> None:
    world, task = in_first_task()
    world.now_ns = START_NS - SECOND
    world.complete_task(task, timer("t", 10))
    assert timestamp_ns(world.history[-1].event_time) == START_NS
    assert world.run.timers["t"].fire_at_ns == START_NS + 10 * SECOND


def begins_anew(world: given.World) -> None:
    world.start(request_id="request-2", workflow_id_conflict_policy=enums.CONFLICT_TERMINATE_EXISTING)


def is_reset(world: given.World) -> None:
    run_id = world.run.key.run_id
    request = ResetWorkflowExecutionRequest(workflow_task_finish_event_id=4, request_id="reset-1")
    world.ask(law.ResetWorkflow(request, run_id, world.history[:3], [], run_id, world.run.next_event_id))


def goes_on(command: Command) -> Callable[[given.World], None]:
    return lambda world: world.complete_task(world.workflow_task(), command)


@pytest.mark.parametrize("follow", [goes_on(given.continue_as_new()), goes_on(given.fail()), begins_anew, is_reset])
def test_a_run_that_follows_another_begins_no_earlier_than_that_one_ends(follow: Callable[[given.World], None]) -> None:
    world, task = in_first_task(retry_policy=given.retry(attempts=3))
    world.complete_task(task, force_create_new_workflow_task=True)
    world.now_ns = START_NS - SECOND
    follow(world)
    [(_, first), (_, second)] = world.runs
    assert timestamp_ns(first[-1].event_time) == START_NS
    assert {timestamp_ns(event.event_time) for event in second} == {START_NS}


def test_a_clock_that_was_set_back_is_followed() -> None:
    world, task = in_first_task()
    world.now_ns = START_NS - SKEW_MAX_NS
    world.complete_task(task)
    assert timestamp_ns(world.history[-1].event_time) == START_NS - SKEW_MAX_NS


def test_a_state_that_was_written_before_the_time_was_kept_is_sound() -> None:
    world, _ = in_first_task()
    folded = fold(world.run.key, world.history)
    stored = decode(encode(world.run))
    stored.last_event_ns = 0
    assert differences(stored, folded) == []
    stored.last_event_ns = START_NS + 1
    assert differences(stored, fold(world.run.key, world.history)) == ["last_event_ns"]

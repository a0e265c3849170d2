"""Nodes whose clocks differ write one history: no event of it is earlier than the one before."""

from __future__ import annotations

from hypothesis import given as examples
from hypothesis import strategies as st

from perdure.api.times import timestamp_ns
from perdure.core import commands as law
from perdure.core.execution import decode, encode
from perdure.core.turn import SKEW_MAX_NS
from perdure.stores.reading import differences, fold
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

"""The laws, as properties of random walks (`World.when` checks them at every commit)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.api.enums import PAUSED
from perdure.core.execution import blank, evolve
from tests.core.given import CLOSING, World, names
from tests.core.walk import Step, Walker

STEP = st.tuples(st.integers(0, 28), st.integers(0, 29), st.integers(0, 29))


@settings(max_examples=300)
@given(st.lists(STEP, max_size=80))
def test_every_commit_keeps_the_laws(steps: list[Step]) -> None:
    world = Walker().walk(steps)
    for execution, history in world.runs:
        rebuilt = blank(execution.key)
        for event in history:
            evolve(rebuilt, event)
        rebuilt.facts, rebuilt.version, rebuilt.wake_at_ns = execution.facts, execution.version, execution.wake_at_ns
        assert rebuilt == execution
        assert [event.event_id for event in history] == list(range(1, len(history) + 1))
        closing = [name for name in names(history) if name in CLOSING]
        assert len(closing) == (0 if execution.is_open else 1)


@settings(max_examples=50)
@given(st.lists(STEP, max_size=60))
def test_the_same_steps_decide_the_same(steps: list[Step]) -> None:
    one, other = Walker().walk(steps), Walker().walk(steps)
    assert [history for _, history in one.runs] == [history for _, history in other.runs]
    assert one.execution == other.execution


@settings(max_examples=100)
@given(st.lists(STEP, max_size=60))
def test_a_run_left_alone_never_waits_for_nothing(steps: list[Step]) -> None:
    """With workers that take every task and answer nothing, time alone brings an open run on: it always owes
    a task or a wake-up, unless its worker asked for nothing."""
    world = Walker().walk(steps)
    run = world.run
    waits = run.activities or run.timers or run.children or run.externals
    if run.is_open and run.status != PAUSED and run.current_task is None and not waits:
        assert not run.facts.updates or run.wake_at_ns is not None
        assert run.wake_at_ns is not None or last_task_asked_for_nothing(world)


def last_task_asked_for_nothing(world: World) -> bool:
    after_last = names(world.history)
    after_last = after_last[len(after_last) - after_last[::-1].index("WorkflowTaskCompleted") :]
    news = {"WorkflowExecutionCancelRequested", "WorkflowExecutionSignaled", "TimerFired", "ActivityTaskCompleted"}
    return not any(name in news or name.startswith(("Child", "External")) for name in after_last)

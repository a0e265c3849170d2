"""What does much is decided in steps, and comes to the same as in one go."""

from __future__ import annotations

import time

from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.core import commands as law
from perdure.core.execution import decide, decide_in_steps, decode, encode, takes_steps
from perdure.core.steps import STEP, finish
from perdure.core.tokens import decode_token
from tests.core import given
from tests.core.given import World, names, refused, schedule, timer


def answer(task: given.StartedWorkflowTask, *commands: given.Command) -> law.CompleteWorkflowTask:
    request = RespondWorkflowTaskCompletedRequest(identity="worker", commands=commands)
    return law.CompleteWorkflowTask(decode_token(task.token), request)


def test_the_same_comes_of_steps_as_of_one_go() -> None:
    world = World()
    world.start()
    task = world.workflow_task()
    mixed = [*[given.marker() for _ in range(3 * STEP)], schedule("1"), timer("2"), given.complete()]
    command = answer(task, *mixed)
    assert takes_steps(command)
    assert not takes_steps(answer(task, given.complete()))
    again = decode(encode(world.run))
    whole = decide(world.run, [command], world.context()).settle()
    steps = decide_in_steps(again, command, world.context())
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            commit = end.value.settle()
            break
        count += 1
        assert count < 100
    assert count == 2 * (len(mixed) // STEP), "judged and applied"
    assert commit.encoded == whole.encoded
    assert commit.execution == whole.execution
    assert commit.replies == whole.replies


def test_commands_beyond_the_limit_are_counted_in_steps_and_no_further_than_it() -> None:
    """A step counts five thousand: of sixty thousand, the ten that are enough to know."""
    world = World()
    world.start()
    command = answer(world.workflow_task(), *[given.marker()] * 60_000)
    steps = decide_in_steps(world.run, command, world.context())
    count = 0
    while count < 100:
        try:
            next(steps)
        except StopIteration as end:
            commit = end.value.settle()
            break
        count += 1
    assert count == 10
    assert "history count exceeds limit" in str(commit.replies[0])
    assert names(commit.events)[-1] == "WorkflowExecutionTerminated"


def test_a_refusal_is_a_reply_here_as_there() -> None:
    world = World()
    world.start()
    task = world.workflow_task()
    world.complete_task(task)
    commit = finish(decide_in_steps(world.run, answer(task), world.context())).settle()
    assert not commit.changed
    assert "Workflow task not found" in str(commit.replies[0])
    assert not finish(decide_in_steps(None, answer(task), world.context())).settle().changed
    signal = finish(decide_in_steps(world.run, law.Signal(given.signal_request()), world.context())).settle()
    assert names(signal.events)[0] == "WorkflowExecutionSignaled"


def test_a_bad_command_at_the_end_leaves_nothing_of_those_before_it() -> None:
    world = World()
    world.start()
    task = world.workflow_task()
    commit = finish(decide_in_steps(world.run, answer(task, *[timer("t")] * (2 * STEP + 1)), world.context())).settle()
    assert names(commit.events) == ["WorkflowTaskFailed", "WorkflowTaskScheduled"] or names(commit.events) == [
        "WorkflowTaskFailed"
    ]


def test_thousands_of_timers_that_fired_are_cancelled_in_a_moment() -> None:
    world = World()
    world.start()
    world.complete_task(world.workflow_task(), *[timer(str(number)) for number in range(2_000)])
    world.ask(law.Signal(given.signal_request()))
    task = world.workflow_task()
    world.elapse(2)
    assert len(world.run.facts.buffered) == 2_000
    begin = time.process_time()
    world.complete_task(task, *[given.cancel_timer(str(number)) for number in range(2_000)])
    assert (
        time.process_time() - begin < 1.5
    )  # by the square of their number it took longer than that on a quiet machine
    assert not world.run.timers
    assert names(world.history).count("TimerCanceled") == 2_000
    assert "TimerFired" not in names(world.history)
    refused(lambda: world.complete_task(task))

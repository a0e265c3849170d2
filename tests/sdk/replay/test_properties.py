"""Whatever a program does and in whatever order the world answers: cold replay gives what sticky steps gave.

A program is a list of steps, run by one workflow of each colour. A server of sorts turns the commands
into events and answers a random few of what is open before each task, in random order, with success,
failure, time-outs, lost tasks and a cancellation. At each task a machine that followed along and a machine
that starts cold must ask for the same; and code that does something else in one place must not get away with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType

from perdure.sdk.activity import activity
from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError, NonDeterminismError
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History

Step = tuple[Any, ...]


@activity(name="work")
def work(value: int) -> int:
    return value


@workflow
def program_sync(steps: list[list[Any]]) -> list[str]:
    seen: list[str] = []
    handles: list[Any] = []
    for step in steps:
        try:
            seen.append(str(_run(step, handles)))
        except (ActivityError, CancelledError) as error:
            seen.append(type(error).__name__)
    return seen


def _run(step: list[Any], handles: list[Any]) -> Any:
    match step:
        case ["call", value]:
            return call(work, value)
        case ["start", value, cancellation]:
            handles.append(start(work.options(cancellation=cancellation), value))
        case ["timer", seconds]:
            handles.append(workflow.timer(seconds))
        case ["result", at] if handles:
            return handles[at % len(handles)].result()
        case ["cancel", at] if handles:
            return handles[at % len(handles)].cancel()
        case ["sleep", seconds]:
            workflow.sleep(seconds)
        case ["effect", value]:
            return workflow.side_effect(lambda: value)
        case ["any", first, second] if handles:
            some = [handles[first % len(handles)], handles[second % len(handles)]]
            return [handles.index(h) for h in workflow.wait_any(*some)]
        case ["all", timeout] if handles:
            try:
                return workflow.wait_all(*handles, timeout=timeout)
            except TimeoutError:
                return "late"
        case ["until", at, timeout] if handles:
            return workflow.wait_condition(handles[at % len(handles)].done, timeout=timeout)
        case ["dice"]:
            return workflow.random().randint(1, 6) if workflow.random().random() < 0.5 else call(work, -1)
        case _:
            return "nothing"
    return "done"


@workflow
async def program_async(steps: list[list[Any]]) -> list[str]:
    seen: list[str] = []
    handles: list[Any] = []
    for step in steps:
        try:
            seen.append(str(await _run_async(step, handles)))
        except (ActivityError, asyncio.CancelledError) as error:
            seen.append(type(error).__name__)
    return seen


async def _run_async(step: list[Any], handles: list[Any]) -> Any:
    match step:
        case ["call", value]:
            return await start(work, value)
        case ["start", value, cancellation]:
            handles.append(start(work.options(cancellation=cancellation), value))
        case ["timer", seconds]:
            handles.append(asyncio.create_task(asyncio.sleep(seconds)))
        case ["result", at] if handles:
            return await handles[at % len(handles)]
        case ["cancel", at] if handles:
            return handles[at % len(handles)].cancel()
        case ["sleep", seconds]:
            await workflow.sleep(seconds)
        case ["effect", value]:
            return workflow.side_effect(lambda: value)
        case ["any", first, second] if handles:
            some = {handles[first % len(handles)], handles[second % len(handles)]}
            done, _ = await asyncio.wait(some, return_when=asyncio.FIRST_COMPLETED)
            return sorted(handles.index(h) for h in done)
        case ["all", timeout] if handles:
            try:
                async with asyncio.timeout(timeout):
                    return await asyncio.gather(*handles, return_exceptions=timeout is not None)
            except TimeoutError:
                return "late"
        case ["until", at, timeout] if handles:
            return await workflow.wait_condition(handles[at % len(handles)].done, timeout=timeout)
        case ["dice"]:
            return workflow.random().randint(1, 6) if workflow.random().random() < 0.5 else await start(work, -1)
        case _:
            return "nothing"
    return "done"


numbers = st.integers(0, 9)
seconds = st.integers(1, 60)
timeouts = st.none() | seconds
step = st.one_of(
    st.tuples(st.just("call"), numbers),
    st.tuples(st.just("start"), numbers, st.sampled_from(["try", "wait", "abandon"])),
    st.tuples(st.just("timer"), seconds),
    st.tuples(st.just("result"), numbers),
    st.tuples(st.just("cancel"), numbers),
    st.tuples(st.just("sleep"), seconds),
    st.tuples(st.just("effect"), numbers),
    st.tuples(st.just("any"), numbers, numbers),
    st.tuples(st.just("all"), timeouts),
    st.tuples(st.just("until"), numbers, timeouts),
    st.tuples(st.just("dice")),
)
programs = st.lists(step, max_size=10)
ANSWERS = ("completed", "completed", "failed", "timed_out")


class World:
    """Follows what is open on the server's side, and answers it."""

    def __init__(self, history: History, data: st.DataObject, may_cancel: bool) -> None:
        self.history = history
        self.may_cancel = may_cancel
        self.data = data
        self.activities: list[str] = []
        self.cancel_asked: set[str] = set()
        self.timers: list[str] = []
        self.cancelled = False

    def take(self, commands: list[Command]) -> None:
        self.history.apply(commands)
        for command in commands:
            match command.command_type:
                case CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:
                    self.activities.append(command.schedule_activity_task_command_attributes.activity_id)
                case CommandType.COMMAND_TYPE_START_TIMER:
                    self.timers.append(command.start_timer_command_attributes.timer_id)
                case CommandType.COMMAND_TYPE_CANCEL_TIMER:
                    self.timers.remove(command.cancel_timer_command_attributes.timer_id)
                case CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK:
                    scheduled = command.request_cancel_activity_task_command_attributes.scheduled_event_id
                    self.cancel_asked.update(k for k, v in self.history.activities.items() if v == scheduled)
                case _:
                    pass

    def go_on(self) -> None:
        """Answer something, or several things, and start the next task, perhaps after a lost one."""
        draw = self.data.draw
        self.lose_tasks()
        nothing_open = not self.activities and not self.timers
        for _ in range(draw(st.integers(1, 3), label="answers")):
            choices = [("activity", a) for a in self.activities] + [("timer", t) for t in self.timers]
            if self.may_cancel and not self.cancelled and draw(st.integers(0, 19), label="cancel?") == 0:
                self.cancelled = True
                self.history.cancel_requested("enough")
            if choices:
                self.answer(*draw(st.sampled_from(choices), label="next"))
        if nothing_open and not self.cancelled:
            self.cancelled = True
            self.history.cancel_requested("nothing else will happen")
        self.history.task()

    def lose_tasks(self) -> None:
        for how in self.data.draw(st.lists(st.sampled_from(["task_failed", "task_timed_out"]), max_size=1)):
            self.history.task()
            getattr(self.history, how)()

    def answer(self, kind: str, which: str) -> None:
        if kind == "timer":
            self.timers.remove(which)
            self.history.fired(which)
            return
        self.activities.remove(which)
        answers = (*ANSWERS, "cancelled") if which in self.cancel_asked else ANSWERS
        how = self.data.draw(st.sampled_from(answers), label=f"activity {which}")
        if how == "completed":
            self.history.completed(which, int(which))
        elif how == "failed":
            self.history.failed(which, ApplicationError("no", type="No"))
        else:
            getattr(self.history, how)(which)


def run(definition: Any, program: list[Step], data: st.DataObject, may_cancel: bool = True) -> History:
    """Run a program to its end, comparing a machine that follows with one that starts cold at each task."""
    history = History(definition, [list(step) for step in program]).task()
    world = World(history, data, may_cancel)
    machine = history.machine()
    seen = 0
    for _ in range(200):
        outcome = machine.process(history.since(seen))
        assert outcome.failure is None, outcome.failure
        assert_same(history.cold(), outcome)
        seen = history.last
        world.take(outcome.commands)
        if outcome.finished:
            break
        before = history.last
        world.go_on()
        if data.draw(st.integers(0, 4), label="evicted?") == 0:
            machine.close()
            machine, seen = history.machine(), 0
        assert history.last > before
    else:
        raise AssertionError("the program does not end")
    machine.close()
    return history


def assert_same(cold: TaskOutcome, sticky: TaskOutcome) -> None:
    assert cold.failure is None, cold.failure
    assert cold.commands == sticky.commands
    assert cold.finished == sticky.finished


@given(programs, st.data())
def test_a_def_program_replays_from_any_prefix(program: list[Step], data: st.DataObject) -> None:
    history = run(program_sync, program, data)
    assert history.cold().finished


@given(programs, st.data())
def test_an_async_program_replays_from_any_prefix(program: list[Step], data: st.DataObject) -> None:
    history = run(program_async, program, data)
    assert history.cold().finished


OTHER_KIND: dict[str, list[Any]] = {"call": ["sleep", 1], "sleep": ["effect", 1], "effect": ["call", 1]}
"""Steps that always leave a command behind, and one that leaves another kind of command."""


visible = st.one_of(
    st.tuples(st.just("call"), numbers), st.tuples(st.just("sleep"), seconds), st.tuples(st.just("effect"), numbers)
)


@given(programs, visible, programs, st.data())
def test_code_that_does_something_else_instead_is_caught(
    before: list[Step], one: Step, after: list[Step], data: st.DataObject
) -> None:
    # Without a cancellation: a step that one hits at once leaves nothing, whatever its kind.
    history = run(program_sync, [*before, one, *after], data, may_cancel=False)
    assume(not any(e.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED for e in history.events))
    changed = [*map(list, before), OTHER_KIND[one[0]], *map(list, after)]
    history.events[0] = History(program_sync, changed).events[0]
    outcome = history.cold()
    assert isinstance(outcome.error, NonDeterminismError)
    assert __file__ in str(outcome.error)

"""Histories that a real server wrote replay, from any prefix, to the commands that they show."""

from __future__ import annotations

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.replay.machine import WorkflowMachine
from tests.sdk.replay import orders, scenes, stored
from tests.sdk.replay.given import CONVERTER

E, C = EventType, CommandType
EVENT_OF_COMMAND = {
    C.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    C.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK: E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
    C.COMMAND_TYPE_START_TIMER: E.EVENT_TYPE_TIMER_STARTED,
    C.COMMAND_TYPE_CANCEL_TIMER: E.EVENT_TYPE_TIMER_CANCELED,
    C.COMMAND_TYPE_RECORD_MARKER: E.EVENT_TYPE_MARKER_RECORDED,
    C.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    C.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    C.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION: E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
}
COMMAND_EVENTS = set(EVENT_OF_COMMAND.values())


def code(name: str) -> AnyWorkflow:
    return getattr(orders, name, None) or getattr(scenes, name)


def machine_of(name: str) -> WorkflowMachine:
    return WorkflowMachine(code(name), CONVERTER, namespace="default", task_queue="q")


def command_events_behind(events: list[HistoryEvent], end: int) -> list[EventType.ValueType]:
    """The command events that the task which saw `end` events led to."""
    found: list[EventType.ValueType] = []
    for event in events[end + 1 :]:
        if event.event_type == E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
        if event.event_type in COMMAND_EVENTS:
            found.append(event.event_type)
    return found


def kinds(commands: list[Command]) -> list[EventType.ValueType]:
    return [EVENT_OF_COMMAND[command.command_type] for command in commands]


@pytest.mark.parametrize("name", stored.NAMES)
def test_a_whole_history_replays_to_its_end(name: str) -> None:
    machine = machine_of(name)
    outcome = machine.process(stored.task_of(stored.load(name)))
    machine.close()
    assert outcome.failure is None, outcome.failure
    assert outcome.commands == []
    assert outcome.finished


@pytest.mark.parametrize("name", stored.NAMES)
def test_every_prefix_replays_to_the_commands_that_history_shows_next(name: str) -> None:
    events = stored.load(name)
    ends = stored.task_ends(events)
    assert ends
    for end in ends:
        machine = machine_of(name)
        outcome = machine.process(stored.task_of(events[:end]))
        machine.close()
        assert outcome.failure is None, outcome.failure
        assert kinds(outcome.commands) == command_events_behind(events, end)
        assert outcome.finished == (end == ends[-1])


@pytest.mark.parametrize("name", stored.NAMES)
def test_sticky_steps_give_what_cold_replays_give(name: str) -> None:
    events = stored.load(name)
    sticky = machine_of(name)
    seen = 0
    for end in stored.task_ends(events):
        task = stored.task_of(events[:end])
        cold = machine_of(name)
        expected = cold.process(task)
        cold.close()
        del task.history.events[:seen]
        outcome = sticky.process(task)
        assert outcome == expected
        seen = end
    sticky.close()


@pytest.mark.parametrize("name", stored.NAMES)
def test_a_machine_may_be_dropped_and_started_over_anywhere(name: str) -> None:
    events = stored.load(name)
    machine = machine_of(name)
    for end in stored.task_ends(events):
        outcome = machine.process(stored.task_of(events[:end]))
        assert outcome.failure is None
        assert kinds(outcome.commands) == command_events_behind(events, end)
    machine.close()

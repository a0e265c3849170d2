"""User timers: started by a command, fired by the clock, cancelled by a command."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from temporalio.api.command.v1 import CancelTimerCommandAttributes, Command
from temporalio.api.history.v1 import (
    HistoryEvent,
    TimerCanceledEventAttributes,
    TimerFiredEventAttributes,
    TimerStartedEventAttributes,
)

from perdure.api import enums
from perdure.api.times import duration_ns, later, timestamp_ns
from perdure.core.fold import folds
from perdure.core.state import Execution, Timer
from perdure.core.table import Table
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer


class State(IntEnum):
    NONE = 0
    RUNNING = 1
    FIRED = 2
    """Its TimerFired event is decided; it waits while a worker holds the workflow task."""
    CLOSED = 3


class Trigger(IntEnum):
    START = 1
    FIRE = 2
    RECORD = 3
    """TimerFired enters history."""
    CANCEL = 4


TABLE: Table[State, Trigger] = Table(
    "Timer",
    State.NONE,
    {
        (State.NONE, Trigger.START): State.RUNNING,
        (State.RUNNING, Trigger.FIRE): State.FIRED,
        (State.RUNNING, Trigger.CANCEL): State.CLOSED,
        (State.FIRED, Trigger.RECORD): State.CLOSED,
        (State.FIRED, Trigger.CANCEL): State.CLOSED,
    },
)


def start(turn: Turn, command: Command, completed_event_id: int) -> None:
    """Write TimerStarted and owe a wake-up. The command has been validated."""
    attributes = command.start_timer_command_attributes
    TABLE.next(State.NONE, Trigger.START)
    event = HistoryEvent(
        event_type=enums.TIMER_STARTED,
        timer_started_event_attributes=TimerStartedEventAttributes(
            timer_id=attributes.timer_id,
            start_to_fire_timeout=attributes.start_to_fire_timeout,
            workflow_task_completed_event_id=completed_event_id,
        ),
    )
    turn.add(event)
    turn.lower(turn.execution.timers[attributes.timer_id].fire_at_ns)


def cancel(turn: Turn, attributes: CancelTimerCommandAttributes, completed_event_id: int, identity: str) -> None:
    """Cancel a timer, even one whose firing is still buffered: then that event is dropped."""
    execution = turn.execution
    timer = execution.timers[attributes.timer_id]
    # It fired behind the task whose answer cancels it. The workflow cannot know, so history is to say what it says.
    if attributes.timer_id in execution.facts.fired_timers:
        TABLE.next(State.FIRED, Trigger.CANCEL)
        _drop_buffered(turn, timer)
    else:
        TABLE.next(State.RUNNING, Trigger.CANCEL)
    turn.add(
        HistoryEvent(
            event_type=enums.TIMER_CANCELED,
            timer_canceled_event_attributes=TimerCanceledEventAttributes(
                timer_id=timer.timer_id,
                started_event_id=timer.started_event_id,
                workflow_task_completed_event_id=completed_event_id,
                identity=identity,
            ),
        )
    )


def _drop_buffered(turn: Turn, timer: Timer) -> None:
    """Thousands may be cancelled in one answer: what is buffered is read once for all of them."""
    facts = turn.execution.facts
    facts.fired_timers.discard(timer.timer_id)
    if turn.fired is None:
        turn.fired = {}
        for data in facts.buffered:
            event = HistoryEvent.FromString(data)
            if event.event_type == enums.TIMER_FIRED:
                turn.fired[event.timer_fired_event_attributes.started_event_id] = data
    facts.buffered.remove(turn.fired.pop(timer.started_event_id))


def fire_due(turn: Turn) -> bool:
    """Fire every timer whose time has come, earliest first. True when one fired."""
    execution = turn.execution
    fired = execution.facts.fired_timers
    moved = execution.facts.timers_moved
    due = [t for t in execution.timers.values() if fires_at(t, moved) <= turn.now_ns and t.timer_id not in fired]
    # By their times, not by when somebody looked: a wake-up that comes late must tell the same story.
    due.sort(key=lambda timer: (fires_at(timer, moved), timer.started_event_id))
    for timer in due:
        event = HistoryEvent(
            event_type=enums.TIMER_FIRED,
            timer_fired_event_attributes=TimerFiredEventAttributes(
                timer_id=timer.timer_id, started_event_id=timer.started_event_id
            ),
        )
        TABLE.next(State.RUNNING, Trigger.FIRE)
        fired.add(timer.timer_id)
        if add_or_buffer(turn, event):
            recorded(execution, timer.timer_id)
    return bool(due)


def recorded(execution: Execution, timer_id: str) -> None:
    """TimerFired has entered history."""
    TABLE.next(State.FIRED, Trigger.RECORD)
    execution.facts.fired_timers.discard(timer_id)


def next_deadline(execution: Execution) -> int | None:
    """When the next timer fires."""
    fired = execution.facts.fired_timers
    moved = execution.facts.timers_moved
    return min((fires_at(t, moved) for t in execution.timers.values() if t.timer_id not in fired), default=None)


def fires_at(timer: Timer, moved: Mapping[int, int]) -> int:
    """When it fires, in nanoseconds since the epoch; `moved` is the run's `facts.timers_moved`."""
    return timer.fire_at_ns + moved.get(timer.started_event_id, 0) if moved else timer.fire_at_ns


@folds(enums.TIMER_STARTED)
def _started(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.timer_started_event_attributes
    fire_at_ns = later(timestamp_ns(event.event_time), duration_ns(attributes.start_to_fire_timeout))
    execution.timers[attributes.timer_id] = Timer(attributes.timer_id, event.event_id, fire_at_ns)


@folds(enums.TIMER_FIRED)
def _fired(execution: Execution, event: HistoryEvent) -> None:
    del execution.timers[event.timer_fired_event_attributes.timer_id]


@folds(enums.TIMER_CANCELED)
def _canceled(execution: Execution, event: HistoryEvent) -> None:
    del execution.timers[event.timer_canceled_event_attributes.timer_id]

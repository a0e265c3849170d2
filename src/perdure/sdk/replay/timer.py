"""Durable timers: StartTimer and CancelTimer.

A timer that is started and cancelled in the same workflow task leaves no command at all, so no
event either.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.convert.user_metadata import put_metadata
from perdure.sdk.errors import CancelledError
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay.entry import Entry, Operation
from perdure.sdk.replay.events import reads
from perdure.sdk.replay.mismatch import names
from perdure.sdk.replay.run import Run


class TimerState(StrEnum):
    """Where a timer stands."""

    CREATED = "Created"
    STARTED = "Started"
    CANCELING = "Canceling"
    FIRED = "Fired"
    CANCELED = "Canceled"


class TimerTrigger(StrEnum):
    """What moves it: history's events, and the code's cancel."""

    TIMER_STARTED = "TimerStarted"
    TIMER_FIRED = "TimerFired"
    CANCEL = "cancel"
    TIMER_CANCELED = "TimerCanceled"


_S = TimerState
_T = TimerTrigger

TIMER_TRANSITIONS: Final[dict[tuple[TimerState, TimerTrigger], TimerState]] = {
    (_S.CREATED, _T.TIMER_STARTED): _S.STARTED,
    (_S.CREATED, _T.CANCEL): _S.CANCELED,
    (_S.STARTED, _T.TIMER_FIRED): _S.FIRED,
    (_S.STARTED, _T.CANCEL): _S.CANCELING,
    (_S.CANCELING, _T.TIMER_CANCELED): _S.CANCELED,
}

_CREATED, _STARTED = _S.CREATED, _S.STARTED
_ON_STARTED, _ON_FIRED, _ON_CANCEL, _ON_CANCELED = _T.TIMER_STARTED, _T.TIMER_FIRED, _T.CANCEL, _T.TIMER_CANCELED
_START_TIMER = CommandType.COMMAND_TYPE_START_TIMER
_CANCEL_TIMER = CommandType.COMMAND_TYPE_CANCEL_TIMER


class Timer(Operation):
    """One durable timer. Its value is None.

    Args:
        summary: one line for people.
    """

    __slots__ = ("duration_ns", "id", "machine", "state", "summary")

    event_types = (EventType.EVENT_TYPE_TIMER_STARTED,)

    def __init__(self, machine: Run, timer_id: str, duration_ns: int, summary: str | None = None) -> None:
        super().__init__()
        self.machine = machine
        self.id = timer_id
        self.duration_ns = duration_ns
        self.summary = summary
        self.state = _CREATED

    def build(self) -> None:
        """Make the command; `duration_ns` is at least 1."""
        command = Command(command_type=_START_TIMER)
        attributes = command.start_timer_command_attributes
        attributes.timer_id = self.id
        timeout = attributes.start_to_fire_timeout
        timeout.seconds, timeout.nanos = divmod(self.duration_ns, SECOND_NS)
        if self.summary is not None:
            put_metadata(command, self.machine.converter, self.summary)
        self.command = command

    def _move(self, trigger: TimerTrigger) -> None:
        self.state = TIMER_TRANSITIONS[self.state, trigger]

    def accept(self, event: HistoryEvent) -> bool:
        if event.timer_started_event_attributes.timer_id != self.id:
            return False
        self._move(_ON_STARTED)
        self.machine.timers[self.id] = self
        return True

    def fired(self) -> None:
        """TimerFired."""
        self._move(_ON_FIRED)
        del self.machine.timers[self.id]
        self.resolve(None)

    def cancel(self) -> bool:
        if self.done:
            return False
        was = self.state
        self._move(_ON_CANCEL)
        if was is _CREATED:
            self.machine.withdraw(self)
        else:
            self.machine.emit(CancelTimer(self))
        self.reject(CancelledError("the timer was cancelled"))
        return True

    def canceled(self) -> None:
        """TimerCanceled: the server knows."""
        self._move(_ON_CANCELED)
        del self.machine.timers[self.id]

    def describe(self) -> str:
        return f"timer (id {self.id}, {self.duration_ns / SECOND_NS:g} s)"


class CancelTimer(Entry):
    """The command that ends a started timer."""

    __slots__ = ("timer",)

    event_types = (EventType.EVENT_TYPE_TIMER_CANCELED,)

    def __init__(self, timer: Timer) -> None:
        super().__init__()
        self.timer = timer

    def build(self) -> None:
        """Make the command."""
        self.command = Command(command_type=_CANCEL_TIMER)
        self.command.cancel_timer_command_attributes.timer_id = self.timer.id

    def accept(self, event: HistoryEvent) -> bool:
        if event.timer_canceled_event_attributes.timer_id != self.timer.id:
            return False
        self.timer.canceled()
        return True

    def describe(self) -> str:
        return f"cancellation of the timer (id {self.timer.id})"


def start_timer(machine: Run, duration_ns: int, summary: str | None = None) -> Timer:
    """A durable timer; less than a nanosecond counts as one. `summary`: one line for people."""
    if machine.barred is not None:
        machine.check_open()
    machine.timer_count += 1
    entry = Timer(machine, str(machine.timer_count), max(1, duration_ns), summary)
    machine.emit(entry)
    return entry


# --- what history says ---------------------------------------------------------------------------


@reads(EventType.EVENT_TYPE_TIMER_FIRED)
def _fired(machine: Run, event: HistoryEvent) -> None:
    machine.timers[event.timer_fired_event_attributes.timer_id].fired()


@names(EventType.EVENT_TYPE_TIMER_STARTED)
def _started_words(event: HistoryEvent) -> str:
    attributes = event.timer_started_event_attributes
    timeout = attributes.start_to_fire_timeout
    return f"timer (id {attributes.timer_id}, {timeout.seconds + timeout.nanos / SECOND_NS:g} s)"


@names(EventType.EVENT_TYPE_TIMER_CANCELED)
def _canceled_words(event: HistoryEvent) -> str:
    return f"cancellation of the timer (id {event.timer_canceled_event_attributes.timer_id})"

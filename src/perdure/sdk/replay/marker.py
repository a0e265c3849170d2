"""Markers: values that the code made itself and history keeps, by RecordMarker.

A side effect's marker is the Go and Java SDKs' own: name "SideEffect", details "side-effect-id" and
"data". The value is needed while the code runs, but its event comes behind the
WorkflowTaskCompleted of that very task: so when replaying, the machine looks ahead for it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes

from perdure.sdk.replay.entry import Entry, current_site
from perdure.sdk.replay.mismatch import names
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import without_guard

SIDE_EFFECT = "SideEffect"
_ID, _DATA = "side-effect-id", "data"


class MarkerState(StrEnum):
    """Where a marker stands."""

    CREATED = "Created"
    RECORDED = "Recorded"


class MarkerTrigger(StrEnum):
    """What moves it."""

    MARKER_RECORDED = "MarkerRecorded"


MARKER_TRANSITIONS: Final[dict[tuple[MarkerState, MarkerTrigger], MarkerState]] = {
    (MarkerState.CREATED, MarkerTrigger.MARKER_RECORDED): MarkerState.RECORDED,
}


MarkerWords = Callable[[MarkerRecordedEventAttributes], str | None]
"""What a marker is about, as a person would say it; None: it is none of ours, whatever its name."""

_MARKER_WORDS: dict[str, MarkerWords] = {}


def names_marker(marker_name: str) -> Callable[[MarkerWords], MarkerWords]:
    """Register the words for markers of that name."""

    def register(words: MarkerWords) -> MarkerWords:
        _MARKER_WORDS[marker_name] = words
        return words

    return register


class Marker(Entry):
    """A RecordMarker command of any name."""

    __slots__ = ("state",)

    event_types = (EventType.EVENT_TYPE_MARKER_RECORDED,)

    def __init__(self) -> None:
        super().__init__()
        self.state = MarkerState.CREATED

    def recorded(self) -> None:
        """MarkerRecorded."""
        self.state = MARKER_TRANSITIONS[self.state, MarkerTrigger.MARKER_RECORDED]


class SideEffect(Marker):
    """One value that was made outside of replay's reach and recorded."""

    __slots__ = ("id",)

    def __init__(self, side_effect_id: int) -> None:
        super().__init__()
        self.id = side_effect_id

    def build(self, converter: Any, value: Any) -> None:
        """Make the command. Raises PayloadError when the value cannot be serialised."""
        command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
        attributes = command.record_marker_command_attributes
        attributes.marker_name = SIDE_EFFECT
        attributes.details[_DATA].CopyFrom(converter.to_payloads_message((value,), "the value of a side effect"))
        attributes.details[_ID].CopyFrom(converter.to_payloads_message((self.id,)))
        self.command = command

    def accept(self, event: HistoryEvent) -> bool:
        if side_effect_data(event, self.id) is None:
            return False
        self.recorded()
        return True

    def describe(self) -> str:
        return f"side effect (id {self.id})"


def side_effect(machine: Run, make: Callable[[], Any], kind: Any) -> Any:
    """Run `make` once in the run's life and record its value; replay gives the recorded one.

    What is returned was encoded and decoded, live as in replay, so that both see the same.
    """
    machine.check_open()
    machine.side_effect_count += 1
    entry = SideEffect(machine.side_effect_count)
    if machine.replaying:
        entry.site = current_site()
        payloads = _recorded(machine, entry)
    else:
        machine.barred = "a side effect"
        try:
            value = without_guard(machine, make)
        finally:
            machine.barred = None
        try:
            entry.build(machine.converter, value)
        except Exception as error:
            raise machine.not_built("the value of a side effect", error) from error.__cause__
        assert entry.command is not None
        payloads = entry.command.record_marker_command_attributes.details[_DATA]
    machine.produced.append(entry)
    return machine.read(payloads.payloads, kind, "the value of a side effect")


def _recorded(machine: Run, entry: SideEffect) -> Payloads:
    for event in machine.ahead():
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            data = side_effect_data(event, entry.id)
            if data is not None:
                return data
    raise machine.not_recorded(entry)


def side_effect_data(event: HistoryEvent, side_effect_id: int) -> Payloads | None:
    """The value in a MarkerRecorded event, None when it is not that side effect's."""
    attributes = event.marker_recorded_event_attributes
    if attributes.marker_name != SIDE_EFFECT or _ID not in attributes.details:
        return None
    ids = attributes.details[_ID].payloads
    return attributes.details[_DATA] if ids and ids[0].data == b"%d" % side_effect_id else None


@names(EventType.EVENT_TYPE_MARKER_RECORDED)
def _words(event: HistoryEvent) -> str:
    marker = event.marker_recorded_event_attributes
    words = _MARKER_WORDS.get(marker.marker_name)
    return (None if words is None else words(marker)) or f"marker {marker.marker_name}"


@names_marker(SIDE_EFFECT)
def _side_effect_words(marker: MarkerRecordedEventAttributes) -> str | None:
    if _ID not in marker.details:
        return None
    return f"side effect (id {marker.details[_ID].payloads[0].data.decode(errors='replace')})"

"""Versions of workflow code: which of two paths a run is on, kept by markers in its history.

    if workflow.patched("ship-by-drone"):     a run that came by here before the change goes on as it did
        call(ship_by_drone, order)
    else:
        call(ship, order)

Live, the answer is yes, and a marker says so; in replay it is whether history has that marker. As with
side effects the marker's event comes behind the WorkflowTaskCompleted of the very task in which the
code asks, so the machine looks ahead for it. The answer is kept for the rest of the run: a run that is
on the old path stays on it.

`patched` writes the marker of Temporal's newer SDKs ("core_patch"), `get_version` that of the Go and
Java SDKs ("Version"); both add to the search attribute TemporalChangeVersion, by which runs on a path
can be counted. What of these events code may stop to ask for, `may_be_left_out` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes

from perdure.sdk.errors import EngineError, NonDeterminismError
from perdure.sdk.replay.entry import Entry
from perdure.sdk.replay.marker import Marker, names_marker
from perdure.sdk.replay.run import Changes, Run

PATCH = "core_patch"
_PATCH_DATA = "patch-data"
VERSION = "Version"
_CHANGE_ID, _VERSION_NUMBER = "change-id", "version"
CHANGE_VERSIONS = "TemporalChangeVersion"
"""The search attribute: a list of patch ids, and of change ids with their version (`change-1`)."""
DEFAULT_VERSION = -1
"""What `get_version` answers to a run that came by before there was a version."""
CHANGE_VERSIONS_BYTES_MAX = 2048
"""As much as Temporal indexes of one attribute; a longer list is not written."""

_MARKER_RECORDED = EventType.EVENT_TYPE_MARKER_RECORDED
_UPSERTED = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
_JSON = {"encoding": b"json/plain"}


class PatchData(msgspec.Struct, frozen=True):
    """What the marker of a patch holds."""

    id: str
    deprecated: bool = False


_patch_decoder = msgspec.json.Decoder(PatchData)


class _Change(Marker):
    """A marker that says which path a run is on."""

    __slots__ = ("id",)

    def __init__(self, change_id: str) -> None:
        super().__init__()
        self.id = change_id

    def is_of(self, marker: MarkerRecordedEventAttributes) -> bool:
        """Whether the marker is this one."""
        raise NotImplementedError

    def accept(self, event: HistoryEvent) -> bool:
        if not self.is_of(event.marker_recorded_event_attributes):
            return False
        self.recorded()
        return True


class Patch(_Change):
    """The marker of `patched` and `deprecate_patch`."""

    __slots__ = ("deprecated",)

    def __init__(self, patch_id: str, deprecated: bool) -> None:
        super().__init__(patch_id)
        self.deprecated = deprecated

    def build(self) -> None:
        """Make the command. No codec: which path a run is on is no secret of the user's, as in Temporal."""
        self.command = _marker(PATCH, {_PATCH_DATA: PatchData(self.id, self.deprecated)})

    def is_of(self, marker: MarkerRecordedEventAttributes) -> bool:
        data = _patch_of(marker)
        return data is not None and data.id == self.id

    def describe(self) -> str:
        return f"patch {self.id!r}"


class Version(_Change):
    """The marker of `get_version`."""

    __slots__ = ("number",)

    def __init__(self, change_id: str, number: int) -> None:
        super().__init__(change_id)
        self.number = number

    def build(self) -> None:
        """Make the command."""
        self.command = _marker(VERSION, {_CHANGE_ID: self.id, _VERSION_NUMBER: self.number})

    def is_of(self, marker: MarkerRecordedEventAttributes) -> bool:
        return _version_of(marker) == (self.id, self.number)

    def describe(self) -> str:
        return f"version {self.number} of change {self.id!r}"


class ChangeVersions(Entry):
    """The search attribute that goes with each new marker."""

    __slots__ = ("values",)

    event_types = (_UPSERTED,)

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__()
        self.values = sorted(values)

    def build(self) -> None:
        """Make the command."""
        self.command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
        attributes = self.command.upsert_workflow_search_attributes_command_attributes
        payload = attributes.search_attributes.indexed_fields[CHANGE_VERSIONS]
        payload.metadata.update({**_JSON, "type": b"KeywordList"})
        payload.data = self.data()

    def data(self) -> bytes:
        """The list as it is written."""
        return msgspec.json.encode(self.values)

    def accept(self, event: HistoryEvent) -> bool:
        return _is_upsert(event)

    def describe(self) -> str:
        return f"search attribute {CHANGE_VERSIONS}"


def patched(machine: Run, patch_id: str, *, deprecated: bool) -> bool:
    """Whether the run is on the new path."""
    changes = _changes_of(machine)
    known = changes.patches.get(patch_id)
    if known is not None:
        return known
    machine.check_open()
    entry = Patch(patch_id, deprecated)
    found = _find(machine, entry) if machine.replaying else None
    if machine.replaying and found is None:
        changes.patches[patch_id] = False
        return False
    _write(machine, changes, entry, patch_id, upserts=found)
    changes.patches[patch_id] = True
    return True


def version(machine: Run, change_id: str, low: int, high: int) -> int:
    """The version that the run is on. One that the code does not support fails the task, even if caught."""
    changes = _changes_of(machine)
    number = changes.versions.get(change_id)
    if number is None:
        machine.check_open()
        number = _new_version(machine, changes, change_id, high)
        changes.versions[change_id] = number
    if not low <= number <= high:
        machine.violation = _unsupported(change_id, number, low, high)
        raise machine.violation
    return number


def _new_version(machine: Run, changes: Changes, change_id: str, high: int) -> int:
    number, found = high, None
    if machine.replaying:
        recorded = _recorded_version(machine, change_id)
        if recorded is None:
            return DEFAULT_VERSION
        number = recorded
        found = _find(machine, Version(change_id, number))
    _write(machine, changes, Version(change_id, number), f"{change_id}-{number}", upserts=found)
    return number


def _write(machine: Run, changes: Changes, entry: Entry, value: str, *, upserts: bool | None) -> None:
    """The marker and its search attribute; `upserts`: what history has, None when live."""
    machine.emit(entry)
    changes.values.add(value)
    attribute = ChangeVersions(changes.values)
    if upserts or (upserts is None and len(attribute.data()) <= CHANGE_VERSIONS_BYTES_MAX):
        machine.emit(attribute)


def _changes_of(machine: Run) -> Changes:
    if machine.changes is None:
        machine.changes = Changes()
    return machine.changes


def check_change_id(change_id: Any, what: str) -> None:
    """Raises EngineError."""
    if not isinstance(change_id, str) or not change_id:
        raise EngineError(f"{what} takes the name of a change, a text that is not empty, and not {change_id!r}")


def may_be_left_out(event: HistoryEvent) -> bool:
    """Whether code need not ask for this event any more, though an earlier version of it did.

    A deprecated patch, for that is what deprecating it is for; a version, as in the Go SDK; and the search
    attribute of either. Not a patch that is not deprecated: the code behind it must be there.
    """
    if event.event_type == _UPSERTED:
        return _is_upsert(event)
    if event.event_type != _MARKER_RECORDED:
        return False
    marker = event.marker_recorded_event_attributes
    data = _patch_of(marker)
    return data.deprecated if data is not None else _version_of(marker) is not None


@names_marker(PATCH)
def _patch_words(marker: MarkerRecordedEventAttributes) -> str | None:
    data = _patch_of(marker)
    return None if data is None else f"{'deprecated ' if data.deprecated else ''}patch {data.id!r}"


@names_marker(VERSION)
def _version_words(marker: MarkerRecordedEventAttributes) -> str | None:
    version = _version_of(marker)
    return None if version is None else f"version {version[1]} of change {version[0]!r}"


def _marker(name: str, details: dict[str, Any]) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    attributes = command.record_marker_command_attributes
    attributes.marker_name = name
    for key, value in details.items():
        attributes.details[key].payloads.append(Payload(metadata=_JSON, data=msgspec.json.encode(value)))
    return command


def _data_of(marker: MarkerRecordedEventAttributes, key: str) -> bytes | None:
    if key not in marker.details:
        return None
    payloads = marker.details[key].payloads
    return payloads[0].data if payloads else None


def _patch_of(marker: MarkerRecordedEventAttributes) -> PatchData | None:
    data = _data_of(marker, _PATCH_DATA) if marker.marker_name == PATCH else None
    return None if data is None else _patch_decoder.decode(data)


def _version_of(marker: MarkerRecordedEventAttributes) -> tuple[str, int] | None:
    if marker.marker_name != VERSION:
        return None
    change_id, number = _data_of(marker, _CHANGE_ID), _data_of(marker, _VERSION_NUMBER)
    if change_id is None or number is None:
        return None
    return msgspec.json.decode(change_id, type=str), msgspec.json.decode(number, type=int)


def _is_upsert(event: HistoryEvent) -> bool:
    fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    return len(fields) == 1 and CHANGE_VERSIONS in fields


def _find(machine: Run, entry: _Change) -> bool | None:
    """In replay: None when history lacks the marker, else whether its search attribute follows."""
    found = False
    for event in machine.ahead():
        if found:
            return event.event_type == _UPSERTED and _is_upsert(event)
        found = event.event_type == _MARKER_RECORDED and entry.is_of(event.marker_recorded_event_attributes)
    return False if found else None


def _recorded_version(machine: Run, change_id: str) -> int | None:
    for event in machine.ahead():
        if event.event_type == _MARKER_RECORDED:
            version = _version_of(event.marker_recorded_event_attributes)
            if version is not None and version[0] == change_id:
                return version[1]
    return None


def _unsupported(change_id: str, number: int, low: int, high: int) -> NonDeterminismError:
    history = "this run came by before the change had versions" if number == DEFAULT_VERSION else "this run is on it"
    return NonDeterminismError(
        f"version {number} of change {change_id!r} is not supported by this code, which supports {low} to {high}; "
        f"{history}. Deploy code that still knows version {number}, or end the run.",
        event_id=None,
        history=f"version {number} of change {change_id!r}",
        code=f"versions {low} to {high}",
    )

"""Search attributes as workflow code changes them: UpsertWorkflowSearchAttributes.

What a name is set to is not compared in replay, only which names: as with the arguments of an activity.
"""

from __future__ import annotations

import msgspec
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.common.v1 import SearchAttributes as Attributes
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.declare.search_attributes import SearchAttributes, payloads_of, value_of
from perdure.sdk.replay.entry import Entry
from perdure.sdk.replay.mismatch import names
from perdure.sdk.replay.patch import CHANGE_VERSIONS
from perdure.sdk.replay.run import Run

_UPSERTED = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
_NOTHING = b"binary/null"


class UpsertSearchAttributes(Entry):
    """The command that changes some."""

    __slots__ = ("fields",)

    event_types = (_UPSERTED,)

    def __init__(self, fields: dict[str, Payload]) -> None:
        super().__init__()
        self.fields = fields

    def build(self) -> None:
        """Make the command."""
        self.command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
        attributes = self.command.upsert_workflow_search_attributes_command_attributes
        for name, payload in self.fields.items():
            attributes.search_attributes.indexed_fields[name].CopyFrom(payload)

    def accept(self, event: HistoryEvent) -> bool:
        upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes
        return set(upserted.indexed_fields) == set(self.fields)

    def describe(self) -> str:
        return f"change of the search attributes ({', '.join(sorted(self.fields))})"


def upsert_search_attributes(machine: Run, values: SearchAttributes) -> None:
    """Set these, here and on the server; None takes one away. Raises PayloadError."""
    machine.check_open()
    info = machine.info
    assert info is not None
    wanted = payloads_of(values, removing=True)
    # What the run does not have need not be taken away; a server may not even know the name.
    fields = {
        name: payload
        for name, payload in wanted.items()
        if name in info.search_attributes or payload.metadata["encoding"] != _NOTHING
    }
    if not fields:
        return
    machine.emit(UpsertSearchAttributes(fields))
    known = {**info.search_attributes, **{name: value_of(payload) for name, payload in fields.items()}}
    current = {name: known[name] for name in sorted(known) if known[name] is not None}
    carried = payloads_carried(machine)
    for name, payload in fields.items():
        if payload.metadata["encoding"] == _NOTHING:
            carried.pop(name, None)
        else:
            carried[name] = payload
    machine.info = msgspec.structs.replace(info, search_attributes=current)


def begin_with(machine: Run, given: Attributes) -> None:
    """What the run was started with."""
    for name, payload in given.indexed_fields.items():
        if name != CHANGE_VERSIONS:
            carried = payloads_carried(machine)[name] = Payload()
            carried.CopyFrom(payload)


def payloads_carried(machine: Run) -> dict[str, Payload]:
    """What the run has now, as the next run of its chain gets it: without what is said of its versions."""
    if machine.search_attributes is None:
        machine.search_attributes = {}
    return machine.search_attributes


@names(_UPSERTED)
def _words(event: HistoryEvent) -> str:
    fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    return f"change of the search attributes ({', '.join(sorted(fields))})"

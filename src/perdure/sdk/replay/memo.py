"""The memo as workflow code changes it: ModifyWorkflowProperties.

What a key is set to is not compared in replay, only which keys: as with the arguments of an activity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.replay.entry import Entry
from perdure.sdk.replay.run import Run


class ModifyMemo(Entry):
    """The command that changes some keys."""

    __slots__ = ("memo",)

    event_types = (EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,)

    def __init__(self, memo: Memo) -> None:
        super().__init__()
        self.memo = memo

    def build(self) -> None:
        """Make the command."""
        self.command = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
        self.command.modify_workflow_properties_command_attributes.upserted_memo.CopyFrom(self.memo)

    def accept(self, event: HistoryEvent) -> bool:
        upserted = event.workflow_properties_modified_event_attributes.upserted_memo
        return set(upserted.fields) == set(self.memo.fields)

    def describe(self) -> str:
        return f"change of the memo ({', '.join(sorted(self.memo.fields))})"


def upsert_memo(machine: Run, values: Mapping[str, Any]) -> None:
    """Set these keys, here and on the server; None takes a key away. Raises PayloadError, which fails the task."""
    machine.check_open()
    changed = Memo()
    try:
        for name, value in values.items():
            changed.fields[name].CopyFrom(machine.converter.to_payload(value, f"the memo {name!r}"))
    except Exception as error:
        raise machine.not_built("change of the memo", error) from error.__cause__
    machine.emit(ModifyMemo(changed))
    if machine.memo is None:
        machine.memo = Memo()
    for name, value in values.items():
        if value is None:
            machine.memo.fields.pop(name, None)
        else:
            machine.memo.fields[name].CopyFrom(changed.fields[name])

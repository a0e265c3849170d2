"""Updates: what the worker says of each, as a protocol message and the command that gives it its place.

An update that is accepted leaves two commands, and so two events, in the order in which code asked for other
things: that is what replay matches. A rejection is a message alone, and no event.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Outcome, Rejection, Request, Response

from perdure.sdk.replay.entry import Entry
from perdure.sdk.replay.mismatch import names
from perdure.sdk.replay.run import Run

_PROTOCOL_MESSAGE = CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE


class UpdateState(StrEnum):
    """Where an update stands, as the code can know it."""

    REQUESTED = "Requested"
    ACCEPTING = "Accepting"
    ACCEPTED = "Accepted"
    COMPLETING = "Completing"
    CLOSED = "Closed"


class UpdateTrigger(StrEnum):
    """What moves it: the code, and history's events."""

    ACCEPT = "accept"
    UPDATE_ACCEPTED = "WorkflowExecutionUpdateAccepted"
    COMPLETE = "complete"
    UPDATE_COMPLETED = "WorkflowExecutionUpdateCompleted"
    REJECT = "reject"


_S = UpdateState
_T = UpdateTrigger

UPDATE_TRANSITIONS: Final[dict[tuple[UpdateState, UpdateTrigger], UpdateState]] = {
    (_S.REQUESTED, _T.ACCEPT): _S.ACCEPTING,
    (_S.REQUESTED, _T.REJECT): _S.CLOSED,
    (_S.ACCEPTING, _T.UPDATE_ACCEPTED): _S.ACCEPTED,
    (_S.ACCEPTING, _T.COMPLETE): _S.COMPLETING,
    (_S.ACCEPTED, _T.COMPLETE): _S.COMPLETING,
    (_S.COMPLETING, _T.UPDATE_ACCEPTED): _S.COMPLETING,
    (_S.COMPLETING, _T.UPDATE_COMPLETED): _S.CLOSED,
}


class Update:
    """One request.

    Args:
        request: as the client sent it.
        message_id: of the message that brought it.
        sequencing_event_id: the event behind which it came.
    """

    __slots__ = ("id", "message_id", "name", "request", "sequencing_event_id", "state")

    def __init__(self, request: Request, update_id: str, message_id: str, sequencing_event_id: int) -> None:
        self.request = request
        self.id = update_id
        self.name = request.input.name
        self.message_id = message_id
        self.sequencing_event_id = sequencing_event_id
        self.state = _S.REQUESTED

    def move(self, trigger: UpdateTrigger) -> None:
        """Raises KeyError for what cannot be."""
        self.state = UPDATE_TRANSITIONS[self.state, trigger]

    def message(self, what: str, body: Any) -> Message:
        """One answer to it."""
        message = Message(id=f"{self.message_id}/{what}", protocol_instance_id=self.id)
        message.body.Pack(body)
        return message

    def rejection(self, failure: Failure) -> Message:
        """The answer that leaves no event."""
        self.move(_T.REJECT)
        body = Rejection(
            rejected_request_message_id=self.message_id,
            rejected_request_sequencing_event_id=self.sequencing_event_id,
            rejected_request=self.request,
            failure=failure,
        )
        return self.message("reject", body)


class AcceptUpdate(Entry):
    """The request is taken: its handler begins."""

    __slots__ = ("machine", "update")

    event_types = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,)

    def __init__(self, machine: Run, update: Update) -> None:
        super().__init__()
        self.machine = machine
        self.update = update
        update.move(_T.ACCEPT)

    def build(self) -> None:
        """Make the command and its message."""
        update = self.update
        body = Acceptance(
            accepted_request_message_id=update.message_id,
            accepted_request_sequencing_event_id=update.sequencing_event_id,
            accepted_request=update.request,
        )
        self.command = _say(self.machine, update.message("accept", body))

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.workflow_execution_update_accepted_event_attributes
        if attributes.protocol_instance_id != self.update.id:
            return False
        self.update.move(_T.UPDATE_ACCEPTED)
        return True

    def describe(self) -> str:
        return f"acceptance of update {self.update.name} (id {self.update.id})"


class CompleteUpdate(Entry):
    """The handler has ended."""

    __slots__ = ("machine", "outcome", "update")

    event_types = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,)

    def __init__(self, machine: Run, update: Update, outcome: Outcome | None) -> None:
        super().__init__()
        self.machine = machine
        self.update = update
        self.outcome = outcome
        update.move(_T.COMPLETE)

    def build(self) -> None:
        """Make the command and its message."""
        body = Response(meta=self.update.request.meta, outcome=self.outcome)
        self.command = _say(self.machine, self.update.message("complete", body))
        self.outcome = None

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.workflow_execution_update_completed_event_attributes
        if attributes.meta.update_id != self.update.id:
            return False
        self.update.move(_T.UPDATE_COMPLETED)
        return True

    def describe(self) -> str:
        return f"completion of update {self.update.name} (id {self.update.id})"


def _say(machine: Run, message: Message) -> Command:
    machine.messages.append(message)
    command = Command(command_type=_PROTOCOL_MESSAGE)
    command.protocol_message_command_attributes.message_id = message.id
    return command


@names(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
def _accepted_words(event: HistoryEvent) -> str:
    accepted = event.workflow_execution_update_accepted_event_attributes
    return f"acceptance of update {accepted.accepted_request.input.name} (id {accepted.protocol_instance_id})"


@names(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
def _completed_words(event: HistoryEvent) -> str:
    completed = event.workflow_execution_update_completed_event_attributes
    return f"completion of an update (id {completed.meta.update_id})"

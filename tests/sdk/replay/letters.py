"""Histories with messages in them: updates, children, other workflows, the next run. See `given`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.enums.v1 import StartChildWorkflowExecutionFailedCause as FailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Outcome, Rejection, Request, Response
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.convert import failure_of
from perdure.sdk.replay.outcome import TaskOutcome
from tests.sdk.replay.given import CONVERTER, History, failure_text

E = EventType
C = CommandType
TAKEN = FailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS


class Letters(History):
    """A history, and the update requests that the next task brings."""

    def __init__(self, workflow: Any, *args: Any) -> None:
        super().__init__(workflow, *args)
        self.requests: list[Message] = []
        self.initiated: dict[str, int] = {}
        """By workflow id, the newest event that began something with it."""

    def since(self, last_seen: int = 0) -> PollWorkflowTaskQueueResponse:
        task = super().since(last_seen)
        task.messages.extend(self.requests)
        self.requests = []
        return task

    def queried(self, name: str, *args: Any) -> PollWorkflowTaskQueueResponse:
        """A task that is nothing but a question, with the whole history."""
        task = self.since()
        task.query.query_type = name
        task.query.query_args.payloads.extend(CONVERTER.to_payloads(args))
        return task

    # --- updates -----------------------------------------------------------------------------------

    def request(self, update_id: str, name: str, *args: Any) -> Request:
        request = Request()
        request.meta.update_id = update_id
        request.input.name = name
        request.input.args.payloads.extend(CONVERTER.to_payloads(args))
        return request

    def update(self, update_id: str, name: str, *args: Any) -> Self:
        """The next task brings this request."""
        message = Message(id=f"{update_id}/request", protocol_instance_id=update_id, event_id=self.last)
        message.body.Pack(self.request(update_id, name, *args))
        self.requests.append(message)
        return self

    def accepted(self, update_id: str, name: str, *args: Any) -> Self:
        event = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
        attributes = event.workflow_execution_update_accepted_event_attributes
        attributes.protocol_instance_id = update_id
        attributes.accepted_request_message_id = f"{update_id}/request"
        attributes.accepted_request.CopyFrom(self.request(update_id, name, *args))
        return self

    def answered(self, update_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
        event.workflow_execution_update_completed_event_attributes.meta.update_id = update_id
        return self

    # --- children and others -------------------------------------------------------------------------

    def child(self, workflow_id: str, name: str) -> Self:
        event = self._begin(E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, workflow_id)
        attributes = event.start_child_workflow_execution_initiated_event_attributes
        attributes.workflow_id, attributes.workflow_type.name = workflow_id, name
        return self

    def _begin(self, kind: EventType.ValueType, workflow_id: str) -> HistoryEvent:
        event = self._add(kind)
        self.initiated[workflow_id] = event.event_id
        return event

    def child_not_started(self, workflow_id: str, cause: Any = TAKEN) -> Self:
        event = self._add(E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
        attributes = event.start_child_workflow_execution_failed_event_attributes
        attributes.initiated_event_id, attributes.cause = self.initiated[workflow_id], cause
        return self

    def child_started(self, workflow_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
        attributes = event.child_workflow_execution_started_event_attributes
        attributes.initiated_event_id = self.initiated[workflow_id]
        attributes.workflow_execution.workflow_id = workflow_id
        attributes.workflow_execution.run_id = f"run of {workflow_id}"
        return self

    def child_closed(self, workflow_id: str, how: str, value: Any = None) -> Self:
        """`how`: completed, failed, canceled, timed_out or terminated; `value`: of a completed or failed one."""
        event = self._add(E.Value(f"EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_{how.upper()}"))
        attributes = getattr(event, f"child_workflow_execution_{how}_event_attributes")
        attributes.initiated_event_id = self.initiated[workflow_id]
        if how == "completed":
            attributes.result.payloads.extend(CONVERTER.to_payloads((value,)))
        elif how == "failed":
            attributes.failure.CopyFrom(failure_of(value, CONVERTER))
        return self

    def signal_sent(self, workflow_id: str, name: str) -> Self:
        event = self._begin(E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, workflow_id)
        attributes = event.signal_external_workflow_execution_initiated_event_attributes
        attributes.signal_name, attributes.workflow_execution.workflow_id = name, workflow_id
        return self

    def signal_delivered(self, workflow_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
        event.external_workflow_execution_signaled_event_attributes.initiated_event_id = self.initiated[workflow_id]
        return self

    def signal_refused(self, workflow_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
        attributes = event.signal_external_workflow_execution_failed_event_attributes
        attributes.initiated_event_id = self.initiated[workflow_id]
        return self

    def cancel_sent(self, workflow_id: str) -> Self:
        """Does not change what `child_…` refers to."""
        event = self._add(E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
        attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
        attributes.workflow_execution.workflow_id = workflow_id
        self.initiated[f"cancel {workflow_id}"] = event.event_id
        return self

    def cancel_delivered(self, workflow_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        attributes = event.external_workflow_execution_cancel_requested_event_attributes
        attributes.initiated_event_id = self.initiated[f"cancel {workflow_id}"]
        return self

    def cancel_refused(self, workflow_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
        attributes = event.request_cancel_external_workflow_execution_failed_event_attributes
        attributes.initiated_event_id = self.initiated[f"cancel {workflow_id}"]
        return self

    # --- what a server makes of an answer ------------------------------------------------------------

    def answer(self, outcome: TaskOutcome) -> Self:
        """The task is completed with this."""
        self._told = {message.id: message for message in outcome.messages}
        self.apply(outcome.commands, outcome.flags)
        return self

    def _apply_one(self, command: Command) -> None:
        match command.command_type:
            case C.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
                child = command.start_child_workflow_execution_command_attributes
                self.child(child.workflow_id, child.workflow_type.name)
            case C.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:
                told = command.signal_external_workflow_execution_command_attributes
                self.signal_sent(told.execution.workflow_id, told.signal_name)
            case C.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION:
                self.cancel_sent(command.request_cancel_external_workflow_execution_command_attributes.workflow_id)
            case C.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
                self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
            case C.COMMAND_TYPE_PROTOCOL_MESSAGE:
                self._say(self._told[command.protocol_message_command_attributes.message_id])
            case _:
                super()._apply_one(command)

    def _say(self, message: Message) -> None:
        acceptance = Acceptance()
        if message.body.Unpack(acceptance):
            event = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
            attributes = event.workflow_execution_update_accepted_event_attributes
            attributes.protocol_instance_id = message.protocol_instance_id
            attributes.accepted_request_message_id = acceptance.accepted_request_message_id
            attributes.accepted_request.CopyFrom(acceptance.accepted_request)
        else:
            self.answered(message.protocol_instance_id)


def said(messages: Sequence[Message]) -> list[str]:
    """One short line for each message: `accept u1`, `answer u1: 7`, `reject u1: why`."""
    return [_said(message) for message in messages]


def _said(message: Message) -> str:
    update_id = message.protocol_instance_id
    rejection, response = Rejection(), Response()
    if message.body.Unpack(rejection):
        return f"reject {update_id}: {failure_text(rejection.failure)}"
    if message.body.Unpack(response):
        return f"answer {update_id}: {_outcome(response.outcome)}"
    assert message.body.Is(Acceptance.DESCRIPTOR)
    return f"accept {update_id}"


def _outcome(outcome: Outcome) -> str:
    if outcome.HasField("failure"):
        return f"failed, {failure_text(outcome.failure)}"
    return ", ".join(payload.data.decode() or "null" for payload in outcome.success.payloads)

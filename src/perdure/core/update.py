"""Updates: requests that a workflow accepts or rejects, and answers; only what it accepted is history.

An update is *admitted* when a client's request is durable, as a fact beside history, *sent* with a
workflow task, and accepted or rejected by the worker's answer to it. Acceptance and the outcome are events;
a rejection leaves none. An update is known by its id: the same id again is the same update. Requests and
answers travel as protocol messages (`temporal.api.protocol.v1`) next to the commands of a workflow task.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from google.protobuf.message import DecodeError
from temporalio.api.errordetails.v1 import WorkflowNotReadyFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Outcome, Rejection, Request, Response

from perdure.api import enums
from perdure.api.depth import decode
from perdure.api.errors import Rejected, StatusCode
from perdure.api.failures import bounded
from perdure.core.bad_command import BadCommand
from perdure.core.fold import folds
from perdure.core.limits import Limits
from perdure.core.refusals import not_found, workflow_closing
from perdure.core.replies import UpdateNews
from perdure.core.state import Execution, Update
from perdure.core.table import Table
from perdure.core.turn import Turn


class State(IntEnum):
    """Where an update stands; derived from the state by `state_of`."""

    NONE = 0
    ADMITTED = 1
    SENT = 2
    """A worker was told of it, with the running workflow task or one that did not end well."""
    ACCEPTED = 3
    CLOSED = 4


class Trigger(IntEnum):
    ADMIT = 1
    SEND = 2
    ACCEPT = 3
    REJECT = 4
    COMPLETE = 5
    ABORT = 6
    """The run closes, or its workflow task keeps failing."""


TABLE: Table[State, Trigger] = Table(
    "Update",
    State.NONE,
    {
        (State.NONE, Trigger.ADMIT): State.ADMITTED,
        (State.ADMITTED, Trigger.SEND): State.SENT,
        (State.ADMITTED, Trigger.ABORT): State.CLOSED,
        (State.SENT, Trigger.SEND): State.SENT,
        (State.SENT, Trigger.ACCEPT): State.ACCEPTED,
        (State.SENT, Trigger.REJECT): State.CLOSED,
        (State.SENT, Trigger.ABORT): State.CLOSED,
        (State.ACCEPTED, Trigger.COMPLETE): State.CLOSED,
        (State.ACCEPTED, Trigger.ABORT): State.CLOSED,
    },
)

Body = Acceptance | Rejection | Response

_BODIES: dict[str, tuple[type[Body], Trigger]] = {
    "temporal.api.update.v1.Acceptance": (Acceptance, Trigger.ACCEPT),
    "temporal.api.update.v1.Rejection": (Rejection, Trigger.REJECT),
    "temporal.api.update.v1.Response": (Response, Trigger.COMPLETE),
}

_REQUEST_TYPE = "type.googleapis.com/temporal.api.update.v1.Request"


def bad_message(why: str) -> BadCommand:
    """A protocol message that cannot be applied: the workflow task fails because of it."""
    return BadCommand(enums.BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE, why)


def state_of(execution: Execution, update_id: str) -> State:
    """The state that the execution's fields amount to."""
    pending = execution.facts.updates.get(update_id)
    if pending is not None:
        return State.SENT if pending.sent else State.ADMITTED
    known = execution.updates.get(update_id)
    if known is None:
        return State.NONE
    return State.CLOSED if known.completed_event_id or not execution.is_open else State.ACCEPTED


def in_flight(execution: Execution) -> int:
    """How many updates have no outcome yet."""
    return len(execution.facts.updates) + sum(not update.completed_event_id for update in execution.updates.values())


# --- to the worker -------------------------------------------------------------------------------


def send(turn: Turn, started_event_id: int) -> list[Message]:
    """The messages that go with the workflow task that starts now: every update that is not answered."""
    messages: list[Message] = []
    for update_id, pending in turn.execution.facts.updates.items():
        TABLE.next(State.SENT if pending.sent else State.ADMITTED, Trigger.SEND)
        pending.sent = True
        # Its Admitted event brings the request; a message would bring it a second time.
        if pending.is_in_history:
            continue
        message = Message(
            id=f"{update_id}/request", protocol_instance_id=update_id, event_id=max(started_event_id - 1, 0)
        )
        message.body.type_url = _REQUEST_TYPE
        message.body.value = pending.request
        messages.append(message)
    turn.touch()
    return messages


# --- from the worker -----------------------------------------------------------------------------


class Inbox:
    """The protocol messages of one worker's answer: all judged first, then applied in the same order."""

    __slots__ = ("_blob_bytes", "_bodies", "_execution", "_rest", "_states", "only_rejections")

    def __init__(self, execution: Execution, messages: Sequence[Message], limits: Limits) -> None:
        self._execution = execution
        self._blob_bytes = limits.blob_bytes
        self._rest = {message.id: message for message in messages}
        self._bodies: dict[str, tuple[str, Body]] = {}
        self._states: dict[str, State] = {}
        self.only_rejections = True

    def judge(self, message_id: str) -> None:
        """Judge the message that a command refers to. Raises BadCommand."""
        message = self._rest.pop(message_id, None)
        if message is None:
            raise bad_message(f"ProtocolMessageCommand referenced absent message ID {message_id}")
        update_id = message.protocol_instance_id
        body, trigger = _body_of(message, self._blob_bytes)
        if trigger != Trigger.REJECT:
            self.only_rejections = False
        # One answer may accept and complete: each message is judged by where those before it have brought the update.
        overlaid = self._states.get(update_id)
        state = state_of(self._execution, update_id) if overlaid is None else overlaid
        if state in (State.NONE, State.CLOSED):
            raise bad_message(
                f"update {update_id} wasn't found on the server. This is most likely a transient error which will "
                "be resolved automatically by retries"
            )
        if not TABLE.allows(state, trigger):
            name = "ProvisionallyAccepted" if overlaid == State.ACCEPTED else state.name.capitalize()
            raise bad_message(
                f"invalid state transition attempted for Update {update_id}: "
                f"received *update.{type(body).__name__} message while in state {name}"
            )
        self._states[update_id] = TABLE.transitions[state, trigger]
        self._bodies[message_id] = update_id, body

    def judge_rest(self) -> None:
        """Judge the messages that no command refers to. Raises BadCommand."""
        for message_id in list(self._rest):
            self.judge(message_id)

    def apply(self, turn: Turn, message_id: str) -> None:
        """Do what a message says."""
        update_id, body = self._bodies.pop(message_id)
        if isinstance(body, Acceptance):
            _accept(turn, update_id, body)
        elif isinstance(body, Response):
            _complete(turn, update_id, body)
        else:
            reject(turn, update_id, bounded(body.failure))

    def apply_rest(self, turn: Turn) -> None:
        """Do what the messages say that no command refers to."""
        for message_id in list(self._bodies):
            self.apply(turn, message_id)


def _body_of(message: Message, blob_bytes: int) -> tuple[Body, Trigger]:
    known = _BODIES.get(message.body.type_url.rpartition("/")[2])
    if known is None:
        raise bad_message(f"message {message.id} has a body of unknown type {message.body.type_url!r}")
    kind, trigger = known
    if len(message.body.value) > blob_bytes:
        raise bad_message(f"Message type {kind.DESCRIPTOR.full_name} exceeds size limit.")
    try:
        return decode(kind, message.body.value), trigger
    except DecodeError as error:
        raise bad_message(f"message {message.id} has a body that is no {kind.__name__}") from error


def _accept(turn: Turn, update_id: str, acceptance: Acceptance) -> None:
    TABLE.next(state_of(turn.execution, update_id), Trigger.ACCEPT)
    pending = turn.execution.facts.updates.pop(update_id)
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
    attributes = event.workflow_execution_update_accepted_event_attributes
    attributes.protocol_instance_id = update_id
    attributes.accepted_request_message_id = acceptance.accepted_request_message_id
    attributes.accepted_request_sequencing_event_id = acceptance.accepted_request_sequencing_event_id
    # Else its Admitted event holds the request, which may be large.
    if not pending.is_in_history:
        attributes.accepted_request.ParseFromString(pending.request)
    turn.add(event)
    turn.commit.updates.append(UpdateNews(update_id, enums.UPDATE_ACCEPTED))


def _complete(turn: Turn, update_id: str, response: Response) -> None:
    TABLE.next(state_of(turn.execution, update_id), Trigger.COMPLETE)
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_UPDATE_COMPLETED)
    attributes = event.workflow_execution_update_completed_event_attributes
    attributes.meta.CopyFrom(response.meta)
    # The one that was judged, whatever the body calls it.
    attributes.meta.update_id = update_id
    attributes.accepted_event_id = turn.execution.updates[update_id].accepted_event_id
    outcome = attributes.outcome
    outcome.CopyFrom(response.outcome)
    if outcome.HasField("failure"):
        outcome.failure.CopyFrom(bounded(response.outcome.failure))
    turn.add(event)
    turn.commit.updates.append(UpdateNews(update_id, enums.UPDATE_COMPLETED, outcome))


def reject(turn: Turn, update_id: str, failure: Failure) -> None:
    """The workflow did not want it: whoever waits is told, history is not."""
    TABLE.next(state_of(turn.execution, update_id), Trigger.REJECT)
    del turn.execution.facts.updates[update_id]
    turn.touch()
    outcome = Outcome(failure=failure)
    turn.commit.updates.append(UpdateNews(update_id, enums.UPDATE_COMPLETED, outcome, is_rejection=True))


def reject_unprocessed(turn: Turn) -> None:
    """The worker completed the task that these were sent with and said nothing of them."""
    for update_id in [key for key, pending in turn.execution.facts.updates.items() if pending.sent]:
        reject(turn, update_id, _failure(_UNPROCESSED, "UnprocessedUpdate"))


_UNPROCESSED = (
    "Workflow Update is rejected because it wasn't processed by worker. "
    "Probably, Workflow Update is not supported by the worker."
)


def _failure(message: str, kind: str) -> Failure:
    failure = Failure(message=message, source="Server")
    failure.application_failure_info.type = kind
    failure.application_failure_info.non_retryable = True
    return failure


def closed_outcome() -> Outcome:
    """The outcome of an update that was accepted and not completed when its run closed."""
    message = "Workflow Update failed because the Workflow completed before the Update completed."
    return Outcome(failure=_failure(message, "AcceptedUpdateCompletedWorkflow"))


# --- the end of those that nobody will answer ----------------------------------------------------


def abort(turn: Turn, continues: bool) -> None:
    """The run closes. Those who wait are told; `continues`: a next run follows, where they may ask again."""
    execution = turn.execution
    _abort_pending(turn, aborted(continues))
    for update_id, update in execution.updates.items():
        # No event says so: who asks later is told the same from the run's end (`closed_outcome`).
        if not update.completed_event_id:
            TABLE.next(State.ACCEPTED, Trigger.ABORT)
            turn.commit.updates.append(UpdateNews(update_id, enums.UPDATE_COMPLETED, closed_outcome()))


def aborted(continues: bool) -> Rejected:
    """What they are told whose update no worker had seen when the run closed."""
    return workflow_closing() if continues else not_found("workflow update was aborted by closing workflow")


FAILING_ATTEMPT = 3
"""A workflow task that is tried so often is taken for broken: updates do not wait for it."""


def abort_failing(turn: Turn) -> None:
    """The workflow task keeps failing: nobody can say when these would be answered."""
    _abort_pending(turn, not_ready("Workflow Task in failed state"))


def abort_unexpected(turn: Turn) -> None:
    """The worker's answer to these was no good."""
    _abort_pending(turn, not_ready("unexpected workflow task failure"))


def _abort_pending(turn: Turn, why: Rejected) -> None:
    pending = turn.execution.facts.updates
    for update_id in list(pending):
        TABLE.next(state_of(turn.execution, update_id), Trigger.ABORT)
        del pending[update_id]
        turn.touch()
        turn.commit.updates.append(UpdateNews(update_id, enums.UPDATE_UNSPECIFIED, None, why))


def not_ready(why: str) -> Rejected:
    """FAILED_PRECONDITION: the workflow cannot take an update now."""
    return Rejected(
        StatusCode.FAILED_PRECONDITION,
        f"Unable to perform workflow execution update due to {why}.",
        WorkflowNotReadyFailure(),
    )


def event_of(request: Request) -> HistoryEvent:
    """WorkflowExecutionUpdateAdmitted: an update of a run that was reset, carried over to the new run."""
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_UPDATE_ADMITTED)
    attributes = event.workflow_execution_update_admitted_event_attributes
    attributes.request.CopyFrom(request)
    attributes.origin = enums.UPDATE_ADMITTED_BY_REAPPLY
    return event


@folds(enums.WORKFLOW_EXECUTION_UPDATE_ADMITTED)
def _admitted(execution: Execution, event: HistoryEvent) -> None:
    """An update waits for its answer as one does that was never in another run's history: a fact, nothing to fold."""


@folds(enums.WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
def _accepted(execution: Execution, event: HistoryEvent) -> None:
    update_id = event.workflow_execution_update_accepted_event_attributes.protocol_instance_id
    execution.updates[update_id] = Update(event.event_id)


@folds(enums.WORKFLOW_EXECUTION_UPDATE_COMPLETED)
def _completed(execution: Execution, event: HistoryEvent) -> None:
    update_id = event.workflow_execution_update_completed_event_attributes.meta.update_id
    execution.updates[update_id].completed_event_id = event.event_id

"""Other workflows: children, and signals and cancellations sent to any workflow.

A child is started by a command; history then says that the order was taken (initiated), that the child
started or could not, and how it ended. What the parent does when it cancels a child is the call's
`cancellation`, as for activities: "wait" (the default of children), "try" or "abandon".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.enums.v1 import StartChildWorkflowExecutionFailedCause as FailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.convert import details_of
from perdure.sdk.errors import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    RetryState,
    TerminatedError,
    TimedOutError,
    TimeoutType,
)
from perdure.sdk.policies import Cancellation
from perdure.sdk.replay.entry import Operation
from perdure.sdk.replay.events import reads
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.mismatch import names
from perdure.sdk.replay.run import Run

_E = EventType
_CANCEL_EXTERNAL = CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION
_ALREADY_EXISTS = FailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS


class ChildState(StrEnum):
    """Where a child stands, as the code can know it."""

    CREATED = "Created"
    INITIATED = "Initiated"
    STARTED = "Started"
    CLOSED = "Closed"


class ChildTrigger(StrEnum):
    """What moves it: history's events, and the code's cancel before the order went out."""

    WITHDRAWN = "withdrawn"
    CHILD_INITIATED = "StartChildWorkflowExecutionInitiated"
    START_FAILED = "StartChildWorkflowExecutionFailed"
    CHILD_STARTED = "ChildWorkflowExecutionStarted"
    CHILD_CLOSED = "ChildWorkflowExecution…"


_S = ChildState
_T = ChildTrigger

CHILD_TRANSITIONS: Final[dict[tuple[ChildState, ChildTrigger], ChildState]] = {
    (_S.CREATED, _T.WITHDRAWN): _S.CLOSED,
    (_S.CREATED, _T.CHILD_INITIATED): _S.INITIATED,
    (_S.INITIATED, _T.START_FAILED): _S.CLOSED,
    (_S.INITIATED, _T.CHILD_STARTED): _S.STARTED,
    (_S.STARTED, _T.CHILD_CLOSED): _S.CLOSED,
}


class ExternalState(StrEnum):
    """Where a message to another workflow stands."""

    CREATED = "Created"
    INITIATED = "Initiated"
    CLOSED = "Closed"


class ExternalTrigger(StrEnum):
    """What moves it: history's events, of a signal as of a cancellation."""

    INITIATED = "…ExternalWorkflowExecutionInitiated"
    DELIVERED = "ExternalWorkflowExecution…"
    REFUSED = "…ExternalWorkflowExecutionFailed"


EXTERNAL_TRANSITIONS: Final[dict[tuple[ExternalState, ExternalTrigger], ExternalState]] = {
    (ExternalState.CREATED, ExternalTrigger.INITIATED): ExternalState.INITIATED,
    (ExternalState.INITIATED, ExternalTrigger.DELIVERED): ExternalState.CLOSED,
    (ExternalState.INITIATED, ExternalTrigger.REFUSED): ExternalState.CLOSED,
}


class Child(Operation):
    """One child workflow. Its value is the decoded result.

    Args:
        command: the whole order; None while replaying.
        returns: what the result is decoded to.
    """

    __slots__ = ("_asked", "cancellation", "id", "initiated_event_id", "machine", "name", "returns", "run_id", "state")

    event_types = (_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,)

    def __init__(self, machine: Run, name: str, workflow_id: str, returns: Any, cancellation: Cancellation) -> None:
        super().__init__()
        self.machine = machine
        self.name = name
        self.id = workflow_id
        self.returns = returns
        self.cancellation = cancellation
        self.run_id: str | None = None
        self.initiated_event_id = 0
        self.state = _S.CREATED
        self._asked = False

    def build(self) -> None:
        """The command was made with its arguments."""

    def _move(self, trigger: ChildTrigger) -> None:
        self.state = CHILD_TRANSITIONS[self.state, trigger]

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.start_child_workflow_execution_initiated_event_attributes
        if attributes.workflow_id != self.id or attributes.workflow_type.name != self.name:
            return False
        self._move(_T.CHILD_INITIATED)
        self.initiated_event_id = event.event_id
        self.machine.others[event.event_id] = self
        return True

    def start_failed(self, event: HistoryEvent) -> None:
        """StartChildWorkflowExecutionFailed."""
        self._move(_T.START_FAILED)
        attributes = event.start_child_workflow_execution_failed_event_attributes
        taken = attributes.cause == _ALREADY_EXISTS
        text = f"workflow id {self.id!r} is taken" if taken else "the namespace does not exist"
        cause = ApplicationError(
            text, type="WorkflowAlreadyStarted" if taken else "NamespaceNotFound", non_retryable=True
        )
        self._fail(cause, 0, RetryState.NON_RETRYABLE_FAILURE, "the child could not be started")

    def started(self, event: HistoryEvent) -> None:
        """ChildWorkflowExecutionStarted."""
        self._move(_T.CHILD_STARTED)
        self.run_id = event.child_workflow_execution_started_event_attributes.workflow_execution.run_id

    def closed(self, event: HistoryEvent) -> None:
        """One of the five events by which a child ends."""
        self._move(_T.CHILD_CLOSED)
        if self.done:
            return
        match event.event_type:
            case _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
                self._complete(event)
            case _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
                failed = event.child_workflow_execution_failed_event_attributes
                self._fail(
                    self.machine.read_failure(failed.failure), failed.started_event_id, RetryState(failed.retry_state)
                )
            case _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
                canceled = event.child_workflow_execution_canceled_event_attributes
                details = details_of(canceled.details.payloads, self.machine.converter)
                text = f"child workflow {self.name} was cancelled"
                self._fail(CancelledError(text, details=details), canceled.started_event_id)
            case _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
                late = event.child_workflow_execution_timed_out_event_attributes
                cause = TimedOutError(f"child workflow {self.name} timed out", timeout_type=TimeoutType.START_TO_CLOSE)
                self._fail(cause, late.started_event_id, RetryState(late.retry_state))
            case _:
                terminated = event.child_workflow_execution_terminated_event_attributes
                cause = TerminatedError(f"child workflow {self.name} was terminated")
                self._fail(cause, terminated.started_event_id)

    def _complete(self, event: HistoryEvent) -> None:
        payloads = event.child_workflow_execution_completed_event_attributes.result.payloads
        what = f"the result of child workflow {self.name}"
        try:
            value = self.machine.read(payloads, self.returns, what)
        except Exception as error:
            self.reject(error)
        else:
            self.resolve(value)

    def _fail(
        self,
        cause: FailureError,
        started_event_id: int,
        retry_state: RetryState = RetryState.UNKNOWN,
        message: str = "child workflow failed",
    ) -> None:
        if self.done:
            return
        error = ChildWorkflowError(
            message,
            workflow_type=self.name,
            workflow_id=self.id,
            run_id=self.run_id or "",
            namespace=self.machine.namespace,
            initiated_event_id=self.initiated_event_id,
            started_event_id=started_event_id,
            retry_state=retry_state,
        )
        error.__cause__ = cause
        self.reject(error)

    @property
    def is_canceling(self) -> bool:
        return self._asked

    def cancel(self) -> bool:
        """Ask it to stop, once. True when the code may go on at once."""
        if self.done:
            return False
        if self.state is _S.CREATED:
            self._move(_T.WITHDRAWN)
            self.machine.withdraw(self)
        elif self.cancellation != "abandon":
            if self._asked and self.machine.uses(Flag.CANCELLATION_KEPT):
                return False
            self._asked = True
            self.machine.emit(CancelExternal(self.machine, self.id, "", is_child=True))
            if self.cancellation == "wait":
                return False
        self.reject(CancelledError(f"child workflow {self.name} was cancelled"))
        return True

    def describe(self) -> str:
        return f"child workflow {self.name} (id {self.id})"


class _External(Operation):
    """A message to another workflow; done when it was delivered. Its value is None."""

    __slots__ = ("id", "initiated_event_id", "is_child", "machine", "run_id", "state")

    def __init__(self, machine: Run, workflow_id: str, run_id: str, *, is_child: bool) -> None:
        super().__init__()
        self.machine = machine
        self.id = workflow_id
        self.run_id = run_id
        self.is_child = is_child
        self.initiated_event_id = 0
        self.state = ExternalState.CREATED

    def _move(self, trigger: ExternalTrigger) -> None:
        self.state = EXTERNAL_TRANSITIONS[self.state, trigger]

    def _initiated(self, event: HistoryEvent, workflow_id: str) -> bool:
        if workflow_id != self.id:
            return False
        self._move(ExternalTrigger.INITIATED)
        self.initiated_event_id = event.event_id
        self.machine.others[event.event_id] = self
        return True

    def delivered(self, event: HistoryEvent) -> None:
        """The other workflow has it."""
        self._move(ExternalTrigger.DELIVERED)
        if not self.done:
            self.resolve(None)

    def refused(self, event: HistoryEvent) -> None:
        """There is no such open workflow."""
        self._move(ExternalTrigger.REFUSED)
        if not self.done:
            text = f"{self.describe()}: there is no open workflow of that id"
            self.reject(ApplicationError(text, type="WorkflowNotFound", non_retryable=True))

    def cancel(self) -> bool:
        """A message cannot be called back; the code need not wait for it."""
        if self.done:
            return False
        self.reject(CancelledError(f"{self.describe()} was not waited for"))
        return True


class CancelExternal(_External):
    """A request to cancel another workflow."""

    __slots__ = ()

    event_types = (_E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,)

    def build(self) -> None:
        """Make the command."""
        self.command = Command(command_type=_CANCEL_EXTERNAL)
        attributes = self.command.request_cancel_external_workflow_execution_command_attributes
        attributes.namespace = self.machine.namespace
        attributes.workflow_id, attributes.run_id = self.id, self.run_id
        attributes.child_workflow_only = self.is_child

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
        return self._initiated(event, attributes.workflow_execution.workflow_id)

    def describe(self) -> str:
        return f"cancellation of workflow {self.id!r}"


class SignalExternal(_External):
    """A signal to another workflow."""

    __slots__ = ("name",)

    event_types = (_E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,)

    def build(self) -> None:
        """The command was made with its arguments."""

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.signal_external_workflow_execution_initiated_event_attributes
        return attributes.signal_name == self.name and self._initiated(event, attributes.workflow_execution.workflow_id)

    def describe(self) -> str:
        return f"signal {self.name} to workflow {self.id!r}"


# --- what history says ---------------------------------------------------------------------------


@reads(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
def _started(machine: Run, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_started_event_attributes.initiated_event_id
    machine.others[initiated].started(event)


@reads(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
def _start_failed(machine: Run, event: HistoryEvent) -> None:
    initiated = event.start_child_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).start_failed(event)


@reads(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
def _completed(machine: Run, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_completed_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


@reads(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
def _failed(machine: Run, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


@reads(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
def _canceled(machine: Run, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_canceled_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


@reads(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
def _timed_out(machine: Run, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_timed_out_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


@reads(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED)
def _terminated(machine: Run, event: HistoryEvent) -> None:
    initiated = event.child_workflow_execution_terminated_event_attributes.initiated_event_id
    machine.others.pop(initiated).closed(event)


@reads(_E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
def _signal_delivered(machine: Run, event: HistoryEvent) -> None:
    initiated = event.external_workflow_execution_signaled_event_attributes.initiated_event_id
    machine.others.pop(initiated).delivered(event)


@reads(_E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _signal_refused(machine: Run, event: HistoryEvent) -> None:
    initiated = event.signal_external_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).refused(event)


@reads(_E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_delivered(machine: Run, event: HistoryEvent) -> None:
    initiated = event.external_workflow_execution_cancel_requested_event_attributes.initiated_event_id
    machine.others.pop(initiated).delivered(event)


@reads(_E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _cancel_refused(machine: Run, event: HistoryEvent) -> None:
    initiated = event.request_cancel_external_workflow_execution_failed_event_attributes.initiated_event_id
    machine.others.pop(initiated).refused(event)


@names(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
def _child_words(event: HistoryEvent) -> str:
    child = event.start_child_workflow_execution_initiated_event_attributes
    return f"child workflow {child.workflow_type.name} (id {child.workflow_id})"


@names(_E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _signal_words(event: HistoryEvent) -> str:
    signal = event.signal_external_workflow_execution_initiated_event_attributes
    return f"signal {signal.signal_name} to workflow {signal.workflow_execution.workflow_id!r}"


@names(_E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _cancel_words(event: HistoryEvent) -> str:
    cancel = event.request_cancel_external_workflow_execution_initiated_event_attributes
    return f"cancellation of workflow {cancel.workflow_execution.workflow_id!r}"

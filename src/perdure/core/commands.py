"""What can be asked of an execution. One struct per command; requests keep their wire form."""

from __future__ import annotations

from collections.abc import Container

import msgspec
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    RecordActivityTaskHeartbeatRequest,
    RequestCancelWorkflowExecutionRequest,
    ResetActivityRequest,
    ResetWorkflowExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
    UpdateActivityOptionsRequest,
    UpdateWorkflowExecutionOptionsRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.core.context import Poller
from perdure.core.message import ChildClosed as ChildClosedMessage
from perdure.core.message import CloseChild as CloseChildMessage
from perdure.core.message import Origin
from perdure.core.names import RecordRef, Task
from perdure.core.tokens import TaskToken


class StartWorkflow(msgspec.Struct, frozen=True):
    """Start a run. Reply: `Started`. The start of a child is known again by its parent."""

    request: StartWorkflowExecutionRequest
    parent: Origin | None = None
    root_workflow_id: str = ""
    root_run_id: str = ""


class StartTask(msgspec.Struct, frozen=True):
    """A poller took this row of the durable queue. Reply: None; the started task is in `Commit.dispatches`.

    Rejected NOT_FOUND when the task is not owed any more (the shell then drops the row).
    """

    task: Task
    poller: Poller


class CompleteWorkflowTask(msgspec.Struct, frozen=True):
    """Reply: `WorkflowTaskCompleted` (the next workflow task and eager activities, if asked for)."""

    token: TaskToken
    request: RespondWorkflowTaskCompletedRequest


class FailWorkflowTask(msgspec.Struct, frozen=True):
    """Reply: None."""

    token: TaskToken
    request: RespondWorkflowTaskFailedRequest


class CompleteActivity(msgspec.Struct, frozen=True):
    """Reply: None."""

    token: TaskToken
    request: RespondActivityTaskCompletedRequest


class FailActivity(msgspec.Struct, frozen=True):
    """Reply: None."""

    token: TaskToken
    request: RespondActivityTaskFailedRequest


class ReportActivityCanceled(msgspec.Struct, frozen=True):
    """Reply: None."""

    token: TaskToken
    request: RespondActivityTaskCanceledRequest


class RecordHeartbeat(msgspec.Struct, frozen=True):
    """Reply: `HeartbeatRecorded`."""

    token: TaskToken
    request: RecordActivityTaskHeartbeatRequest


class Signal(msgspec.Struct, frozen=True):
    """Reply: the run's id. A request id that was served before is accepted and changes nothing."""

    request: SignalWorkflowExecutionRequest
    sender: Origin | None = None
    """The workflow that signals, None: a client."""
    child_only: bool = False
    """Only if the sender is the parent."""


class SignalWithStart(msgspec.Struct, frozen=True):
    """Signal the open run, or start one that knows the signal from its first task on. Reply: `Started`."""

    request: SignalWithStartWorkflowExecutionRequest


class Take(msgspec.Struct, frozen=True):
    """Do what a record asks for, and take the record away in the same commit. Decided alone. Reply: `Taken`.

    A refused command leaves the record; so does one that changes nothing, because it was served before.
    """

    command: StartWorkflow | Signal | SignalWithStart
    record: RecordRef


class AdmitUpdate(msgspec.Struct, frozen=True):
    """Take an update in; its update id is set. The same id again changes nothing. Reply: `UpdateStanding`."""

    request: UpdateWorkflowExecutionRequest


class UpdateWithStart(msgspec.Struct, frozen=True):
    """Update the open run, or start one whose first task carries the update; both or neither.

    Reply: (`Started`, `UpdateStanding`).
    """

    start: StartWorkflowExecutionRequest
    update: UpdateWorkflowExecutionRequest


class ControlActivities(msgspec.Struct, frozen=True):
    """Pause, unpause, reset or change the options of activities. Reply: those, a list of `state.Activity`."""

    request: PauseActivityRequest | UnpauseActivityRequest | ResetActivityRequest | UpdateActivityOptionsRequest


class PauseWorkflow(msgspec.Struct, frozen=True):
    """Ask the run for nothing until it is unpaused. Reply: None."""

    request: PauseWorkflowExecutionRequest


class UnpauseWorkflow(msgspec.Struct, frozen=True):
    """Go on. Reply: None."""

    request: UnpauseWorkflowExecutionRequest


class ForgetSticky(msgspec.Struct, frozen=True):
    """The run's next task shall go to its normal queue. Rejected NOT_FOUND when it is closed. Reply: None."""


class UpdateOptions(msgspec.Struct, frozen=True):
    """Change a run's options. Reply: those that hold then, a `WorkflowExecutionOptions`."""

    request: UpdateWorkflowExecutionOptionsRequest


class ResetWorkflow(msgspec.Struct, frozen=True):
    """Begin a run with the first part of another's history. Reply: its run id.

    Decided on the current run. Rejected ABORTED when the workflow has gone on since its history was read.
    """

    request: ResetWorkflowExecutionRequest
    base_run_id: str
    copied: list[HistoryEvent]
    """Events of the base run, up to a workflow task that is scheduled or running."""
    later: list[HistoryEvent]
    """Those after them, also of the runs that followed it."""
    newest_run_id: str
    """The run that `later` ends with."""
    newest_next_event_id: int


class RequestCancel(msgspec.Struct, frozen=True):
    """Reply: None. A second request is accepted and changes nothing."""

    request: RequestCancelWorkflowExecutionRequest
    sender: Origin | None = None
    """The workflow that asks, None: a client."""
    child_only: bool = False
    """Only if the sender is the parent."""


class Terminate(msgspec.Struct, frozen=True):
    """Reply: None. Always possible while the run is open."""

    request: TerminateWorkflowExecutionRequest


class ResolveChildStart(msgspec.Struct, frozen=True):
    """To a parent: its child has started, or cannot. Reply: None; a repetition changes nothing."""

    initiated_event_id: int
    message_id: str
    run_id: str
    """Empty: it cannot, for this cause."""
    cause: int = 0
    """temporal.api.enums.v1.StartChildWorkflowExecutionFailedCause."""


class ResolveExternal(msgspec.Struct, frozen=True):
    """To a sender: its signal or request to cancel has arrived, or cannot.

    Reply: whether that is so. False: it is for a child that the sender still waits to see started, so it came too
    early and is to be delivered again. A repetition changes nothing.
    """

    initiated_event_id: int
    message_id: str
    cause: int = 0
    """SignalExternalWorkflowExecutionFailedCause or CancelExternalWorkflowExecutionFailedCause; 0: it arrived."""
    child_only: bool = False
    """It is for a child of the sender."""


class ChildClosed(msgspec.Struct, frozen=True):
    """To a parent: its child's chain of runs has ended. Reply: None; a repetition changes nothing."""

    message: ChildClosedMessage
    message_id: str


class CloseChild(msgspec.Struct, frozen=True):
    """To a child: its parent has closed. Reply: None; a run that is not that parent's child is left alone."""

    message: CloseChildMessage
    message_id: str


class Wake(msgspec.Struct, frozen=True):
    """A deadline passed, perhaps: late, early and duplicate wake-ups are no-ops. Reply: None."""


class MoveClock(msgspec.Struct, frozen=True):
    """The wall clock was set, by so much, and has gone on from `since_ns`. Reply: None (`core.clock_moved`)."""

    by_ns: int
    """Negative: it was set back."""
    since_ns: int
    """The first instant of the new time, in nanoseconds since the epoch."""


class LoseWorkers(msgspec.Struct, frozen=True):
    """Workers that held tasks of this execution are known to be dead: those in the process of a node that is gone.

    Started attempts time out now instead of at their time-out, and are tried again at once if their
    retry policy allows. A workflow task that waits on a sticky queue goes to its normal queue at once: the
    sticky worker died as well. Reply: None.
    """

    home: str = ""
    """The node, or the worker in a process of its own (`api.presence`); empty: every worker, for all of them were in
    one process (an embedded engine restarted)."""
    living: Container[str] = frozenset[str]()
    """Workers in processes of their own that outlive the engine: what they hold is left to them."""


Command = (
    StartWorkflow
    | StartTask
    | CompleteWorkflowTask
    | FailWorkflowTask
    | CompleteActivity
    | FailActivity
    | ReportActivityCanceled
    | RecordHeartbeat
    | Signal
    | SignalWithStart
    | Take
    | AdmitUpdate
    | UpdateWithStart
    | ResolveChildStart
    | ResolveExternal
    | ChildClosed
    | CloseChild
    | ResetWorkflow
    | ForgetSticky
    | PauseWorkflow
    | UnpauseWorkflow
    | ControlActivities
    | RequestCancel
    | Terminate
    | UpdateOptions
    | Wake
    | MoveClock
    | LoseWorkers
)

"""What can be asked of an execution. One struct per command; requests keep their wire form."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatRequest,
    RequestCancelWorkflowExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure.core.commit import Poller, Task
from perdure.core.tokens import TaskToken


@dataclass(slots=True, frozen=True)
class StartWorkflow:
    """Start a run. Reply: `Started`."""

    request: StartWorkflowExecutionRequest


@dataclass(slots=True, frozen=True)
class StartTask:
    """A poller took this row of the durable queue. Reply: None; the started task is in `Commit.dispatches`.

    Rejected NOT_FOUND when the task is not owed any more (the shell then drops the row).
    """

    task: Task
    poller: Poller


@dataclass(slots=True, frozen=True)
class CompleteWorkflowTask:
    """Reply: `WorkflowTaskCompleted` (the next workflow task and eager activities, if asked for)."""

    token: TaskToken
    request: RespondWorkflowTaskCompletedRequest


@dataclass(slots=True, frozen=True)
class FailWorkflowTask:
    """Reply: None."""

    token: TaskToken
    request: RespondWorkflowTaskFailedRequest


@dataclass(slots=True, frozen=True)
class CompleteActivity:
    """Reply: None."""

    token: TaskToken
    request: RespondActivityTaskCompletedRequest


@dataclass(slots=True, frozen=True)
class FailActivity:
    """Reply: None."""

    token: TaskToken
    request: RespondActivityTaskFailedRequest


@dataclass(slots=True, frozen=True)
class ReportActivityCanceled:
    """Reply: None."""

    token: TaskToken
    request: RespondActivityTaskCanceledRequest


@dataclass(slots=True, frozen=True)
class RecordHeartbeat:
    """Reply: `HeartbeatRecorded`."""

    token: TaskToken
    request: RecordActivityTaskHeartbeatRequest


@dataclass(slots=True, frozen=True)
class RequestCancel:
    """Reply: None. A second request is accepted and changes nothing."""

    request: RequestCancelWorkflowExecutionRequest


@dataclass(slots=True, frozen=True)
class Terminate:
    """Reply: None. Always possible while the run is open."""

    request: TerminateWorkflowExecutionRequest


@dataclass(slots=True, frozen=True)
class Wake:
    """A deadline passed, perhaps: late, early and duplicate wake-ups are no-ops. Reply: None."""


@dataclass(slots=True, frozen=True)
class LoseWorkers:
    """Every worker that held a task of this execution is known to be dead (an embedded engine restarted).

    Started attempts time out now instead of at their time-out, and are tried again at once if their
    retry policy allows. A workflow task that waits on a sticky queue goes to its normal queue at once: the
    sticky worker died as well. Reply: None.
    """


Command = (
    StartWorkflow
    | StartTask
    | CompleteWorkflowTask
    | FailWorkflowTask
    | CompleteActivity
    | FailActivity
    | ReportActivityCanceled
    | RecordHeartbeat
    | RequestCancel
    | Terminate
    | Wake
    | LoseWorkers
)

"""What commands are answered with, once what they decided is durable."""

from __future__ import annotations

from typing import Any

import msgspec
from temporalio.api.update.v1 import Outcome

from perdure.api.errors import Rejected
from perdure.core.started import StartedActivityTask, StartedWorkflowTask


class Started(msgspec.Struct, frozen=True):
    """Reply to StartWorkflow. `created` is False when another request's run was returned (USE_EXISTING)."""

    run_id: str
    created: bool
    status: int
    """temporal.api.enums.v1.WorkflowExecutionStatus of that run."""
    first_run_id: str = ""
    """The run that its chain began with."""
    workflow_task: StartedWorkflowTask | None = None
    """The first one, for a caller that is a worker and asked to begin at once."""
    is_attached: bool = False
    """Another request's run, which was told of this one."""


class Taken(msgspec.Struct, frozen=True):
    """Reply to Take. `is_taken`: the record is gone; else nothing had to be changed, and it is there."""

    reply: Any
    is_taken: bool


class WorkflowTaskCompleted(msgspec.Struct, frozen=True):
    """Reply to CompleteWorkflowTask: what the worker gets in the same breath."""

    workflow_task: StartedWorkflowTask | None
    activity_tasks: list[StartedActivityTask]
    reset_history_event_id: int = 0
    """The speculative task was dropped: forget what came after this event. 0: it was not."""


class UpdateStanding(msgspec.Struct, frozen=True):
    """Reply to AdmitUpdate: how far the update of this id has come."""

    run_id: str
    update_id: str
    stage: int
    """temporal.api.enums.v1.UpdateWorkflowExecutionLifecycleStage."""
    completed_event_id: int = 0
    """Where history holds the outcome; 0 at stage COMPLETED: the run closed before there was one."""


class UpdateNews(msgspec.Struct, frozen=True):
    """What becomes of an update with a commit: told to those who wait for it, once durable."""

    update_id: str
    stage: int
    """The stage it has reached: ACCEPTED or COMPLETED; 0: it never will, for the reason in `refusal`."""
    outcome: Outcome | None = None
    refusal: Rejected | None = None
    is_rejection: bool = False
    """The outcome is nowhere but here."""


class HeartbeatRecorded(msgspec.Struct, frozen=True):
    """Reply to RecordHeartbeat."""

    cancel_requested: bool
    is_paused: bool = False
    is_reset: bool = False

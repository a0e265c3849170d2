"""What `describe` and `list` tell, as plain values."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.api.enums.v1 import PendingActivityState as WireState
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo

from perdure.api.failures import headline
from perdure.api.status import is_open
from perdure.sdk.choices import Numbered
from perdure.sdk.client.situation import (
    WORKFLOW_QUEUE,
    Seen,
    Wait,
    places_of,
    sentence_of,
    task_failure_of,
    waits_of,
)
from perdure.sdk.convert import Converter
from perdure.sdk.convert.user_metadata import metadata_of
from perdure.sdk.declare.search_attributes import values_of
from perdure.sdk.moments import former_ns, moment_of


class WorkflowStatus(Numbered):
    """How a run stands. Temporal's names and numbers."""

    UNSPECIFIED = "unspecified", 0
    RUNNING = "running", 1
    COMPLETED = "completed", 2
    FAILED = "failed", 3
    CANCELED = "canceled", 4
    TERMINATED = "terminated", 5
    CONTINUED_AS_NEW = "continued_as_new", 6
    TIMED_OUT = "timed_out", 7
    PAUSED = "paused", 8

    @property
    def is_open(self) -> bool:
        """Whether the run may still go on: it is running or paused."""
        return is_open(self.number)


class WorkflowSummary(msgspec.Struct, frozen=True):
    """One line of a list. Times are in UTC, to the microsecond."""

    id: str
    run_id: str
    workflow_type: str
    task_queue: str
    status: WorkflowStatus
    started_at: datetime
    closed_at: datetime | None
    """None while it is open."""
    history_length: int
    """Number of events."""
    search_attributes: dict[str, Any] = {}
    """By name, decoded by their types."""

    if not TYPE_CHECKING:
        closed_at_ns = former_ns("closed_at_ns", "closed_at")
        started_at_ns = former_ns("started_at_ns", "started_at")


class PendingActivityState(StrEnum):
    """How an activity stands that has not ended."""

    UNSPECIFIED = "unspecified"
    """In a way that this version does not know."""
    SCHEDULED = "scheduled"
    """It waits for a worker, or backs off."""
    STARTED = "started"
    """An attempt runs."""
    CANCEL_REQUESTED = "cancel_requested"
    """An attempt runs, and was asked to stop."""
    PAUSED = "paused"
    """No attempt begins."""
    PAUSE_REQUESTED = "pause_requested"
    """An attempt runs, and no other will begin."""


class PendingActivity(msgspec.Struct, frozen=True):
    """An activity that has not ended yet. Times are in UTC, to the microsecond."""

    activity_id: str
    activity_type: str
    state: PendingActivityState
    attempt: int
    maximum_attempts: int
    """0: without end."""
    last_failure: str
    """Of the attempt before: type, message and the line in the code; "" when there was none."""
    last_worker: str
    next_attempt_at: datetime | None
    """When it backs off: until when."""
    last_heartbeat_at: datetime | None
    """None when there was none."""
    task_queue: str = ""
    """Whose workers are to run it."""
    started_at: datetime | None = None
    """When the present attempt began, None when none runs."""

    if not TYPE_CHECKING:
        last_heartbeat_at_ns = former_ns("last_heartbeat_at_ns", "last_heartbeat_at")
        next_attempt_at_ns = former_ns("next_attempt_at_ns", "next_attempt_at")
        started_at_ns = former_ns("started_at_ns", "started_at")


class WorkflowDescription(msgspec.Struct, frozen=True):
    """How a run stands, and what it waits for. As text: one line, `str(description)`."""

    summary: WorkflowSummary
    pending_activities: tuple[PendingActivity, ...]
    workflow_task_attempt: int
    """0: no workflow task is owed; above 1: the last ones failed or timed out."""
    workflow_task_failure: str
    """Why the workflow code could not go on: type, message, line; "" when it can. Mend the code and deploy."""
    memo: dict[str, Any]
    """The notes of the run."""
    waits: tuple[Wait, ...] = ()
    """What an open run waits for, what is wrong first. Of its timers those among its newest 1,024 events."""
    waits_at: tuple[str, ...] = ()
    """Where its code waits, a line for each branch, such as `shop.py:31 in order`; empty when no worker could say."""
    stack: str = ""
    """The same, with the lines that lead there."""
    workers: tuple[str, ...] | None = None
    """Who polls its task queue, or did in the last five minutes; None when that cannot be told, and of a closed run."""
    static_summary: str = ""
    """What `start` was told: one line for people."""
    static_details: str = ""
    """Likewise, more than a line."""

    @property
    def situation(self) -> str:
        """What the run waits for in one line, "" when it is closed: the same that a time-out's error says."""
        return sentence_of(self.waits, self.waits_at)

    def __str__(self) -> str:
        situation = f": {self.situation}" if self.waits else ""
        return f"{self.workflow_type} {self.id!r} is {self.status.name}{situation}"

    @property
    def id(self) -> str:
        """The workflow id."""
        return self.summary.id

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return self.summary.run_id

    @property
    def workflow_type(self) -> str:
        """The name that the workflow was registered under."""
        return self.summary.workflow_type

    @property
    def task_queue(self) -> str:
        """Where its workflow tasks go."""
        return self.summary.task_queue

    @property
    def search_attributes(self) -> dict[str, Any]:
        """By name, decoded by their types."""
        return self.summary.search_attributes

    @property
    def status(self) -> WorkflowStatus:
        """Running, or how it ended."""
        return self.summary.status

    @property
    def started_at(self) -> datetime:
        """When the run began, in UTC."""
        return self.summary.started_at

    @property
    def closed_at(self) -> datetime | None:
        """When the run ended, in UTC; None while it is open."""
        return self.summary.closed_at

    @property
    def history_length(self) -> int:
        """Number of events."""
        return self.summary.history_length

    if not TYPE_CHECKING:
        closed_at_ns = former_ns("closed_at_ns", "closed_at")
        started_at_ns = former_ns("started_at_ns", "started_at")


def summary_of(info: WorkflowExecutionInfo) -> WorkflowSummary:
    """From the wire."""
    return WorkflowSummary(
        id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        workflow_type=info.type.name,
        task_queue=info.task_queue,
        status=WorkflowStatus(info.status),
        started_at=moment_of(info.start_time.ToNanoseconds()),
        closed_at=moment_of(info.close_time.ToNanoseconds()) if info.HasField("close_time") else None,
        history_length=info.history_length,
        search_attributes=values_of(info.search_attributes.indexed_fields),
    )


def description_of(seen: Seen, converter: Converter) -> WorkflowDescription:
    """From the wire. Raises PayloadError."""
    response = seen.description
    memo = response.workflow_execution_info.memo.fields
    summary = summary_of(response.workflow_execution_info)
    workers = seen.pollers.get((summary.task_queue, WORKFLOW_QUEUE))
    attempt = response.pending_workflow_task.attempt
    said, details = metadata_of(response.execution_config.user_metadata, converter)
    return WorkflowDescription(
        summary=summary,
        pending_activities=tuple(_pending(info) for info in response.pending_activities),
        workflow_task_attempt=attempt,
        workflow_task_failure=task_failure_of(seen.newest) if attempt > 1 else "",
        memo={name: converter.from_payload(memo[name], what=f"the memo {name!r}") for name in sorted(memo)},
        waits=waits_of(seen),
        waits_at=places_of(seen.stack),
        stack=seen.stack,
        workers=None if workers is None else tuple(workers),
        static_summary=said,
        static_details=details,
    )


_STATES = {
    WireState.PENDING_ACTIVITY_STATE_SCHEDULED: PendingActivityState.SCHEDULED,
    WireState.PENDING_ACTIVITY_STATE_STARTED: PendingActivityState.STARTED,
    WireState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED: PendingActivityState.CANCEL_REQUESTED,
    WireState.PENDING_ACTIVITY_STATE_PAUSED: PendingActivityState.PAUSED,
    WireState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED: PendingActivityState.PAUSE_REQUESTED,
}


_RUNNING = (
    WireState.PENDING_ACTIVITY_STATE_STARTED,
    WireState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED,
    WireState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED,
)


def _pending(info: PendingActivityInfo) -> PendingActivity:
    return PendingActivity(
        activity_id=info.activity_id,
        activity_type=info.activity_type.name,
        state=_STATES.get(info.state, PendingActivityState.UNSPECIFIED),
        attempt=info.attempt,
        maximum_attempts=info.maximum_attempts,
        last_failure=headline(info.last_failure) if info.HasField("last_failure") else "",
        last_worker=info.last_worker_identity,
        next_attempt_at=_moment(info, "next_attempt_schedule_time"),
        last_heartbeat_at=_moment(info, "last_heartbeat_time"),
        task_queue=info.activity_options.task_queue.name,
        started_at=_moment(info, "last_started_time") if info.state in _RUNNING else None,
    )


def _moment(info: Any, field: str) -> datetime | None:
    return moment_of(getattr(info, field).ToNanoseconds()) if info.HasField(field) else None

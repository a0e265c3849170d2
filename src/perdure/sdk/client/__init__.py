"""The client: starts workflows, asks for their results, and manages them."""

from perdure.sdk.client.client import Client
from perdure.sdk.client.descriptions import (
    PendingActivity,
    WorkflowDescription,
    WorkflowStatus,
    WorkflowSummary,
)
from perdure.sdk.client.handle import WorkflowHandle
from perdure.sdk.client.messages import UpdateHandle
from perdure.sdk.client.schedule_times import (
    Calendar,
    Overlap,
    ScheduleDescription,
    ScheduledRun,
    ScheduleSummary,
)
from perdure.sdk.policies import IdConflictPolicy, IdReusePolicy

__all__ = [
    "Calendar",
    "Client",
    "IdConflictPolicy",
    "IdReusePolicy",
    "Overlap",
    "PendingActivity",
    "ScheduleDescription",
    "ScheduleSummary",
    "ScheduledRun",
    "UpdateHandle",
    "WorkflowDescription",
    "WorkflowHandle",
    "WorkflowStatus",
    "WorkflowSummary",
]

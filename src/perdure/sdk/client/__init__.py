"""The client: starts workflows, asks for their results, and manages them."""

from perdure.sdk.client.client import Client
from perdure.sdk.client.descriptions import (
    PendingActivity,
    WorkflowDescription,
    WorkflowStatus,
    WorkflowSummary,
)
from perdure.sdk.client.handle import AsyncWorkflowHandle
from perdure.sdk.client.messages import AsyncUpdateHandle
from perdure.sdk.client.schedule_times import (
    Calendar,
    Overlap,
    ScheduleDescription,
    ScheduledRun,
    ScheduleSummary,
)
from perdure.sdk.policies import IdConflictPolicy, IdReusePolicy

__all__ = [
    "AsyncUpdateHandle",
    "AsyncWorkflowHandle",
    "Calendar",
    "Client",
    "IdConflictPolicy",
    "IdReusePolicy",
    "Overlap",
    "PendingActivity",
    "ScheduleDescription",
    "ScheduleSummary",
    "ScheduledRun",
    "WorkflowDescription",
    "WorkflowStatus",
    "WorkflowSummary",
]

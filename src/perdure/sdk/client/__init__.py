"""The client: starts workflows, asks for their results, and manages them."""

from perdure.sdk.client.client import AsyncClient
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
    "AsyncClient",
    "AsyncUpdateHandle",
    "AsyncWorkflowHandle",
    "Calendar",
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

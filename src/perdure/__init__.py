"""perdure: durable execution in Python.

    from perdure import Engine, Retry, activity, call, workflow

Everything a program needs is here; errors are also in `perdure.errors`.
"""

from perdure.embedded import AsyncEngine, Engine, SyncUpdateHandle, SyncWorkflowHandle
from perdure.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    DeterminismViolation,
    EngineError,
    NonDeterminismError,
    PayloadError,
    PerdureError,
    QueryFailedError,
    StoreError,
    TerminatedError,
    TimedOutError,
    UpdateFailedError,
    WorkflowAlreadyStartedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
)
from perdure.interventions import Intervention, InterventionNotFoundError, Interventions, SyncInterventions
from perdure.models.saga import Saga
from perdure.sdk.activity import ActivityInfo, activity
from perdure.sdk.client import (
    Calendar,
    Client,
    IdConflictPolicy,
    IdReusePolicy,
    Overlap,
    PendingActivity,
    ScheduleDescription,
    ScheduledRun,
    ScheduleSummary,
    UpdateHandle,
    WorkflowDescription,
    WorkflowHandle,
    WorkflowStatus,
    WorkflowSummary,
)
from perdure.sdk.convert import Converter, PayloadCodec, RawValue
from perdure.sdk.declare.search_attributes import SearchAttribute
from perdure.sdk.declare.transaction import Transaction
from perdure.sdk.options import Duration, Retry
from perdure.sdk.worker import Worker, WorkerConfig
from perdure.sdk.workflow.children import ChildHandle, call_child, start_child
from perdure.sdk.workflow.events import Subscription, on_event
from perdure.sdk.workflow.local_calls import local_call, start_local
from perdure.sdk.workflow.workflow import CancelScope, Handle, WorkflowInfo, call, start, wait, workflow

__all__ = [
    "ActivityError",
    "ActivityInfo",
    "ApplicationError",
    "AsyncEngine",
    "Calendar",
    "CancelScope",
    "CancelledError",
    "ChildHandle",
    "ChildWorkflowError",
    "Client",
    "Converter",
    "DeterminismViolation",
    "Duration",
    "Engine",
    "EngineError",
    "Handle",
    "IdConflictPolicy",
    "IdReusePolicy",
    "Intervention",
    "InterventionNotFoundError",
    "Interventions",
    "NonDeterminismError",
    "Overlap",
    "PayloadCodec",
    "PayloadError",
    "PendingActivity",
    "PerdureError",
    "QueryFailedError",
    "RawValue",
    "Retry",
    "Saga",
    "ScheduleDescription",
    "ScheduleSummary",
    "ScheduledRun",
    "SearchAttribute",
    "StoreError",
    "Subscription",
    "SyncInterventions",
    "SyncUpdateHandle",
    "SyncWorkflowHandle",
    "TerminatedError",
    "TimedOutError",
    "Transaction",
    "UpdateFailedError",
    "UpdateHandle",
    "Worker",
    "WorkerConfig",
    "WorkflowAlreadyStartedError",
    "WorkflowDescription",
    "WorkflowFailedError",
    "WorkflowHandle",
    "WorkflowInfo",
    "WorkflowNotFoundError",
    "WorkflowStatus",
    "WorkflowSummary",
    "activity",
    "call",
    "call_child",
    "local_call",
    "on_event",
    "start",
    "start_child",
    "start_local",
    "wait",
    "workflow",
]

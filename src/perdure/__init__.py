"""perdure: durable execution in Python.

    from perdure import Engine, Retry, activity, call, workflow

Everything a program needs is here; errors are also in `perdure.errors`.
"""

from perdure.embedded import AsyncEngine, Engine, UpdateHandle, WorkflowHandle
from perdure.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    DeterminismViolation,
    EngineError,
    InterventionNotFoundError,
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
from perdure.interventions import AsyncInterventions, Intervention, Interventions
from perdure.models.saga import Saga
from perdure.sdk.activity import ActivityInfo, activity
from perdure.sdk.client import (
    AsyncUpdateHandle,
    AsyncWorkflowHandle,
    Calendar,
    Client,
    IdConflictPolicy,
    IdReusePolicy,
    Overlap,
    PendingActivity,
    ScheduleDescription,
    ScheduledRun,
    ScheduleSummary,
    WorkflowDescription,
    WorkflowStatus,
    WorkflowSummary,
)
from perdure.sdk.convert import Converter, PayloadCodec, RawValue
from perdure.sdk.declare.search_attributes import SearchAttribute
from perdure.sdk.declare.transaction import Transaction
from perdure.sdk.deprecated import former_names as _former_names
from perdure.sdk.options import Duration, Retry
from perdure.sdk.worker import Worker, WorkerConfig
from perdure.sdk.workflow.children import ChildHandle, call_child, start_child
from perdure.sdk.workflow.events import Subscription, on_event
from perdure.sdk.workflow.handles import Handle as _Handle
from perdure.sdk.workflow.local_calls import call_local, start_local
from perdure.sdk.workflow.workflow import ActivityHandle, CancelScope, TimerHandle, WorkflowInfo, call, start, workflow

__all__ = [
    "ActivityError",
    "ActivityHandle",
    "ActivityInfo",
    "ApplicationError",
    "AsyncEngine",
    "AsyncInterventions",
    "AsyncUpdateHandle",
    "AsyncWorkflowHandle",
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
    "TerminatedError",
    "TimedOutError",
    "TimerHandle",
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
    "call_local",
    "on_event",
    "start",
    "start_child",
    "start_local",
    "workflow",
]

__getattr__ = _former_names(
    __name__,
    {
        "Handle": ("ActivityHandle, TimerHandle or ChildHandle", _Handle),
        "SyncInterventions": ("Interventions", Interventions),
        "SyncUpdateHandle": ("UpdateHandle", UpdateHandle),
        "SyncWorkflowHandle": ("WorkflowHandle", WorkflowHandle),
        "local_call": ("call_local", call_local),
        "wait": ("workflow.wait_condition", workflow.wait_condition),
    },
)

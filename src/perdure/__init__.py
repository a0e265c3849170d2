"""perdure: durable execution in Python.

    from perdure import Engine, Retry, activity, call, workflow

What most programs need is here. What fewer need has a module of its own: `perdure.errors`, `perdure.choices`,
`perdure.schedules`, `perdure.interventions`, `perdure.interceptors`, `perdure.idempotency`, `perdure.testing`.
"""

from perdure import errors as _errors
from perdure import interventions as _interventions
from perdure import schedules as _schedules
from perdure.embedded import AsyncEngine, AsyncWorker, Client, Engine, UpdateHandle, Worker, WorkflowHandle
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
from perdure.models.saga import Saga
from perdure.sdk.activity import ActivityInfo, activity
from perdure.sdk.client import (
    AsyncClient,
    AsyncUpdateHandle,
    AsyncWorkflowHandle,
    IdConflictPolicy,
    IdReusePolicy,
    PendingActivity,
    WorkflowDescription,
    WorkflowStatus,
    WorkflowSummary,
)
from perdure.sdk.connection.tls import TLSConfig
from perdure.sdk.convert import Converter, PayloadCodec, RawValue
from perdure.sdk.declare.search_attributes import SearchAttribute
from perdure.sdk.declare.transaction import Transaction
from perdure.sdk.deprecated import former_names as _former_names
from perdure.sdk.options import Duration, Retry
from perdure.sdk.worker import WorkerConfig
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
    "AsyncClient",
    "AsyncEngine",
    "AsyncUpdateHandle",
    "AsyncWorker",
    "AsyncWorkflowHandle",
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
    "NonDeterminismError",
    "PayloadCodec",
    "PayloadError",
    "PendingActivity",
    "PerdureError",
    "QueryFailedError",
    "RawValue",
    "Retry",
    "Saga",
    "SearchAttribute",
    "StoreError",
    "Subscription",
    "TLSConfig",
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
        "AsyncInterventions": ("perdure.interventions.AsyncInterventions", _interventions.AsyncInterventions),
        "Calendar": ("perdure.schedules.Calendar", _schedules.Calendar),
        "Handle": ("ActivityHandle, TimerHandle or ChildHandle", _Handle),
        "Intervention": ("perdure.interventions.Intervention", _interventions.Intervention),
        "InterventionNotFoundError": ("perdure.errors.InterventionNotFoundError", _errors.InterventionNotFoundError),
        "Interventions": ("perdure.interventions.Interventions", _interventions.Interventions),
        "Overlap": ("perdure.schedules.Overlap", _schedules.Overlap),
        "ScheduleDescription": ("perdure.schedules.ScheduleDescription", _schedules.ScheduleDescription),
        "ScheduleSummary": ("perdure.schedules.ScheduleSummary", _schedules.ScheduleSummary),
        "ScheduledRun": ("perdure.schedules.ScheduledRun", _schedules.ScheduledRun),
        "SyncInterventions": ("perdure.interventions.Interventions", _interventions.Interventions),
        "SyncUpdateHandle": ("UpdateHandle", UpdateHandle),
        "SyncWorkflowHandle": ("WorkflowHandle", WorkflowHandle),
        "local_call": ("call_local", call_local),
        "wait": ("workflow.wait_condition", workflow.wait_condition),
    },
)

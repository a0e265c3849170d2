"""Every choice of a few fixed values that perdure knows, in one place: `from perdure.choices import Overlap`.

Each is a StrEnum, so that its members are texts: `status == "running"`. Where one is given, its text does as well, in
any case: `cancellation="wait"` or `cancellation=Cancellation.WAIT`; a wrong one is a ValueError that lists the right
ones.
"""

from perdure.interventions.entry import Action
from perdure.sdk.client.descriptions import PendingActivityState, WorkflowStatus
from perdure.sdk.client.schedule_times import Overlap
from perdure.sdk.client.situation import WaitKind
from perdure.sdk.declare.search_attributes import SearchAttributeType
from perdure.sdk.errors import RetryState, TimeoutType
from perdure.sdk.policies import (
    Cancellation,
    IdConflictPolicy,
    IdReusePolicy,
    ParentClosePolicy,
    Reapply,
    RunIn,
    UnfinishedPolicy,
    WaitFor,
)

__all__ = [
    "Action",
    "Cancellation",
    "IdConflictPolicy",
    "IdReusePolicy",
    "Overlap",
    "ParentClosePolicy",
    "PendingActivityState",
    "Reapply",
    "RetryState",
    "RunIn",
    "SearchAttributeType",
    "TimeoutType",
    "UnfinishedPolicy",
    "WaitFor",
    "WaitKind",
    "WorkflowStatus",
]

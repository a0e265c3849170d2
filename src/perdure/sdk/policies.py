"""What a user chooses from a few fixed values: a member, which is a text too, or its text. Names are Temporal's."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from perdure.sdk.choices import Numbered, member_of


class IdReusePolicy(Numbered):
    """What a start does when the last run of its id is closed."""

    ALLOW_DUPLICATE = "allow_duplicate", 1
    """Start a new run."""
    ALLOW_DUPLICATE_FAILED_ONLY = "allow_duplicate_failed_only", 2
    """Start a new run unless the last one completed."""
    REJECT_DUPLICATE = "reject_duplicate", 3
    """Never start a second run: WorkflowAlreadyStartedError."""
    TERMINATE_IF_RUNNING = "terminate_if_running", 4
    """Temporal's older way to say IdConflictPolicy.TERMINATE_EXISTING with ALLOW_DUPLICATE."""


class IdConflictPolicy(Numbered):
    """What a start does when a run of its id is open."""

    FAIL = "fail", 1
    """WorkflowAlreadyStartedError."""
    USE_EXISTING = "use_existing", 2
    """Attach to it."""
    TERMINATE_EXISTING = "terminate_existing", 3
    """Terminate it and start a new run."""


class ParentClosePolicy(Numbered):
    """What becomes of a child that is open when its parent closes."""

    TERMINATE = "terminate", 1
    """It is terminated."""
    ABANDON = "abandon", 2
    """It goes on."""
    REQUEST_CANCEL = "request_cancel", 3
    """It is asked to stop."""


class Cancellation(StrEnum):
    """How a workflow cancels an activity or a child."""

    TRY = "try"
    """Tell it and go on at once: Temporal's TRY_CANCEL."""
    WAIT = "wait"
    """Tell it and go on when it has ended: WAIT_CANCELLATION_COMPLETED."""
    ABANDON = "abandon"
    """Go on, and do not tell it."""


class RunIn(StrEnum):
    """What runs an activity's function."""

    AUTO = "auto"
    """The event loop an `async def`, a thread a `def`."""
    LOOP = "loop"
    """The worker's event loop, which an `async def` shares with all others."""
    THREAD = "thread"
    """A thread of the worker's pool."""
    PROCESS = "process"
    """A process of its own pool: for a `def` that keeps a CPU busy."""


class UnfinishedPolicy(StrEnum):
    """What becomes of a handler that has not ended when its run closes. Temporal: HandlerUnfinishedPolicy."""

    WARN = "warn"
    """It is left, and the log says so."""
    WAIT = "wait"
    """The run does not close before it has ended."""


class WaitFor(Numbered):
    """What an update is waited for. Temporal: WorkflowUpdateStage."""

    ACCEPTED = "accepted", 2
    """That the workflow took it."""
    COMPLETED = "completed", 3
    """That its handler has ended."""


class Reapply(StrEnum):
    """What the outside had told a run after the point that it is reset to, and the new run is told again."""

    ALL = "all"
    SIGNALS = "signals"
    UPDATES = "updates"
    NONE = "none"


def reuse_policy(value: Any) -> IdReusePolicy:
    """The argument `id_reuse_policy` as users write it. Raises ValueError, which lists the names."""
    return member_of(IdReusePolicy, value, "id_reuse_policy", wire="WORKFLOW_ID_REUSE_POLICY_")


def conflict_policy(value: Any) -> IdConflictPolicy:
    """The argument `id_conflict_policy` as users write it. Raises ValueError, which lists the names."""
    return member_of(IdConflictPolicy, value, "id_conflict_policy", wire="WORKFLOW_ID_CONFLICT_POLICY_")


def close_policy(value: Any) -> ParentClosePolicy:
    """The argument `parent_close_policy` as users write it. Raises ValueError, which lists the names."""
    return member_of(ParentClosePolicy, value, "parent_close_policy", wire="PARENT_CLOSE_POLICY_")


_CANCELLATIONS = {"TRY_CANCEL": "try", "WAIT_CANCELLATION_COMPLETED": "wait"}


def cancellation_of(value: Any) -> Cancellation:
    """The argument `cancellation` as users write it. Raises ValueError, which lists the names."""
    return member_of(Cancellation, value, "cancellation", aliases=_CANCELLATIONS)


def waited_for(value: Any) -> WaitFor:
    """The argument `wait_for` as users write it. Raises ValueError, which lists the names."""
    return member_of(WaitFor, value, "wait_for", wire="UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_")

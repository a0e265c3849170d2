"""What happens when a workflow id is taken. Names and numbers are Temporal's."""

from __future__ import annotations

from enum import Enum
from typing import Any

from perdure.sdk.choices import member_of


class IdReusePolicy(Enum):
    """When the id's last run is closed."""

    ALLOW_DUPLICATE = 1
    """Start a new run."""
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    """Start a new run unless the last one completed."""
    REJECT_DUPLICATE = 3
    """Never start a second run: WorkflowAlreadyStartedError."""
    TERMINATE_IF_RUNNING = 4
    """Temporal's older way to say IdConflictPolicy.TERMINATE_EXISTING with ALLOW_DUPLICATE."""


class IdConflictPolicy(Enum):
    """When the id's run is still open."""

    FAIL = 1
    """WorkflowAlreadyStartedError."""
    USE_EXISTING = 2
    """Attach to it."""
    TERMINATE_EXISTING = 3
    """Terminate it and start a new run."""


def reuse_policy(value: Any) -> IdReusePolicy:
    """The argument `id_reuse_policy` as users write it. Raises ValueError, which lists the names."""
    return member_of(IdReusePolicy, value, "id_reuse_policy", wire="WORKFLOW_ID_REUSE_POLICY_")


def conflict_policy(value: Any) -> IdConflictPolicy:
    """The argument `id_conflict_policy` as users write it. Raises ValueError, which lists the names."""
    return member_of(IdConflictPolicy, value, "id_conflict_policy", wire="WORKFLOW_ID_CONFLICT_POLICY_")

"""What happens when a workflow id is taken. Names and numbers are Temporal's."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar


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


E = TypeVar("E", bound=Enum)


def policy_of(kind: type[E], value: E | str | None, argument: str) -> E | None:
    """A policy given as itself or by name. Raises ValueError, which lists the names."""
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    raise ValueError(f"{argument} must be one of {', '.join(kind.__members__)}, not {value!r}")

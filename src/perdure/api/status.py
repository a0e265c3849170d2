"""Which executions are open: one place for it.

A paused run is open. Its code does not go on for now, but whatever holds for an open run holds for it: it can be
signalled, cancelled and reset, its id is taken, what waits in it for a person waits, and new code may break it.
"""

from __future__ import annotations

from typing import Final

from temporalio.api.enums.v1 import WorkflowExecutionStatus

RUNNING: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
PAUSED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED)

ALL: Final = tuple(number for number in sorted(WorkflowExecutionStatus.values()) if number)
"""Every WorkflowExecutionStatus but UNSPECIFIED."""
OPEN: Final = (RUNNING, PAUSED)
CLOSED: Final = tuple(number for number in ALL if number not in OPEN)

OPEN_FILTER: Final = "CloseTime IS NULL"
"""The list filter that finds the open ones, on every server: an older one knows no status Paused."""


def is_open(status: int) -> bool:
    """Whether an execution of this WorkflowExecutionStatus may still go on."""
    return status in OPEN

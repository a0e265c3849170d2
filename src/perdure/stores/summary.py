"""One line of an execution list, for whoever reads a store from outside."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.core.names import ExecutionKey


@dataclass(slots=True, frozen=True)
class Summary:
    """One line of an execution list. Times in nanoseconds since the epoch; status is WorkflowExecutionStatus."""

    key: ExecutionKey
    workflow_type: str
    task_queue: str
    status: int
    started_at_ns: int
    closed_at_ns: int | None
    history_length: int

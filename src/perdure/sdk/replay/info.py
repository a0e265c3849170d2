"""What a run knows of itself, taken from its first event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.declare.search_attributes import values_of
from perdure.sdk.moments import former_ns, length_of, moment_of
from perdure.sdk.options import SECOND_NS, duration_ns


class ParentInfo(msgspec.Struct, frozen=True):
    """The workflow that started this one."""

    namespace: str
    workflow_id: str
    run_id: str


class WorkflowInfo(msgspec.Struct, frozen=True):
    """A run's identity and settings. Times are datetimes in UTC, to the microsecond; time-outs timedeltas."""

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    attempt: int
    """1, unless the run is a retry."""
    _started_at_ns: int
    _execution_timeout_ns: int
    _run_timeout_ns: int
    _task_timeout_ns: int
    first_run_id: str
    """Of the chain of retries and continuations that this run is part of."""
    original_run_id: str
    """Stays the same when the run is reset; `workflow.random()` is seeded by it."""
    continued_run_id: str
    """The run that continued as this one, "" for none."""
    cron_schedule: str
    parent: ParentInfo | None
    search_attributes: Mapping[str, Any] = {}
    """By name, decoded by their types; what the run upserted included."""
    history_length: int = 0
    """Events up to the current workflow task."""
    history_size_bytes: int = 0
    continue_as_new_suggested: bool = False
    """The history has become long: `workflow.continue_as_new` would be a good idea now."""

    @property
    def started_at(self) -> datetime:
        """When the run was started."""
        return moment_of(self._started_at_ns)

    @property
    def execution_timeout(self) -> timedelta | None:
        """Of the whole chain of runs; None: it has no end."""
        return length_of(self._execution_timeout_ns)

    @property
    def run_timeout(self) -> timedelta | None:
        """Of this run; None: it has no end."""
        return length_of(self._run_timeout_ns)

    @property
    def task_timeout(self) -> timedelta | None:
        """Of one turn of its code; None when the server did not say."""
        return length_of(self._task_timeout_ns)

    if not TYPE_CHECKING:
        execution_timeout_ns = former_ns("execution_timeout_ns", "execution_timeout", none=0)
        run_timeout_ns = former_ns("run_timeout_ns", "run_timeout", none=0)
        started_at_ns = former_ns("started_at_ns", "started_at")
        task_timeout_ns = former_ns("task_timeout_ns", "task_timeout", none=0)


def info_of(started: HistoryEvent, namespace: str, workflow_id: str, run_id: str) -> WorkflowInfo:
    """From WorkflowExecutionStarted."""
    attributes: Any = started.workflow_execution_started_event_attributes
    time = started.event_time
    parent = None
    if attributes.HasField("parent_workflow_execution"):
        execution = attributes.parent_workflow_execution
        parent = ParentInfo(attributes.parent_workflow_namespace, execution.workflow_id, execution.run_id)
    return WorkflowInfo(
        namespace,
        attributes.workflow_id or workflow_id,
        run_id,
        attributes.workflow_type.name,
        attributes.task_queue.name,
        attributes.attempt or 1,
        time.seconds * SECOND_NS + time.nanos,
        duration_ns(attributes.workflow_execution_timeout),
        duration_ns(attributes.workflow_run_timeout),
        duration_ns(attributes.workflow_task_timeout),
        attributes.first_execution_run_id,
        attributes.original_execution_run_id or run_id,
        attributes.continued_execution_run_id,
        attributes.cron_schedule,
        parent,
        values_of(attributes.search_attributes.indexed_fields) if attributes.HasField("search_attributes") else {},
    )

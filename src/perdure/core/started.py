"""A task as a worker gets it: what the law says of it, before the shell adds history or the scheduled event."""

from __future__ import annotations

import msgspec
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message as ProtocolMessage

from perdure.core.names import ExecutionKey
from perdure.core.state import Activity


class StartedWorkflowTask(msgspec.Struct):
    """A workflow task that a worker may now work on. History is attached by the shell."""

    key: ExecutionKey
    token: bytes
    workflow_type: str
    attempt: int
    scheduled_event_id: int
    started_event_id: int
    previous_started_event_id: int
    """0 when no workflow task has completed yet; a sticky worker is sent only later events."""
    scheduled_at_ns: int
    started_at_ns: int
    sticky: bool
    task_queue: str
    """The normal one, also when the task goes to a sticky queue."""
    transient_events: list[HistoryEvent]
    """Scheduled and Started events of an attempt > 1, or of a speculative task: sent to the worker, not in history."""
    messages: list[ProtocolMessage] = []
    """Protocol messages: the updates that wait for an answer."""


class StartedActivityTask(msgspec.Struct):
    """An activity attempt that a worker may now run. The scheduled event is attached by the shell."""

    key: ExecutionKey
    token: bytes
    workflow_type: str
    activity_id: str
    scheduled_event_id: int
    attempt: int
    scheduled_at_ns: int
    current_attempt_scheduled_at_ns: int
    started_at_ns: int
    heartbeat_details: bytes
    """Serialised `Payloads` of the last recorded heartbeat, empty when there is none."""
    options: Activity | None = None
    """The options that hold instead of those of the scheduled event, None: those do."""


StartedTask = StartedWorkflowTask | StartedActivityTask

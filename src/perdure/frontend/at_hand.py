"""A task as a worker in this process gets it: read like a poll's response, without being copied into one.

Events are never changed once they were appended, so a worker may look at the engine's own. What running
a task needs of its response is here as plain attributes; whatever else is asked for comes from the
message itself, which is made then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.history.v1 import HistoryEvent

from perdure.core.started import StartedActivityTask, StartedWorkflowTask

_NO_QUERIES: Mapping[str, Any] = {}


class _Response:
    """What is not an attribute is the message's."""

    __slots__ = ("_make", "_message")

    def __init__(self, make: Callable[[], Message]) -> None:
        self._make = make
        self._message: Message | None = None

    def __getattr__(self, name: str) -> Any:
        if self._message is None:
            self._message = self._make()
        return getattr(self._message, name)


class EventsAtHand:
    """Reads like a `temporal.api.history.v1.History`."""

    __slots__ = ("events",)

    def __init__(self, events: list[HistoryEvent]) -> None:
        self.events = events

    def ByteSize(self) -> int:  # noqa: N802 - the message's own name
        """About: the share of these events in what the workflow task says that the whole history weighs."""
        events = self.events
        if not events:
            return 0
        last = events[-1]
        return last.workflow_task_started_event_attributes.history_size_bytes * len(events) // last.event_id

    def ClearField(self, name: str) -> None:  # noqa: N802 - the message's own name
        """There is but one."""
        assert name == "events", name
        self.events = []


class WorkflowTaskAtHand(_Response):
    """Reads like a PollWorkflowTaskQueueResponse with the whole of its history, and no query."""

    __slots__ = (
        "_type", "attempt", "history", "messages", "next_page_token", "queries", "started_event_id", "task_token",
        "workflow_execution",
    )  # fmt: skip

    def __init__(self, task: StartedWorkflowTask, events: Sequence[HistoryEvent], make: Callable[[], Message]) -> None:
        super().__init__(make)
        key = task.key
        self.task_token = task.token
        self.started_event_id = task.started_event_id
        self.attempt = task.attempt
        self.workflow_execution = WorkflowExecution(workflow_id=key.workflow_id, run_id=key.run_id)
        self.history = EventsAtHand([*events, *task.transient_events])
        self.messages = task.messages
        self.queries = _NO_QUERIES
        self.next_page_token = b""
        self._type = task.workflow_type

    @property
    def workflow_type(self) -> WorkflowType:
        return WorkflowType(name=self._type)

    def HasField(self, name: str) -> bool:  # noqa: N802 - the message's own name
        """Asked of `query`, before anything else."""
        return name != "query" and self.__getattr__("HasField")(name)


class ActivityTaskAtHand(_Response):
    """Reads like a PollActivityTaskQueueResponse."""

    __slots__ = (
        "activity_type", "attempt", "input", "schedule_to_close_timeout", "start_to_close_timeout", "task_token",
    )  # fmt: skip

    def __init__(self, task: StartedActivityTask, event: HistoryEvent, make: Callable[[], Message]) -> None:
        super().__init__(make)
        scheduled = event.activity_task_scheduled_event_attributes
        self.task_token = task.token
        self.attempt = task.attempt
        self.activity_type = scheduled.activity_type
        self.input = scheduled.input
        self.start_to_close_timeout = scheduled.start_to_close_timeout
        self.schedule_to_close_timeout = scheduled.schedule_to_close_timeout

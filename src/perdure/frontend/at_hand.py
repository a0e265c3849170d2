"""A task as a worker in this process gets it: read like a poll's response, without being copied into one.

Events are never changed once they were appended, so a worker may look at the engine's own. What running
a task needs of its response is here as plain attributes; whatever else is asked for comes from the
message itself, which is made then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from temporalio.api.common.v1 import ActivityType, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message as ProtocolMessage

Durable = Callable[[], Awaitable[bool]]
"""Makes a task durable that went out before it was, and says whether it is; False: no answer to it is taken."""


class _Response(msgspec.Struct, eq=False, kw_only=True):
    """What is not an attribute is the message's."""

    make: Callable[[], Message]
    _message: Message | None = None

    def __getattr__(self, name: str) -> Any:
        if self._message is None:
            self._message = self.make()
        return getattr(self._message, name)


class EventsAtHand(msgspec.Struct, eq=False):
    """Reads like a `temporal.api.history.v1.History`."""

    events: list[HistoryEvent]

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

    queries: ClassVar[Mapping[str, Any]] = {}
    next_page_token: ClassVar[bytes] = b""

    task_token: bytes
    started_event_id: int
    attempt: int
    workflow_execution: WorkflowExecution
    history: EventsAtHand
    messages: Sequence[ProtocolMessage]
    type_name: str
    durable: Durable | None = None
    """None: it is."""

    @property
    def workflow_type(self) -> WorkflowType:
        return WorkflowType(name=self.type_name)

    def HasField(self, name: str) -> bool:  # noqa: N802 - the message's own name
        """Asked of `query`, before anything else."""
        return name != "query" and self.__getattr__("HasField")(name)


class ActivityTaskAtHand(_Response):
    """Reads like a PollActivityTaskQueueResponse."""

    task_token: bytes
    attempt: int
    activity_type: ActivityType
    input: Payloads
    start_to_close_timeout: Duration
    schedule_to_close_timeout: Duration

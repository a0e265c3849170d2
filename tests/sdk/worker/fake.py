"""A server that does what the test says: hands out the tasks it is given and notes every answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from temporalio.api.enums.v1 import EventType, TaskQueueKind
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.convert import Converter
from perdure.sdk.options import duration_message

CONVERTER = Converter()


class FakeServer:
    """Satisfies `perdure.sdk.connection.protocol.Connection`."""

    def __init__(self) -> None:
        self.activity_tasks: asyncio.Queue[Any] = asyncio.Queue()
        self.workflow_tasks: asyncio.Queue[Any] = asyncio.Queue()
        self.sticky_tasks: asyncio.Queue[Any] = asyncio.Queue()
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        """Every answer that was accepted, in order."""
        self.requests: list[Message] = []
        """Every request, polls left out."""
        self.troubles: deque[Exception] = deque()
        """Raised, one by one, instead of accepting answers."""
        self.heartbeats: list[service.RecordActivityTaskHeartbeatRequest] = []
        self.on_heartbeat: Callable[[], service.RecordActivityTaskHeartbeatResponse] = (
            service.RecordActivityTaskHeartbeatResponse
        )
        self.histories: dict[str, list[HistoryEvent]] = {}
        self.next_workflow_tasks: deque[service.PollWorkflowTaskQueueResponse] = deque()
        """Handed out with the answers to workflow tasks."""
        self.eager_activity_tasks: deque[service.PollActivityTaskQueueResponse] = deque()
        """Likewise."""
        self.waiting_polls = 0
        self.most_waiting_polls = 0

    async def _poll(self, queue: asyncio.Queue[Any]) -> Any:
        self.waiting_polls += 1
        self.most_waiting_polls = max(self.most_waiting_polls, self.waiting_polls)
        try:
            return await queue.get()
        finally:
            self.waiting_polls -= 1

    def _accept(self, request: Message) -> None:
        self.requests.append(request)
        if self.troubles:
            raise self.troubles.popleft()
        self.answers.put_nowait(request)

    async def poll_activity_task_queue(self, request: Any) -> Any:
        return await self._poll(self.activity_tasks)

    async def poll_workflow_task_queue(self, request: Any) -> Any:
        sticky = request.task_queue.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY
        return await self._poll(self.sticky_tasks if sticky else self.workflow_tasks)

    async def respond_workflow_task_completed(self, request: Any) -> Any:
        self._accept(request)
        response = service.RespondWorkflowTaskCompletedResponse()
        if self.next_workflow_tasks:
            response.workflow_task.CopyFrom(self.next_workflow_tasks.popleft())
        if self.eager_activity_tasks:
            response.activity_tasks.append(self.eager_activity_tasks.popleft())
        return response

    async def respond_workflow_task_failed(self, request: Any) -> Any:
        self._accept(request)
        return service.RespondWorkflowTaskFailedResponse()

    async def respond_activity_task_completed(self, request: Any) -> Any:
        self._accept(request)
        return service.RespondActivityTaskCompletedResponse()

    async def respond_activity_task_failed(self, request: Any) -> Any:
        self._accept(request)
        return service.RespondActivityTaskFailedResponse()

    async def respond_activity_task_canceled(self, request: Any) -> Any:
        self._accept(request)
        return service.RespondActivityTaskCanceledResponse()

    async def respond_query_task_completed(self, request: Any) -> Any:
        self._accept(request)
        return service.RespondQueryTaskCompletedResponse()

    async def record_activity_task_heartbeat(self, request: Any) -> Any:
        copy = service.RecordActivityTaskHeartbeatRequest()
        copy.CopyFrom(request)
        self.heartbeats.append(copy)
        return self.on_heartbeat()

    async def get_workflow_execution_history(self, request: Any) -> Any:
        self.requests.append(request)
        events = self.histories.get(request.execution.run_id)
        if events is None:
            raise Rejected(StatusCode.NOT_FOUND, "no such run")
        start = int(request.next_page_token or b"0")
        page = service.GetWorkflowExecutionHistoryResponse()
        page.history.events.extend(events[start : start + 2])
        if start + 2 < len(events):
            page.next_page_token = str(start + 2).encode()
        return page

    async def describe_namespace(self, request: Any) -> Any:
        if request.namespace != "default":
            raise Rejected(StatusCode.NOT_FOUND, "unknown namespace")
        return service.DescribeNamespaceResponse()

    async def shutdown_worker(self, request: Any) -> Any:
        self.requests.append(request)
        return service.ShutdownWorkerResponse()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("serve_"):
            raise AttributeError(name)  # it is far away: workers have to poll
        raise AssertionError(f"the worker asked for {name}")


def activity_task(name: str, *args: Any, token: bytes = b"t", attempt: int = 1, **durations_s: float) -> Any:
    """A polled activity task; `start_to_close=…` and the like in seconds."""
    task = service.PollActivityTaskQueueResponse(task_token=token, activity_id="1", attempt=attempt)
    task.activity_type.name = name
    task.workflow_type.name = "w"
    task.workflow_execution.workflow_id = "wid"
    task.workflow_execution.run_id = "rid"
    task.workflow_namespace = "default"
    task.scheduled_time.FromNanoseconds(1_000_000_000)
    task.started_time.FromNanoseconds(3_000_000_000)
    task.input.payloads.extend(CONVERTER.to_payloads(args))
    for field, seconds in durations_s.items():
        getattr(task, f"{field}_timeout").CopyFrom(duration_message(round(seconds * 1e9)))
    return task


def started_event(name: str, *args: Any) -> HistoryEvent:
    """A run's first event."""
    event = HistoryEvent(event_id=1, event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
    event.workflow_execution_started_event_attributes.workflow_type.name = name
    event.workflow_execution_started_event_attributes.input.payloads.extend(CONVERTER.to_payloads(args))
    return event


def event(event_id: int, kind: str) -> HistoryEvent:
    """An event without attributes."""
    return HistoryEvent(event_id=event_id, event_type=EventType.Value(f"EVENT_TYPE_{kind}"))


def first_events(name: str, *args: Any) -> list[HistoryEvent]:
    """History up to a run's first workflow task."""
    return [started_event(name, *args), event(2, "WORKFLOW_TASK_SCHEDULED"), event(3, "WORKFLOW_TASK_STARTED")]


def workflow_task(name: str, events: list[HistoryEvent], *, run_id: str = "rid", token: bytes = b"w") -> Any:
    """A polled workflow task that brings these events."""
    task = service.PollWorkflowTaskQueueResponse(task_token=token, attempt=1)
    task.workflow_type.name = name
    task.workflow_execution.workflow_id = "wid"
    task.workflow_execution.run_id = run_id
    task.history.events.extend(events)
    task.started_event_id = events[-1].event_id if events else 0
    return task


async def until(condition: Callable[[], object], step_s: float = 0) -> None:
    """Let the loop turn until the condition holds; a test that waits for ever fails by this."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(step_s)
    raise AssertionError("the condition never held")

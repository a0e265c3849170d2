"""What a scenario gets: a client, a task queue and workflow ids that nobody else uses."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service
from temporalio.client import Client, RPCError, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

PATIENCE_S = 40
"""How long a scenario waits for something that must come; only a difference makes it wait so long."""


class Stage:
    """One playing of one scenario."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address
        self.suffix = uuid.uuid4().hex[:12]
        self.task_queue = f"queue-{self.suffix}"
        self.ids: list[str] = []
        self.run_ids: list[tuple[str, str]] = []
        self.pool = ThreadPoolExecutor(8)

    @property
    def rpc(self) -> Any:
        """The raw WorkflowService: requests and responses of the API itself."""
        return self.client.workflow_service

    @property
    def namespace(self) -> str:
        return self.client.namespace

    def name(self, name: str) -> str:
        """A name that is this playing's own."""
        return f"{name}-{self.suffix}"

    def id(self, name: str = "order") -> str:
        """A workflow id of this playing; its histories are part of what is compared."""
        workflow_id = self.name(name)
        if workflow_id not in self.ids:
            self.ids.append(workflow_id)
        return workflow_id

    def saw(self, workflow_id: str, run_id: str) -> None:
        """This run's history is compared too, even if nothing links to it."""
        self.run_ids.append((workflow_id, run_id))

    def worker(
        self, workflows: Sequence[type] = (), activities: Sequence[Callable[..., Any]] = (), **options: Any
    ) -> Worker:
        """A worker on the scenario's queue, to be used with `async with`.

        Workflow code runs on the event loop, without a watch on its time, unless `debug_mode=False`.
        """
        own = {"task_queue": self.task_queue, "identity": "worker", "build_id": "build", "debug_mode": True}
        options = {**own, **options}
        return Worker(
            options.pop("client", self.client),
            workflows=workflows,
            activities=activities,
            activity_executor=self.pool,
            workflow_runner=UnsandboxedWorkflowRunner(),
            **options,
        )

    async def start(
        self, workflow: Any, *arguments: Any, id: str = "order", **options: Any
    ) -> WorkflowHandle[Any, Any]:
        """Start a workflow of this playing."""
        options = {"task_queue": self.task_queue, **options}
        handle = await self.client.start_workflow(workflow, args=arguments, id=self.id(id), **options)
        run_id = handle.result_run_id or handle.first_execution_run_id
        if run_id:
            self.saw(handle.id, run_id)
        return handle

    async def run(self, workflow: Any, *arguments: Any, **options: Any) -> Any:
        """Start a workflow of this playing and wait for what becomes of it, see `outcome`."""
        return await self.outcome(await self.start(workflow, *arguments, **options))

    async def outcome(self, handle: WorkflowHandle[Any, Any]) -> Any:
        """A workflow's result, or its failure as a text with all its causes."""
        return await self.answer(asyncio.wait_for(handle.result(), PATIENCE_S))

    async def answer(self, asked: Awaitable[Any]) -> Any:
        """What is answered; an error as text: its code, message and details, and those of its causes."""
        try:
            return await asked
        except Exception as error:
            return explained(error)

    async def events(self, handle: WorkflowHandle[Any, Any], name: str, count: int = 1) -> list[HistoryEvent]:
        """Wait until the history has so many events of the type (`TIMER_STARTED`); they."""
        wanted = EventType.Value(f"EVENT_TYPE_{name}")

        async def look() -> list[HistoryEvent]:
            found: list[HistoryEvent] = []
            async for event in handle.fetch_history_events(wait_new_event=True):
                if event.event_type == wanted:
                    found.append(event)
                if len(found) == count:
                    return found
            raise AssertionError(f"history ended with {len(found)} of {count} {name}")

        return await asyncio.wait_for(look(), PATIENCE_S)

    async def describe(self, workflow_id: str, run_id: str = "") -> service.DescribeWorkflowExecutionResponse:
        """DescribeWorkflowExecution as it comes."""
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        request = service.DescribeWorkflowExecutionRequest(namespace=self.namespace, execution=execution)
        return await self.rpc.describe_workflow_execution(request)

    async def until(self, look: Callable[[], Awaitable[Any]], holds: Callable[[Any], Any]) -> Any:
        """Ask again until the answer is the one that must come, for things that no event tells of."""

        async def ask() -> Any:
            while not holds(answer := await look()):  # noqa: ASYNC110 - what it waits for is in another process
                await asyncio.sleep(0.05)
            return answer

        return await asyncio.wait_for(ask(), PATIENCE_S)


class Gate:
    """Holds a workflow task where the workflow's code stands, until the scenario opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        """Called by workflow code."""
        self.reached.set()
        assert self.opened.wait(PATIENCE_S), "nobody opened the gate"

    async def arrival(self) -> None:
        """Wait until workflow code stands at the gate."""
        assert await asyncio.to_thread(self.reached.wait, PATIENCE_S), "nobody came to the gate"


def explained(error: BaseException) -> str:
    """An error of the SDK as one line: its kind, what it says, and its causes."""
    if isinstance(error, RPCError):
        return _explained_rpc(error)
    text = f"{type(error).__name__}: {error}"
    for name in ("type", "details", "non_retryable", "retry_state", "next_retry_delay", "category"):
        value = getattr(error, name, None)
        if value and not callable(value):
            text += f" {name}={getattr(value, 'name', value)}"
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else None
    return text + (f" <- {explained(cause)}" if cause is not None else "")


def _explained_rpc(error: RPCError) -> str:
    text = f"{error.status.name}: {error.message}"
    for detail in error.grpc_status.details:
        message = _unpacked(detail)
        shown = " ".join(str(message).split())
        text += f" [{message.DESCRIPTOR.name}{' ' if shown else ''}{shown}]"
    return text


def _unpacked(detail: Any) -> Message:
    descriptor = descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
    message = message_factory.GetMessageClass(descriptor)()
    detail.Unpack(message)
    return message

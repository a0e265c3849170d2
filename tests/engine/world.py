"""A small world on virtual time: an engine, its front end, and a worker written by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, HistoryEventFilterType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine import Engine, EngineConfig, TimeOrderedIds
from perdure.frontend import WorkflowService
from perdure.stores.api import Store
from perdure.testing import VirtualClock, VirtualTimeLoop, run_virtual
from tests.engine.shared import Shared
from tests.engine.stores import WrappedStore

PASSING = (*(StatusCode.NOT_FOUND, StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL),)
"""What a worker shrugs off: its task was lost, or the engine is in trouble."""
QUEUE = "orders"
CLOSE_EVENT = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


class World:
    """Everything that outlives one engine: the loop, the clock, the store."""

    def __init__(self, loop: VirtualTimeLoop, seed: int = 1) -> None:
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.ids = TimeOrderedIds(self.clock, random.Random(seed).getrandbits)
        self.store = WrappedStore()
        self.shared = Shared(self.store)
        """The same for nodes of a fleet, which notify one another."""

    @asynccontextmanager
    async def engine(self, **settings: Any) -> AsyncIterator[Engine]:
        """An engine that is started, and stopped at the end; with `node`, one of several."""
        store = self.shared.face() if settings.get("node") else self.store
        engine = Engine(cast(Store, store), self.clock, self.ids, EngineConfig(**settings))
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()


def virtual(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test in a world of its own."""

    def run() -> None:
        run_virtual(lambda loop: test(World(loop)))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


def virtual_logged(
    test: Callable[[World, pytest.LogCaptureFixture], Coroutine[Any, Any, None]],
) -> Callable[[pytest.LogCaptureFixture], None]:
    """As `virtual`, for a test that also reads the log."""

    def run(caplog: pytest.LogCaptureFixture) -> None:
        run_virtual(lambda loop: test(World(loop), caplog))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


# --- requests -------------------------------------------------------------------------------------


def start_request(workflow_id: str = "order-1", **fields: Any) -> service.StartWorkflowExecutionRequest:
    request = service.StartWorkflowExecutionRequest(namespace="default", workflow_id=workflow_id, **fields)
    request.workflow_type.name = "fulfil"
    request.task_queue.name = QUEUE
    return request


def workflow_poll(queue: str = QUEUE, normal: str = "") -> service.PollWorkflowTaskQueueRequest:
    request = service.PollWorkflowTaskQueueRequest(namespace="default", identity="worker")
    request.task_queue.name = queue
    request.task_queue.normal_name = normal
    return request


def activity_poll(queue: str = QUEUE) -> service.PollActivityTaskQueueRequest:
    request = service.PollActivityTaskQueueRequest(namespace="default", identity="worker")
    request.task_queue.name = queue
    return request


def completion(token: bytes, *commands: Command, sticky: str = "") -> service.RespondWorkflowTaskCompletedRequest:
    request = service.RespondWorkflowTaskCompletedRequest(task_token=token, commands=commands)
    if sticky:
        request.sticky_attributes.worker_task_queue.name = sticky
        request.sticky_attributes.schedule_to_start_timeout.seconds = 5
    return request


def schedule(activity_id: str, seconds: int = 30, attempts: int = 0, data: bytes = b'"input"') -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = "charge"
    attributes.task_queue.name = QUEUE
    attributes.start_to_close_timeout.seconds = seconds
    attributes.retry_policy.maximum_attempts = attempts
    attributes.input.payloads.add(data=data)
    return command


def sleep(timer_id: str, seconds: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = timer_id
    command.start_timer_command_attributes.start_to_fire_timeout.seconds = seconds
    return command


def complete(data: bytes = b'"done"') -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    command.complete_workflow_execution_command_attributes.result.payloads.add(data=data)
    return command


def history_request(workflow_id: str = "order-1", run_id: str = "", **fields: Any) -> Any:
    request = service.GetWorkflowExecutionHistoryRequest(namespace="default", **fields)
    request.execution.workflow_id = workflow_id
    request.execution.run_id = run_id
    return request


def describe_request(workflow_id: str = "order-1", run_id: str = "") -> service.DescribeWorkflowExecutionRequest:
    request = service.DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id = workflow_id
    request.execution.run_id = run_id
    return request


# --- what a client does ---------------------------------------------------------------------------


async def history(connection: WorkflowService, workflow_id: str = "order-1", run_id: str = "") -> list[HistoryEvent]:
    """All events, page by page."""
    events: list[HistoryEvent] = []
    token = b""
    while True:
        page = await connection.get_workflow_execution_history(
            history_request(workflow_id, run_id, next_page_token=token)
        )
        events.extend(page.history.events)
        token = page.next_page_token
        if not token:
            return events


def names(events: Sequence[HistoryEvent]) -> list[str]:
    """Event types without their prefix."""
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]


async def outcome(connection: WorkflowService, workflow_id: str, run_id: str = "") -> HistoryEvent:
    """Wait for the closing event."""
    while True:
        page = await connection.get_workflow_execution_history(
            history_request(workflow_id, run_id, wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
        )
        if page.history.events:
            return page.history.events[0]


class Worker:
    """Plays workflows of `steps` activities, one after another, and then completes them with what they returned.

    It asks the history what was done, as replay does. Attributes:
        ran: the idempotency keys (run, activity id) in the order in which activities were run.
    """

    def __init__(self, connection: WorkflowService, steps: int = 2, sticky: str = "", timer_s: int = 0) -> None:
        self._connection = connection
        self._steps = steps
        self._sticky = sticky
        self._timer_s = timer_s
        self._seen: dict[str, list[HistoryEvent]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._turns: list[asyncio.Future[None]] = []
        """What each loop is doing now."""
        self.ran: list[tuple[str, str]] = []

    def start(self, pollers: int = 1) -> Worker:
        for _ in range(pollers):
            self._tasks.append(asyncio.create_task(self._serve(self.workflow_task)))
            self._tasks.append(asyncio.create_task(self._serve(self.activity_task)))
            if self._sticky:
                self._tasks.append(asyncio.create_task(self._serve(self.sticky_task)))
        return self

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel_one(self, dice: random.Random) -> None:
        """Cancel whatever one of its loops is doing; the loop goes on with a new poll."""
        self._turns[dice.randrange(len(self._turns))].cancel()

    async def _serve(self, turn: Callable[[], Coroutine[Any, Any, None]]) -> None:
        place = len(self._turns)
        self._turns.append(asyncio.ensure_future(asyncio.sleep(0)))
        while True:
            current = self._turns[place] = asyncio.create_task(turn())
            try:
                await asyncio.wait([current])
                if not current.cancelled():
                    current.result()
            except asyncio.CancelledError:
                current.cancel()
                raise
            except Rejected as error:
                if error.code not in PASSING:
                    raise
                await asyncio.sleep(0.1)

    async def workflow_task_or_nothing(self) -> None:
        """One poll: the queue is known to be polled from here on."""
        await self.workflow_task()

    async def workflow_task(self) -> None:
        await self._workflow_task(workflow_poll())

    async def sticky_task(self) -> None:
        await self._workflow_task(workflow_poll(self._sticky, QUEUE))

    async def _workflow_task(self, request: service.PollWorkflowTaskQueueRequest) -> None:
        task = await self._connection.poll_workflow_task_queue(request)
        if not task.task_token:
            return
        events = list(task.history.events)
        token = task.next_page_token
        while token:
            page = await self._connection.get_workflow_execution_history(
                history_request(task.workflow_execution.workflow_id, next_page_token=token)
            )
            events.extend(page.history.events)
            token = page.next_page_token
        run_id = task.workflow_execution.run_id
        if events and events[0].event_id > 1:
            events = (self._seen.get(run_id) or await self._unseen(task, events[0].event_id)) + events
        self._seen[run_id] = events
        ids = [event.event_id for event in events]
        assert ids == list(range(1, len(ids) + 1)), f"the worker was given events {ids}"
        assert events[-1].event_id == task.started_event_id
        commands = self._commands(names(events))
        await self._connection.respond_workflow_task_completed(
            completion(task.task_token, *commands, sticky=self._sticky)
        )

    async def _unseen(self, task: service.PollWorkflowTaskQueueResponse, before: int) -> list[HistoryEvent]:
        """What a worker before this one saw, whose sticky queue this one serves: asked for, as real ones do."""
        execution = task.workflow_execution
        return (await history(self._connection, execution.workflow_id, execution.run_id))[: before - 1]

    def _commands(self, happened: list[str]) -> list[Command]:
        scheduled = happened.count("ACTIVITY_TASK_SCHEDULED")
        done = happened.count("ACTIVITY_TASK_COMPLETED")
        if scheduled > done:
            return []
        if done < self._steps:
            return [schedule(str(done + 1))]
        if self._timer_s and "TIMER_STARTED" not in happened:
            return [sleep("nap", self._timer_s)]
        if self._timer_s and "TIMER_FIRED" not in happened:
            return []
        return [complete()]

    async def activity_task(self) -> None:
        task = await self._connection.poll_activity_task_queue(activity_poll())
        if task.task_token:
            assert task.input.payloads[0].data == b'"input"'
            self.ran.append((task.workflow_execution.run_id, task.activity_id))
            answer = service.RespondActivityTaskCompletedRequest(task_token=task.task_token)
            answer.result.payloads.add(data=b'"charged"')
            await self._connection.respond_activity_task_completed(answer)


ORDER = [
    "WORKFLOW_EXECUTION_STARTED",
    *["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"],
    *["ACTIVITY_TASK_SCHEDULED", "ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED"],
    *["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"],
    *["ACTIVITY_TASK_SCHEDULED", "ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED"],
    *["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"],
    "WORKFLOW_EXECUTION_COMPLETED",
]
"""What a workflow of two steps leaves behind."""

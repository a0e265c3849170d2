"""Tasks for a worker in this process: put before its seats by calls, as what reads like the polls' responses.

No RPC. See `perdure.sdk.connection.protocol.NearConnection`. A task whose events are in memory, as nearly all
are, goes out in the same breath as it becomes durable; for another the store is read first.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.core.names import QueueName, TaskKind
from perdure.core.started import StartedActivityTask, StartedTask, StartedWorkflowTask
from perdure.engine.engine import Engine
from perdure.engine.matching.query_task import QueryTask
from perdure.engine.matching.seats import Seat, TakeEarly
from perdure.engine.matching.volatile_task import VolatileTask
from perdure.frontend.at_hand import Durable
from perdure.frontend.calls import Call
from perdure.frontend.chain import Chain, Gate
from perdure.frontend.edge import check_length, check_queue
from perdure.frontend.queries import query_task_response
from perdure.frontend.responses import (
    activity_task_at_hand,
    activity_task_response,
    early_workflow_task,
    workflow_task_at_hand,
    workflow_task_response,
)
from perdure.frontend.unfit import set_aside

_log = logging.getLogger(__name__)

Take = Callable[[Any, Callable[[], None]], None]
"""Given a poll's response, and what is to be called when there is room for the next task."""


class Serving:
    """Puts workflow and activity tasks before workers. Seats are taken through the chain, as one poll that does not
    end."""

    def __init__(self, engine: Engine, chain: Chain) -> None:
        self._engine = engine
        self._is_intercepted = bool(chain.interceptors)
        self._gates = {
            TaskKind.WORKFLOW: ("PollWorkflowTaskQueue", chain.gate("PollWorkflowTaskQueue")),
            TaskKind.ACTIVITY: ("PollActivityTaskQueue", chain.gate("PollActivityTaskQueue")),
        }
        self._reading: set[asyncio.Task[None]] = set()

    def workflow_tasks(
        self, request: service.PollWorkflowTaskQueueRequest, seats: int, take: Take
    ) -> Callable[[], None]:
        """As so many PollWorkflowTaskQueue without end. Returns what ends them. Raises Rejected as the RPC does."""
        engine = self._engine

        def put(seat: Seat, task: StartedTask | VolatileTask) -> None:
            response = workflow_task_at_hand(engine, task) if isinstance(task, StartedWorkflowTask) else None
            if response is None:
                self._read(seat, task, take, self._workflow_task(task))
            else:
                take(response, seat.free)

        def put_early(seat: Seat, task: StartedWorkflowTask, events: Sequence[HistoryEvent], durable: Durable) -> bool:
            response = early_workflow_task(engine, task, events, durable)
            if response is None:
                return False
            take(response, seat.free)
            return True

        return self._open(request, TaskKind.WORKFLOW, seats, put, put_early)

    def activity_tasks(
        self, request: service.PollActivityTaskQueueRequest, seats: int, take: Take
    ) -> Callable[[], None]:
        """As so many PollActivityTaskQueue without end. Returns what ends them. Raises Rejected as the RPC does."""
        engine = self._engine

        def put(seat: Seat, task: StartedTask | VolatileTask) -> None:
            assert isinstance(task, StartedActivityTask)
            response = activity_task_at_hand(engine, task)
            if response is None:
                self._read(seat, task, take, activity_task_response(engine, task))
            else:
                take(response, seat.free)

        return self._open(request, TaskKind.ACTIVITY, seats, put)

    def _open(
        self,
        request: service.PollWorkflowTaskQueueRequest | service.PollActivityTaskQueueRequest,
        kind: TaskKind,
        count: int,
        put: Callable[[Seat, StartedTask | VolatileTask], None],
        put_early: TakeEarly | None = None,
    ) -> Callable[[], None]:
        engine, name = self._engine, request.task_queue.name
        seats: list[Seat] = []
        rpc, gate = self._gates[kind]

        def sit(request: Any, call: Call) -> None:
            check_queue(call, name)
            check_length(call, "Identity", request.identity)
            queue, worker = QueueName(request.namespace, name, kind), request.worker_instance_key
            seats.extend(Seat(engine.matching, queue, request.identity, worker, put, put_early) for _ in range(count))
            for seat in seats:
                seat.free()

        leaving = Event()
        if self._is_intercepted:
            self._spawn(self._sit_when_let(request, Call(rpc), gate, sit, leaving))
        else:
            gate(request, Call(rpc), sit)

        def leave() -> None:
            leaving.set()
            for seat in seats:
                seat.leave()

        return leave

    async def _sit_when_let(
        self,
        request: Any,
        call: Call,
        gate: Gate,
        sit: Callable[[Any, Call], None],
        leaving: Event,
    ) -> None:
        """Interceptors may take their time, or refuse: then this worker gets no task, and the log says why."""

        async def enter(request: Any, call: Call) -> None:
            if not leaving.is_set():
                sit(request, call)

        try:
            await gate(request, call, enter)
        except Rejected as refusal:
            _log.error("task queue %r is not polled: %s", request.task_queue.name, refusal)

    async def _workflow_task(self, task: StartedTask | VolatileTask) -> service.PollWorkflowTaskQueueResponse:
        if isinstance(task, QueryTask):
            return await query_task_response(self._engine, task)
        assert isinstance(task, StartedWorkflowTask)
        return await workflow_task_response(self._engine, task)

    def _read(self, seat: Seat, task: StartedTask | VolatileTask, take: Take, reading: Awaitable[Any]) -> None:
        """What belongs to the task is not in memory."""
        self._spawn(self._take_when_read(seat, task, take, reading))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        work = asyncio.get_running_loop().create_task(coroutine)
        self._reading.add(work)
        work.add_done_callback(self._reading.discard)

    async def _take_when_read(
        self, seat: Seat, task: StartedTask | VolatileTask, take: Take, reading: Awaitable[Any]
    ) -> None:
        try:
            response = await reading
        except Exception as error:
            if not await set_aside(self._engine, seat.poller, task, error):
                seat.free()
                return
            pause_s = self._engine.config.store_retry_ns / 1e9
            asyncio.get_running_loop().call_later(pause_s, seat.free)
            return
        take(response, seat.free)

"""One running attempt of an activity: what it may ask, and how its heartbeats go out.

`Attempt` lives on the loop; the activity may live on a thread. What the activity calls is safe
from any thread: flags are only ever raised, and reports cross over through `Returns`.

Heartbeats are gathered: the first goes out at once, later ones at most every 0.8 of the heartbeat
time-out, always the latest. Their answers say whether the attempt should stop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, RecordActivityTaskHeartbeatRequest

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.activity import ActivityContext, ActivityInfo
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.convert import Converter
from perdure.sdk.declare.definitions import AnyActivity
from perdure.sdk.options import SECOND_NS, duration_ns
from perdure.sdk.worker.config import WorkerTimes
from perdure.sdk.worker.handover import Returns

logger = logging.getLogger("perdure.worker")


class Stop(Enum):
    """Why an attempt was asked to stop."""

    CANCELLED = "the workflow cancelled it"
    GONE = "the server does not wait for it any more"
    TIMED_OUT = "its time is up"
    SHUTDOWN = "the worker shuts down"


def info_of(task: PollActivityTaskQueueResponse, converter: Converter, task_queue: str) -> ActivityInfo:
    """What the activity is told of itself. Raises PayloadError when the last heartbeat's details do not decode."""
    details = task.heartbeat_details.payloads
    return ActivityInfo(
        namespace=task.workflow_namespace,
        workflow_id=task.workflow_execution.workflow_id,
        run_id=task.workflow_execution.run_id,
        workflow_type=task.workflow_type.name,
        activity_id=task.activity_id,
        activity_type=task.activity_type.name,
        attempt=task.attempt,
        task_queue=task_queue,
        heartbeat_details=tuple(converter.from_payloads(details, (), "heartbeat details")) if details else (),
        _scheduled_at_ns=task.scheduled_time.ToNanoseconds(),
        _started_at_ns=task.started_time.ToNanoseconds(),
        _start_to_close_ns=duration_ns(task.start_to_close_timeout),
        _schedule_to_close_ns=duration_ns(task.schedule_to_close_timeout),
        _heartbeat_ns=duration_ns(task.heartbeat_timeout),
        task_token=task.task_token,
    )


class Attempt(msgspec.Struct, eq=False):
    """Implements `perdure.sdk.activity.ActivityContext` for activities on the loop and on threads."""

    task: PollActivityTaskQueueResponse
    definition: AnyActivity
    converter: Converter
    _task_queue: str
    _returns: Returns
    _make_heartbeats: Callable[[Attempt], Heartbeats] | None
    stop: Stop | None = None
    on_stop: Callable[[], object] | None = None
    """Called on the loop when the attempt is to stop: cancels a coroutine, kills a process."""
    args: list[Any] | None = None
    """What it is called with, where interceptors have seen that; the rest of these likewise."""
    context: contextvars.Context | None = None
    face: ActivityContext | None = None
    """What the activity asks, instead of this."""
    value: Any = None
    """What it returned."""
    _heartbeats: Heartbeats | None = None
    _info: ActivityInfo | None = None
    _event: threading.Event | None = None
    _wakers: list[asyncio.Future[None]] | None = None

    @property
    def info(self) -> ActivityInfo:
        if self._info is None:
            self._info = info_of(self.task, self.converter, self._task_queue)
        return self._info

    @property
    def cancelled(self) -> bool:
        return self.stop is not None

    def heartbeat(self, details: tuple[Any, ...]) -> None:
        payloads = self.converter.to_payloads(details, f"heartbeat details of activity {self.definition.name}")
        self._returns.put(self.record_heartbeat, payloads)

    def record_heartbeat(self, payloads: list[Payload]) -> None:
        """On the loop: send it now or with the next one. Of a local activity nobody wants it."""
        if self._make_heartbeats is None:
            return
        if self._heartbeats is None:
            self._heartbeats = self._make_heartbeats(self)
        self._heartbeats.report(payloads)

    def request_stop(self, why: Stop) -> None:
        """On the loop: tell the activity to stop; the first reason stays."""
        if self.stop is not None:
            return
        self.stop = why
        if self._event is not None:
            self._event.set()
        for waker in self._wakers or ():
            if not waker.done():
                waker.set_result(None)
        if self.on_stop is not None:
            self.on_stop()

    async def wait_cancelled(self) -> None:
        if self.stop is None:
            waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakers = self._wakers or []
            self._wakers.append(waker)
            await waker

    def wait_cancelled_sync(self, timeout_ns: int | None) -> bool:
        event = self._event = self._event or threading.Event()
        # Read after the event is in place: whoever raises the flag later sees the event.
        if self.stop is not None:
            return True
        return event.wait(None if timeout_ns is None else timeout_ns / SECOND_NS)

    def end(self) -> list[Payload] | None:
        """The attempt is over: no more heartbeats; the details that were reported but not sent yet."""
        return None if self._heartbeats is None else self._heartbeats.end()


class Heartbeats:
    """Sends one attempt's heartbeats; made when it reports for the first time."""

    def __init__(
        self, attempt: Attempt, connection: Connection, times: WorkerTimes, namespace: str, identity: str
    ) -> None:
        self._attempt = attempt
        self._connection = connection
        self._request = RecordActivityTaskHeartbeatRequest(
            task_token=attempt.task.task_token, identity=identity, namespace=namespace
        )
        timeout_ns = duration_ns(attempt.task.heartbeat_timeout)
        pause_ns = timeout_ns * 4 // 5 if timeout_ns else times.heartbeat_default_ns
        self._pause_s = min(pause_ns, times.heartbeat_maximum_ns) / SECOND_NS
        self._latest: list[Payload] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._ended = False

    def report(self, payloads: list[Payload]) -> None:
        self._latest = payloads
        if self._timer is None and self._sending is None and not self._ended:
            self._send()

    def end(self) -> list[Payload] | None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        return self._latest

    def _send(self) -> None:
        self._timer = None
        if self._latest is not None:
            self._sending = asyncio.get_running_loop().create_task(self._send_latest())

    async def _send_latest(self) -> None:
        sent = self._latest
        self._latest = None
        self._request.ClearField("details")
        self._request.details.payloads.extend(sent or ())
        try:
            answer = await self._connection.record_activity_task_heartbeat(self._request)
            if answer.cancel_requested:
                self._attempt.request_stop(Stop.CANCELLED)
            elif answer.activity_paused or answer.activity_reset:
                self._attempt.request_stop(Stop.GONE)
        except Rejected as rejected:
            if rejected.code == StatusCode.NOT_FOUND:
                self._attempt.request_stop(Stop.GONE)
            else:
                self._latest = self._latest or sent  # goes out again with the next pause
                logger.warning("heartbeat of %s not delivered: %s", self._attempt.definition.name, rejected.message)
        except Exception:  # a fault of ours: the next one goes out all the same
            self._latest = self._latest or sent
            logger.exception("heartbeat of %s not delivered", self._attempt.definition.name)
        finally:
            self._sending = None
        if not self._ended:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._send)

"""The other side of a process lane: runs one activity attempt at a time, until its parent is gone.

The parent speaks over a pipe: a task to run, "cancel", or the end. The pipe's end of file means
that the parent died, and then so does this process, in the middle of whatever it does: the
engine will hand the attempt to somebody else, and two of them at once would be worse.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import os
import signal
import threading
from multiprocessing.connection import Connection as Pipe
from queue import SimpleQueue
from typing import Any, cast

from temporalio.api.common.v1 import Payloads
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure.sdk.activity import ActivityInfo, current_attempt
from perdure.sdk.convert import Converter
from perdure.sdk.declare.definitions import ActivityDefinition, AnyActivity
from perdure.sdk.errors import DefinitionError
from perdure.sdk.options import SECOND_NS
from perdure.sdk.worker.attempt import info_of
from perdure.sdk.worker.raised import raised

FAILURE, CANCELLED, ELSEWHERE = "failure", "cancelled", "elsewhere"
"""What a failure that is sent to the parent means."""

Run = tuple[str, str, bytes, str]
"""Module and qualified name of the activity, the serialised poll response, the task queue."""


class ChildAttempt:
    """Implements `perdure.sdk.activity.ActivityContext` in a child process."""

    def __init__(self, info: ActivityInfo, converter: Converter, lane: _Lane) -> None:
        self.info = info
        self._converter = converter
        self._lane = lane

    @property
    def cancelled(self) -> bool:
        return self._lane.cancelled.is_set()

    def heartbeat(self, details: tuple[Any, ...]) -> None:
        what = f"heartbeat details of activity {self.info.activity_type}"
        self._lane.send("heartbeat", self._converter.to_payloads_message(details, what).SerializeToString())

    async def wait_cancelled(self) -> None:
        await asyncio.to_thread(self._lane.cancelled.wait)

    def wait_cancelled_sync(self, timeout_ns: int | None) -> bool:
        return self._lane.cancelled.wait(None if timeout_ns is None else timeout_ns / SECOND_NS)


class _Lane:
    """The child's end of the pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.cancelled = threading.Event()
        self.runs: SimpleQueue[Run | None] = SimpleQueue()

    def send(self, kind: str, data: bytes) -> None:
        with self._lock:
            self._pipe.send((kind, data))

    def listen(self) -> None:
        while True:
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            if message == "cancel":
                self.cancelled.set()
                continue
            self.cancelled.clear()
            self.runs.put(message)


def child_main(pipe: Pipe, converter: Converter) -> None:
    """Entry of the process."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lane = _Lane(pipe)
    threading.Thread(target=lane.listen, name="perdure-parent", daemon=True).start()
    lane.send("ready", b"")
    while (run := lane.runs.get()) is not None:
        contextvars.copy_context().run(_run, run, converter, lane)


def _run(run: Run, converter: Converter, lane: _Lane) -> None:
    module, qualname, data, task_queue = run
    try:
        definition = _find(module, qualname)
        task = PollActivityTaskQueueResponse.FromString(data)
        current_attempt.set(ChildAttempt(info_of(task, converter, task_queue), converter, lane))
        arguments = definition.decoded(converter, task.input.payloads, task.activity_type.name, "activity")
        result = definition.fn(*arguments)
        payloads = Payloads(payloads=converter.to_payloads((result,), f"the result of activity {definition.name}"))
        lane.send("result", payloads.SerializeToString())
    except BaseException as error:  # whatever user code raises is its outcome
        outcome = raised(error, converter)
        kind = CANCELLED if outcome.is_cancellation else ELSEWHERE if outcome.goes_on_elsewhere else FAILURE
        lane.send(kind, outcome.failure.SerializeToString())


def _find(module: str, qualname: str) -> AnyActivity:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, ActivityDefinition):
        raise DefinitionError(f"{module}.{qualname} is not an activity in the process that should run it")
    return cast(AnyActivity, found)

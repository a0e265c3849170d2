"""An attempt of an activity that goes through a chain of interceptors.

The chain runs on the worker's loop, whatever carries the activity itself: its end hands the attempt to the same hands
as without interceptors, and what comes back is kept beside, so that an outcome which nobody changed is answered as it
is, with its failure as it was written where it was raised.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure.sdk.activity import ActivityInfo
from perdure.sdk.convert import error_of
from perdure.sdk.errors import PayloadError
from perdure.sdk.interceptors import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    headers_of,
)
from perdure.sdk.worker.attempt import Attempt
from perdure.sdk.worker.raised import Outcome, Raised, raised

Run = Callable[[Attempt], Awaitable[Outcome | None]]


class _Face:
    """The attempt as its activity sees it: `perdure.sdk.activity.ActivityContext` behind the outbound chain."""

    def __init__(self, attempt: Attempt, outbound: ActivityOutboundInterceptor) -> None:
        self._attempt = attempt
        self._outbound = outbound

    @property
    def info(self) -> ActivityInfo:
        return self._outbound.info()

    def heartbeat(self, details: tuple[Any, ...]) -> None:
        self._outbound.heartbeat(*details)

    @property
    def cancelled(self) -> bool:
        return self._attempt.cancelled

    async def wait_cancelled(self) -> None:
        await self._attempt.wait_cancelled()

    def wait_cancelled_sync(self, timeout_ns: int | None) -> bool:
        return self._attempt.wait_cancelled_sync(timeout_ns)


class _OutboundRoot(ActivityOutboundInterceptor):
    """The end of the outbound chain: the attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def info(self) -> ActivityInfo:
        return self._attempt.info

    def heartbeat(self, *details: Any) -> None:
        self._attempt.heartbeat(details)


class _InboundRoot(ActivityInboundInterceptor):
    """The end of the inbound chain: has the attempt run, and keeps what came of it."""

    def __init__(self, attempt: Attempt, args: Sequence[Any], run: Run) -> None:
        self._attempt = attempt
        self._args = args
        self._run = run
        self.has_run = False
        self.outcome: Outcome | None = None
        self.value: Any = None
        self.error: BaseException | None = None

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._attempt.face = _Face(self._attempt, outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        attempt = self._attempt
        attempt.args = list(input.args)
        if attempt.definition.run_in == "process" and input.args is not self._args:
            attempt.task = _with_arguments(attempt, input.args)
        attempt.context = contextvars.copy_context()
        outcome = self.outcome = await self._run(attempt)
        self.has_run = True
        if isinstance(outcome, Raised):
            self.error = outcome.error or error_of(outcome.failure, attempt.converter)
            raise self.error
        self.value = attempt.value
        if attempt.definition.run_in == "process" and outcome:
            self.value = _decoded(attempt, outcome)
        return self.value


def _decoded(attempt: Attempt, outcome: Any) -> Any:
    """What a process sent. By its annotation, or if that does not hold as the JSON says: it is history's business."""
    kind = attempt.definition.return_type
    try:
        return attempt.converter.from_payload(outcome[0], kind)
    except PayloadError:
        return attempt.converter.from_payload(outcome[0])


def _with_arguments(attempt: Attempt, args: Sequence[Any]) -> PollActivityTaskQueueResponse:
    task = PollActivityTaskQueueResponse.FromString(attempt.task.SerializeToString())
    del task.input.payloads[:]
    given = args[1:] if attempt.definition.dynamic else args
    task.input.payloads.extend(attempt.converter.to_payloads(given, f"the arguments of {attempt.definition.name}"))
    return task


async def run_through(interceptors: Sequence[Interceptor], attempt: Attempt, run: Run) -> Outcome | None:
    """What an attempt comes to; None: it is answered already. Raises nothing but what ends the runner itself.

    Args:
        run: runs the attempt where it belongs.
    """
    converter, task = attempt.converter, attempt.task
    root: _InboundRoot | None = None
    try:
        given = attempt.definition.decoded(converter, task.input.payloads, task.activity_type.name, "activity")
        args = tuple(given)
        root = _InboundRoot(attempt, args, run)
        inbound: ActivityInboundInterceptor = root
        for interceptor in reversed(interceptors):
            inbound = interceptor.intercept_activity(inbound)
        inbound.init(_OutboundRoot(attempt))
        input = ExecuteActivityInput(attempt.definition, args, headers_of(task.header), attempt.info)
        value = await inbound.execute_activity(input)
    except BaseException as error:  # whatever the activity or an interceptor raises is the outcome
        if isinstance(error, asyncio.CancelledError) and not (root and root.has_run) and attempt.stop is None:
            raise  # this runner is being abandoned
        if root is not None and error is root.error:
            return root.outcome
        return raised(error, converter)
    if root.has_run and (root.outcome is None or (value is root.value and root.error is None)):
        return root.outcome
    return converter.to_payloads((value,), f"the result of activity {attempt.definition.name}")

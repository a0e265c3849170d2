"""Runs local activities: beside the workflow task that asked for them, in the hands of this worker.

`LocalRun` is what one run has under way; it stays with the cached run over a chain of workflow tasks and is let go
with it. `LocalActivities` is the worker's: it runs the attempts, decides about retries by the same law as a server
(`api/backoff.py`), and gives back what the marker is to say.

An attempt whose time is up is not waited for: it is told to stop and left behind, as a server does it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, PollWorkflowTaskQueueResponse

from perdure.api import backoff, enums
from perdure.sdk.convert import Converter, failure_of
from perdure.sdk.declare.definitions import AnyActivity, Registry
from perdure.sdk.errors import ApplicationError, UnknownTypeError
from perdure.sdk.interceptors import put_headers
from perdure.sdk.options import SECOND_NS, ActivityOptions, duration_ns
from perdure.sdk.replay.activity import template_of
from perdure.sdk.replay.local_work import LocalOutcome, LocalRequest, LocalWork, Report
from perdure.sdk.worker import jitter
from perdure.sdk.worker.attempt import Attempt, Stop
from perdure.sdk.worker.handover import Returns
from perdure.sdk.worker.raised import Outcome

if TYPE_CHECKING:
    from perdure.sdk.worker.activity_tasks import ActivityTasks

logger = logging.getLogger("perdure.worker")

LOCAL_RETRY_THRESHOLD_NS = 60 * SECOND_NS
"""A longer back-off is waited for by a durable timer (as Temporal's SDKs have it)."""
TASK_PART = 0.8
"""Of a workflow task's time-out: then it is completed as it is, and goes on in a new one."""


class LocalCall:
    """One that is under way: its attempts and the pauses between them."""

    __slots__ = ("attempt", "pause", "request", "task", "why")

    def __init__(self, request: LocalRequest) -> None:
        self.request = request
        self.attempt: Attempt | None = None
        self.pause: asyncio.Future[None] | None = None
        self.why: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        """Held here: the loop itself does not hold tasks."""

    def stop(self, why: Stop) -> None:
        """Have it end; the first reason stays."""
        if self.why is not None:
            return
        self.why = why
        if self.attempt is not None:
            self.attempt.request_stop(why)
        if self.pause is not None and not self.pause.done():
            self.pause.set_result(None)


Results = dict[int, tuple[LocalRequest, LocalOutcome]]
"""What ended well, by number, with what was asked."""

REFUSED_MAX = 64
"""Runs whose results are kept for the moment until their task comes again; more are done again."""


class LocalRun:
    """The local activities of one run. Used on the loop alone.

    Args:
        known: results of a task that the server refused, by number: what is asked for again in the same words has them.
    """

    def __init__(self, activities: LocalActivities, known: Results | None = None) -> None:
        self._activities = activities
        self._known = known or {}
        self.results: Results = {}
        """Of the workflow task at hand."""
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, LocalCall] = {}
        self._outcomes: list[LocalOutcome] = []
        self._waiter: asyncio.Future[None] | None = None
        self._token = b""
        self._task = PollWorkflowTaskQueueResponse()
        self._begun_s = 0.0
        self._begun_ns = 0

    def begin(self, task: PollWorkflowTaskQueueResponse, received_s: float) -> None:
        """Another workflow task of the run: its clock counts from here."""
        time = task.history.events[-1].event_time
        self._begun_ns = time.seconds * SECOND_NS + time.nanos
        self._begun_s = received_s
        if task.task_token != self._token:
            self._token, self.results = task.task_token, {}
        self._task = PollWorkflowTaskQueueResponse(
            workflow_execution=task.workflow_execution, workflow_type=task.workflow_type
        )

    @property
    def now_ns(self) -> int:
        """The time by the server's clock, as far as this worker can know it."""
        return self._begun_ns + round((self._loop.time() - self._begun_s) * SECOND_NS)

    async def work(self, work: LocalWork) -> Report:
        """Start and stop what is new, and wait until something has ended or the task must be completed."""
        for request in work.start:
            self._start(request)
        for seq in work.stop:
            if seq in self._calls:
                self._calls[seq].stop(Stop.CANCELLED)
        end_s = self._begun_s + work.task_timeout_ns * TASK_PART / SECOND_NS
        if not self._outcomes and not work.urgent:
            await self._wait(end_s - self._loop.time())
        outcomes, self._outcomes = self._outcomes, []
        return Report(self.now_ns, outcomes)

    def let_go(self) -> None:
        """Nobody waits for any of them: stop them all, say nothing more."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.stop(Stop.GONE)

    def _start(self, request: LocalRequest) -> None:
        known = self._known.pop(request.seq, None)
        if known is not None and known[0].is_same(request):
            self.results[request.seq] = known
            self._outcomes.append(known[1])
            return
        call = self._calls[request.seq] = LocalCall(request)
        call.task = self._loop.create_task(self._run(call))

    async def _run(self, call: LocalCall) -> None:
        try:
            outcome = await self._activities.run(call, self._task, lambda: self.now_ns)
        except Exception as problem:  # a fault of ours: the code that waits for it shall not wait for ever
            logger.exception("running local activity %s failed", call.request.definition.name)
            outcome = self._activities.fault(call.request, problem)
        if outcome is None or self._calls.pop(call.request.seq, None) is None:
            return
        if outcome.result is not None:
            self.results[call.request.seq] = call.request, outcome
        self._outcomes.append(outcome)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, limit_s: float) -> None:
        waiter = self._waiter = self._loop.create_future()
        if limit_s > 0:
            await asyncio.wait([waiter], timeout=limit_s)
        self._waiter = None


class LocalActivities:
    """Runs those of one worker."""

    def __init__(
        self,
        tasks: ActivityTasks,
        registry: Registry,
        converter: Converter,
        returns: Returns,
        namespace: str,
        task_queue: str,
        slots: int,
    ) -> None:
        self._tasks = tasks
        self._registry = registry
        self._converter = converter
        self._returns = returns
        self._namespace = namespace
        self._task_queue = task_queue
        self._slots = asyncio.Semaphore(slots)
        self._loop = asyncio.get_running_loop()
        self._running: set[LocalCall] = set()
        self._refused: dict[str, Results] = {}

    def run_of(self, run_id: str) -> LocalRun:
        """What a run needs that asks for its first."""
        return LocalRun(self, self._refused.pop(run_id, None))

    def keep(self, run_id: str, run: LocalRun) -> None:
        """The server has refused a workflow task because something had come in; its code will soon ask for the same.

        What has ended well by then need not be done again; and a cancellation that came in would stop it before it
        begins, so that what was done would be lost.
        """
        if len(self._refused) >= REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[run_id] = run.results

    def stop_running(self, why: Stop) -> None:
        """Ask all that are under way to stop."""
        for call in list(self._running):
            call.stop(why)

    async def run(
        self, call: LocalCall, task: PollWorkflowTaskQueueResponse, now_ns: Callable[[], int]
    ) -> LocalOutcome | None:
        """All attempts of one. None: nobody waits for it any more."""
        begun_s = self._loop.time()
        self._running.add(call)
        try:
            async with self._slots:
                return await self._attempts(call, task, now_ns, begun_s)
        finally:
            self._running.discard(call)

    async def _attempts(
        self, call: LocalCall, task: PollWorkflowTaskQueueResponse, now_ns: Callable[[], int], begun_s: float
    ) -> LocalOutcome | None:
        request = call.request
        definition = self._definition(request.definition)
        options = request.definition.activity_options
        number = request.attempt
        while True:
            spent_ns = request.spent_ns + round((self._loop.time() - begun_s) * SECOND_NS)
            if call.why is not None:
                return _cancelled(request.seq, number - 1) if call.why is Stop.CANCELLED else None
            polled = self._polled(request, task, number, now_ns())
            outcome = await self._attempt(call, polled, definition, _limit(options, spent_ns))
            ended = self._ended(call, outcome, number)
            if ended is None or ended.failure is None or ended.failure.HasField("canceled_failure_info"):
                return ended
            jitter.spread(polled, ended.failure)
            spent_ns = request.spent_ns + round((self._loop.time() - begun_s) * SECOND_NS)
            backoff_ns = next_backoff_ns(options, ended.failure, number, spent_ns)
            self._tasks.failures.local_activity(polled, ended.failure, backoff_ns)
            if backoff_ns is None:
                return ended
            if backoff_ns > _threshold(options):
                return LocalOutcome(request.seq, number, failure=ended.failure, backoff_ns=backoff_ns)
            await self._pause(call, backoff_ns)
            number += 1

    def fault(self, request: LocalRequest, problem: Exception) -> LocalOutcome:
        """How an activity ended that could not be run for a fault of ours."""
        return self._failed(request.seq, request.attempt, problem)

    def _definition(self, wanted: AnyActivity) -> AnyActivity:
        """What is registered by that name, a mock perhaps; else what the code named, for that is here in any case."""
        try:
            return self._registry.activity(wanted.name)
        except UnknownTypeError:
            return wanted

    async def _attempt(
        self, call: LocalCall, polled: PollActivityTaskQueueResponse, definition: AnyActivity, limit_ns: int | None
    ) -> Outcome | TimeoutType.ValueType:
        """One attempt: what it came to, or which of its times was up."""
        attempt = Attempt(polled, definition, self._converter, self._task_queue, self._returns, None)
        call.attempt = attempt
        running = self._loop.create_task(self._tasks.run(attempt, local=True))
        try:
            await asyncio.wait([running], timeout=None if limit_ns is None else limit_ns / SECOND_NS)
        finally:
            call.attempt = None
            attempt.end()
        if running.done():
            return running.result() or []
        attempt.request_stop(Stop.TIMED_OUT)
        start_to_close_ns = definition.activity_options.start_to_close_ns
        polled_ns = duration_ns(polled.start_to_close_timeout) or start_to_close_ns
        if polled_ns is not None and limit_ns is not None and limit_ns < polled_ns:
            return TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
        return TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE

    def _polled(
        self, request: LocalRequest, task: PollWorkflowTaskQueueResponse, number: int, now_ns: int
    ) -> PollActivityTaskQueueResponse:
        """The attempt as if it had been polled; without a token, for there is nobody to answer to."""
        template = template_of(request.definition, self._task_queue).schedule_activity_task_command_attributes
        polled = PollActivityTaskQueueResponse(
            workflow_namespace=self._namespace,
            workflow_type=task.workflow_type,
            workflow_execution=task.workflow_execution,
            activity_type=template.activity_type,
            activity_id=request.activity_id,
            header=template.header,
            attempt=number,
            start_to_close_timeout=template.start_to_close_timeout,
            schedule_to_close_timeout=template.schedule_to_close_timeout,
            retry_policy=template.retry_policy,
        )
        polled.input.payloads.extend(request.input)
        if request.headers:
            put_headers(polled.header, request.headers)
        polled.scheduled_time.FromNanoseconds(request.scheduled_at_ns)
        polled.current_attempt_scheduled_time.FromNanoseconds(request.scheduled_at_ns)
        polled.started_time.FromNanoseconds(now_ns)
        return polled

    def _ended(self, call: LocalCall, outcome: Outcome | TimeoutType.ValueType, number: int) -> LocalOutcome | None:
        seq = call.request.seq
        if isinstance(outcome, list):
            return LocalOutcome(seq, number, result=Payloads(payloads=outcome))
        if call.why in (Stop.GONE, Stop.SHUTDOWN):
            return None
        if isinstance(outcome, int):
            failure = Failure(message="activity timed out")
            failure.timeout_failure_info.timeout_type = TimeoutType.ValueType(outcome)
            return LocalOutcome(seq, number, failure=failure)
        if outcome.is_cancellation:
            if call.why is Stop.CANCELLED:
                return _cancelled(seq, number)
            text = f"activity {call.request.definition.name} raised CancelledError without having been cancelled"
            return self._failed(seq, number, ApplicationError(text, type="CancelledError"))
        if outcome.goes_on_elsewhere:
            text = "a local activity cannot be completed from outside: raise_complete_async() is for call and start"
            return self._failed(seq, number, ApplicationError(text, type="CompleteAsync", non_retryable=True))
        return LocalOutcome(seq, number, failure=outcome.failure)

    def _failed(self, seq: int, number: int, error: Exception) -> LocalOutcome:
        return LocalOutcome(seq, number, failure=failure_of(error, self._converter))

    async def _pause(self, call: LocalCall, backoff_ns: int) -> None:
        pause = call.pause = self._loop.create_future()
        await asyncio.wait([pause], timeout=backoff_ns / SECOND_NS)
        call.pause = None


def next_backoff_ns(options: ActivityOptions, failure: Failure, attempt: int, spent_ns: int) -> int | None:
    """How long to wait before the next attempt; None: this failure was the last word. A server's own law decides."""
    retry = options.retry
    policy = backoff.DEFAULT_POLICY if retry is None else backoff.from_message(retry._message)  # pyright: ignore[reportPrivateUsage] - no user's business
    verdict = backoff.judge(policy, attempt, failure, spent_ns, options.schedule_to_close_ns or 0)
    return verdict.backoff_ns if verdict.retry_state == enums.RETRY_IN_PROGRESS else None


def _limit(options: ActivityOptions, spent_ns: int) -> int | None:
    """How long an attempt may run now."""
    limits = [limit for limit in (options.start_to_close_ns,) if limit is not None]
    if options.schedule_to_close_ns is not None:
        limits.append(max(options.schedule_to_close_ns - spent_ns, 1))
    return min(limits, default=None)


def _threshold(options: ActivityOptions) -> int:
    given = options.local_retry_threshold_ns
    return LOCAL_RETRY_THRESHOLD_NS if given is None else given


def _cancelled(seq: int, attempt: int) -> LocalOutcome:
    failure = Failure(message="Activity cancelled")
    failure.canceled_failure_info.SetInParent()
    return LocalOutcome(seq, attempt, failure=failure)

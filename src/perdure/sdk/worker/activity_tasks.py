"""One activity attempt from poll to answer.

Whatever happens to user code, something is answered: a result, a failure that says how to retry,
or a confirmed cancellation. Only an attempt that the server itself has given up (its time is
up, its workflow is closed) is left unanswered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)

from perdure.api.errors import Rejected
from perdure.sdk import errors
from perdure.sdk.activity import current_attempt
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.convert import Converter, failure_of
from perdure.sdk.declare.definitions import Registry
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.options import SECOND_NS, duration_ns
from perdure.sdk.texts import class_name
from perdure.sdk.worker import jitter
from perdure.sdk.worker.attempt import Attempt, Heartbeats, Stop
from perdure.sdk.worker.config import WorkerConfig, WorkerName, times_of
from perdure.sdk.worker.delivery import deliver
from perdure.sdk.worker.failing import FailureLog
from perdure.sdk.worker.handover import Hands, InlineHands, Returns, ThreadHands
from perdure.sdk.worker.intercepted import run_through
from perdure.sdk.worker.processes import ProcessHands
from perdure.sdk.worker.raised import Outcome, Raised, cancellation_details, raised, refused
from perdure.sdk.worker.transactional import run_in_transaction

logger = logging.getLogger("perdure.worker")

SHUT_DOWN = "WorkerShutdown"
"""The failure's type of an attempt that nothing is wrong with: its worker had to go."""


def run_sync(attempt: Attempt) -> Outcome:
    """Run a `def` activity where this is called, in a context of its own. Never raises."""
    try:
        current_attempt.set(attempt if attempt.face is None else attempt.face)
        return _encoded(attempt, attempt.definition.fn(*_arguments(attempt)))
    except BaseException as error:  # whatever user code raises is its outcome
        return raised(error, attempt.converter)


def run_with(attempt: Attempt, transaction: Any) -> Outcome:
    """Run a transactional activity where this is called. Never raises."""
    try:
        return _encoded(attempt, attempt.definition.fn(transaction, *_arguments(attempt)))
    except BaseException as error:  # whatever user code raises is its outcome
        return raised(error, attempt.converter)


async def run_async(attempt: Attempt) -> Outcome:
    """Run an `async def` activity as a task of its own. Never raises."""
    try:
        current_attempt.set(attempt if attempt.face is None else attempt.face)
        return _encoded(attempt, await attempt.definition.fn(*_arguments(attempt)))
    except BaseException as error:  # whatever user code raises is its outcome, cancellation too
        return raised(error, attempt.converter)


def _arguments(attempt: Attempt) -> list[Any]:
    if attempt.args is not None:
        return attempt.args
    task = attempt.task
    return attempt.definition.decoded(attempt.converter, task.input.payloads, task.activity_type.name, "activity")


def _encoded(attempt: Attempt, result: Any) -> list[Payload]:
    if attempt.face is not None:
        attempt.value = result
    return attempt.converter.to_payloads((result,), f"the result of activity {attempt.definition.name}")


class ActivityTasks:
    """Handles the activity tasks of one worker."""

    def __init__(
        self,
        connection: Connection,
        name: WorkerName,
        registry: Registry,
        converter: Converter,
        config: WorkerConfig,
        returns: Returns,
        hands: Hands,
        processes: ProcessHands,
        failures: FailureLog | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._interceptors = interceptors
        self.failures = failures or FailureLog()
        self.connection = connection
        self._name = name
        self._registry = registry
        self._converter = converter
        self._config = config
        self._returns = returns
        self._hands = hands
        self._processes = processes
        self._inline = isinstance(hands, InlineHands)
        self._local: ThreadHands | None = None
        self._loop = asyncio.get_running_loop()
        self._running: set[Attempt] = set()

    async def handle(self, task: PollActivityTaskQueueResponse) -> None:
        """Run one attempt and answer it."""
        try:
            definition = self._registry.activity(task.activity_type.name)
        except errors.UnknownTypeError as error:
            # Retryable: another worker of this queue may know it, or this one after its next deployment.
            error.__traceback__ = None  # its frames are ours, and say nothing
            await self._fail(task, raised(error, self._converter), None)
            return
        try:
            attempt = Attempt(
                task, definition, self._converter, self._name.task_queue, self._returns, self._make_heartbeats
            )
            limit_ns = _limit_ns(task)
            timer = limit_ns and self._loop.call_later(limit_ns / SECOND_NS, self._time_is_up, attempt, limit_ns)
            self._running.add(attempt)
            try:
                outcome = await self.run(attempt)
            finally:
                self._running.discard(attempt)
                unsent = attempt.end()
                if timer:
                    timer.cancel()
            if outcome is not None:
                await self._answer(attempt, outcome, unsent)
        except Exception as fault:  # of ours, or of the way to the server: it is told as the attempt's failure
            answer = failure_of(fault, self._converter)
            answer.message = f"the attempt ended, and to answer that failed: {answer.message}"
            await self._send_failure(task, answer, None)
            logger.exception("what came of %s could not be answered; the server was told this instead", _named(task))

    def _time_is_up(self, attempt: Attempt, limit_ns: int) -> None:
        if attempt.stop is None:
            self.failures.timed_out(attempt.task, limit_ns)
        attempt.request_stop(Stop.TIMED_OUT)

    async def run(self, attempt: Attempt, *, local: bool = False) -> Outcome | None:
        """Where the activity belongs. None: it is answered already. Local ones have threads of their own."""
        definition = attempt.definition
        if self._interceptors and attempt.args is None:
            return await run_through(self._interceptors, attempt, partial(self.run, local=local))
        if definition.transactional:
            return await run_in_transaction(self.connection, attempt, self._name.identity, run_with)
        if definition.run_in == "thread" or (definition.run_in == "process" and self._inline):
            hands = self._local_hands() if local else self._hands
            context = attempt.context
            return await hands.submit(lambda: run_sync(attempt) if context is None else context.run(run_sync, attempt))
        if definition.run_in == "loop":
            return await self._run_on_loop(attempt)
        return await self._processes.run(attempt)

    def _local_hands(self) -> Hands:
        """Ordinary activities must not make workflow tasks wait, so local ones do not queue behind them."""
        if self._inline:
            return self._hands
        if self._local is None:
            self._local = ThreadHands(self._returns, self._config.local_slots, "perdure-local")
        return self._local

    def stop(self) -> None:
        """Let go of the threads that were made here."""
        if self._local is not None:
            self._local.stop()

    def stop_running(self, why: Stop) -> None:
        """Ask all running attempts to stop."""
        for attempt in list(self._running):
            attempt.request_stop(why)

    def _make_heartbeats(self, attempt: Attempt) -> Heartbeats:
        return Heartbeats(attempt, self.connection, times_of(self._config), self._name.namespace, self._name.identity)

    async def _run_on_loop(self, attempt: Attempt) -> Outcome:
        running = self._loop.create_task(run_async(attempt))
        attempt.on_stop = running.cancel
        try:
            return await running
        except asyncio.CancelledError as error:
            # Either the attempt was stopped before its first step, or this runner itself is being abandoned.
            if attempt.stop is None:
                raise
            return raised(error, self._converter)

    async def _answer(self, attempt: Attempt, outcome: Outcome, unsent: list[Payload] | None) -> None:
        task = attempt.task
        if isinstance(outcome, list):
            # Even when its time was up by our clock: whether a result still counts is the server's to say.
            await self._complete(attempt, outcome)
        elif outcome.goes_on_elsewhere:
            logger.debug("attempt %d of %s will be completed from outside", task.attempt, _named(task))
        elif attempt.stop in (Stop.GONE, Stop.TIMED_OUT):
            logger.info("attempt %d of %s is left unanswered: %s", task.attempt, _named(task), attempt.stop.value)
        elif not outcome.is_cancellation:
            await self._fail(task, outcome, unsent)
        elif attempt.stop is Stop.CANCELLED:
            await self._confirm_cancelled(task, outcome.failure)
        else:
            await self._fail(task, unasked(attempt, outcome), unsent)

    async def _complete(self, attempt: Attempt, result: Sequence[Payload]) -> None:
        task = attempt.task
        request = RespondActivityTaskCompletedRequest()
        request.task_token = task.task_token
        request.identity = self._name.identity
        request.namespace = self._name.namespace
        request.result.payloads.extend(result)
        try:
            await deliver(
                self.connection.respond_activity_task_completed, request, lambda: f"the result of {_named(task)}"
            )
        except Rejected as rejected:
            # The server will never take this result (too large for it, say): trying again cannot help.
            error = errors.ApplicationError(
                f"the server refused the result: {rejected.message}", type=rejected.code.name, non_retryable=True
            )
            await self._fail(task, raised(error, self._converter), None)

    async def _fail(self, task: PollActivityTaskQueueResponse, outcome: Raised, unsent: list[Payload] | None) -> None:
        failure = outcome.failure
        jitter.spread(task, failure)
        if failure.application_failure_info.type == SHUT_DOWN:
            logger.info("attempt %d of %s ends with its worker", task.attempt, _named(task))
        else:
            self.failures.activity(task, failure, outcome.error)
        try:
            await self._send_failure(task, failure, unsent)
        except Rejected as rejected:  # a delay that no server takes, heartbeat details that are too large
            await self._send_failure(task, refused(failure, rejected), None)

    async def _send_failure(
        self, task: PollActivityTaskQueueResponse, failure: Failure, unsent: list[Payload] | None
    ) -> None:
        request = RespondActivityTaskFailedRequest(
            task_token=task.task_token,
            failure=failure,
            identity=self._name.identity,
            namespace=self._name.namespace,
        )
        if unsent is not None:
            request.last_heartbeat_details.payloads.extend(unsent)
        await deliver(self.connection.respond_activity_task_failed, request, lambda: f"the failure of {_named(task)}")

    async def _confirm_cancelled(self, task: PollActivityTaskQueueResponse, failure: Failure) -> None:
        request = RespondActivityTaskCanceledRequest(
            task_token=task.task_token, identity=self._name.identity, namespace=self._name.namespace
        )
        request.details.payloads.extend(cancellation_details(failure))
        what = f"the cancellation of {_named(task)}"
        if not request.details.payloads:
            logger.debug("%s: %s", what, failure.message)  # says so if there were details that cannot be written
        try:
            await deliver(self.connection.respond_activity_task_canceled, request, lambda: what)
        except Rejected as rejected:
            if not request.details.payloads:
                raise
            logger.warning("%s is sent without its details: %s", what, rejected.message)
            request.ClearField("details")
            await deliver(self.connection.respond_activity_task_canceled, request, lambda: what)


def _limit_ns(task: PollActivityTaskQueueResponse) -> int:
    """How long this attempt may run, 0: as long as it likes. From the server's own times: clocks may differ."""
    limit = duration_ns(task.start_to_close_timeout)
    overall = duration_ns(task.schedule_to_close_timeout)
    if overall:
        spent = task.started_time.ToNanoseconds() - task.scheduled_time.ToNanoseconds()
        left = max(overall - spent, 1)
        return min(limit, left) if limit else left
    return limit


def unasked(attempt: Attempt, outcome: Raised) -> Raised:
    """A cancellation that the workflow did not ask for is a failure to be retried."""
    name = attempt.definition.name
    if attempt.stop is Stop.SHUTDOWN:
        stopped = errors.ApplicationError(f"activity {name} was stopped: the worker shuts down", type=SHUT_DOWN)
    else:
        kind = "CancelledError" if outcome.error is None else class_name(outcome.error)
        text = f"activity {name} raised {kind} without having been cancelled"
        stopped = errors.ApplicationError(text, type="CancelledError")
    return raised(stopped, attempt.converter)


def _named(task: PollActivityTaskQueueResponse) -> str:
    return f"activity {task.activity_type.name} of {task.workflow_execution.workflow_id!r}"

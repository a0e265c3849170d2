"""A bug in a workflow fails the test at once, with that bug.

In production a workflow task that fails is tried again until the code is mended: nothing is lost. In a test nobody
mends it, and skipped time would try it again some thousand times. So who waits for a run is interrupted by the first
failure, and who lets time pass by the tenth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.api.failures import headline
from perdure.sdk.client.calls import Reach
from perdure.sdk.traces import keep_theirs
from perdure.sdk.worker.failing import Failed
from perdure.testing.virtual_time import DeadlockError

R = TypeVar("R")
Request = TypeVar("Request")
Response = TypeVar("Response")

DEFAULT_ATTEMPTS = 200
_ATTEMPTS_IN_PASSING = 10
"""So often a workflow task may fail while a test lets time pass: it may look at a run that is stuck, or mend it."""


class WorkflowTaskFailedError(AssertionError):
    """The code of a workflow failed in a way that does not end its run: a bug, or it does not fit its history.

    What was raised is the `__cause__`.

    Attributes:
        workflow_id, run_id: whose code it was.
    """

    def __init__(self, message: str, *, workflow_id: str, run_id: str) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id
        self.run_id = run_id


class EndlessRetriesError(DeadlockError):
    """An activity failed so often, and is retried without end, that what waits for it waits in vain."""


class Bugs:
    """Hears of what fails, and interrupts who waits. Used on the loop alone.

    Args:
        retry: leave workflow tasks that fail to their retries, as in production.
        attempts: of an activity that is retried without end, before whoever waits for a run is told.
    """

    def __init__(self, *, retry: bool, attempts: int) -> None:
        self._retry = retry
        self._attempts = attempts
        self.heard: dict[tuple[str, str], WorkflowTaskFailedError] = {}
        """The last failure of each run's code, by workflow and run id, the latest behind."""
        self._waiting: dict[asyncio.Future[None], bool] = {}
        """Those that can be interrupted; True: by the first bug, and by endless retries."""

    def hear(self, failed: Failed) -> None:
        """An attempt has failed."""
        if failed.is_workflow_task:
            if not self._retry:
                bug = _bug(failed)
                self.heard.pop((failed.workflow_id, failed.run_id), None)
                self.heard[failed.workflow_id, failed.run_id] = bug
                self._interrupt(bug, everybody=failed.attempt >= _ATTEMPTS_IN_PASSING)
        elif failed.attempt >= self._attempts and failed.next_try_ns is not None and not failed.has_end:
            self._interrupt(_endless(failed), everybody=False)

    def _interrupt(self, error: Exception, *, everybody: bool) -> None:
        for waiting, waits_for_a_run in self._waiting.items():
            if not waiting.done() and (waits_for_a_run or everybody):
                waiting.set_exception(error)

    async def race(self, work: Coroutine[Any, Any, R], *, waits_for_a_run: bool) -> R:
        """The result of `work`. Raises what interrupts it."""
        loop = asyncio.get_running_loop()
        interrupted: asyncio.Future[None] = loop.create_future()
        self._waiting[interrupted] = waits_for_a_run
        task = loop.create_task(work)
        try:
            await asyncio.wait((task, interrupted), return_when=asyncio.FIRST_COMPLETED)
            if interrupted.done():
                interrupted.result()
            return task.result()
        finally:
            del self._waiting[interrupted]
            interrupted.cancel()
            await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    """What nobody waits for any more; how it ends is nobody's business either."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


class WatchedReach(Reach):
    """A client's way to the server on which nobody waits past a bug."""

    __slots__ = ("_bugs",)

    def __init__(self, plain: Reach, bugs: Bugs) -> None:
        super().__init__(
            plain.connection, plain.namespace, plain.converter, plain.identity, plain.retry_s, plain.new_id, plain.check
        )
        self.now_ns = plain.now_ns
        self._bugs = bugs

    async def bug(self) -> Exception | None:
        """The failure of a run that still fails, perhaps a child of the one that was waited for."""
        for (workflow_id, run_id), error in reversed(self._bugs.heard.items()):
            execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
            request = service.DescribeWorkflowExecutionRequest(namespace=self.namespace, execution=execution)
            try:
                seen = await self.call(self.connection.describe_workflow_execution, request)
            except Rejected:
                continue  # it was deleted
            if seen.pending_workflow_task.attempt > 1:
                return error
        return None

    async def call(self, rpc: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """As `Reach.call`. Raises WorkflowTaskFailedError, EndlessRetriesError as well."""
        work = super().call(rpc, request)
        return await (self._bugs.race(work, waits_for_a_run=True) if _waits(request) else work)


def _waits(request: Any) -> bool:
    """Whether the answer comes when a run has done something."""
    if isinstance(request, service.GetWorkflowExecutionHistoryRequest):
        return request.wait_new_event
    return isinstance(
        request,
        service.UpdateWorkflowExecutionRequest
        | service.PollWorkflowExecutionUpdateRequest
        | service.ExecuteMultiOperationRequest
        | service.QueryWorkflowRequest,
    )


def _bug(failed: Failed) -> WorkflowTaskFailedError:
    error = WorkflowTaskFailedError(
        f"{failed.what} failed: {headline(failed.failure)}. In production it is tried again until the code is mended; "
        "a test of that says TestEngine(retry_bugs=True).",
        workflow_id=failed.workflow_id,
        run_id=failed.run_id,
    )
    if failed.error is not None:
        keep_theirs(failed.error)
        error.__cause__ = failed.error
    return error


def _endless(failed: Failed) -> EndlessRetriesError:
    error = EndlessRetriesError(
        f"{failed.what} has failed {failed.attempt} times, and its retries have no end: {headline(failed.failure)}. "
        "Give them one, `Retry(maximum_attempts=5)`, mock the activity, or let the test go on for longer, "
        "TestEngine(attempts=10_000)."
    )
    if failed.error is not None:
        keep_theirs(failed.error)
        error.__cause__ = failed.error
    return error

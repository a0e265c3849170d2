"""What is said of work that failed: at once, as a warning in the log, which Python prints where nobody set logging up.

Every failed attempt is one line: what failed, which attempt it was, when the next one comes, and the failure with its
type and the user's own line. The whole traceback follows at the first attempt and then at the tenth, the hundredth, …,
and not more often than `FULL_PER_MINUTE` in all: a service that is down for an hour must not fill the disk.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, PollWorkflowTaskQueueResponse

from perdure.api.digest import duration_words
from perdure.api.enums import SCHEDULE_TO_CLOSE, START_TO_CLOSE
from perdure.api.failures import headline, timeout_failure
from perdure.api.tracebacks import traceback_text
from perdure.sdk.options import duration_ns
from perdure.sdk.worker import jitter

logger = logging.getLogger("perdure.worker")

FULL_PER_MINUTE = 30


@dataclass(slots=True, frozen=True)
class Failed:
    """One attempt that failed, for whoever wants to know."""

    what: str
    """A sentence's subject: `activity charge of workflow 'order-1'`."""
    workflow_id: str
    run_id: str
    attempt: int
    next_try_ns: int | None
    """From now; None: there is none."""
    has_end: bool
    """Whether its retry policy ends by itself some time: by a number of attempts, or a time."""
    failure: Failure
    error: BaseException | None
    """What was raised, where it is at hand."""
    is_workflow_task: bool = False


class FailureLog:
    """Tells of failures. Used on the loop alone.

    Args:
        listener: told of each as well.
        clock: gives seconds.
    """

    def __init__(
        self, listener: Callable[[Failed], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener = listener
        self._clock = clock
        self._in_full: deque[float] = deque(maxlen=FULL_PER_MINUTE)
        """When the last tracebacks were written."""

    def activity(
        self, task: PollActivityTaskQueueResponse, failure: Failure, error: BaseException | None = None
    ) -> None:
        """An attempt of an activity failed. `failure` is as the server gets it, jitter included."""
        self._attempt("activity", task, failure, next_try_ns(task, failure), error)

    def timed_out(self, task: PollActivityTaskQueueResponse, limit_ns: int) -> None:
        """An attempt was not done in its time; what it does now counts for nothing."""
        overall_ns = duration_ns(task.schedule_to_close_timeout)
        is_overall = bool(overall_ns) and limit_ns != duration_ns(task.start_to_close_timeout)
        failure = timeout_failure(SCHEDULE_TO_CLOSE if is_overall else START_TO_CLOSE)
        failure.message = f"not done within {duration_words(overall_ns if is_overall else limit_ns)}"
        self._attempt("activity", task, failure, None if is_overall else next_try_ns(task, failure), None)

    def local_activity(self, task: PollActivityTaskQueueResponse, failure: Failure, backoff_ns: int | None) -> None:
        """An attempt of a local activity failed; the next one is `backoff_ns` away."""
        self._attempt("local activity", task, failure, backoff_ns, None)

    def workflow_task(
        self, task: PollWorkflowTaskQueueResponse, failure: Failure, error: BaseException | None = None
    ) -> None:
        """Workflow code failed in a way that does not end the run: a bug, or code that does not fit its history."""
        what = f"workflow task of {task.workflow_type.name} {task.workflow_execution.workflow_id!r}"
        failed = Failed(
            what, task.workflow_execution.workflow_id, task.workflow_execution.run_id, task.attempt, 0, False,
            failure, error, True,
        )  # fmt: skip
        self._tell(failed)

    def _attempt(
        self,
        kind: str,
        task: PollActivityTaskQueueResponse,
        failure: Failure,
        next_try_ns: int | None,
        error: BaseException | None,
    ) -> None:
        execution = task.workflow_execution
        what = f"{kind} {task.activity_type.name} of workflow {execution.workflow_id!r}"
        has_end = bool(task.retry_policy.maximum_attempts or duration_ns(task.schedule_to_close_timeout))
        self._tell(
            Failed(what, execution.workflow_id, execution.run_id, task.attempt, next_try_ns, has_end, failure, error)
        )

    def _tell(self, failed: Failed) -> None:
        trace = traceback_text(failed.failure) if self._is_due_in_full(failed) else ""
        if trace:
            self._in_full.append(self._clock())
            trace = f"\n{trace}"
        logger.warning(
            "%s failed (attempt %d, %s): %s%s",
            failed.what,
            failed.attempt,
            _next(failed),
            headline(failed.failure),
            trace,
        )
        if self._listener is not None:
            self._listener(failed)

    def _is_due_in_full(self, failed: Failed) -> bool:
        if str(failed.attempt).strip("0") != "1":
            return False
        return len(self._in_full) < FULL_PER_MINUTE or self._clock() - self._in_full[0] >= 60


def _next(failed: Failed) -> str:
    if failed.is_workflow_task:
        return "tried again until the code is mended"
    if failed.next_try_ns is None:
        return "the last"
    return f"next try in {duration_words(failed.next_try_ns)}" if failed.next_try_ns else "next try at once"


def next_try_ns(task: PollActivityTaskQueueResponse, failure: Failure) -> int | None:
    """How long the server will wait before the next attempt; None: this was the last, as far as can be known here."""
    policy, info = task.retry_policy, failure.application_failure_info
    if info.non_retryable or (info.type and info.type in policy.non_retryable_error_types):
        return None
    if 0 < policy.maximum_attempts <= task.attempt:
        return None
    wait_ns = duration_ns(info.next_retry_delay) if info.HasField("next_retry_delay") else jitter.backoff_ns(task)
    limit_ns = duration_ns(task.schedule_to_close_timeout)
    spent_ns = task.started_time.ToNanoseconds() - task.scheduled_time.ToNanoseconds()
    return None if limit_ns and spent_ns + wait_ns >= limit_ns else wait_ns

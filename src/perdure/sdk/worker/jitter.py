"""Jitter of retries: the part of a back-off that is random, so that a crowd does not come back all at once.

Temporal's retry policy has no field for it. So the call carries it in a header of its own, and the worker whose
attempt failed says with the failure when the next one is due. That works against every server; an attempt
that ends in a time-out has nobody to say it and waits for the whole back-off.
"""

from __future__ import annotations

import random

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure.sdk.options import JITTER_HEADER, SECOND_NS, duration_message, duration_ns

_INTERVAL_MAX_NS = 365 * 86_400 * SECOND_NS


def spread(task: PollActivityTaskQueueResponse, failure: Failure) -> None:
    """Shorten the back-off behind this failed attempt by its random part, if the call asked for jitter.

    A delay that the activity itself asked for stays. What is drawn depends on the attempt alone, so that a
    simulation sees the same every time.
    """
    info = failure.application_failure_info
    if JITTER_HEADER not in task.header.fields or not failure.HasField("application_failure_info"):
        return
    if info.non_retryable or info.HasField("next_retry_delay"):
        return
    jitter = _part(task.header.fields[JITTER_HEADER].data)
    if jitter is None:
        return
    whole = backoff_ns(task)
    drawn = random.Random(f"{task.workflow_execution.run_id}:{task.activity_id}:{task.attempt}").random()
    info.next_retry_delay.CopyFrom(duration_message(max(1, round(whole * (1 - jitter * drawn)))))


def _part(data: bytes) -> float | None:
    """The header's number; None for what is none: the header came from outside."""
    try:
        jitter = float(data)
    except ValueError:
        return None
    return jitter if 0 <= jitter <= 1 else None


def backoff_ns(task: PollActivityTaskQueueResponse) -> int:
    """The whole back-off behind this attempt, as its policy says."""
    policy = task.retry_policy
    try:
        whole = duration_ns(policy.initial_interval) * (policy.backoff_coefficient or 2.0) ** (task.attempt - 1)
    except OverflowError:
        whole = _INTERVAL_MAX_NS
    return round(min(whole, duration_ns(policy.maximum_interval) or _INTERVAL_MAX_NS))

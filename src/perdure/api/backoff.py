"""Whether something that failed is tried again, and after how long: one law, for the server and for local activities.

The rules and their order are Temporal's (https://docs.temporal.io/encyclopedia/retry-policies).
Jitter: none, as Temporal's server.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from temporalio.api.common.v1 import RetryPolicy as RetryPolicyMessage
from temporalio.api.failure.v1 import Failure

from perdure.api import enums
from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.times import NS_PER_SECOND, duration, duration_ns

DEFAULT_INITIAL_INTERVAL_NS = NS_PER_SECOND
DEFAULT_BACKOFF_COEFFICIENT = 2.0
DEFAULT_MAXIMUM_INTERVAL_FACTOR = 100


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True):
    """`temporal.api.common.v1.RetryPolicy` with every default filled in; durations in nanoseconds."""

    initial_interval_ns: int
    backoff_coefficient: float
    maximum_interval_ns: int
    maximum_attempts: int
    """0: no limit."""
    non_retryable_error_types: tuple[str, ...] = ()


DEFAULT_POLICY = RetryPolicy(
    DEFAULT_INITIAL_INTERVAL_NS,
    DEFAULT_BACKOFF_COEFFICIENT,
    DEFAULT_MAXIMUM_INTERVAL_FACTOR * DEFAULT_INITIAL_INTERVAL_NS,
    0,
)


def to_message(policy: RetryPolicy) -> RetryPolicyMessage:
    """The wire's form of a policy, every default written out."""
    return RetryPolicyMessage(
        initial_interval=duration(policy.initial_interval_ns),
        backoff_coefficient=policy.backoff_coefficient,
        maximum_interval=duration(policy.maximum_interval_ns),
        maximum_attempts=policy.maximum_attempts,
        non_retryable_error_types=policy.non_retryable_error_types,
    )


DEFAULT_POLICY_MESSAGE = to_message(DEFAULT_POLICY)


def from_message(message: RetryPolicyMessage) -> RetryPolicy:
    """The wire's policy; fields that are not set get the server's defaults."""
    if message == DEFAULT_POLICY_MESSAGE:
        return DEFAULT_POLICY
    initial = duration_ns(message.initial_interval) or DEFAULT_INITIAL_INTERVAL_NS
    return RetryPolicy(
        initial,
        message.backoff_coefficient or DEFAULT_BACKOFF_COEFFICIENT,
        duration_ns(message.maximum_interval) or min(DEFAULT_MAXIMUM_INTERVAL_FACTOR * initial, DURATION_MAX_NS),
        message.maximum_attempts,
        tuple(message.non_retryable_error_types),
    )


@dataclass(slots=True, frozen=True)
class Verdict:
    """Whether to try again: `retry_state` IN_PROGRESS means yes, after `backoff_ns`; anything else says why not."""

    retry_state: enums.RetryState
    backoff_ns: int = 0


def is_retryable(failure: Failure, non_retryable_error_types: tuple[str, ...]) -> bool:
    """Whether a failure of this kind may be retried at all."""
    kind = failure.WhichOneof("failure_info")
    if kind == "application_failure_info":
        info = failure.application_failure_info
        return not info.non_retryable and info.type not in non_retryable_error_types
    if kind == "timeout_failure_info":
        timeout_type = failure.timeout_failure_info.timeout_type
        return timeout_type in (enums.START_TO_CLOSE, enums.HEARTBEAT)
    if kind == "server_failure_info":
        return not failure.server_failure_info.non_retryable
    return kind not in ("terminated_failure_info", "canceled_failure_info")


def backoff_ns(policy: RetryPolicy, attempt: int) -> int:
    """The wait after failed attempt number `attempt` (from 1), in nanoseconds."""
    try:
        interval = policy.initial_interval_ns * policy.backoff_coefficient ** (attempt - 1)
    except OverflowError:
        interval = DURATION_MAX_NS
    if not interval < DURATION_MAX_NS:  # nor is it NaN: a policy may have been stored before it was checked
        interval = DURATION_MAX_NS
    return int(min(interval, policy.maximum_interval_ns or DURATION_MAX_NS))


def _wait_ns(policy: RetryPolicy, attempt: int, failure: Failure) -> int:
    """What the failure itself asks for, at once if that is negative; else the back-off."""
    asked_ns = duration_ns(failure.application_failure_info.next_retry_delay)
    return min(max(asked_ns, 0), DURATION_MAX_NS) if asked_ns else backoff_ns(policy, attempt)


def judge(policy: RetryPolicy | None, attempt: int, failure: Failure, now_ns: int, expires_at_ns: int) -> Verdict:
    """Whether attempt `attempt`, which ended with `failure`, is followed by another.

    `expires_at_ns` (0: never) is when trying ends: a retry that could only start later is not made.
    """
    if policy is None:
        return Verdict(enums.RETRY_POLICY_NOT_SET)
    if not is_retryable(failure, policy.non_retryable_error_types):
        return Verdict(enums.RETRY_NON_RETRYABLE_FAILURE)
    if 0 < policy.maximum_attempts <= attempt:
        return Verdict(enums.RETRY_MAXIMUM_ATTEMPTS_REACHED)
    wait_ns = _wait_ns(policy, attempt, failure)
    if expires_at_ns and now_ns + wait_ns > expires_at_ns:
        return Verdict(enums.RETRY_TIMEOUT)
    return Verdict(enums.RETRY_IN_PROGRESS, wait_ns)

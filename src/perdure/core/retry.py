"""The retry policy of a request: checked, and filled in as it enters history.

When something is tried again, and after how long, is one law for everybody: `api/backoff.py`.
"""

from __future__ import annotations

from temporalio.api.common.v1 import RetryPolicy as RetryPolicyMessage

from perdure.api.backoff import from_message, to_message
from perdure.api.bounds import cap, coefficient_fault
from perdure.api.times import duration_ns


def fault(message: RetryPolicyMessage) -> str:
    """What is wrong with a policy, in Temporal's words; "": nothing. Intervals that are too long are cut in it."""
    why = cap(message.initial_interval)
    if why:
        return f"invalid InitialInterval set on retry policy: {why}"
    why = coefficient_fault(message.backoff_coefficient)
    if why:
        return why
    why = cap(message.maximum_interval)
    if why:
        return f"invalid MaximumInterval set on retry policy: {why}"
    maximum = duration_ns(message.maximum_interval)
    if maximum and maximum < duration_ns(message.initial_interval):
        return "MaximumInterval cannot be less than InitialInterval on retry policy."
    if message.maximum_attempts < 0:
        return "MaximumAttempts cannot be negative on retry policy."
    return ""


def filled(message: RetryPolicyMessage) -> RetryPolicyMessage:
    """The policy as it enters history: with every default written out."""
    return to_message(from_message(message))

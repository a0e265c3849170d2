"""Every bound of the law, in one place. The numbers are Temporal's defaults
(https://docs.temporal.io/self-hosted-guide/defaults) so that programs written against it fit here.
"""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_SECOND = 1_000_000_000


@dataclass(slots=True, frozen=True)
class Limits:
    """Bounds that an operator may change; times in nanoseconds."""

    id_length: int = 1000
    """Of workflow, activity and timer ids, type and queue names, in characters."""
    blob_bytes: int = 2 << 20
    """Of one input, result, failure or details: a bigger one fails the workflow or the activity."""
    kept_failure_bytes: int = 4 << 10
    """Of the failure that a retried activity's state keeps; a bigger one is shortened."""
    memo_bytes: int = 2 << 20
    entries: int = 1_000
    """Of a memo, a header, the details of a marker or whatever else is a map (Temporal bounds their bytes alone)."""
    pending_activities: int = 2_000
    pending_timers: int = 2_000
    pending_children: int = 2_000
    pending_externals: int = 2_000
    """Signals to, and requests to cancel, other workflows."""
    signal_request_ids: int = 4_096
    """The newest signals whose repetition is recognised (Temporal keeps all of a run's)."""
    updates_in_flight: int = 1_000
    """Updates without an outcome (Temporal: 10)."""
    updates_in_flight_bytes: int = 4 << 20
    """Of requests that no worker has answered: they are in every snapshot."""
    updates_total: int = 2_000
    """Of one run."""
    suggest_continue_as_new_events: int = 4_096
    """From here on workers are told to continue as new (`suggest_continue_as_new`)."""
    suggest_continue_as_new_bytes: int = 4 << 20
    history_events: int = 51_200
    """A run with more events is terminated."""
    history_bytes: int = 50 << 20
    """A run with a bigger history is terminated."""
    buffered_events: int = 4_000
    """More events than this waiting behind one workflow task fail that task, so that they enter history."""
    buffered_bytes: int = 2 << 20
    state_bytes: int = 8 << 20
    """A run with a bigger state (Temporal: mutable state) is terminated: heartbeat details, memo, what is pending."""
    task_timeout_ns: int = 10 * NS_PER_SECOND
    """Workflow task start-to-close when the start request names none."""
    task_timeout_max_ns: int = 120 * NS_PER_SECOND
    task_backoff_attempts: int = 3
    """From this attempt of one workflow task on, failing ones back off."""
    task_backoff_initial_ns: int = 5 * NS_PER_SECOND
    task_backoff_max_ns: int = 600 * NS_PER_SECOND


DEFAULT_LIMITS = Limits()

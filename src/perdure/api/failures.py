"""Failures of the wire, built in one place so that their texts are the same everywhere."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure

from perdure.api import enums

_TIMEOUT_MESSAGES = {
    enums.START_TO_CLOSE: "activity StartToClose timeout",
    enums.SCHEDULE_TO_START: "activity ScheduleToStart timeout",
    enums.SCHEDULE_TO_CLOSE: (
        "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
    ),
    enums.HEARTBEAT: "activity Heartbeat timeout",
}


def timeout_failure(timeout_type: enums.TimeoutType) -> Failure:
    """An activity's time-out, worded as Temporal's server words it."""
    failure = Failure(message=_TIMEOUT_MESSAGES[timeout_type], source="Server")
    failure.timeout_failure_info.timeout_type = timeout_type
    return failure


def too_large_failure(what: str, size: int, limit: int, cause: Failure | None = None) -> Failure:
    """What is kept instead of something that is too big to keep; sizes in bytes. Not retryable."""
    failure = Failure(message=f"{what} exceeds size limit. ({size} > {limit} bytes)")
    failure.server_failure_info.non_retryable = True
    if cause is not None:
        failure.cause.CopyFrom(shortened(cause, SHORT_FAILURE_BYTES))
    return failure


SHORT_FAILURE_BYTES = 4 << 10


def shortened(failure: Failure, limit: int) -> Failure:
    """The failure itself if it has at most `limit` bytes, or its essence: beginning of the message, kind, type."""
    if failure.ByteSize() <= limit:
        return failure
    short = Failure(message=failure.message[: limit // 4], source=failure.source)
    if failure.HasField("application_failure_info"):
        info = failure.application_failure_info
        short.application_failure_info.type = info.type[: limit // 8]
        short.application_failure_info.non_retryable = info.non_retryable
    else:
        short.server_failure_info.SetInParent()
    return short

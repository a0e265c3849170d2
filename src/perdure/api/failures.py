"""Failures of the wire, built in one place so that their texts are the same everywhere."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure

from perdure.api import enums

_TIMEOUT_MESSAGES = {
    enums.START_TO_CLOSE: "activity StartToClose timeout",
    enums.SCHEDULE_TO_START: "activity ScheduleToStart timeout",
    enums.SCHEDULE_TO_CLOSE: "activity ScheduleToClose timeout",
    enums.HEARTBEAT: "activity Heartbeat timeout",
}


def timeout_failure(timeout_type: enums.TimeoutType, heartbeat_details: bytes = b"") -> Failure:
    """An activity's time-out, worded as Temporal's server words it.

    `heartbeat_details`: serialised `Payloads` of the last heartbeat, empty when there is none.
    """
    failure = Failure(message=_TIMEOUT_MESSAGES[timeout_type], source="Server")
    info = failure.timeout_failure_info
    info.timeout_type = timeout_type
    if heartbeat_details:
        info.last_heartbeat_details.ParseFromString(heartbeat_details)
    return failure


def server_failure(message: str, non_retryable: bool = True) -> Failure:
    """A failure that the engine itself reports."""
    failure = Failure(message=message, source="Server")
    failure.server_failure_info.non_retryable = non_retryable
    return failure

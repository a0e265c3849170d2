"""`temporal.api.failure.v1.Failure` to exceptions: whatever is recorded can be read, `error_of` does not raise.

Another SDK, or a later Temporal, may have written it; a codec that it went through may be down or
missing here. Then the error is there with what can be read, and only asking for the values of its
details raises: nobody goes on with values that are not those that were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from perdure.sdk import errors
from perdure.sdk.convert.converter import Converter
from perdure.sdk.error_fields import Unread
from perdure.sdk.options import duration_ns
from perdure.sdk.texts import text_of


def error_of(failure: Failure, converter: Converter) -> errors.FailureError:
    """The exception of a recorded failure, its causes as `__cause__`. Never raises."""
    first = link = _one(failure, converter)
    while failure.HasField("cause"):
        failure = failure.cause
        link.__cause__ = _one(failure, converter)
        link = link.__cause__
    return first


def details_of(payloads: Sequence[Payload], converter: Converter) -> Any:
    """The values of details, for an error's `details`; unread, if they cannot be read now. Never raises."""

    def read() -> tuple[Any, ...]:
        return tuple(converter.from_payloads(payloads, (), "details"))

    if not payloads:
        return ()
    try:
        return read()
    except Exception:  # whoever asks for the values is told, unless the codec is back by then
        return Unread(read)


def _one(failure: Failure, converter: Converter) -> errors.FailureError:
    message, stack_trace = _attributes(failure, converter)
    error = _error(failure, message, converter)
    error.failure = failure
    error.stack_trace = stack_trace
    return error


def _attributes(failure: Failure, converter: Converter) -> tuple[str, str]:
    """Message and stack trace; other SDKs may have moved them into an encoded payload."""
    if not failure.HasField("encoded_attributes"):
        return failure.message, failure.stack_trace
    what = "encoded failure attributes"
    try:
        encoded = converter.from_payload(failure.encoded_attributes, dict[str, str], what)
        return encoded.get("message", ""), encoded.get("stack_trace", "")
    except Exception as problem:
        return f"{failure.message} (its text could not be read: {text_of(problem)})", failure.stack_trace


def _error(failure: Failure, message: str, converter: Converter) -> errors.FailureError:
    kind = failure.WhichOneof("failure_info")
    match kind:
        case "application_failure_info":
            return _application_error(failure, message, converter)
        case "activity_failure_info":
            info = failure.activity_failure_info
            return errors.ActivityError(
                message,
                activity_type=info.activity_type.name,
                activity_id=info.activity_id,
                scheduled_event_id=info.scheduled_event_id,
                started_event_id=info.started_event_id,
                identity=info.identity,
                retry_state=errors.RetryState(info.retry_state),
            )
        case "child_workflow_execution_failure_info":
            child = failure.child_workflow_execution_failure_info
            return errors.ChildWorkflowError(
                message,
                workflow_type=child.workflow_type.name,
                workflow_id=child.workflow_execution.workflow_id,
                run_id=child.workflow_execution.run_id,
                namespace=child.namespace,
                initiated_event_id=child.initiated_event_id,
                started_event_id=child.started_event_id,
                retry_state=errors.RetryState(child.retry_state),
            )
        case "timeout_failure_info":
            timeout = failure.timeout_failure_info
            error = errors.TimedOutError(message, timeout_type=errors.TimeoutType(timeout.timeout_type))
            error.last_heartbeat_details = details_of(timeout.last_heartbeat_details.payloads, converter)
            return error
        case "canceled_failure_info":
            cancelled = errors.CancelledError(message or "Cancelled")
            cancelled.details = details_of(failure.canceled_failure_info.details.payloads, converter)
            return cancelled
        case "terminated_failure_info":
            return errors.TerminatedError(message or "Terminated")
        case "server_failure_info":
            return errors.ServerError(message, non_retryable=failure.server_failure_info.non_retryable)
        case _:
            return errors.FailureError(message or f"a failure without a text ({kind or 'of no kind'})")


def _application_error(failure: Failure, message: str, converter: Converter) -> errors.ApplicationError:
    info = failure.application_failure_info
    error = errors.ApplicationError(message, type=info.type, non_retryable=info.non_retryable)
    if info.HasField("next_retry_delay"):
        error.next_retry_delay_ns = duration_ns(info.next_retry_delay)
    error.details = details_of(info.details.payloads, converter)
    return error

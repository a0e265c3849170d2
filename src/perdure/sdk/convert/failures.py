"""Exceptions to `temporal.api.failure.v1.Failure` and back.

What is kept: the message, the type, the traceback as text, the cause chain, details, and what
says how to retry. An error that was read from history and is raised again is written as it was
read, so passing through a workflow loses nothing that this SDK does not know about.
"""

from __future__ import annotations

import traceback
from typing import Any, cast

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import RetryState as RetryStateValue
from temporalio.api.enums.v1 import TimeoutType as TimeoutTypeValue
from temporalio.api.failure.v1 import Failure

from perdure.api.failures import bounded
from perdure.sdk import errors
from perdure.sdk.convert.converter import Converter
from perdure.sdk.options import SECOND_NS, duration_message, duration_ns

SOURCE = "perdure"
MAX_MESSAGE = 10_000
MAX_STACK_TRACE = 20_000
MAX_CAUSES = 20


def failure_of(error: BaseException, converter: Converter, depth: int = 0) -> Failure:
    """The recorded form of an exception and its causes (at most MAX_CAUSES of them)."""
    if isinstance(error, errors.FailureError) and error.failure is not None:
        return bounded(error.failure)
    failure = Failure(message=_shortened(_text_of(error), MAX_MESSAGE), source=SOURCE, stack_trace=_stack_trace(error))
    if isinstance(error, errors.FailureError):
        _describe(error, failure, converter)
    else:
        info = failure.application_failure_info
        info.type = type(error).__name__
        info.non_retryable = isinstance(error, errors.PayloadError)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and cause is not error and depth < MAX_CAUSES:
        failure.cause.CopyFrom(failure_of(cause, converter, depth + 1))
    return failure if depth else bounded(failure)


def _describe(error: errors.FailureError, failure: Failure, converter: Converter) -> None:
    """Fill in what is particular to a kind of FailureError."""
    match error:
        case errors.ApplicationError():
            info = failure.application_failure_info
            info.type = error.type
            info.non_retryable = error.non_retryable
            if error.next_retry_delay_ns is not None:
                info.next_retry_delay.CopyFrom(duration_message(error.next_retry_delay_ns))
            _put_details(info.details, error.details, failure, converter)
        case errors.CancelledError():
            failure.canceled_failure_info.SetInParent()
            _put_details(failure.canceled_failure_info.details, error.details, failure, converter)
        case errors.TimedOutError():
            failure.timeout_failure_info.timeout_type = cast(TimeoutTypeValue.ValueType, error.timeout_type.value)
            details = failure.timeout_failure_info.last_heartbeat_details
            _put_details(details, error.last_heartbeat_details, failure, converter)
        case errors.TerminatedError():
            failure.terminated_failure_info.SetInParent()
        case errors.ServerError():
            failure.server_failure_info.non_retryable = error.non_retryable
        case errors.ActivityError():
            info = failure.activity_failure_info
            info.scheduled_event_id = error.scheduled_event_id
            info.started_event_id = error.started_event_id
            info.identity = error.identity
            info.activity_type.name = error.activity_type
            info.activity_id = error.activity_id
            info.retry_state = cast(RetryStateValue.ValueType, error.retry_state.value)
        case errors.ChildWorkflowError():
            info = failure.child_workflow_execution_failure_info
            info.namespace = error.namespace
            info.workflow_execution.workflow_id = error.workflow_id
            info.workflow_execution.run_id = error.run_id
            info.workflow_type.name = error.workflow_type
            info.initiated_event_id = error.initiated_event_id
            info.started_event_id = error.started_event_id
            info.retry_state = cast(RetryStateValue.ValueType, error.retry_state.value)
        case _:
            failure.application_failure_info.type = type(error).__name__


def _put_details(into: Payloads, details: tuple[Any, ...], failure: Failure, converter: Converter) -> None:
    """A failure must be recorded even when its details cannot be: then its message says so."""
    if not details:
        return
    try:
        into.payloads.extend(converter.to_payloads(details, "details"))
    except errors.PayloadError as problem:
        failure.message = f"{failure.message} (details left out: {problem})"


def _text_of(error: BaseException) -> str:
    if isinstance(error, errors.FailureError):
        return error.message
    try:
        return str(error)
    except Exception as problem:  # a user's __str__ that raises must not hide the failure itself
        return f"{type(error).__name__} (its text could not be made: {problem!r})"


def _stack_trace(error: BaseException) -> str:
    if isinstance(error, errors.WorkflowBlockedError):
        text = error.stack_trace
    elif error.__traceback__ is None:
        text = error.stack_trace if isinstance(error, errors.FailureError) else ""
    else:
        text = "".join(traceback.format_tb(error.__traceback__))
    return text if len(text) <= MAX_STACK_TRACE else "…" + text[-MAX_STACK_TRACE:]


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def error_of(failure: Failure, converter: Converter) -> errors.FailureError:
    """The exception of a recorded failure, its causes as `__cause__`."""
    message, stack_trace = _attributes(failure, converter)
    error = _error(failure, message, converter)
    error.failure = failure
    error.stack_trace = stack_trace
    if failure.HasField("cause"):
        error.__cause__ = error_of(failure.cause, converter)
    return error


def _attributes(failure: Failure, converter: Converter) -> tuple[str, str]:
    """Message and stack trace; other SDKs may have moved them into an encoded payload."""
    if failure.HasField("encoded_attributes"):
        encoded = converter.from_payload(failure.encoded_attributes, dict[str, str], "encoded failure attributes")
        return encoded.get("message", ""), encoded.get("stack_trace", "")
    return failure.message, failure.stack_trace


def _error(failure: Failure, message: str, converter: Converter) -> errors.FailureError:
    match failure.WhichOneof("failure_info"):
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
            return errors.TimedOutError(
                message,
                timeout_type=errors.TimeoutType(timeout.timeout_type),
                last_heartbeat_details=converter.from_payloads(timeout.last_heartbeat_details.payloads),
            )
        case "canceled_failure_info":
            details = failure.canceled_failure_info.details.payloads
            return errors.CancelledError(message or "Cancelled", details=converter.from_payloads(details))
        case "terminated_failure_info":
            return errors.TerminatedError(message or "Terminated")
        case "server_failure_info":
            return errors.ServerError(message, non_retryable=failure.server_failure_info.non_retryable)
        case _:
            return errors.FailureError(message)


def _application_error(failure: Failure, message: str, converter: Converter) -> errors.ApplicationError:
    info = failure.application_failure_info
    delay = duration_ns(info.next_retry_delay) / SECOND_NS if info.HasField("next_retry_delay") else None
    return errors.ApplicationError(
        message,
        type=info.type,
        non_retryable=info.non_retryable,
        next_retry_delay=delay,
        details=converter.from_payloads(info.details.payloads),
    )

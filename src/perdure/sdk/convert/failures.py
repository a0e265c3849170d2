"""Exceptions to `temporal.api.failure.v1.Failure`. Whatever is raised can be told: `failure_of` does not raise.

What is kept: the message with its notes, the type, the traceback as text, the cause chain, details,
the members of a group, and what says how to retry. An error that was read from history and is raised
again is written as it was read, so passing through a workflow loses nothing that this SDK does not know
about. The way back is `recorded.py`.

An exception is foreign code: its `__str__`, its attributes, its class and the values in its details may do
anything. So what is asked of it is asked by `BaseException`'s own descriptors, or inside a net.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import RetryState as RetryStateValue
from temporalio.api.enums.v1 import TimeoutType as TimeoutTypeValue
from temporalio.api.failure.v1 import Failure

from perdure.api.failures import FAILURE_DEPTH_MAX, STACK_TRACE_MAX, bounded
from perdure.sdk import errors
from perdure.sdk.convert import groups
from perdure.sdk.convert.converter import Converter
from perdure.sdk.options import duration_message
from perdure.sdk.texts import NAME_MAX, TEXT_MAX, class_name, field_of, notes_of, shortened, text_of
from perdure.sdk.traces import cause_of, stack_trace, trace_text

SOURCE = "perdure"
LINKS_MAX = 1_000
"""Links of a cause chain that are followed in search of its root."""
TEXT_BUDGET = 60_000
"""Characters of messages and stack traces that one failure and its causes take together; what comes behind is short."""
MESSAGE_MIN, STACK_TRACE_MIN = 500, 1_000
"""What each has in any case."""

_cause_of = BaseException.__dict__["__cause__"].__get__
_context_of = BaseException.__dict__["__context__"].__get__
_args_of = BaseException.__dict__["args"].__get__
_suppresses = BaseException.__dict__["__suppress_context__"].__get__


def failure_of(error: BaseException, converter: Converter) -> Failure:
    """The recorded form of an exception and its causes, FAILURE_DEPTH_MAX in all. Never raises, and never empty.

    The payloads of details are kept as long as all of it is within what a call may take (`Converter.limit_bytes`).
    """
    try:
        return _Writer(converter).write(error)
    except BaseException as problem:  # a fault of ours: the error is told all the same
        return _not_told(error, problem)


def fails_for_good(error: BaseException) -> bool:
    """Whether a failure says of itself that trying again is of no use; a group, if all that is in it does."""
    return all(_fails_for_good(member) for member in groups.leaves(error))


def _fails_for_good(error: BaseException) -> bool:
    kind = type(error)
    if issubclass(kind, (errors.ApplicationError, errors.ServerError)):
        return field_of(error, "non_retryable") is True
    if issubclass(kind, errors.PayloadError):
        return not issubclass(kind, errors.PayloadCodecError)
    return issubclass(kind, (errors.CancelledError, errors.TerminatedError))


class _Writer:
    """Writes one failure with its causes."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter
        self._left = TEXT_BUDGET

    def write(self, error: BaseException) -> Failure:
        failure = link = Failure()
        chain, left_out, more = _chain(error)
        for number, member in enumerate(chain):
            if number:
                link = link.cause
            self._fill(link, member)
            if left_out and number == FAILURE_DEPTH_MAX - 2:
                link.message += f" [{left_out} causes between this and the next are left out]"
        if more is not None:
            link.cause.CopyFrom(more)
        return _within(bounded(failure), self._converter.limit_bytes)

    def _fill(self, link: Failure, error: BaseException) -> None:
        """One failure of the chain, without its cause."""
        try:
            self._tell(link, error)
        except BaseException as problem:  # of a class that answers nothing: its neighbours in the chain are told
            link.CopyFrom(_not_told(error, problem))

    def _tell(self, link: Failure, error: BaseException) -> None:
        recorded = _recorded(error)
        if recorded is not None:
            link.CopyFrom(recorded)
            link.ClearField("cause")
            link.message += notes_of(error)
            return
        link.source = SOURCE
        link.message = _message(error, max(MESSAGE_MIN, min(TEXT_MAX, self._left)))
        try:
            self._describe(link, error)
        except BaseException as problem:  # attributes that are not what they should be, a property that raises
            if link.WhichOneof("failure_info") is None:
                link.application_failure_info.type = class_name(error)
            link.message += f" (not all of it could be told: {text_of(problem, MESSAGE_MIN)})"
        if not link.message.strip() and not link.application_failure_info.type.strip():
            link.message = class_name(error)
        self._left -= len(link.message)
        trace = _stack_trace(error)
        room = max(STACK_TRACE_MIN, min(STACK_TRACE_MAX, self._left))
        link.stack_trace = trace if len(trace) <= room else "…" + trace[-room:]
        self._left -= len(link.stack_trace)

    def _describe(self, link: Failure, error: Any) -> None:
        """Fill in what is particular to a kind of error."""
        # By its true class: isinstance would ask the error.
        kinds = type(error).__mro__
        if errors.ApplicationError in kinds:
            info = link.application_failure_info
            info.type = _name(error.type)
            info.non_retryable = bool(error.non_retryable)
            if error.next_retry_delay_ns is not None:
                info.next_retry_delay.CopyFrom(duration_message(error.next_retry_delay_ns))
            self._put_details(info.details, error.details, link)
        elif errors.CancelledError in kinds:
            link.canceled_failure_info.SetInParent()
            self._put_details(link.canceled_failure_info.details, error.details, link)
        elif errors.TimedOutError in kinds:
            info = link.timeout_failure_info
            info.timeout_type = cast(TimeoutTypeValue.ValueType, error.timeout_type.number)
            self._put_details(info.last_heartbeat_details, error.last_heartbeat_details, link)
        elif errors.TerminatedError in kinds:
            link.terminated_failure_info.SetInParent()
        elif errors.ServerError in kinds:
            link.server_failure_info.non_retryable = bool(error.non_retryable)
        elif errors.ActivityError in kinds:
            _describe_activity(link, error)
        elif errors.ChildWorkflowError in kinds:
            _describe_child(link, error)
        else:
            _describe_exception(link, error)

    def _put_details(self, into: Payloads, details: Iterable[Any], link: Failure) -> None:
        """A failure must be recorded even when its details cannot be: then its message says so."""
        try:
            details = tuple(details)
            if details:
                into.payloads.extend(self._converter.to_payloads(details, "details"))
        except BaseException as problem:  # a value that has no bytes, a codec that is down, a hook that raises
            link.message += f" (details left out: {text_of(problem, 2 * MESSAGE_MIN)})"


def _describe_exception(link: Failure, error: BaseException) -> None:
    info = link.application_failure_info
    info.type = class_name(error)
    info.non_retryable = fails_for_good(error)
    delay_ns = groups.longest_delay_ns(error)
    if delay_ns is not None:
        info.next_retry_delay.CopyFrom(duration_message(delay_ns))


def _describe_activity(link: Failure, error: errors.ActivityError) -> None:
    info = link.activity_failure_info
    info.activity_type.name = _name(error.activity_type)
    info.activity_id = _name(error.activity_id)
    info.identity = _name(error.identity)
    info.scheduled_event_id = error.scheduled_event_id
    info.started_event_id = error.started_event_id
    info.retry_state = cast(RetryStateValue.ValueType, error.retry_state.number)


def _describe_child(link: Failure, error: errors.ChildWorkflowError) -> None:
    info = link.child_workflow_execution_failure_info
    info.workflow_type.name = _name(error.workflow_type)
    info.workflow_execution.workflow_id = _name(error.workflow_id)
    info.workflow_execution.run_id = _name(error.run_id)
    info.namespace = _name(error.namespace)
    info.initiated_event_id = error.initiated_event_id
    info.started_event_id = error.started_event_id
    info.retry_state = cast(RetryStateValue.ValueType, error.retry_state.number)


# --- chains -----------------------------------------------------------------------------------------


def _chain(error: BaseException) -> tuple[list[BaseException], int, Failure | None]:
    """An error and its causes; of a long chain the first ones and its root, with the number of those between them.

    And where the chain ends in an error that was read from history and lost its cause since, the recorded one.
    """
    chain: list[BaseException] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(chain) < LINKS_MAX:
        seen.add(id(link))
        chain.append(link)
        link = _next(link)
    recorded = _recorded(chain[-1])
    more = recorded.cause if link is None and recorded is not None and recorded.HasField("cause") else None
    left_out = max(0, len(chain) - FAILURE_DEPTH_MAX)
    if left_out:
        chain = [*chain[: FAILURE_DEPTH_MAX - 1], chain[-1]]
    return chain, left_out, more


def _next(error: BaseException) -> BaseException | None:
    """What it came from. Of a group that does not say so, its first member."""
    cause = _cause_of(error)
    if cause is not None or _recorded(error) is not None:
        return cause
    members = groups.members(error)
    if members:
        return members[0]
    return None if _suppresses(error) else _context_of(error)


def _recorded(error: BaseException) -> Failure | None:
    """What it was read from."""
    if not issubclass(type(error), errors.FailureError):
        return None
    failure = field_of(error, "failure")
    return failure if isinstance(failure, Failure) else None


def _within(failure: Failure, limit: int) -> Failure:
    """The failure, details left out from the root upwards until all of it takes at most `limit` bytes."""
    if failure.ByteSize() <= limit:
        return failure
    chain = [failure]
    while chain[-1].HasField("cause"):
        chain.append(chain[-1].cause)
    for link in reversed(chain):
        for info, field in _DETAILS:
            if link.HasField(info) and getattr(link, info).HasField(field):
                getattr(link, info).ClearField(field)
                link.message += " (details left out: with them the failure is larger than history may hold)"
        if failure.ByteSize() <= limit:
            break
    return failure


_DETAILS: Any = (
    ("application_failure_info", "details"),
    ("canceled_failure_info", "details"),
    ("timeout_failure_info", "last_heartbeat_details"),
)


# --- texts ------------------------------------------------------------------------------------------


def _message(error: BaseException, room: int) -> str:
    """The error's text, of a group with its members', and its notes; each takes at most `room` characters."""
    if issubclass(type(error), errors.FailureError):
        # A subclass may have set it to anything, or have forgotten to call __init__: then its arguments are its text.
        message, args = field_of(error, "message"), _args_of(error)
        return text_of(message or (args[0] if len(args) == 1 else args or ""), room) + notes_of(error, room)
    members = groups.text(error)
    return text_of(error, room) + (f": {shortened(members, room)}" if members else "") + notes_of(error, room)


def _name(value: Any) -> str:
    return text_of(value, NAME_MAX)


def _stack_trace(error: BaseException) -> str:
    kind = type(error)
    if issubclass(kind, errors.WorkflowBlockedError):
        return text_of(field_of(error, "stack_trace"), STACK_TRACE_MAX)
    if issubclass(kind, errors.PayloadError) and cause_of(error) is None:
        return ""
    own = stack_trace(error)
    if not own and issubclass(kind, errors.FailureError):
        return text_of(field_of(error, "stack_trace") or "", STACK_TRACE_MAX)
    return own + groups.stack_traces(error)


def _not_told(error: BaseException, problem: BaseException) -> Failure:
    """What is said of an error that answers nothing: its type, and what came in between."""
    name = class_name(error)
    failure = Failure(source=SOURCE, message=f"{name} (it could not be told: {text_of(problem, MESSAGE_MIN)})")
    failure.application_failure_info.type = name
    failure.stack_trace = trace_text(problem.__traceback__)
    return failure

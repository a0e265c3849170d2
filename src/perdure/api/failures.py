"""Failures of the wire, built in one place so that their texts are the same everywhere."""

from __future__ import annotations

import re

from temporalio.api.failure.v1 import Failure

from perdure.api import enums

STACK_TRACE_MAX = 20_000
"""Characters of a stack trace that are kept or looked at: its last ones."""
HEADLINE_MAX = 1_000
"""Characters of a failure's message in its headline."""

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


FAILURE_DEPTH_MAX = 50
"""Failures in one chain of causes, the outermost counted. Decoders of protobuf give up at a depth of 100
(upb, prost, Java), and a failure travels four levels down in a response and has details of five; Temporal's server
itself has no such bound, so that a deep one wedges its workers."""


def bounded(failure: Failure) -> Failure:
    """The failure itself, or one that ends after `FAILURE_DEPTH_MAX` causes with a note of how many are left out.

    Called wherever a failure enters: what is stored can be read, sent and decoded by everybody.
    """
    left_out = depth_of(failure) - FAILURE_DEPTH_MAX
    if left_out <= 0:
        return failure
    kept = Failure()
    kept.CopyFrom(failure)
    innermost = kept
    for _ in range(FAILURE_DEPTH_MAX - 1):
        innermost = innermost.cause
    innermost.ClearField("cause")
    innermost.message = f"{innermost.message} [{left_out} more causes were left out]"
    return kept


def depth_of(failure: Failure) -> int:
    """How many failures the chain of causes has, this one counted."""
    depth = 1
    while failure.HasField("cause"):
        failure = failure.cause
        depth += 1
    return depth


def too_large_failure(what: str, size: int, limit: int, cause: Failure | None = None) -> Failure:
    """What is kept instead of something that is too big to keep; sizes in bytes. Not retryable."""
    failure = Failure(message=f"{what} exceeds size limit. ({size} > {limit} bytes)")
    failure.server_failure_info.non_retryable = True
    if cause is not None:
        failure.cause.CopyFrom(shortened(cause, SHORT_FAILURE_BYTES))
    return failure


SHORT_FAILURE_BYTES = 4 << 10


def shortened(failure: Failure, limit: int) -> Failure:
    """The failure itself if it has at most `limit` bytes, or its essence.

    That is the beginning of the message, kind and type, and the end of the stack trace, where the user's line stands.
    """
    if failure.ByteSize() <= limit:
        return failure
    short = Failure(message=_beginning(failure.message, limit // 4), source=failure.source)
    short.stack_trace = _end(failure.stack_trace, limit // 2)
    if failure.HasField("application_failure_info"):
        info = failure.application_failure_info
        short.application_failure_info.type = _beginning(info.type, limit // 8)
        short.application_failure_info.non_retryable = info.non_retryable
    else:
        short.server_failure_info.SetInParent()
    return short


def _beginning(text: str, size: int) -> str:
    """The first characters of a text that take at most so many bytes."""
    return text[:size].encode()[:size].decode(errors="ignore")


def _end(text: str, size: int) -> str:
    """The last whole lines of a text that take at most so many bytes."""
    data = text.encode()
    return text if len(data) <= size else data[-size:].partition(b"\n")[2].decode()


# --- what a person reads ------------------------------------------------------------------------------


def headline(failure: Failure) -> str:
    """A failure in one line, its type first and the user's own line last: `KeyError: 'sku' (at shop.py:41 in charge)`.

    A wrapper (activity, child workflow) says whose failure it is and then the headline of its cause. Where there is no
    message the source text of the line stands for it: `AssertionError (at shop.py:41 in charge: assert paid)`.
    """
    wrapped = ""
    while failure.HasField("cause") and (wrapper := _wrapper(failure)):
        wrapped += f"{wrapper} failed: "
        failure = failure.cause
    kind, message = _kind(failure), _one_line(failure.message)
    place = _place(failure.stack_trace, with_source=not message)
    return wrapped + (": ".join(part for part in (kind, message) if part) or "a failure without a text") + place


def _wrapper(failure: Failure) -> str:
    if failure.HasField("activity_failure_info"):
        return f"activity {failure.activity_failure_info.activity_type.name}"
    if failure.HasField("child_workflow_execution_failure_info"):
        return f"child workflow {failure.child_workflow_execution_failure_info.workflow_type.name}"
    return ""


_KINDS = {
    "timeout_failure_info": "TimedOutError",
    "canceled_failure_info": "CancelledError",
    "terminated_failure_info": "TerminatedError",
    "server_failure_info": "ServerError",
    "activity_failure_info": "ActivityError",
    "child_workflow_execution_failure_info": "ChildWorkflowError",
}


def _kind(failure: Failure) -> str:
    which = failure.WhichOneof("failure_info") or ""
    return failure.application_failure_info.type if which == "application_failure_info" else _KINDS.get(which, "")


def _one_line(text: str) -> str:
    text = " ".join(text[: 2 * HEADLINE_MAX].split())
    return text if len(text) <= HEADLINE_MAX else text[:HEADLINE_MAX] + "…"


_FRAME = re.compile(r'^[ |+-]*File "(.+)", line (\d+), in (.+)$(?:\n(?![ |+-]*File ")(.*)$)?', re.MULTILINE)
_LIBRARY = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|^<frozen ", re.IGNORECASE)


def _place(stack_trace: str, *, with_source: bool) -> str:
    """The innermost line of a Python traceback that is no library's; "" when the text is none (other SDKs' are not)."""
    frames = _FRAME.findall(stack_trace[-STACK_TRACE_MAX:])
    own = [frame for frame in frames if not _LIBRARY.search(frame[0])] or frames
    if not own:
        return ""
    path, line, function, source = own[-1]
    source = source.strip(" |") if with_source else ""
    name = path.replace("\\", "/").rpartition("/")[2]
    return f" (at {name}:{line} in {function}{': ' + source if source else ''})"

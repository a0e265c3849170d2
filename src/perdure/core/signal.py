"""Signals: something that happened outside and that the workflow is told, once for each request id.

A signal is durable when it is acknowledged. One that arrives while a worker holds the workflow task
waits behind it, as every event does. A client that repeats a request, because it never saw the
answer, changes nothing: the newest request ids are kept as facts, shortened to eight bytes each,
so that a run which is signalled for years does not carry them all. The next run of a chain takes them over.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from google.protobuf.message import Message
from temporalio.api.common.v1 import Header, Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api import enums
from perdure.core import start, workflow_task
from perdure.core.limits import Limits
from perdure.core.refusals import invalid, workflow_closing, workflow_completed, workflow_not_found
from perdure.core.replies import Started
from perdure.core.request_cancel import require_parent
from perdure.core.state import Execution
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer

if TYPE_CHECKING:
    from temporalio.api.workflowservice.v1 import (
        SignalWithStartWorkflowExecutionRequest,
        SignalWorkflowExecutionRequest,
    )

    from perdure.core.commands import Signal, SignalWithStart


def signal(turn: Turn, command: Signal) -> str:
    """Tell the workflow. A request id that it knows changes nothing. Returns the run's id.

    Raises Rejected NOT_FOUND when the run is closed or another one is meant, INVALID_ARGUMENT, RESOURCE_EXHAUSTED
    while it is about to close.
    """
    request = command.request
    execution = turn.execution
    if request.workflow_execution.run_id not in ("", execution.key.run_id):
        raise workflow_not_found()
    check(turn.limits, request.signal_name, request.input, request.request_id)
    sender = command.sender
    if sender is not None and command.child_only:
        require_parent(execution, sender)
    if not execution.is_open:
        if is_known(execution, request.request_id):
            return execution.key.run_id  # the same request again: it was served, and the run has ended meanwhile
        raise workflow_completed()
    _require_ear(execution, request.request_id)
    event = event_of(request)
    if sender is not None:
        target = event.workflow_execution_signaled_event_attributes.external_workflow_execution
        target.workflow_id = sender.workflow_id
        target.run_id = sender.run_id
    deliver(turn, event, request.request_id)
    return execution.key.run_id


def _require_ear(execution: Execution, request_id: str) -> None:
    """So that a run which is signalled all the time can close at all (as Temporal does)."""
    if execution.facts.is_closing and execution.task_started and not is_known(execution, request_id):
        raise workflow_closing()


def deliver(turn: Turn, event: HistoryEvent, request_id: str) -> None:
    """Add the event unless its request is known, and owe the workflow a task. One in its start delay stays there."""
    execution = turn.execution
    if not remember(execution, request_id, turn.limits):
        return
    add_or_buffer(turn, event)
    if not start.waits_for_first_task(execution):
        workflow_task.schedule(turn)


def start_with(turn: Turn, start_request: StartWorkflowExecutionRequest, command: SignalWithStart) -> Started:
    """Begin a run whose first task knows the signal already."""
    request = command.request
    remember(turn.execution, request.request_id, turn.limits)
    return start.start(turn, start_request, event_with_start(request))


def deliver_with_start(turn: Turn, command: SignalWithStart) -> Started:
    """The run is there already: it is signalled, and one in its start delay is woken, as Temporal does."""
    request = command.request
    execution = turn.execution
    _require_ear(execution, request.request_id)
    if remember(execution, request.request_id, turn.limits):
        add_or_buffer(turn, event_with_start(request))
        workflow_task.schedule(turn)
    return start.existing_run(execution)


def start_request_of(request: SignalWithStartWorkflowExecutionRequest) -> StartWorkflowExecutionRequest:
    """The start that a signal-with-start amounts to: signalling the run that is there is no conflict.

    Raises Rejected INVALID_ARGUMENT.
    """
    if request.workflow_id_conflict_policy == enums.CONFLICT_FAIL:
        raise invalid(
            "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation."
        )
    result = StartWorkflowExecutionRequest()
    for field, value in request.ListFields():
        if field.name in _START_FIELDS:
            if isinstance(value, Message):
                getattr(result, field.name).CopyFrom(value)
            elif field.name == "links":
                result.links.extend(request.links)
            else:
                setattr(result, field.name, value)
    if not result.workflow_id_conflict_policy and request.workflow_id_reuse_policy != enums.REUSE_TERMINATE_IF_RUNNING:
        result.workflow_id_conflict_policy = enums.CONFLICT_USE_EXISTING
    return result


_START_FIELDS = frozenset(field.name for field in StartWorkflowExecutionRequest.DESCRIPTOR.fields)


def is_known(execution: Execution, request_id: str) -> bool:
    """Whether this request was served, by this run or one before it in its chain."""
    return bool(request_id) and _mark(request_id) in execution.facts.signal_requests


def _mark(request_id: str) -> int:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest())


def remember(execution: Execution, request_id: str, limits: Limits) -> bool:
    """Keep a request id. False: this request was served before. An empty id is nobody's."""
    if not request_id:
        return True
    known = execution.facts.signal_requests
    mark = _mark(request_id)
    if mark in known:
        return False
    known[mark] = True
    if len(known) > limits.signal_request_ids:
        del known[next(iter(known))]
    return True


def check(limits: Limits, name: str, argument: Payloads, request_id: str) -> None:
    """Raises Rejected INVALID_ARGUMENT for a signal that can never be delivered."""
    if not name:
        raise invalid("SignalName is not set on request.")
    if len(name) > limits.id_length:
        raise invalid("SignalName length exceeds limit.")
    if len(request_id) > limits.id_length:
        raise invalid("RequestId length exceeds limit.")
    if argument.ByteSize() > limits.blob_bytes:
        raise invalid("Blob data size exceeds limit.")


def event_of(request: SignalWorkflowExecutionRequest) -> HistoryEvent:
    """WorkflowExecutionSignaled, as a client's request says it."""
    event = signaled_event(
        request.signal_name,
        request.input if request.HasField("input") else None,
        request.header if request.HasField("header") else None,
        request.identity,
        request.request_id,
    )
    if request.links:
        event.links.extend(request.links)
    return event


def event_with_start(request: SignalWithStartWorkflowExecutionRequest) -> HistoryEvent:
    """WorkflowExecutionSignaled of a signal that may start its workflow."""
    event = signaled_event(
        request.signal_name,
        request.signal_input if request.HasField("signal_input") else None,
        request.header if request.HasField("header") else None,
        request.identity,
        request.request_id,
    )
    if request.links:
        event.links.extend(request.links)
    return event


def signaled_event(
    name: str,
    argument: Payloads | None,
    header: Header | None,
    identity: str,
    request_id: str,
) -> HistoryEvent:
    """WorkflowExecutionSignaled, as a client sends it."""
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_SIGNALED)
    attributes = event.workflow_execution_signaled_event_attributes
    attributes.signal_name = name
    attributes.identity = identity
    attributes.request_id = request_id
    if argument is not None:
        attributes.input.CopyFrom(argument)
    if header is not None:
        attributes.header.CopyFrom(header)
    return event

"""What goes along with a start: a signal or an update, for the run that is open or for the one that is started.

Both are one request, so that both happen or neither does. A closed run takes no message; so by default another one is
started then, where a start alone attaches to the closed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.client import enlisting, messages
from perdure.sdk.client.calls import Reach
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.declare.handlers import name_of
from perdure.sdk.declare.startable import StartOptions
from perdure.sdk.interceptors import put_headers

Start = service.StartWorkflowExecutionRequest


class Companion(msgspec.Struct, frozen=True):
    """The message that goes along.

    Attributes:
        signal, update: its name, or the method that handles it; one of them is None.
        args: for the handler.
        key: the update's id, or the request's; None: a fresh one.
    """

    signal: Any
    update: Any
    args: Sequence[Any]
    key: str | None


def companion(options: StartOptions) -> Companion | None:
    """Of the options of a start. Raises ValueError, TypeError."""
    signal, signal_args = options.get("start_signal"), options.get("start_signal_args", ())
    update, update_args = options.get("start_update"), options.get("start_update_args", ())
    update_id = options.get("start_update_id")
    if signal is not None and update is not None:
        raise ValueError("a start takes a signal or an update along, not both: start_signal=... or start_update=...")
    if signal is None and signal_args:
        raise ValueError("start_signal_args are for a signal: say which, start_signal=...")
    if update is None and (update_args or update_id is not None):
        raise ValueError("start_update_args and start_update_id are for an update: say which, start_update=...")
    for what, args in (("start_signal_args", signal_args), ("start_update_args", update_args)):
        if isinstance(args, str):
            raise TypeError(f"{what} must be a sequence of arguments, such as [{args!r}], not a text")
    if signal is not None:
        return Companion(signal, None, signal_args, None)
    return None if update is None else Companion(None, update, update_args, update_id)


async def start_with(
    reach: Reach, start: Start, definition: AnyWorkflow, sent: Companion, headers: Mapping[str, Payload]
) -> tuple[str, messages.AsyncUpdateHandle[Any] | None]:
    """The id of the run that has the message, and the update if it is one."""
    if sent.signal is not None:
        if headers:
            put_headers(start.header, headers)
        return await _with_signal(reach, start, definition, sent), None
    update = await _with_update(reach, start, definition, sent, headers)
    return update.run_id, update


async def _with_signal(reach: Reach, start: Start, definition: AnyWorkflow, sent: Companion) -> str:
    """The id of the run that has the signal. Raises as `Reach.start`; PayloadError."""
    request = _signal_request(reach, start, sent)
    rpc = reach.connection.signal_with_start_workflow_execution
    return (await reach.start(rpc, request, start.workflow_id, definition.name)).run_id


async def enlist_with_signal(
    reach: Reach,
    start: Start,
    definition: AnyWorkflow,
    sent: Companion,
    headers: Mapping[str, Payload],
    connection: Any,
) -> enlisting.Enlisted:
    """Both in the transaction of a connection. Raises as `start_with`, ValueError for an update."""
    if sent.update is not None:
        raise ValueError("an update waits for an answer, and in your transaction nobody gives one: send a signal along")
    if headers:
        put_headers(start.header, headers)
    what = f"the start of workflow {start.workflow_id!r}"
    write = partial(enlisting.enlist, reach, connection, what=what)
    answer = await reach.start(write, _signal_request(reach, start, sent), start.workflow_id, definition.name)
    assert isinstance(answer, enlisting.Enlisted), "a signal attaches to nothing"
    return answer


def _signal_request(reach: Reach, start: Start, sent: Companion) -> service.SignalWithStartWorkflowExecutionRequest:
    """Both in one. Raises PayloadError."""
    name = name_of(sent.signal)
    request = service.SignalWithStartWorkflowExecutionRequest(signal_name=name)
    theirs = request.DESCRIPTOR.fields_by_name
    for field, value in start.ListFields():
        if field.name not in theirs:
            continue
        if field.message_type is None:
            setattr(request, field.name, value)
        else:
            getattr(request, field.name).CopyFrom(value)
    payloads = reach.converter.to_payloads(tuple(sent.args), f"the arguments of signal {name}")
    request.signal_input.payloads.extend(payloads)
    return request


async def _with_update(
    reach: Reach, start: Start, definition: AnyWorkflow, sent: Companion, headers: Mapping[str, Payload]
) -> messages.AsyncUpdateHandle[Any]:
    """The update, once the run has accepted or rejected it. Raises as `Reach.start`; PayloadError, TypeError."""
    execution = WorkflowExecution(workflow_id=start.workflow_id)
    request = messages.update_request(reach, execution, sent.update, tuple(sent.args), {}, sent.key, "accepted")
    if headers:
        put_headers(request.request.input.header, headers)
    both = service.ExecuteMultiOperationRequest(namespace=reach.namespace)
    both.operations.add().start_workflow.CopyFrom(start)
    both.operations.add().update_workflow.CopyFrom(request)
    while True:
        rpc = reach.connection.execute_multi_operation
        response = await reach.start(rpc, both, start.workflow_id, definition.name)
        updated = response.responses[1].update_workflow
        if updated.HasField("outcome") or updated.stage >= messages.STAGES["accepted"]:
            return messages.handle_of(reach, request, updated, messages.returns_of(sent.update, Any))

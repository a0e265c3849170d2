"""What every request is checked for before anything else is done with it.

The wording is that of Temporal's server where clients are known to show it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager

from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.errordetails.v1 import NotFoundFailure

from perdure.api import bounds
from perdure.api.errors import Rejected, StatusCode
from perdure.core.execution import Execution
from perdure.core.names import TaskKind
from perdure.core.refusals import AnotherChain, activity_not_found, workflow_not_found, workflow_task_not_found
from perdure.core.tokens import TaskToken
from perdure.frontend.calls import Call

_log = logging.getLogger(__name__)

_RUN_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def invalid(message: str) -> Rejected:
    """INVALID_ARGUMENT."""
    return Rejected(StatusCode.INVALID_ARGUMENT, message)


def check_numbers(message: Message, entries_max: int) -> None:
    """The chain's check of numbers and maps (`perdure.api.bounds`), of what a handler is the first to look at.

    Raises Rejected INVALID_ARGUMENT.
    """
    try:
        bounds.check(message, entries_max)
    except bounds.OutOfBounds as fault:
        raise invalid(f"Invalid request: {fault}.") from fault


def check_length(call: Call, name: str, value: str) -> None:
    """Raises Rejected INVALID_ARGUMENT when an id or name is too long."""
    length_max = call.limits.id_length
    if len(value) > length_max:
        raise invalid(f"{name} exceeds maximum allowed length ({len(value)}/{length_max})")


def check_execution(call: Call, execution: WorkflowExecution, is_set: bool = True) -> None:
    """Raises Rejected INVALID_ARGUMENT when it does not name a workflow, or is not in the request at all."""
    if not is_set:
        raise invalid("Execution is not set on request.")
    check_ids(call, execution.workflow_id, execution.run_id)


def check_ids(call: Call, workflow_id: str, run_id: str) -> None:
    """Raises Rejected INVALID_ARGUMENT when they do not name a workflow (no run: the current one)."""
    if not workflow_id:
        raise invalid("WorkflowId is not set on request.")
    check_length(call, "WorkflowId", workflow_id)
    if run_id and _RUN_ID.fullmatch(run_id) is None:
        raise invalid("Invalid RunId.")


def check_queue(call: Call, name: str) -> None:
    """Raises Rejected INVALID_ARGUMENT when a poll does not name a usable task queue."""
    if not name:
        raise invalid("taskQueue is not set")
    check_length(call, "taskQueue", name)


def exceeds_blob_limit(call: Call, blob: Message) -> bool:
    """Whether a result, failure or details are larger than what one blob may be."""
    size, size_max = blob.ByteSize(), call.limits.blob_bytes
    if 2 * size > size_max:
        _log.warning("a %s of %s bytes came; the limit is %s", type(blob).__name__, f"{size:,}", f"{size_max:,}")
    return size > size_max


def token_of(call: Call, kind: TaskKind) -> TaskToken:
    """The task token of a request. Raises Rejected NOT_FOUND when it is another kind of task's."""
    token = call.token
    assert isinstance(token, TaskToken)
    if token.kind != kind:
        raise workflow_task_not_found() if kind is TaskKind.WORKFLOW else activity_not_found()
    return token


def found(execution: Execution | None, workflow_id: str, run_id: str) -> Execution:
    """Raises Rejected NOT_FOUND when there is no such run, or with no `run_id` no such workflow."""
    if execution is not None:
        return execution
    message = f"workflow not found for ID: {workflow_id}"
    if run_id:
        message = f'workflow execution not found for workflow ID "{workflow_id}" and run ID "{run_id}"'
    raise Rejected(StatusCode.NOT_FOUND, message, NotFoundFailure())


def named(error: Rejected, execution: WorkflowExecution) -> Rejected:
    """The same refusal, but one that found no workflow says which."""
    if error.message == _NO_WORKFLOW and not isinstance(error, AnotherChain):
        try:
            found(None, execution.workflow_id, execution.run_id)
        except Rejected as with_name:
            return with_name
    return error


_NO_WORKFLOW = workflow_not_found().message


@contextmanager
def naming(workflow_id: str, run_id: str) -> Generator[None, None, None]:
    """As `named`, for a block that asks about one workflow."""
    try:
        yield
    except Rejected as error:
        raise named(error, WorkflowExecution(workflow_id=workflow_id, run_id=run_id)) from error

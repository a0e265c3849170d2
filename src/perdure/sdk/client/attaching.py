"""What a start finds when its id is taken: the same request, or another one.

A workflow id is an idempotency key. The same request again attaches to the run that it began, open or closed: a
program that died between starting and noting so starts again. Another request under that id is a mistake that must be
heard of: two orders under one number. So the type and the arguments are compared, with those that the run began with;
of a chain of runs (continued as new, retried, by cron) with those of the first, for that is what was asked for.

Arguments are the same if their payloads are; a codec may write the same differently each time, and another SDK may
write JSON with spaces, so payloads that differ are decoded and their values compared. A new parameter whose default is
passed is no other request.

It costs one read of one event, of starts that find their id taken, and of no others.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.descriptions import summary_of
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import WorkflowAlreadyStartedError, WorkflowNotFoundError
from perdure.sdk.policies import IdConflictPolicy, IdReusePolicy
from perdure.sdk.texts import repr_of

Request = service.StartWorkflowExecutionRequest

_SHOWN = 60
"""Characters of an argument in an error."""


async def attach(
    reach: Reach,
    request: Request,
    definition: AnyWorkflow,
    rejected: Rejected,
    reuse: IdReusePolicy | None,
    conflict: IdConflictPolicy | None,
) -> str:
    """The run id of the run that is there, where the policies let a start attach to it.

    Raises WorkflowAlreadyStartedError when they forbid, and as `check_same`.
    """
    detail = rejected.detail
    run_id = detail.run_id if isinstance(detail, WorkflowExecutionAlreadyStartedFailure) else ""
    execution = WorkflowExecution(workflow_id=request.workflow_id, run_id=run_id)
    response = await reach.ask(
        reach.connection.describe_workflow_execution,
        service.DescribeWorkflowExecutionRequest(namespace=reach.namespace, execution=execution),
        f"attaching to workflow {request.workflow_id!r}",
    )
    summary = summary_of(response.workflow_execution_info)
    _check_type(request, summary.workflow_type, summary.run_id)
    given = conflict if summary.status.is_open else reuse
    if given is not None:
        raise WorkflowAlreadyStartedError(
            f"workflow {request.workflow_id!r} is {'open' if summary.status.is_open else 'closed'} already "
            f"(run {run_id}), and {given} forbids another run",
            workflow_id=request.workflow_id,
            run_id=run_id,
            workflow_type=request.workflow_type.name,
        ) from rejected
    await check_same(reach, request, definition, summary.run_id, conflict)
    return run_id


async def attached_late(
    reach: Reach,
    request: Request,
    definition: AnyWorkflow,
    reuse: IdReusePolicy | None,
    conflict: IdConflictPolicy | None,
) -> bool:
    """Whether a start that was refused when its transaction was committed is that of the run that is there by now.

    False: there is none, or a policy that the caller gave forbids to attach to it. Raises as `check_same`.
    """
    execution = WorkflowExecution(workflow_id=request.workflow_id)
    asked = service.DescribeWorkflowExecutionRequest(namespace=reach.namespace, execution=execution)
    what = f"attaching to workflow {request.workflow_id!r}"
    try:
        response = await reach.ask(reach.connection.describe_workflow_execution, asked, what)
    except WorkflowNotFoundError:
        return False
    summary = summary_of(response.workflow_execution_info)
    if (conflict if summary.status.is_open else reuse) is not None:
        return False
    await check_same(reach, request, definition, summary.run_id, conflict)
    return True


async def check_same(
    reach: Reach, request: Request, definition: AnyWorkflow, run_id: str, conflict: IdConflictPolicy | None
) -> None:
    """Whether a run began with this very request.

    Args:
        conflict: as the caller gave it: USE_EXISTING attaches whatever the arguments.

    Raises:
        WorkflowAlreadyStartedError: it is of another type, or began with other arguments.
        PayloadError: its arguments cannot be read.
    """
    began = await _began(reach, request.workflow_id, run_id)
    if began is not None and began.continued_execution_run_id:
        began = await _began(reach, request.workflow_id, began.first_execution_run_id)
    if began is None:
        return  # the first run of a chain is kept no longer: what it was asked for nobody knows
    _check_type(request, began.workflow_type.name, run_id)
    if conflict is IdConflictPolicy.USE_EXISTING:
        return
    differences = _differences(reach, definition, request.input.payloads, began.input.payloads)
    if differences:
        raise WorkflowAlreadyStartedError(
            f"workflow id {request.workflow_id!r} is taken by a run with other arguments: {'; '.join(differences)}. "
            "The same id means the same request: use another id for another one, or id_conflict_policy='use_existing' "
            "to attach whatever the arguments",
            workflow_id=request.workflow_id,
            run_id=run_id,
            workflow_type=request.workflow_type.name,
        )


async def _began(reach: Reach, workflow_id: str, run_id: str) -> WorkflowExecutionStartedEventAttributes | None:
    """What a run began with; None when there is no such run any more."""
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = service.GetWorkflowExecutionHistoryRequest(
        namespace=reach.namespace, execution=execution, maximum_page_size=1
    )
    what = f"attaching to workflow {workflow_id!r}"
    try:
        page = await reach.ask(reach.connection.get_workflow_execution_history, request, what)
    except WorkflowNotFoundError:
        return None
    for event in page.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            return event.workflow_execution_started_event_attributes
    return None


def _check_type(request: Request, workflow_type: str, run_id: str) -> None:
    if workflow_type != request.workflow_type.name:
        raise WorkflowAlreadyStartedError(
            f"workflow id {request.workflow_id!r} belongs to a run of type {workflow_type!r}, "
            f"not {request.workflow_type.name!r}; ids are shared by all types: use another one",
            workflow_id=request.workflow_id,
            run_id=run_id,
            workflow_type=workflow_type,
        )


def _differences(
    reach: Reach, definition: AnyWorkflow, asked: Sequence[Payload], there: Sequence[Payload]
) -> list[str]:
    """A few words for each argument that differs."""
    if list(asked) == list(there):
        return []
    mine = reach.converter.from_payloads(asked, (), "the arguments of this start")
    theirs = reach.converter.from_payloads(there, (), "the arguments of the run that is there")
    names = definition.shape.names
    found: list[str] = []
    for index in range(max(len(mine), len(theirs))):
        here, other = _at(reach, definition, mine, index), _at(reach, definition, theirs, index)
        if not _is_same(here, other):
            name = names[index] if index < len(names) and not names[index].startswith("*") else f"argument {index + 1}"
            found.append(f"{name} is {_shown(reach, other)} there and {_shown(reach, here)} here")
    return found


def _is_same(here: Any, there: Any) -> bool:
    """Whether two values say the same. To Python `True == 1`; who asks for the one does not mean the other."""
    if isinstance(here, bool) is not isinstance(there, bool):
        return False
    if isinstance(here, dict) and isinstance(there, dict):
        mine, theirs = cast("dict[Any, Any]", here), cast("dict[Any, Any]", there)
        return mine.keys() == theirs.keys() and all(_is_same(value, theirs[key]) for key, value in mine.items())
    if isinstance(here, list) and isinstance(there, list):
        pairs = list(zip(cast("list[Any]", here), cast("list[Any]", there), strict=False))
        return len(here) == len(there) and all(_is_same(one, other) for one, other in pairs)  # pyright: ignore[reportUnknownArgumentType]
    return bool(here == there)


_MISSING: Any = object()


def _at(reach: Reach, definition: AnyWorkflow, values: list[Any], index: int) -> Any:
    """An argument as it is read back; what was not given has its default."""
    if index < len(values):
        return values[index]
    positional = [p for p in definition.signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    default = positional[index].default if index < len(positional) else inspect.Parameter.empty
    if default is inspect.Parameter.empty:
        return _MISSING
    return reach.converter.from_payload(reach.converter.to_payload(default, "a default"))


def _shown(reach: Reach, value: Any) -> str:
    """Values that a codec hides in history are not shown in errors either."""
    if value is _MISSING:
        return "missing"
    return "something else" if reach.converter.has_codec else repr_of(value, _SHOWN)

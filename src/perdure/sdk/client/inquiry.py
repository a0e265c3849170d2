"""Asks a server for all that tells why a run does not go on: what `situation.py` makes sentences of.

Only the description of the run is indispensable. Whatever else cannot be had (an older server, a worker that does not
answer) is left out, and is not waited for: whoever asks has a run that is stuck.
"""

from __future__ import annotations

import asyncio

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice import v1 as service

from perdure.api.digest import duration_words
from perdure.api.errors import Rejected, StatusCode
from perdure.api.status import is_open
from perdure.sdk.client.calls import Reach, public_error
from perdure.sdk.client.situation import (
    WORKFLOW_QUEUE,
    Queue,
    Seen,
    places_of,
    queues_of,
    sentence_of,
    waits_of,
)
from perdure.sdk.errors import EngineError, PerdureError
from perdure.sdk.options import Duration, parse_duration

EVENTS_MAX = 1_024
"""The newest ones that are looked at: timers that are older are not told of."""
QUEUES_MAX = 10
STACK_WAIT_S = 1.0
"""How long a worker may take to say where its code stands."""
WHY_WAIT_S = 5.0
"""How long a time-out's error may take to say why."""
_PAGE = 256
_STACK_TRACE = "__stack_trace"


async def describe(reach: Reach, execution: WorkflowExecution) -> service.DescribeWorkflowExecutionResponse:
    """The RPC. Raises WorkflowNotFoundError, EngineError."""
    request = service.DescribeWorkflowExecutionRequest(namespace=reach.namespace, execution=execution)
    what = f"a description of workflow {execution.workflow_id!r}"
    return await reach.ask(reach.connection.describe_workflow_execution, request, what)


async def look(reach: Reach, execution: WorkflowExecution, *, stack: bool = True) -> Seen:
    """All of it. Raises WorkflowNotFoundError, EngineError.

    Args:
        stack: ask a worker where the code stands, if it waits and somebody polls its task queue.
    """
    description = await describe(reach, execution)
    info = description.workflow_execution_info
    if not is_open(info.status):
        return Seen(description, reach.now_ns())
    newest = await _newest(reach, info.execution)
    pollers: dict[Queue, list[str]] = {}
    for queue in queues_of(description)[:QUEUES_MAX]:
        found = await _pollers(reach, queue)
        if found is not None:
            pollers[queue] = found
    waits = not description.HasField("pending_workflow_task")
    where = ""
    if stack and waits and pollers.get((info.task_queue, WORKFLOW_QUEUE)):
        where = await _stack_trace(reach, info.execution)
    return Seen(description, reach.now_ns(), pollers, newest, where)


async def why(reach: Reach, workflow_id: str) -> str:
    """What the current run of a workflow id waits for, in one line; "" when that cannot be told. Never raises."""
    try:
        async with asyncio.timeout(WHY_WAIT_S):
            seen = await look(reach, WorkflowExecution(workflow_id=workflow_id))
    except Exception:
        return ""  # it belongs to an error that is told in any case
    return sentence_of(waits_of(seen), places_of(seen.stack))


async def timed_out(reach: Reach, workflow_id: str, what: str, limit: Duration) -> Exception:
    """What somebody is told who has waited for a workflow in vain: `what` within that time, and why."""
    bug = await reach.bug()
    if bug is not None:
        return bug
    reason = await why(reach, workflow_id)
    within = limit if isinstance(limit, str) else duration_words(parse_duration(limit, "timeout"))
    return TimeoutError(f"{what} within {within}{f': {reason}' if reason else ''}; it goes on")


async def refusal(reach: Reach, rejected: Rejected, what: str, workflow_id: str) -> Exception:
    """The error that users know for a refused question to a workflow's code; it says why the code cannot answer."""
    error = public_error(rejected, what)
    if rejected.code not in (StatusCode.FAILED_PRECONDITION, StatusCode.DEADLINE_EXCEEDED):
        return error
    try:
        async with asyncio.timeout(WHY_WAIT_S):
            seen = await look(reach, WorkflowExecution(workflow_id=workflow_id), stack=False)
    except Exception:
        return error  # which is told in any case
    queue = seen.description.workflow_execution_info.task_queue
    if seen.pollers.get((queue, WORKFLOW_QUEUE)) == []:
        reason = f"nobody polls its task queue {queue!r}: start a worker for it"
    else:
        reason = sentence_of(waits_of(seen), ())
    return EngineError(f"{error} {reason}" if reason else str(error))


async def _newest(reach: Reach, execution: WorkflowExecution) -> list[HistoryEvent]:
    request = service.GetWorkflowExecutionHistoryReverseRequest(
        namespace=reach.namespace, execution=execution, maximum_page_size=_PAGE
    )
    found: list[HistoryEvent] = []
    while len(found) < EVENTS_MAX:
        try:
            page = await reach.connection.get_workflow_execution_history_reverse(request)
        except Rejected:
            break  # what there is must do
        found.extend(page.history.events)
        if not page.next_page_token:
            break
        request.next_page_token = page.next_page_token
    return found


async def _pollers(reach: Reach, queue: Queue) -> list[str] | None:
    """Who polls it; None when that cannot be told."""
    name, kind = queue
    request = service.DescribeTaskQueueRequest(
        namespace=reach.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind
    )
    try:
        response = await reach.connection.describe_task_queue(request)
    except Rejected:
        return None
    return [poller.identity for poller in response.pollers]


async def _stack_trace(reach: Reach, execution: WorkflowExecution) -> str:
    request = service.QueryWorkflowRequest(namespace=reach.namespace, execution=execution)
    request.query.query_type = _STACK_TRACE
    try:
        async with asyncio.timeout(STACK_WAIT_S):
            response = await reach.connection.query_workflow(request)
        payloads = response.query_result.payloads
        return reach.converter.from_payloads(payloads[:1], (str,), "a stack trace")[0] if payloads else ""
    except (Rejected, PerdureError, TimeoutError):
        return ""  # the worker is gone, or busy, or does not know the question

"""`check_replay`: all open executions of a server, replayed against new code before it is deployed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.client.calls import Reach
from perdure.sdk.errors import WorkflowNotFoundError
from perdure.sdk.interceptors import WorkflowChain
from perdure.sdk.replay.checking import ReplayChecker, ReplayReport, Workflows

_PAGE = 1000


async def check_replay(
    reach: Reach,
    workflows: Workflows,
    query: str,
    progress: Callable[[ReplayReport], None] | None,
    compose: Callable[[Any], WorkflowChain] | None,
) -> ReplayReport:
    """See `AsyncClient.check_replay`. Workflow code runs in a thread, so that the loop is free meanwhile."""
    begin = time.perf_counter()
    checker = ReplayChecker(workflows, reach.converter, reach.namespace, compose=compose)
    loop = asyncio.get_running_loop()
    async for info in _executions(reach, query):
        if not checker.knows(info.type.name):
            checker.skip(info.type.name)
            continue
        try:
            events = await _history(reach, info)
        except WorkflowNotFoundError:
            continue  # it closed and was deleted while the list was read
        execution = info.execution
        await loop.run_in_executor(None, checker.check, events, execution.workflow_id, execution.run_id)
        checker.report.elapsed = timedelta(seconds=time.perf_counter() - begin)
        if progress is not None:
            progress(checker.report)
    checker.report.elapsed = timedelta(seconds=time.perf_counter() - begin)
    return checker.report


async def _executions(reach: Reach, query: str) -> AsyncIterator[WorkflowExecutionInfo]:
    request = service.ListWorkflowExecutionsRequest(namespace=reach.namespace, query=query, page_size=_PAGE)
    while True:
        page = await reach.ask(reach.connection.list_workflow_executions, request, "listing open workflows")
        for info in page.executions:
            yield info
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


async def _history(reach: Reach, info: WorkflowExecutionInfo) -> Sequence[HistoryEvent]:
    request = service.GetWorkflowExecutionHistoryRequest(namespace=reach.namespace, execution=info.execution)
    events: list[HistoryEvent] = []
    while True:
        page = await reach.ask(
            reach.connection.get_workflow_execution_history,
            request,
            f"the history of workflow {info.execution.workflow_id!r}",
        )
        events.extend(page.history.events)
        if not page.next_page_token:
            return events
        request.next_page_token = page.next_page_token

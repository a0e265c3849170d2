"""Plays scenarios on a server and collects what is compared."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice import v1 as service
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from tests.differential.plain import Names
from tests.differential.scenarios import SCENARIOS, Scenario
from tests.differential.stage import Stage

AT_ONCE = 12
"""Scenarios that are played at the same time: most of their time is waiting."""

TIME_MAX_S = 100


async def play_all(address: str, names: Sequence[str]) -> Mapping[str, Any]:
    """Recordings by scenario name. What a scenario raised is its recording, so that the others go on."""
    quiet = Runtime(telemetry=TelemetryConfig(logging=None))
    for logger in ("temporalio.workflow", "temporalio.activity", "temporalio.worker"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # many scenarios are about failures
    client = await Client.connect(address, identity="client", runtime=quiet)
    await _add_search_attributes(client)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Any:
        async with gate:
            return await play(client, address, SCENARIOS[name])

    played = await asyncio.gather(*(one(name) for name in names))
    return dict(zip(names, played, strict=True))


async def play(client: Client, address: str, scenario: Scenario) -> dict[str, Any]:
    """One recording: the answers, and every run's history."""
    stage = Stage(client, address)
    try:
        answers = await asyncio.wait_for(scenario(stage), TIME_MAX_S)
        histories = await _histories(stage)
    except Exception as error:
        why = [line.strip() for line in traceback.format_exception_only(error)]
        where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][-3:]
        return {"answers": ["The scenario could not be played.", *why, *where], "histories": {}}
    finally:
        stage.pool.shutdown(wait=False)
    names = Names(stage.suffix, {run_id: name.replace(f"-{stage.suffix}", "") for name, run_id, _ in histories})
    return {
        "answers": names.plain(answers),
        "histories": {names.text(name): names.plain(events) for name, _, events in histories},
    }


async def _add_search_attributes(client: Client) -> None:
    """Those that scenarios use; a server that has them already says so."""
    request = AddSearchAttributesRequest(namespace=client.namespace)
    request.search_attributes["OrderId"] = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    request.search_attributes["OrderTotal"] = IndexedValueType.INDEXED_VALUE_TYPE_INT
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status not in (RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.UNIMPLEMENTED):
            raise


async def _histories(stage: Stage) -> list[tuple[str, str, list[HistoryEvent]]]:
    """(name, run id, events) of every run of every workflow that the scenario named, in order of their starts."""
    found: list[tuple[str, str, list[HistoryEvent]]] = []
    for workflow_id in stage.ids:
        runs = await _runs(stage, workflow_id)
        for number, run_id in enumerate(sorted(runs, key=lambda run_id: _began(runs[run_id])), 1):
            found.append((f"{workflow_id}#{number}", run_id, runs[run_id]))
    return found


async def _runs(stage: Stage, workflow_id: str) -> dict[str, list[HistoryEvent]]:
    to_read = {run_id for known_id, run_id in stage.run_ids if known_id == workflow_id}
    try:
        described = await stage.describe(workflow_id)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return {}
    to_read.add(described.workflow_execution_info.execution.run_id)
    runs: dict[str, list[HistoryEvent]] = {}
    while to_read:
        run_id = to_read.pop()
        runs[run_id] = events = await _events(stage, workflow_id, run_id)
        to_read |= _linked(events) - set(runs)
    return runs


def _began(events: Sequence[HistoryEvent]) -> tuple[int, int]:
    """A run that resets another begins with a copy of its history, the first event's time included."""
    resets = sum(bool(event.workflow_task_failed_event_attributes.base_run_id) for event in events)
    return events[0].event_time.ToNanoseconds(), resets


def _linked(events: Sequence[HistoryEvent]) -> set[str]:
    linked = {events[0].workflow_execution_started_event_attributes.continued_execution_run_id}
    last = events[-1]
    for closing in (
        last.workflow_execution_continued_as_new_event_attributes,
        last.workflow_execution_completed_event_attributes,
        last.workflow_execution_failed_event_attributes,
        last.workflow_execution_timed_out_event_attributes,
    ):
        linked.add(closing.new_execution_run_id)
    linked |= {event.workflow_task_failed_event_attributes.base_run_id for event in events}
    return linked - {""}


async def _events(stage: Stage, workflow_id: str, run_id: str) -> list[HistoryEvent]:
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = service.GetWorkflowExecutionHistoryRequest(namespace=stage.namespace, execution=execution)
    events: list[HistoryEvent] = []
    while True:
        page = await stage.rpc.get_workflow_execution_history(request)
        events += page.history.events
        if not page.next_page_token:
            return events
        request.next_page_token = page.next_page_token

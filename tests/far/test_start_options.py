"""Summaries for people, retry and cron of a start: the same on Temporal's server as on ours."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure import (
    ApplicationError,
    Engine,
    Retry,
    activity,
    call,
    call_child,
    call_local,
    start,
    start_child,
    workflow,
)
from perdure.sdk.convert import Converter
from perdure.sdk.convert.user_metadata import metadata_of
from perdure.testing import assert_replays
from tests.eventually import eventually


@activity
def quick() -> None: ...


@workflow(name="told-child")
def child() -> None: ...


@workflow(name="told")
def told() -> None:
    call(quick.options(summary="an activity"))
    call_local(quick.options(summary="a local one"))
    workflow.sleep("10ms", summary="a nap")
    workflow.timer("10ms", summary="an alarm").result()
    assert not workflow.wait_condition(lambda: False, timeout="10ms", timeout_summary="patience")
    call_child(child, static_summary="a child", static_details="of a *parent*")


@workflow(name="told-async")
async def told_async() -> None:
    await start(activity.named("quick", summary="an activity"))
    await workflow.sleep("10ms", summary="a nap")
    await asyncio.gather(workflow.timer("10ms", summary="an alarm"))
    assert not await workflow.wait_condition(lambda: False, timeout="10ms", timeout_summary="patience")
    await start_child(child, static_summary="a child", static_details="of a *parent*")


@workflow(name="third-time")
def third_time() -> int:
    if workflow.info().attempt < 3:
        raise ApplicationError("not yet")
    return workflow.info().attempt


@workflow(name="every-second")
def every_second() -> str:
    return workflow.info().cron_schedule


@workflow(name="has-cron-child")
def has_cron_child(id: str) -> None:
    start_child(every_second, id=id, cron_schedule="0 0 1 1 *", parent_close_policy="abandon")
    workflow.wait_condition(lambda: False, timeout="1ms")


def said(events: list[HistoryEvent]) -> list[tuple[str, str, str]]:
    """Of the events that have something: their kind, summary and details."""
    return [
        (EventType.Name(event.event_type)[11:], *metadata_of(event.user_metadata, Converter()))
        for event in events
        if event.HasField("user_metadata")
    ]


def test_summaries_are_in_history_and_beside_the_run(url: str) -> None:
    with Engine(url, task_queue=f"told-{uuid.uuid4()}") as engine:
        for body in (told, told_async):
            handle: Any = engine.start(body, static_summary="a run", static_details="of *many* words")
            handle.result()
            events = handle.history()
            local = [("MARKER_RECORDED", "a local one", "")] if body is told else []
            assert said(events) == [
                ("WORKFLOW_EXECUTION_STARTED", "a run", "of *many* words"),
                ("ACTIVITY_TASK_SCHEDULED", "an activity", ""),
                *local,
                ("TIMER_STARTED", "a nap", ""),
                ("TIMER_STARTED", "an alarm", ""),
                ("TIMER_STARTED", "patience", ""),
                ("START_CHILD_WORKFLOW_EXECUTION_INITIATED", "a child", "of a *parent*"),
            ]
            found = handle.describe()
            assert (found.static_summary, found.static_details) == ("a run", "of *many* words")
            begun = next(e for e in events if e.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
            execution = begun.child_workflow_execution_started_event_attributes.workflow_execution
            assert engine.get(execution.workflow_id).describe().static_summary == "a child"
            assert_replays(events, [told, told_async])


def test_a_start_that_is_retried(url: str) -> None:
    with Engine(url, task_queue=f"retried-{uuid.uuid4()}") as engine:
        assert engine.run(third_time, retry=Retry(initial_interval="10ms", maximum_attempts=5)) == 3


def test_a_start_by_cron(url: str) -> None:
    with Engine(url, task_queue=f"cron-{uuid.uuid4()}") as engine:
        id = f"cron-{uuid.uuid4()}"
        engine.start(every_second, id=id, cron_schedule="@every 1s")
        query = f'WorkflowId = "{id}"'
        runs = eventually(lambda: found if len(found := engine.list(query)) > 2 else [], "three runs")
        events = engine.get(id, runs[-1].run_id).history()
        assert events[0].workflow_execution_started_event_attributes.cron_schedule == "@every 1s"
        engine.get(id).terminate()


def test_a_child_by_cron(url: str) -> None:
    with Engine(url, task_queue=f"cron-{uuid.uuid4()}") as engine:
        id = f"cron-child-{uuid.uuid4()}"
        engine.start(has_cron_child, id)
        eventually(lambda: engine.list(f'WorkflowId = "{id}"'), "the child")
        started = engine.get(id).history()[0].workflow_execution_started_event_attributes
        assert started.cron_schedule == "0 0 1 1 *"
        assert "it begins in" in engine.get(id).describe().situation
        engine.get(id).terminate()


def test_what_a_schedule_starts_is_told_too(url: str) -> None:
    with Engine(url, task_queue=f"scheduled-{uuid.uuid4()}") as engine:
        id = f"scheduled-{uuid.uuid4()}"
        engine.schedules.create(
            id,
            third_time,
            every="1d",
            trigger=True,
            retry=Retry(initial_interval="10ms"),
            static_summary="by the clock",
        )
        [run] = eventually(lambda: engine.schedules.describe(id).recent, "the run")
        assert engine.get(run.workflow_id).result() == 3
        assert engine.get(run.workflow_id, run.run_id).describe().static_summary == "by the clock", "of the first run"
        engine.schedules.delete(id)

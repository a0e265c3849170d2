"""A cancellation that is kept, on Temporal's server as on ours: it keeps the number by which replay knows of that."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from perdure import CancelledError, Engine, WorkflowFailedError, activity, call, start, workflow
from perdure.testing import assert_replays
from tests.eventually import eventually

begun: list[str] = []


@activity(cancellation="wait", heartbeat_timeout="30s")
async def stubborn(run: str) -> str:
    """Until it is told to stop, which it then says nothing of."""
    begun.append(run)
    try:
        while True:
            await asyncio.sleep(0.05)
            activity.heartbeat()
    except asyncio.CancelledError:
        return "done, although it was cancelled"


@workflow
def loop(run: str) -> None:
    while True:
        call(stubborn, run)


@workflow
async def loop_async(run: str) -> None:
    while True:
        await start(stubborn, run)


@pytest.mark.parametrize("code", [loop, loop_async], ids=lambda code: code.name)
def test_a_loop_ends_at_the_call_behind_the_one_that_ended_well(url: str, code: Any) -> None:
    run = uuid.uuid4().hex
    with Engine(url, workflows=[loop, loop_async], activities=[stubborn], task_queue=run) as engine:
        handle = engine.start(code, run, id=run)
        eventually(lambda: run in begun, "the first call begins")
        handle.cancel("enough")
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result(timeout=30)
        events = handle.history()
    assert isinstance(caught.value.cause, CancelledError)
    assert begun.count(run) == 1
    named = [
        flag for event in events for flag in event.workflow_task_completed_event_attributes.sdk_metadata.lang_used_flags
    ]
    assert named == [1]
    assert_replays(events, [loop, loop_async])

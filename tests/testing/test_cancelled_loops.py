"""A loop over calls whose cancellation is waited for can be cancelled, whatever each of them makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import CancelledError, Saga, WorkflowFailedError, activity, call, call_child, start, start_child, workflow
from perdure.testing import TestEngine

undone: list[str] = []


@activity(cancellation="wait", heartbeat_timeout="1m")
async def stubborn() -> str:
    """Takes ten seconds at most, and ends well in any case."""
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "done, although it was cancelled"
    return "done"


@activity
def undo() -> None:
    undone.append("once")


@workflow
def stubborn_kid() -> str:
    try:
        workflow.sleep(10)
    except CancelledError:
        return "done, although it was cancelled"
    return "done"


@workflow
def over_activities() -> None:
    for _ in range(20):
        call(stubborn)


@workflow
async def over_activities_async() -> None:
    for _ in range(20):
        await start(stubborn)


@workflow
def over_children() -> None:
    for _ in range(20):
        call_child(stubborn_kid)


@workflow
async def over_children_async() -> None:
    for _ in range(20):
        await asyncio.create_task(child())


async def child() -> str:
    return await start_child(stubborn_kid)


@workflow
def in_a_saga() -> None:
    with Saga() as saga:
        saga.compensate(undo)
        for _ in range(20):
            call(stubborn)


@workflow
async def in_a_saga_async() -> None:
    async with Saga() as saga:
        saga.compensate(undo)
        for _ in range(20):
            await start(stubborn)


CODES: list[Any] = [
    over_activities, over_activities_async, over_children, over_children_async, in_a_saga, in_a_saga_async
]  # fmt: skip


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_it_ends_at_the_next_call(code: Any) -> None:
    undone.clear()
    with TestEngine(workflows=[code, stubborn_kid], activities=[stubborn, undo]) as engine:
        handle = engine.start(code, id="loop")
        engine.advance("25s")
        handle.cancel("enough")
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        events = handle.history()
    assert isinstance(caught.value.cause, CancelledError)
    begun = [event for event in events if event.event_type in (10, 29)]
    calls = [event for event in begun if event.activity_task_scheduled_event_attributes.activity_type.name != "undo"]
    assert len(calls) == 3, "two had ended, the third was in hand"
    assert undone == (["once"] if "saga" in code.name else [])

"""Values that history cannot hold, and names that nobody knows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    ActivityError,
    AsyncEngine,
    Engine,
    PayloadError,
    WorkflowDescription,
    WorkflowFailedError,
    activity,
    call,
    workflow,
)
from perdure.embedded import EngineSeams, seamed
from perdure.stores.memory import MemoryStore
from perdure.testing import VirtualClock, VirtualTimeLoop, run_virtual
from tests.badinput.ordinary import opened, ordinary, others_go_on

HUGE = b"x" * 3_000_000


@activity
def lock_maker() -> Any:
    return {"lock": threading.Lock()}


@activity
def huge_maker() -> bytes:
    return HUGE


@activity
def taker(data: bytes) -> int:
    return len(data)


@workflow
def asks_for(kind: str) -> Any:
    return call(lock_maker) if kind == "lock" else call(huge_maker)


@workflow
def takes(data: bytes) -> int:
    return len(data)


def returning(make: Callable[[], Any]) -> Any:
    """A workflow that returns what `make` gives."""

    @workflow
    def returns() -> Any:
        return make()

    return returns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def in_lives(*lives: Callable[[EngineSeams], Coroutine[Any, Any, None]]) -> None:
    """One life after the other, on one store; the back-off of a failing workflow task passes in virtual time."""
    store = MemoryStore()

    async def main(loop: VirtualTimeLoop) -> None:
        for live in lives:
            await live(EngineSeams(store=store, clock=VirtualClock(loop), inline=True))

    run_virtual(main)


async def trouble(engine: AsyncEngine, id: str) -> WorkflowDescription:
    """The description of a run once a task of it has failed, or it has ended."""
    while True:
        description = await engine.get(id).describe()
        if description.workflow_task_attempt > 1 or description.closed_at is not None:
            return description
        await asyncio.sleep(1)  # of virtual time


def test_an_unknown_workflow_type_is_refused_at_its_start(path: Path) -> None:
    with opened(path) as engine:
        with pytest.raises(Exception, match=r"takes.*not registered.*it knows: ordinary"):
            engine.start(takes, b"", id="unknown")
        assert engine.count() == 0
        others_go_on(engine)


def test_a_type_that_is_gone_after_a_deploy_waits_and_goes_on_when_it_is_back() -> None:
    async def before(seams: EngineSeams) -> None:
        async with seamed(Engine, seams, "memory://", worker=False) as engine:
            await engine.start(takes, b"four", id="gone")

    async def without(seams: EngineSeams) -> None:
        async with seamed(Engine, seams, "memory://", workflows=[ordinary]) as engine:
            failure = (await trouble(engine, "gone")).workflow_task_failure
            assert "workflow type 'takes' is not registered" in failure
            assert await engine.run(ordinary, 1) == 2

    async def after(seams: EngineSeams) -> None:
        async with seamed(Engine, seams, "memory://", workflows=[takes]) as engine:
            assert await engine.get("gone").result() == 4

    in_lives(before, without, after)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("lock", "cannot be serialised: value['lock'] is of type"),
        ("huge", "3,000,000 bytes are more than the 2,097,152"),
    ],
)
def test_an_activity_whose_result_cannot_be_kept_fails_clearly(path: Path, kind: str, complaint: str) -> None:
    with opened(path, asks_for, activities=(lock_maker, huge_maker)) as engine:
        with pytest.raises(WorkflowFailedError) as failed:
            engine.run(asks_for, kind, id="bad")
        assert isinstance(failed.value.cause, ActivityError)
        assert complaint in str(failed.value.cause.cause)
        others_go_on(engine)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (threading.Lock, "the result of workflow returns cannot be serialised"),
        (lambda: HUGE, "3,000,000 bytes are more than"),
        (lambda: call(taker, HUGE), "3,000,000 bytes are more than"),
    ],
)
def test_a_workflow_that_cannot_go_on_is_described_and_mended_code_goes_on(
    broken: Callable[[], Any], complaint: str
) -> None:
    async def before(seams: EngineSeams) -> None:
        async with seamed(Engine, seams, "memory://", workflows=[returning(broken), ordinary]) as engine:
            await engine.start(returning(broken), id="bad")
            description = await trouble(engine, "bad")
            assert complaint in description.workflow_task_failure
            assert description.closed_at is None
            assert await engine.run(ordinary, 1) == 2

    async def mended(seams: EngineSeams) -> None:
        async with seamed(Engine, seams, "memory://", workflows=[returning(lambda: "mended")]) as engine:
            assert await engine.get("bad").result() == "mended"

    in_lives(before, mended)


def test_an_input_of_3_megabytes_is_refused_before_anything_is_started(path: Path) -> None:
    with opened(path, takes) as engine:
        with pytest.raises(PayloadError, match="3,000,000 bytes are more than"):
            engine.start(takes, HUGE, id="bad")
        assert engine.count() == 0
        assert engine.run(takes, b"four", id="good") == 4
        others_go_on(engine)

"""Workflows and activities in trouble: what is said of them, that others go on, and that mended code goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    ActivityError,
    ApplicationError,
    Engine,
    PayloadError,
    Retry,
    WorkerConfig,
    WorkflowDescription,
    WorkflowFailedError,
    WorkflowStatus,
    activity,
    call,
    workflow,
)
from perdure.embedded import EngineSeams, WorkflowHandle, seamed
from perdure.testing.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual

AT_ONCE = Retry(initial_interval="1ms", maximum_interval="1ms")
WATCHFUL = EngineSeams(worker_config=WorkerConfig(deadlock_timeout=0.4))


@activity
def fine() -> str:
    return "fine"


@activity(retry=AT_ONCE)
def rare() -> str:
    return "rare"


@activity
def lock_as_result() -> object:
    return {"lock": threading.Lock()}


@activity
def huge_result() -> bytes:
    return b"x" * 3_000_000


@activity
def takes(data: bytes) -> int:
    return len(data)


@workflow
def healthy() -> str:
    return call(fine)


@workflow
def buggy() -> None:
    raise KeyError("sku")


@workflow(guard=False)
def endless() -> None:
    while True:
        pass


@workflow
def unserialisable_result() -> object:
    return object()


@workflow
def gives(kind: str) -> Any:
    return call(lock_as_result) if kind == "unserialisable" else call(huge_result)


@workflow
def passes_too_much() -> str:
    try:
        call(takes, b"x" * 3_000_000)
    except PayloadError as error:
        raise ApplicationError(str(error), type="TooMuch") from error
    return "went through"


@workflow
def needs_rare() -> str:
    return call(rare)


def described(handle: WorkflowHandle[Any], condition: Callable[[WorkflowDescription], object]) -> WorkflowDescription:
    """Ask until the condition holds."""
    for _ in range(100_000):
        description = handle.describe()
        if condition(description):
            return description
    raise AssertionError("the condition never held")


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (buggy, "'sku'"),
        (unserialisable_result, "the result of workflow unserialisable_result cannot be serialised: value is of type"),
        (endless, f"blocked its thread for more than 0.4 s at {__file__}:"),
    ],
)
def test_code_that_cannot_go_on_is_described_and_the_others_go_on(broken: Any, complaint: str) -> None:
    with seamed(Engine, WATCHFUL, "memory://") as engine:
        handle = engine.start(broken, id="broken")
        trouble = described(handle, lambda d: d.workflow_task_attempt > 1)
        assert complaint in trouble.workflow_task_failure
        assert trouble.status is WorkflowStatus.RUNNING
        assert engine.run(healthy) == "fine"
        handle.terminate("given up")
        with pytest.raises(WorkflowFailedError, match="given up"):
            handle.result()


def test_a_loop_without_end_does_not_keep_its_thread() -> None:
    with seamed(Engine, WATCHFUL, "memory://") as engine:
        handle = engine.start(endless, id="broken")
        described(handle, lambda d: d.workflow_task_attempt > 2)
        handle.terminate()
        engine.run(healthy)
        left = [thread for thread in threading.enumerate() if thread.name.startswith("perdure-workflows")]
        for thread in left[:-1]:
            thread.join()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("unserialisable", "the result of activity lock_as_result cannot be serialised: value['lock'] is of type"),
        ("huge", "the result of activity huge_result: 3,000,000 bytes are more than the 2,097,152"),
    ],
)
def test_a_result_that_cannot_be_kept_fails_the_activity_once_and_clearly(kind: str, complaint: str) -> None:
    with Engine("memory://") as engine:
        with pytest.raises(WorkflowFailedError) as raised:
            engine.run(gives, kind)
        assert isinstance(raised.value.cause, ActivityError)
        assert str(raised.value.cause.cause).partition(": ")[2].startswith(complaint)
        assert engine.run(healthy) == "fine"


def test_too_much_for_an_activity_is_said_where_it_is_called() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(passes_too_much, id="broken")
        trouble = described(handle, lambda d: d.workflow_task_attempt > 1 or d.status is WorkflowStatus.FAILED)
        if trouble.status is WorkflowStatus.FAILED:
            with pytest.raises(WorkflowFailedError, match="3,000,000 bytes"):
                handle.result()
        else:
            assert "3,000,000 bytes are more than" in trouble.workflow_task_failure
        assert engine.run(healthy) == "fine"


def test_an_activity_that_is_not_here_waits_for_a_worker_that_has_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    with Engine(url, activities=[fine]) as engine:
        handle = engine.start(needs_rare, id="a")
        trouble = described(handle, lambda d: d.pending_activities and d.pending_activities[0].last_failure)
        assert "activity type 'rare' is not registered" in trouble.pending_activities[0].last_failure
        assert "it knows: fine" in trouble.pending_activities[0].last_failure
        assert engine.run(healthy) == "fine"
    with Engine(url) as engine:
        assert engine.get("a").result() == "rare"


def test_a_workflow_that_is_not_here_waits_for_a_worker_that_has_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"

    async def main(loop: VirtualTimeLoop) -> None:
        seams = EngineSeams(clock=VirtualClock(loop), inline=True)
        async with seamed(Engine, seams, url, worker=False) as engine:
            await engine.start(needs_rare, id="a")
        async with seamed(Engine, seams, url, workflows=[healthy]) as engine:
            trouble = await engine.get("a").describe()
            while trouble.workflow_task_attempt < 2:
                await asyncio.sleep(1)  # of virtual time
                trouble = await engine.get("a").describe()
            assert "workflow type 'needs_rare' is not registered" in trouble.workflow_task_failure
            assert "it knows: healthy" in trouble.workflow_task_failure
            assert await engine.run(healthy) == "fine"
        async with seamed(Engine, seams, url) as engine:
            assert await engine.get("a").result() == "rare"

    run_virtual(main)

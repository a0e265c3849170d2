"""More than one task queue in an engine."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Engine, activity, call, start, workflow
from perdure.errors import UnknownTypeError


@activity
def where() -> str:
    return activity.info().task_queue


@workflow
def wanders() -> list[str]:
    return [workflow.info().task_queue, call(where), call(where.options(task_queue="slow"))]


@workflow
async def wanders_async() -> list[str]:
    return [workflow.info().task_queue, await start(where), await start(where.options(task_queue="slow"))]


@pytest.mark.parametrize("body", [wanders, wanders_async])
def test_an_engine_serves_each_and_starts_on_the_first(body: Any) -> None:
    with Engine("memory://", task_queues=["fast", "slow"]) as engine:
        assert engine.run(body) == ["fast", "fast", "slow"]
        assert engine.run(body, task_queue="slow") == ["slow", "slow", "slow"]


async def test_one_that_is_asked_on_its_own_loop_does_too() -> None:
    async with Engine("memory://", task_queues=("fast", "slow", "fast")) as engine:
        assert await engine.run(wanders, task_queue="slow") == ["slow", "slow", "slow"]


def test_what_none_of_its_workers_knows_is_refused_for_each_of_its_queues() -> None:
    with Engine("memory://", task_queues=["fast", "slow"], workflows=[wanders], activities=[where]) as engine:
        for queue in ("fast", "slow"):
            with pytest.raises(UnknownTypeError):
                engine.start(wanders_async, task_queue=queue)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="task_queue or task_queues, not both"):
        Engine("memory://", task_queue="a", task_queues=["b"])
    with pytest.raises(TypeError, match=r"such as \['slow'\], not a text"):
        Engine("memory://", task_queues="slow")

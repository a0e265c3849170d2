"""Timers, and waiting for a condition with a time-out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow

from tests.differential.stage import Stage


@workflow.defn
class Sleeps:
    @workflow.run
    async def run(self, seconds: float) -> str:
        await workflow.sleep(timedelta(seconds=seconds), summary="a nap")
        return "awake"


@workflow.defn
class Races:
    """The shorter of two timers wins, and the other is cancelled."""

    @workflow.run
    async def run(self) -> str:
        long = asyncio.create_task(workflow.sleep(3600))
        await workflow.sleep(0.1)
        long.cancel()
        await workflow.wait([long])
        await workflow.sleep(0.05)
        return "done"


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, seconds: float) -> str:
        try:
            await workflow.wait_condition(lambda: self.told, timeout=timedelta(seconds=seconds))
        except TimeoutError:
            return "timed out"
        return "told"

    @workflow.signal
    def tell(self) -> None:
        self.told = True


async def fires(stage: Stage) -> Any:
    async with stage.worker([Sleeps]):
        return [await stage.run(Sleeps.run, 0.2)]


async def the_longer_is_cancelled(stage: Stage) -> Any:
    async with stage.worker([Races]):
        return [await stage.run(Races.run)]


async def condition_times_out(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        return [await stage.run(Waits.run, 0.2)]


async def condition_holds_in_time(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, 3600)
        await stage.events(handle, "TIMER_STARTED")
        await handle.signal(Waits.tell)
        return [await stage.outcome(handle)]


async def without_sticky(stage: Stage) -> Any:
    async with stage.worker([Races], max_cached_workflows=0):
        return [await stage.run(Races.run)]

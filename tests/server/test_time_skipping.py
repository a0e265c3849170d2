"""The official Python SDK's time-skipping environment, attached to our test server."""

from __future__ import annotations

import asyncio
import builtins
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    WorkflowFailureError,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, TimeoutError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.memory import MemoryStore

TEST_SERVER = Path(sys.executable).with_name("perdure-test-server")
MONTH = timedelta(days=30)
attempts: list[int] = []


@activity.defn
async def fails_five_times() -> int:
    attempts.append(activity.info().attempt)
    if len(attempts) <= 5:
        raise RuntimeError("not yet")
    return activity.info().attempt


@activity.defn
async def takes_real_time() -> str:
    await asyncio.sleep(0.2)
    return "done"


@workflow.defn(sandboxed=False)
class Sleeper:
    @workflow.run
    async def run(self, days: int) -> float:
        began = workflow.time()
        await workflow.sleep(timedelta(days=days))
        return workflow.time() - began


@workflow.defn(sandboxed=False)
class Retrier:
    @workflow.run
    async def run(self) -> int:
        policy = RetryPolicy(initial_interval=timedelta(hours=1), backoff_coefficient=2.0)
        limit = timedelta(minutes=1)
        return await workflow.execute_activity(fails_five_times, start_to_close_timeout=limit, retry_policy=policy)


@workflow.defn(sandboxed=False)
class Worked:
    """An activity with a short time-out beside a timer that is far away."""

    @workflow.run
    async def run(self) -> str:
        timer = asyncio.create_task(asyncio.sleep(86_400))
        result = await workflow.execute_activity(takes_real_time, start_to_close_timeout=timedelta(seconds=20))
        await timer
        return result


@workflow.defn(sandboxed=False)
class Waits:
    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.wait_condition(lambda: bool(self.word), timeout=MONTH)
        except builtins.TimeoutError:
            return "nobody came"
        return self.word

    @workflow.signal
    def say(self, word: str) -> None:
        self.word = word


@workflow.defn(sandboxed=False)
class NobodyWorks:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(
                takes_real_time, task_queue="nobody", schedule_to_close_timeout=timedelta(hours=8)
            )
        except ActivityError as error:
            kind = error.cause.type if isinstance(error.cause, TimeoutError) else None
            return kind.name if kind else repr(error.cause)
        return "somebody came"


@asynccontextmanager
async def environment() -> AsyncIterator[tuple[WorkflowEnvironment, str]]:
    queue = f"queue-{uuid4()}"
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(TEST_SERVER), test_server_startup_timeout=timedelta(seconds=60)
    ) as env:
        worker = Worker(
            env.client,
            task_queue=queue,
            workflows=[Sleeper, Retrier, Worked, Waits, NobodyWorks],
            activities=[fails_five_times, takes_real_time],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        async with worker:
            yield env, queue


async def test_a_workflow_that_sleeps_a_year_is_awaited_at_once() -> None:
    async with environment() as (env, queue):
        before = await env.get_current_time()
        slept = await env.client.execute_workflow(Sleeper.run, 365, id=f"w-{uuid4()}", task_queue=queue)
        assert slept >= 365 * 86_400
        assert await env.get_current_time() - before >= timedelta(days=365)
        assert await env.client.execute_workflow(Sleeper.run, 2, id=f"w-{uuid4()}", task_queue=queue) < 3 * 86_400


async def test_a_schedule_acts_every_day_of_a_week_that_is_skipped() -> None:
    async with environment() as (env, queue):
        daily = Schedule(
            action=ScheduleActionStartWorkflow(Sleeper.run, 1, id=f"w-{uuid4()}", task_queue=queue),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=1))]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL),
        )
        handle = await env.client.create_schedule("daily", daily)
        await env.sleep(timedelta(days=7))
        info = (await handle.describe()).info
        assert info.num_actions in (7, 8), "the last may be due at this very moment"
        late = [action.started_at - action.scheduled_at for action in info.recent_actions]
        assert max(late) < timedelta(minutes=1)


async def test_retries_are_not_waited_for_and_work_gets_real_time() -> None:
    async with environment() as (env, queue):
        attempts.clear()
        assert await env.client.execute_workflow(Retrier.run, id=f"w-{uuid4()}", task_queue=queue) == 6
        assert attempts == [1, 2, 3, 4, 5, 6]
        assert await env.client.execute_workflow(Worked.run, id=f"w-{uuid4()}", task_queue=queue) == "done"
        nobody = await env.client.execute_workflow(NobodyWorks.run, id=f"w-{uuid4()}", task_queue=queue)
        assert nobody.startswith("SCHEDULE_TO")


async def test_time_runs_normally_until_it_is_unlocked_and_a_test_can_sleep() -> None:
    async with environment() as (env, queue):
        handle = await env.client.start_workflow(Waits.run, id=f"w-{uuid4()}", task_queue=queue)
        before = await env.get_current_time()
        await env.sleep(timedelta(days=10))
        assert timedelta(days=10) <= await env.get_current_time() - before < timedelta(days=11)
        await handle.signal(Waits.say, "hello")
        assert await handle.result() == "hello"
        assert await env.client.execute_workflow(Waits.run, id=f"w-{uuid4()}", task_queue=queue) == "nobody came"


async def test_a_run_that_waits_for_ever_times_out_by_skipped_time() -> None:
    async with environment() as (env, queue):
        with pytest.raises(WorkflowFailureError) as failed:
            await env.client.execute_workflow(
                Waits.run, id=f"w-{uuid4()}", task_queue=queue, execution_timeout=timedelta(days=3)
            )
        assert isinstance(failed.value.cause, TimeoutError)


def test_time_does_not_skip_on_a_store_that_others_share() -> None:
    class SharedStore(MemoryStore):
        @property
        def is_shared(self) -> bool:
            return True

    with pytest.raises(ValueError, match="several nodes share"):
        Server(SharedStore(), ServerConfig(time_skipping=True))
    Server(SharedStore(), ServerConfig())

"""The official Python SDK makes and steers schedules on `perdure server`, and its worker runs what they start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.sqlite import SqliteStore
from tests.server.given import FREE

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
ALLOW_ALL = ScheduleOverlapPolicy.ALLOW_ALL


@workflow.defn(sandboxed=False)
class Bill:
    @workflow.run
    async def run(self, customer: str) -> str:
        before = workflow.get_last_completion_result(str)
        return f"{customer} after {before.split()[0] if before else 'nobody'}"


async def acted(handle: ScheduleHandle, count: int) -> ScheduleDescription:
    """The schedule, when it has acted so often and nothing of it runs any more."""
    for _ in range(1000):
        described = await handle.describe()
        if described.info.num_actions >= count and not described.info.running_actions:
            return described
    raise AssertionError(f"it has acted {described.info.num_actions} times")


async def scenario(client: Client) -> None:
    action = ScheduleActionStartWorkflow(Bill.run, "ada", id="bill", task_queue="bills")
    spec = ScheduleSpec(
        intervals=[ScheduleIntervalSpec(every=timedelta(hours=1), offset=timedelta(minutes=30))],
        calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(3)], comment="at night")],
        cron_expressions=["0 5 * * MON-FRI"],
        time_zone_name="Europe/Berlin",
        jitter=timedelta(seconds=5),
    )
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL, pause_on_failure=True)
    schedule = Schedule(action=action, spec=spec, policy=policy)
    handle = await client.create_schedule("bills", schedule, memo={"owner": "finance"}, trigger_immediately=True)
    with pytest.raises(ScheduleAlreadyRunningError):
        await client.create_schedule("bills", schedule)
    described = await acted(handle, 1)
    assert await described.memo_value("owner") == "finance"
    assert described.schedule.policy.overlap is ScheduleOverlapPolicy.BUFFER_ALL
    assert len(described.schedule.spec.calendars) == 2, "the cron string has become one"
    assert len(described.info.next_action_times) == 10

    await handle.pause(note="holidays")
    assert (await handle.describe()).schedule.state.paused
    assert [one.id async for one in await client.list_schedules("TemporalSchedulePaused = true")] == ["bills"]

    async def limit(given: ScheduleUpdateInput) -> ScheduleUpdate:
        changed = given.description.schedule
        changed.state.note, changed.state.limited_actions, changed.state.remaining_actions = "few", True, 3
        changed.spec.jitter = None
        return ScheduleUpdate(schedule=changed)

    await handle.update(limit)
    described = await handle.describe()
    assert (described.schedule.state.note, described.schedule.state.remaining_actions) == ("few", 3)
    await handle.backfill(ScheduleBackfill(JANUARY, JANUARY + timedelta(hours=3), overlap=ALLOW_ALL))
    described = await acted(handle, 5)
    ids = [result.action.workflow_id for result in described.info.recent_actions[1:]]  # pyright: ignore
    assert sorted(ids) == [f"bill-2026-01-01T{at}:00Z" for at in ("00:30", "01:30", "02:00", "02:30")], (
        "02:00 is 3 there"
    )
    runs = [run async for run in client.list_workflows("TemporalScheduledById = 'bills'")]
    assert {run.status for run in runs} == {WorkflowExecutionStatus.COMPLETED}
    assert await client.get_workflow_handle(ids[0]).result() == "ada after ada"

    await handle.unpause()
    await handle.delete()
    with pytest.raises(RPCError) as gone:
        await handle.describe()
    assert gone.value.status is RPCStatusCode.NOT_FOUND


def test_the_official_sdk_makes_and_steers_schedules(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def run() -> None:
        store = SqliteStore(tmp_path_factory.mktemp("store") / "bills.db")
        server = Server(store, ServerConfig(address=FREE, http_address=""))
        await server.start()
        try:
            client = await Client.connect(server.address)
            async with Worker(
                client, task_queue="bills", workflows=[Bill], workflow_runner=UnsandboxedWorkflowRunner()
            ):
                await scenario(client)
        finally:
            await server.stop()

    asyncio.run(run())

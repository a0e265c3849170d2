"""Schedules on an engine: actions come on time, once each, whatever dies on the way."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, ScheduleOverlapPolicy, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.schedule.v1 import BackfillRequest, SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import timestamp
from perdure.frontend import WorkflowService
from perdure.stores.api import Namespace, StoreError
from perdure.testing import VirtualTimeLoop, run_virtual
from tests.engine.world import PASSING, QUEUE, World, complete, completion, history, sleep, virtual, workflow_poll

ALLOW_ALL = ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
BUFFER_ALL = ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL
CANCEL_OTHER = ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER
TERMINATE_OTHER = ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER
COMPLETED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED
MINUTE = 60_000_000_000


def create_request(schedule_id: str = "nightly", every_s: int = 60, overlap: int = 0, **state: Any) -> Any:
    request = service.CreateScheduleRequest(namespace="default", schedule_id=schedule_id, request_id="first")
    request.schedule.spec.interval.add().interval.seconds = every_s
    request.schedule.policies.overlap_policy = overlap  # pyright: ignore[reportAttributeAccessIssue]
    action = request.schedule.action.start_workflow
    action.workflow_id = action.workflow_type.name = "bill"
    action.task_queue.name = QUEUE
    for name, value in state.items():
        setattr(request.schedule.state, name, value)
    return request


async def describe(connection: WorkflowService, schedule_id: str = "nightly") -> service.DescribeScheduleResponse:
    return await connection.describe_schedule(
        service.DescribeScheduleRequest(namespace="default", schedule_id=schedule_id)
    )


def patch_request(schedule_id: str = "nightly", **patch: Any) -> service.PatchScheduleRequest:
    return service.PatchScheduleRequest(namespace="default", schedule_id=schedule_id, patch=SchedulePatch(**patch))


class Hand:
    """Answers workflow tasks: `decide` says with which commands. Attributes: begun: workflow ids, as they came."""

    def __init__(self, connection: WorkflowService, decide: Any = None) -> None:
        self._connection = connection
        self._decide = decide or (lambda events: [complete()])
        self._task: asyncio.Task[None] | None = None
        self.begun: list[str] = []

    async def __aenter__(self) -> Hand:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            try:
                await self._turn()
            except Rejected as error:
                if error.code not in PASSING:
                    raise
                await asyncio.sleep(0.1)

    async def _turn(self) -> None:
        task = await self._connection.poll_workflow_task_queue(workflow_poll())
        if not task.task_token:
            return
        if task.previous_started_event_id == 0:
            self.begun.append(task.workflow_execution.workflow_id)
        commands = self._decide(list(task.history.events))
        await self._connection.respond_workflow_task_completed(completion(task.task_token, *commands))


def happened(events: list[HistoryEvent], kind: str) -> bool:
    return any(event.HasField(f"{kind}_event_attributes") for event in events)  # pyright: ignore[reportArgumentType]


def cancel_command() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
    command.cancel_workflow_execution_command_attributes.SetInParent()
    return command


def waits_for_cancellation(events: list[HistoryEvent]) -> list[Command]:
    return [cancel_command()] if happened(events, "workflow_execution_cancel_requested") else []


def naps(seconds: int) -> Any:
    """A workflow that sleeps."""

    def decide(events: list[HistoryEvent]) -> list[Command]:
        if not happened(events, "timer_started"):
            return [sleep("nap", seconds)]
        return [complete()] if happened(events, "timer_fired") else []

    return decide


async def minutes(world: World, count: float) -> None:
    await asyncio.sleep(count * 60)


@virtual
async def test_actions_come_on_time_and_know_what_they_are(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request())
        async with Hand(connection) as hand:
            await minutes(world, 3.5)
        described = await describe(connection)
        assert described.info.action_count == 3 == len(set(hand.begun))
        assert {action.start_workflow_status for action in described.info.recent_actions} == {COMPLETED}
        assert not described.info.running_workflows
        for action in described.info.recent_actions:
            late_ns = action.actual_time.ToNanoseconds() - action.schedule_time.ToNanoseconds()
            assert 0 <= late_ns < 1_000_000
            assert action.schedule_time.ToNanoseconds() % MINUTE == 0
        started = (await history(connection, hand.begun[1]))[0].workflow_execution_started_event_attributes
        by_id = started.search_attributes.indexed_fields["TemporalScheduledById"].data
        assert (by_id, started.identity) == (b'"nightly"', "temporal-scheduler-default-nightly")
        assert started.last_completion_result.payloads[0].data == b'"done"'


@virtual
async def test_a_firing_reads_its_record_once_at_most(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request())
        async with Hand(connection) as hand:
            await minutes(world, 1.5)
            for firings in (2, 3, 4):
                world.store.calls.clear()
                await minutes(world, 1)
                assert len(hand.begun) == firings
                calls = Counter(world.store.calls)
                assert calls["record"] <= 1, "of its run's end; the record waker has handed it over"
                assert calls["put_records"] == 3, "it is to start, it runs, it has ended"
        assert (await describe(connection)).info.action_count == 4


@virtual
async def test_what_waits_for_a_pause_to_end_reads_its_record_again(world: World) -> None:
    """A start that the store refuses for a while is not made any more once somebody has deleted the schedule."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request())
        async with Hand(connection) as hand:
            world.store.fails = lambda method: method == "commit"
            await minutes(world, 1.2)
            await connection.delete_schedule(service.DeleteScheduleRequest(namespace="default", schedule_id="nightly"))
            world.store.fails = lambda method: False
            await minutes(world, 5)
            assert hand.begun == []
            assert not engine.schedules.is_busy


@virtual
async def test_a_schedule_that_sleeps_wakes_nobody(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request(paused=True))
        await engine.record_waker.passes.reached(1)
        await minutes(world, 1000)
        assert engine.record_waker.passes.count == 1
        assert (await describe(connection)).info.action_count == 0


@virtual
async def test_a_workflow_that_outlasts_a_restart_is_seen_to_end(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request(overlap=BUFFER_ALL, limited_actions=True, remaining_actions=2))
        async with Hand(connection, naps(600)):
            await minutes(world, 3)
        assert (await describe(connection)).info.buffer_size == 2
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        async with Hand(connection, naps(600)):
            await minutes(world, 30)
        described = await describe(connection)
        assert [action.start_workflow_status for action in described.info.recent_actions] == [COMPLETED, COMPLETED]
        assert not engine.schedules.watched


@virtual
async def test_one_that_ended_while_nobody_looked_is_noticed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request(every_s=86_400))
        await connection.patch_schedule(patch_request(trigger_immediately=TriggerImmediatelyRequest()))
        await engine.schedules.settled.reached(1)
        await engine.schedules.stop()
        async with Hand(connection) as hand:
            await minutes(world, 1)
        assert len(hand.begun) == 1
        assert len((await describe(connection)).info.running_workflows) == 1
    async with world.engine() as engine:
        await minutes(world, 1)
        assert not (await describe(WorkflowService(engine))).info.running_workflows


@virtual
async def test_continue_as_new_is_still_the_same_action(world: World) -> None:
    def decide(events: list[HistoryEvent]) -> list[Command]:
        if not happened(events, "timer_started"):
            return [sleep("nap", 45)]
        if not happened(events, "timer_fired"):
            return []
        if events[0].workflow_execution_started_event_attributes.continued_execution_run_id:
            return [complete()]
        command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
        command.continue_as_new_workflow_execution_command_attributes.workflow_type.name = "bill"
        return [command]

    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request())
        async with Hand(connection, decide):
            await minutes(world, 2.25)
            described = await describe(connection)
            assert (described.info.action_count, described.info.overlap_skipped) == (1, 1)
            await minutes(world, 1)
        described = await describe(connection)
        assert described.info.action_count == 2
        assert described.info.recent_actions[0].start_workflow_status == COMPLETED


@pytest.mark.parametrize(("overlap", "event"), [(CANCEL_OTHER, "canceled"), (TERMINATE_OTHER, "terminated")])
def test_the_one_that_runs_makes_room(overlap: int, event: str) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            await connection.create_schedule(create_request(overlap=overlap))
            async with Hand(connection, waits_for_cancellation) as hand:
                await minutes(world, 3.5)
            assert len(hand.begun) == 3
            assert happened(await history(connection, hand.begun[0]), f"workflow_execution_{event}")
            assert len((await describe(connection)).info.running_workflows) == 1

    run_virtual(lambda loop: life(World(loop)))


@virtual
async def test_what_was_missed_while_the_engine_was_down_is_made_up_for(world: World) -> None:
    async with world.engine() as engine:
        await WorkflowService(engine).create_schedule(create_request(overlap=ALLOW_ALL))
    await minutes(world, 5)
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        async with Hand(connection) as hand:
            await minutes(world, 0.25)
        assert len(set(hand.begun)) == 5


@virtual
async def test_a_backfill_runs_through_the_past(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request(every_s=3600, paused=True))
        past = BackfillRequest(
            start_time=timestamp(0), end_time=timestamp(3600 * 1499 * 1_000_000_000), overlap_policy=ALLOW_ALL
        )
        await connection.patch_schedule(patch_request(backfill_request=[past]))
        async with Hand(connection) as hand:
            await minutes(world, 5)
        assert len(set(hand.begun)) == 1500 == (await describe(connection)).info.action_count
        assert "bill-1970-01-01T00:00:00Z" in hand.begun


@virtual
async def test_refusals(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        first = await connection.create_schedule(create_request())
        assert await connection.create_schedule(create_request()) == first, "the same request again"
        other = create_request()
        other.request_id = "second"
        with pytest.raises(Rejected) as refused:
            await connection.create_schedule(other)
        assert refused.value.code is StatusCode.ALREADY_EXISTS
        assert type(refused.value.detail).__name__ == "WorkflowExecutionAlreadyStartedFailure"
        described = await describe(connection)
        update = service.UpdateScheduleRequest(namespace="default", schedule_id="nightly", schedule=described.schedule)
        update.conflict_token = described.conflict_token
        await connection.update_schedule(update)
        with pytest.raises(Rejected, match="mismatched conflict token"):
            await connection.update_schedule(update)
        with pytest.raises(Rejected, match="Patch is not set"):
            await connection.patch_schedule(service.PatchScheduleRequest(namespace="default", schedule_id="nightly"))
        await connection.delete_schedule(service.DeleteScheduleRequest(namespace="default", schedule_id="nightly"))
        with pytest.raises(Rejected) as refused:
            await describe(connection)
        assert refused.value.code is StatusCode.NOT_FOUND
        await connection.create_schedule(other)


BAD: list[tuple[Any, str]] = [
    (lambda request: request.schedule.action.Clear(), "Only StartWorkflow action is supported"),
    (lambda request: request.schedule.spec.cron_string.append("bogus"), "CronString does not have 5-7 fields"),
    (lambda request: setattr(request, "request_id", ""), "RequestId is not set on request."),
    (lambda request: setattr(request, "schedule_id", ""), "ScheduleId is not set on request."),
    (lambda request: setattr(request, "schedule_id", "x" * 1001), "ScheduleId exceeds maximum allowed length"),
    (
        lambda request: setattr(request.schedule.action.start_workflow, "workflow_id", "x" * 999),
        r"WorkflowId exceeds maximum allowed length \(1020/1000\)",
    ),
    (
        lambda request: setattr(request.schedule.action.start_workflow, "cron_schedule", "* * * * *"),
        "must not contain CronSchedule",
    ),
    (
        lambda request: request.schedule.action.start_workflow.workflow_run_timeout.FromSeconds(-1),
        "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative duration",
    ),
    (lambda request: request.schedule.action.start_workflow.ClearField("task_queue"), "taskQueue is not set"),
    (lambda request: setattr(request.initial_patch, "pause", "x" * 3000), "Schedule notes exceeds limit."),
]


@pytest.mark.parametrize(("spoil", "text"), BAD)
def test_a_schedule_that_could_never_act_is_refused(spoil: Any, text: str) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            request = create_request()
            spoil(request)
            with pytest.raises(Rejected, match=text) as refused:
                await WorkflowService(engine).create_schedule(request)
            assert refused.value.code is StatusCode.INVALID_ARGUMENT

    run_virtual(lambda loop: life(World(loop)))


@virtual
async def test_a_schedule_goes_with_its_namespace(world: World) -> None:
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "id", 3600 * 1_000_000_000))
        connection = WorkflowService(engine)
        request = create_request()
        request.namespace = "shop"
        await connection.create_schedule(request)
        await connection.create_schedule(create_request("other"))
        await minutes(world, 1)
        await engine.namespaces.change("shop", lambda known: replace(known, state=3))
    async with world.engine() as engine:
        engine.pruner.hurry()
        await engine.pruner.passes.reached(engine.pruner.passes.count + 1)
        assert await engine.store.record("schedule", "shop", "nightly") is None
        assert not engine.namespaces.is_taken("shop")
        assert (await describe(WorkflowService(engine), "other")).info.action_count == 1


@virtual
async def test_an_engine_starts_beside_what_was_left_of_a_deleted_namespace(world: World) -> None:
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "id", 3600 * 1_000_000_000))
        request = create_request(overlap=BUFFER_ALL)
        request.namespace = "shop"
        await WorkflowService(engine).create_schedule(request)
        await minutes(world, 2.5)
        await engine.pruner.stop()  # the power goes before the schedule is deleted
        await engine.namespaces.change("shop", lambda known: replace(known, state=3))
    async with world.engine() as engine:
        assert not engine.schedules.watched
        engine.pruner.hurry()
        await engine.pruner.passes.reached(engine.pruner.passes.count + 1)
        assert await engine.store.record("schedule", "shop", "nightly") is None


@virtual
async def test_a_bug_of_the_store_delays_schedules_and_ends_none(world: World) -> None:
    logging.getLogger("perdure.engine.duties.record_waker").disabled = True
    try:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            await connection.create_schedule(create_request(overlap=ALLOW_ALL))
            world.store.breaks = lambda method: method == "due_records"
            await minutes(world, 1.5)
            world.store.breaks = lambda method: False
            await minutes(world, 1)
            assert (await describe(connection)).info.action_count == 2
    finally:
        logging.getLogger("perdure.engine.duties.record_waker").disabled = False


# --- crashes --------------------------------------------------------------------------------------


async def crash_at(world: World, write: int, after: bool) -> tuple[int, list[str]]:
    """Four actions of one minute each, BUFFER_ALL, and the power goes at a write of the store.

    Returns how many writes were seen, and what had begun."""
    writes = 0
    dead = asyncio.Event()
    inner = world.store.inner

    async def counted(method: Any, *arguments: Any) -> Any:
        nonlocal writes
        if dead.is_set():
            raise StoreError("no power")
        writes += 1
        if writes == write and not after:
            dead.set()
            raise StoreError("no power")
        result = await method(*arguments)
        if writes == write:
            dead.set()
            raise StoreError("no power")
        return result

    put, commit = inner.put_records, inner.commit
    begun: list[str] = []
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request(overlap=BUFFER_ALL, limited_actions=True, remaining_actions=4))
        setattr(inner, "put_records", lambda changes: counted(put, changes))
        setattr(inner, "commit", lambda commits: counted(commit, commits))
        async with Hand(connection, naps(20)) as hand:
            waiter = asyncio.create_task(dead.wait())
            await asyncio.wait([waiter], timeout=600)
            waiter.cancel()
            begun += hand.begun
        await engine.abort()
    setattr(inner, "put_records", put)
    setattr(inner, "commit", commit)
    async with world.engine(workers_died=True) as engine:
        connection = WorkflowService(engine)
        async with Hand(connection, naps(20)):
            await minutes(world, 10)
        described = await describe(connection)
        assert described.info.action_count == 4
        assert not described.info.running_workflows and not described.info.buffer_size
        assert {action.start_workflow_status for action in described.info.recent_actions} == {COMPLETED}
        runs = await connection.list_workflow_executions(
            service.ListWorkflowExecutionsRequest(namespace="default", page_size=100)
        )
        ids = Counter(one.execution.workflow_id for one in runs.executions)
        assert len(ids) == 4 and set(ids.values()) == {1}, ids
    return writes, begun


def crash(write: int, after: bool, seed: int = 1) -> int:
    async def life(loop: VirtualTimeLoop) -> int:
        return (await crash_at(World(loop, seed), write, after))[0]

    return run_virtual(life)


def test_power_may_go_at_any_write_and_each_action_happens_once() -> None:
    total = crash(0, after=False)
    assert total > 20
    for write in range(1, total + 1):
        for after in (False, True):
            crash(write, after)

"""Records: written together, refused alone, parked when they cannot be carried out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import BatchOperationState
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.schedule.machine import Machine
from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.stores.api import Record, RecordChange
from tests.engine.test_mailboxes import start
from tests.engine.test_schedules import Hand, create_request, describe, patch_request
from tests.engine.world import World, virtual, virtual_logged

NOT_A_RECORD = b"\xc1"


def change(name: str, wake_at_ns: int | None = None, data: bytes = b"", kind: str = "note") -> RecordChange:
    return RecordChange(kind, "default", name, 0, data, wake_at_ns)


# --- written together ---------------------------------------------------------------------------------


@virtual
async def test_changes_that_are_ready_together_are_one_transaction(world: World) -> None:
    async with world.engine() as engine:
        before = engine.metrics().record_batches
        assert all(await asyncio.gather(*[engine.records.put(change(f"a-{number}")) for number in range(200)]))
        assert engine.metrics().record_batches - before <= 2
        conflicts = await asyncio.gather(*[engine.records.put(change(f"a-{number}")) for number in range(3)])
        assert conflicts == [False] * 3


@virtual
async def test_a_change_that_cannot_be_stored_is_refused_alone(world: World) -> None:
    async with world.engine() as engine:
        changes = [change("a"), change("late", 2**63), change("b", 5)]
        results = await asyncio.gather(*[engine.records.put(one) for one in changes], return_exceptions=True)
        assert results[::2] == [True, True]
        assert isinstance(results[1], Rejected)
        assert results[1].code is StatusCode.INVALID_ARGUMENT


@virtual
async def test_a_store_that_fails_or_breaks_tells_whoever_waits(world: World) -> None:
    async with world.engine() as engine:
        world.store.fails = lambda method: method == "put_records"
        with pytest.raises(Rejected, match="on fire") as refused:
            await engine.records.put(change("a"))
        assert refused.value.code is StatusCode.UNAVAILABLE
        world.store.fails = lambda method: False
        broken = [True]
        world.store.breaks = lambda method: method == "put_records" and bool(broken) and broken.pop()
        assert await asyncio.gather(*[engine.records.put(change(name)) for name in "abcd"]) == [True] * 4
        world.store.breaks = lambda method: method == "put_records"
        with pytest.raises(Rejected) as broke:
            await engine.records.put(change("e"))
        assert broke.value.code is StatusCode.INTERNAL


@virtual
async def test_who_was_slower_decides_again_on_what_is_stored_then(world: World) -> None:
    async with world.engine() as engine:
        records, seen = engine.records, list[tuple[int, bytes]]()

        def append(stored: Record | None) -> tuple[RecordChange | None, int]:
            assert stored is not None
            seen.append((stored.version, stored.data))
            return stored.change(stored.data + b"+"), stored.version

        assert await records.put(change("a", data=b"a"))
        first = await records.get("note", "default", "a")
        stored, decided_on = await records.change("note", "default", "a", append, first)
        assert (stored, decided_on) == (await records.get("note", "default", "a"), 1)
        world.store.calls.clear()
        stored, _ = await records.change("note", "default", "a", append, stored)
        assert world.store.calls == ["put_records"], "what the last change left is as good as a read"
        seen.clear()
        stored, decided_on = await records.change("note", "default", "a", append, first)
        assert seen == [(1, b"a"), (3, b"a++")], "the first was old"
        assert stored == await records.get("note", "default", "a")
        gone, _ = await records.change("note", "default", "a", lambda record: (record and record.change(None), None))
        assert gone is None is await records.get("note", "default", "a")


@virtual
async def test_a_record_that_is_always_changed_by_somebody_else_is_left_to_them(world: World) -> None:
    async with world.engine(conflict_tries_max=3) as engine:
        tries: list[None] = []

        def too_late(stored: Record | None) -> tuple[RecordChange | None, None]:
            tries.append(None)
            return RecordChange("note", "default", "a", 7, b""), None

        with pytest.raises(Rejected, match="Note 'a' is being changed too often") as refused:
            await engine.records.change("note", "default", "a", too_late)
        assert refused.value.code is StatusCode.UNAVAILABLE
        assert len(tries) == 3


@virtual
async def test_who_waits_while_the_engine_stops_is_told(world: World) -> None:
    async with world.engine() as engine:
        stuck: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def hang(changes: Any) -> Any:
            await stuck

        setattr(world.store, "put_records", hang)
        waiting = [asyncio.ensure_future(engine.records.put(change(name))) for name in "ab"]
        await asyncio.sleep(1)
        await engine.records.stop()
        for call in waiting:
            with pytest.raises(Rejected, match="stopping"):
                await call
        with pytest.raises(Rejected, match="stopping"):
            await engine.records.put(change("c"))
        delattr(world.store, "put_records")


# --- parked -------------------------------------------------------------------------------------------


def break_one(engine: Engine, name: str, is_broken: list[bool]) -> None:
    """As long as there is something in `is_broken`, that schedule's law raises."""
    machine_of = engine.schedules._machine

    def machine(record: Any) -> Machine:
        made = machine_of(record)
        if record.name == name and is_broken and not made.state.parked:

            def raises(now_ns: int) -> None:
                raise OverflowError("a time beyond all times")

            setattr(made, "advance", raises)
        return made

    setattr(engine.schedules, "_machine", machine)


@virtual_logged
async def test_a_schedule_that_cannot_be_carried_out_is_parked_and_says_why(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        is_broken = [True]
        break_one(engine, "bad", is_broken)
        for name in ("bad", "good"):
            request = create_request(name)
            request.schedule.action.start_workflow.workflow_id = name
            await connection.create_schedule(request)
        async with Hand(connection) as hand:
            await asyncio.sleep(600)
            assert len([one for one in hand.begun if one.startswith("good")]) == 10, "its neighbour is on time"
            described = await describe(connection, "bad")
            assert described.info.invalid_schedule_error == "OverflowError: a time beyond all times"
            assert described.schedule.state.paused
            assert "a time beyond all times" in described.schedule.state.notes
            assert engine.metrics().parked_records == 1
            assert sum(record.exc_info is not None for record in caplog.records) == 1, "one traceback"
            assert sum("'bad' is parked" in record.getMessage() for record in caplog.records) == 1
            await asyncio.sleep(6000)
            assert engine.metrics().parked_records == 1
            listed = await connection.list_schedules(service.ListSchedulesRequest(namespace="default"))
            assert [entry.schedule_id for entry in listed.schedules] == ["bad", "good"]
            assert listed.schedules[0].info.paused
            is_broken.clear()
            await connection.patch_schedule(patch_request("bad", unpause="mended"))
            await asyncio.sleep(120)
            assert [one for one in hand.begun if one.startswith("bad")]
            assert not (await describe(connection, "bad")).info.invalid_schedule_error


@virtual
async def test_a_record_that_cannot_be_read_keeps_neither_an_engine_nor_a_list_from_working(world: World) -> None:
    async with world.engine() as engine:
        now_ns = world.clock.now_ns()
        await engine.records.put(change("broken", now_ns, NOT_A_RECORD, "schedule"))
        await engine.records.put(change("broken", now_ns, NOT_A_RECORD, "batch"))
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request("sound"))
        await asyncio.sleep(120)
        assert engine.metrics().parked_records == 2
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        listed = await connection.list_schedules(service.ListSchedulesRequest(namespace="default"))
        assert [entry.schedule_id for entry in listed.schedules] == ["broken", "sound"]
        assert "cannot be read" in listed.schedules[0].info.notes
        assert "cannot be read" in (await describe(connection, "broken")).schedule.state.notes
        assert (await connection.count_schedules(service.CountSchedulesRequest(namespace="default"))).count == 2
        with pytest.raises(Rejected) as refused:
            await connection.patch_schedule(patch_request("broken", pause="now"))
        assert refused.value.code is StatusCode.DATA_LOSS
        await connection.delete_schedule(service.DeleteScheduleRequest(namespace="default", schedule_id="broken"))
        batches = await connection.list_batch_operations(service.ListBatchOperationsRequest(namespace="default"))
        assert [(one.job_id, one.state) for one in batches.operation_info] == [("broken", FAILED)]
        described = await connection.describe_batch_operation(
            service.DescribeBatchOperationRequest(namespace="default", job_id="broken")
        )
        assert "cannot be read" in described.reason


FAILED = BatchOperationState.BATCH_OPERATION_STATE_FAILED


@virtual
async def test_a_start_that_only_meets_faults_parks_its_schedule_and_one_that_is_refused_does_not(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        world.store.refuses = lambda commit: commit.key.workflow_id.startswith("refused")
        world.store.chokes = lambda commit: commit.key.workflow_id.startswith("faulty")
        for name in ("refused", "faulty"):
            request = create_request(name)
            request.schedule.action.start_workflow.workflow_id = name
            await connection.create_schedule(request)
        await asyncio.sleep(200)
        faulty = await describe(connection, "faulty")
        assert "a bug of the store" in faulty.info.invalid_schedule_error
        assert faulty.schedule.state.paused
        assert not (await describe(connection, "refused")).schedule.state.paused
        world.store.refuses = world.store.chokes = lambda commit: False
        await connection.patch_schedule(patch_request("faulty", unpause="mended"))
        await asyncio.sleep(61)
        for name in ("refused", "faulty"):
            assert (await describe(connection, name)).info.action_count >= 1, name


@virtual
async def test_the_end_of_a_run_that_cannot_be_read_does_not_stop_its_schedule(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        unreadable = Rejected(StatusCode.DATA_LOSS, "a bit was flipped")

        async def event(*_: Any) -> Any:
            raise unreadable

        read = engine.histories.event
        async with Hand(connection):
            await connection.create_schedule(create_request())
            await asyncio.sleep(30)
            setattr(engine.schedules._histories, "event", event)
            await asyncio.sleep(60 + 40)
            assert not (await describe(connection)).info.running_workflows, "it is over, however it ended"
            setattr(engine.schedules._histories, "event", read)
            await asyncio.sleep(60)
            assert (await describe(connection)).info.action_count >= 2


@virtual
async def test_a_fault_in_one_operation_of_a_batch_fails_that_one(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for name in ("a", "b", "c"):
            await engine.submit("default", name, None, start(name))
        perform = engine.front.perform
        assert perform is not None

        async def fragile(principal: Any, request: Any, workflow_id: str, run_id: str, request_id: str) -> None:
            if workflow_id == "b":
                raise ZeroDivisionError("a bug")
            await perform(principal, request, workflow_id, run_id, request_id)

        engine.front.perform = fragile
        request = service.StartBatchOperationRequest(namespace="default", job_id="all", reason="test")
        request.visibility_query = 'WorkflowType = "fulfil"'
        request.signal_operation.signal = "go"
        await connection.start_batch_operation(request)
        await asyncio.sleep(10)
        described = await connection.describe_batch_operation(
            service.DescribeBatchOperationRequest(namespace="default", job_id="all")
        )
        assert (described.complete_operation_count, described.failure_operation_count) == (2, 1)


@virtual
async def test_a_batch_that_cannot_be_carried_out_has_failed_and_says_why(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)

        async def broken(*_: Any) -> Any:
            raise ZeroDivisionError("no page is found")

        setattr(engine.batches, "_targets", broken)
        request = service.StartBatchOperationRequest(namespace="default", job_id="all", reason="test")
        request.visibility_query = 'WorkflowType = "fulfil"'
        request.signal_operation.signal = "go"
        await connection.start_batch_operation(request)
        await asyncio.sleep(60)
        described = await connection.describe_batch_operation(
            service.DescribeBatchOperationRequest(namespace="default", job_id="all")
        )
        assert described.state == FAILED
        assert described.reason == "cannot be carried out: ZeroDivisionError: no page is found"


@virtual_logged
async def test_an_outage_parks_nothing_and_is_told_of_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        async with Hand(connection):
            await connection.create_schedule(create_request())
            world.store.fails = lambda method: method == "put_records"
            await asyncio.sleep(600)
            assert engine.metrics().parked_records == 0
            assert sum("'nightly'" in record.getMessage() for record in caplog.records) == 1
            world.store.fails = lambda method: False
            await asyncio.sleep(2)
            assert (await describe(connection)).info.action_count >= 1

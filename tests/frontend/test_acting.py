"""What acts later in somebody's name, a schedule or a batch operation, does so as that somebody: through the chain."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from temporalio.api.batch.v1 import BatchOperationReset, BatchOperationSignal
from temporalio.api.enums.v1 import ResetType
from temporalio.api.schedule.v1 import TriggerImmediatelyRequest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.core import batch as batches
from perdure.core.principal import ANONYMOUS, Principal
from perdure.core.schedule import state as schedules
from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.frontend.calls import Call, Origin
from perdure.frontend.chain import Chain
from tests.engine.test_schedules import (
    CANCEL_OTHER,
    TERMINATE_OTHER,
    Hand,
    create_request,
    describe,
    minutes,
    naps,
    patch_request,
)
from tests.engine.world import World, completion, history, names, virtual, virtual_logged, workflow_poll
from tests.frontend.given import Witness
from tests.frontend.test_batches import COMPLETED, TERMINATION, batch_request, counts, finished, orders

ALICE = Principal("alice", "10.0.0.7:1234")
BOB = Principal("bob", "10.0.0.8:1234")


def by(principal: Principal, rpc: str) -> Call:
    return Call(rpc, Origin.FAR, principal)


def behind(engine: Engine, witness: Witness) -> WorkflowService:
    return WorkflowService(engine, Chain(engine, (witness,)))


def acts(witness: Witness) -> list[tuple[str, str, str]]:
    """What records did: RPC, principal and namespace."""
    return [(call.rpc, call.principal.name, call.namespace) for call in witness.calls if call.origin is Origin.RECORD]


# --- batch operations -----------------------------------------------------------------------------


@virtual
async def test_a_batch_acts_for_who_made_it_also_after_a_restart(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        await orders(connection, 2)
        slow = batch_request(max_operations_per_second=0.1, **TERMINATION)
        await connection.start_batch_operation(slow, by(ALICE, "StartBatchOperation"))
        await engine.batches.pages.reached(1)
    async with world.engine() as engine:
        assert counts(await finished(behind(engine, witness)))[1] == 2
    assert acts(witness) == [("TerminateWorkflowExecution", "alice", "default")] * 2


@virtual_logged
async def test_what_its_maker_may_not_do_any_more_a_batch_cannot_do(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        ids = await orders(connection, 2)
        witness.refused.add("alice")
        with pytest.raises(Rejected, match="unauthorized"):
            await connection.start_batch_operation(batch_request(**TERMINATION), by(ALICE, "StartBatchOperation"))
        await engine.batches.start(batch_request(**TERMINATION), ALICE)  # made before she was
        answer = await finished(connection)
        assert (answer.state, counts(answer)) == (COMPLETED, (2, 0, 2)), "every execution counts as failed"
        assert "batch operation 'job' of alice: 'order-1' failed: Request unauthorized." in log.text
        for workflow_id in ids:
            assert "WORKFLOW_EXECUTION_TERMINATED" not in names(await history(connection, workflow_id))
        await connection.start_batch_operation(batch_request("other", **TERMINATION), by(BOB, "StartBatchOperation"))
        assert counts(await finished(connection, "other")) == (2, 2, 0)


@virtual
async def test_every_operation_of_a_batch_passes_the_chain(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        await orders(connection, 1)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token))
        operations: list[dict[str, Any]] = [
            {"signal_operation": BatchOperationSignal(signal="go")},
            {"reset_operation": BatchOperationReset(reset_type=ResetType.RESET_TYPE_LAST_WORKFLOW_TASK)},
            TERMINATION,
        ]
        for number, operation in enumerate(operations):
            request = batch_request(str(number), **operation)
            await connection.start_batch_operation(request, by(ALICE, "StartBatchOperation"))
            await finished(connection, str(number))
    rpcs = [rpc for rpc, principal, _ in acts(witness) if principal == "alice"]
    assert set(rpcs) == {"SignalWorkflowExecution", "ResetWorkflowExecution", "TerminateWorkflowExecution"}


# --- schedules ------------------------------------------------------------------------------------


@virtual
async def test_a_schedule_acts_for_who_made_it_also_after_a_restart(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        await behind(engine, witness).create_schedule(create_request(), by(ALICE, "CreateSchedule"))
    async with world.engine() as engine, Hand(behind(engine, witness)):
        await minutes(world, 2.5)
    assert acts(witness) == [("StartWorkflowExecution", "alice", "default")] * 2


@virtual_logged
async def test_what_its_maker_may_not_do_any_more_a_schedule_cannot_do(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        await connection.create_schedule(create_request(), by(ALICE, "CreateSchedule"))
        async with Hand(connection) as hand:
            await minutes(world, 1.5)
            witness.refused.add("alice")
            await minutes(world, 2)
            assert len(hand.begun) == 1 == (await describe(connection)).info.action_count
            assert "schedule 'nightly' of alice: 'bill-" in log.text
            assert "was not started: Request unauthorized." in log.text
            witness.refused.clear()
            await minutes(world, 1)
            assert len(hand.begun) == 2, "it goes on when she may again"


@virtual
async def test_who_updates_a_schedule_is_who_it_acts_for_and_who_triggers_it_is_not(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        created = create_request(every_s=3600)
        await connection.create_schedule(created, by(ALICE, "CreateSchedule"))
        async with Hand(connection):
            trigger = patch_request(trigger_immediately=TriggerImmediatelyRequest())
            await connection.patch_schedule(trigger, by(BOB, "PatchSchedule"))
            await minutes(world, 0.1)
            update = service.UpdateScheduleRequest(
                namespace="default", schedule_id="nightly", schedule=created.schedule
            )
            await connection.update_schedule(update, by(BOB, "UpdateSchedule"))
            await connection.patch_schedule(trigger, by(ALICE, "PatchSchedule"))
            await minutes(world, 0.1)
    assert [principal for _, principal, _ in acts(witness)] == ["alice", "bob"]


@pytest.mark.parametrize(
    ("overlap", "rpc", "event"),
    [
        (CANCEL_OTHER, "RequestCancelWorkflowExecution", "WORKFLOW_EXECUTION_CANCEL_REQUESTED"),
        (TERMINATE_OTHER, "TerminateWorkflowExecution", "WORKFLOW_EXECUTION_TERMINATED"),
    ],
)
def test_a_schedule_stops_runs_for_who_made_it(
    overlap: int, rpc: str, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    @virtual_logged
    async def scenario(world: World, log: pytest.LogCaptureFixture) -> None:
        witness = Witness(rpc)
        async with world.engine() as engine:
            connection = behind(engine, witness)
            await connection.create_schedule(create_request(overlap=overlap), by(ALICE, "CreateSchedule"))
            async with Hand(connection, naps(3600)) as hand:
                await minutes(world, 2.5)
                assert (rpc, "alice", "default") in acts(witness)
                assert "was not stopped: Request unauthorized." in log.text
                assert event not in names(await history(connection, hand.begun[0]))
                witness.refused.clear()
                await minutes(world, 1)
                assert event in names(await history(connection, hand.begun[0]))

    scenario(caplog)


# --- records --------------------------------------------------------------------------------------


def test_records_from_before_principals_were_kept_are_read_as_nobodys() -> None:
    batch = batches.Batch("uid", b"", 1, 2, principal=ALICE)
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(batches.encode(batch))[:-1])
    assert batches.decode(older).principal == ANONYMOUS
    assert batches.decode(batches.encode(batch)).principal == ALICE
    state = schedules.State("uid", b"", 1, 2, principal=BOB)
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(schedules.encode(state))[:-1])
    assert schedules.decode(older).principal == ANONYMOUS
    assert schedules.decode(schedules.encode(state)).principal == BOB


def test_a_principal_says_who_it_is() -> None:
    assert [str(one) for one in (ALICE, Principal(address="10.0.0.7:1"), ANONYMOUS)] == [
        "alice",
        "anonymous at 10.0.0.7:1",
        "anonymous",
    ]


@virtual
async def test_a_second_front_with_other_checks_is_refused(world: World) -> None:
    """Its batches and schedules would be judged by whichever came last."""
    witness = Witness()
    async with world.engine() as engine:
        behind(engine, witness)
        behind(engine, witness)
        for other in ((), (Witness(),), (witness, Witness())):
            with pytest.raises(RuntimeError, match="another front"):
                WorkflowService(engine, Chain(engine, other))


@virtual
async def test_an_error_of_an_interceptor_is_no_refusal(world: World) -> None:
    """It is tried again, and then the schedule is parked and says why: as with any fault of the engine's own."""

    async def broken(call: Call, request: Any, proceed: Any) -> Any:
        if call.origin is Origin.RECORD:
            raise ZeroDivisionError("a bug")
        return await proceed(call, request)

    async with world.engine() as engine:
        connection = WorkflowService(engine, Chain(engine, (broken,)))
        await connection.create_schedule(create_request())
        await asyncio.sleep(7200)
        assert "a bug" in (await describe(connection)).info.invalid_schedule_error

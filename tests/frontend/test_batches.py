"""Batch operations: one thing done to many executions, at a rate, through restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.batch.v1 import (
    BatchOperationCancelActivities,
    BatchOperationCancellation,
    BatchOperationDeletion,
    BatchOperationReset,
    BatchOperationSignal,
    BatchOperationTermination,
    BatchOperationUnpauseActivities,
    BatchOperationUpdateWorkflowExecutionOptions,
)
from temporalio.api.common.v1 import ResetOptions, WorkflowExecution
from temporalio.api.enums.v1 import BatchOperationState, BatchOperationType, ResetType
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from perdure.testing import run_virtual
from tests.engine.world import (
    Worker,
    World,
    completion,
    describe_request,
    history,
    names,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

QUERY = "WorkflowType = 'fulfil'"
COMPLETED = BatchOperationState.BATCH_OPERATION_STATE_COMPLETED
FAILED = BatchOperationState.BATCH_OPERATION_STATE_FAILED
RUNNING = BatchOperationState.BATCH_OPERATION_STATE_RUNNING
TERMINATION: dict[str, Any] = {"termination_operation": BatchOperationTermination(identity="operator")}


def batch_request(job_id: str = "job", query: str = QUERY, **fields: Any) -> service.StartBatchOperationRequest:
    return service.StartBatchOperationRequest(
        namespace="default", job_id=job_id, reason="spring cleaning", visibility_query=query, **fields
    )


async def orders(connection: WorkflowService, count: int) -> list[str]:
    ids = [f"order-{number}" for number in range(count)]
    for workflow_id in ids:
        await connection.start_workflow_execution(start_request(workflow_id))
    return ids


async def described(connection: WorkflowService, job_id: str = "job") -> service.DescribeBatchOperationResponse:
    return await connection.describe_batch_operation(
        service.DescribeBatchOperationRequest(namespace="default", job_id=job_id)
    )


async def finished(connection: WorkflowService, job_id: str = "job") -> service.DescribeBatchOperationResponse:
    return await reached(connection, job_id, lambda answer: answer.state != RUNNING)


async def reached(
    connection: WorkflowService, job_id: str, is_so: Callable[[service.DescribeBatchOperationResponse], bool]
) -> service.DescribeBatchOperationResponse:
    """Look every tenth of a virtual second."""
    for _ in range(10_000):
        answer = await described(connection, job_id)
        if is_so(answer):
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError("it never came to that")


async def last_events(connection: WorkflowService, ids: Sequence[str]) -> set[str]:
    return {names(await history(connection, workflow_id))[-1] for workflow_id in ids}


def counts(answer: service.DescribeBatchOperationResponse) -> tuple[int, int, int]:
    return answer.total_operation_count, answer.complete_operation_count, answer.failure_operation_count


@pytest.mark.parametrize(
    ("operation", "kind", "last"),
    [
        (TERMINATION, "TERMINATE_WORKFLOW", "WORKFLOW_EXECUTION_TERMINATED"),
        (
            {"cancellation_operation": BatchOperationCancellation(identity="operator")},
            "CANCEL_WORKFLOW",
            "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
        ),
        (
            {"signal_operation": BatchOperationSignal(identity="operator", signal="hurry")},
            "SIGNAL_WORKFLOW",
            "WORKFLOW_EXECUTION_SIGNALED",
        ),
    ],
)
def test_what_a_query_finds_is_done_to_each(operation: dict[str, Any], kind: str, last: str) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            ids = await orders(connection, 250)
            await connection.start_batch_operation(batch_request(**operation))
            answer = await finished(connection)
            assert (answer.state, counts(answer)) == (COMPLETED, (250, 250, 0))
            assert BatchOperationType.Name(answer.operation_type) == f"BATCH_OPERATION_TYPE_{kind}"
            assert (answer.identity, answer.reason, answer.query) == ("operator", "spring cleaning", QUERY)
            events = [await history(connection, workflow_id) for workflow_id in ids]
            assert all(last in names(one) for one in events)
            assert all(names(one).count(last) == 1 for one in events)

    run_virtual(lambda loop: life(World(loop)))


@virtual
async def test_deletion_also_means_what_is_closed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        ids = await orders(connection, 3)
        await connection.start_batch_operation(batch_request("end", "WorkflowId = 'order-0'", **TERMINATION))
        await finished(connection, "end")
        await connection.start_batch_operation(
            batch_request(deletion_operation=BatchOperationDeletion(identity="operator"))
        )
        assert counts(await finished(connection)) == (3, 3, 0)
        for workflow_id in ids:
            with pytest.raises(Rejected) as refused:
                await connection.describe_workflow_execution(describe_request(workflow_id))
            assert refused.value.code is StatusCode.NOT_FOUND


@pytest.mark.parametrize("to", [ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK, ResetType.RESET_TYPE_LAST_WORKFLOW_TASK])
def test_a_reset_begins_each_anew(to: Any) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            ids = await orders(connection, 3)
            worker = Worker(connection).start()
            await asyncio.sleep(10)
            await worker.stop()
            assert await last_events(connection, ids) == {"WORKFLOW_EXECUTION_COMPLETED"}
            operation = BatchOperationReset(identity="operator", reset_type=to)
            await connection.start_batch_operation(batch_request(reset_operation=operation))
            assert counts(await finished(connection)) == (3, 3, 0)
            for workflow_id in ids:
                happened = names(await history(connection, workflow_id))
                activities = happened.count("ACTIVITY_TASK_COMPLETED")
                assert activities == (0 if to == ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK else 2)
                assert "WORKFLOW_EXECUTION_COMPLETED" not in happened

    run_virtual(lambda loop: life(World(loop)))


@virtual
async def test_options_of_many_are_changed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        ids = await orders(connection, 3)
        operation = BatchOperationUpdateWorkflowExecutionOptions(update_mask=FieldMask(paths=["versioning_override"]))
        override = operation.workflow_execution_options.versioning_override
        override.auto_upgrade = True
        await connection.start_batch_operation(batch_request(update_workflow_options_operation=operation))
        assert counts(await finished(connection)) == (3, 3, 0)
        for workflow_id in ids:
            info = (await connection.describe_workflow_execution(describe_request(workflow_id))).workflow_execution_info
            assert info.versioning_info.versioning_override.auto_upgrade


@virtual
async def test_one_that_cannot_be_reset_counts_as_failed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await orders(connection, 2)
        operation = BatchOperationReset(options=ResetOptions(last_workflow_task=Empty()))
        await connection.start_batch_operation(batch_request(reset_operation=operation))
        answer = await finished(connection)
        assert (answer.state, counts(answer)) == (COMPLETED, (2, 0, 2))


@virtual
async def test_one_that_the_engine_fails_at_does_not_keep_the_others_waiting(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await orders(connection, 3)
        perform = engine.front.perform
        assert perform is not None

        async def broken(principal: Any, request: Any, workflow_id: str, *rest: Any) -> None:
            if workflow_id == "order-1":
                raise Rejected(StatusCode.INTERNAL, "Reading the execution failed.")
            await perform(principal, request, workflow_id, *rest)

        engine.front.perform = broken
        await connection.start_batch_operation(batch_request(**TERMINATION))
        answer = await finished(connection)
        assert (answer.state, answer.complete_operation_count, answer.failure_operation_count) == (COMPLETED, 2, 1)


@virtual
async def test_activities_of_many_are_unpaused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        ids = await orders(connection, 3)
        for _ in ids:
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token, schedule("charge-it")))
        for workflow_id in ids:
            pause = service.PauseActivityRequest(namespace="default", id="charge-it")
            pause.execution.workflow_id = workflow_id
            await connection.pause_activity(pause)
        operation = BatchOperationUnpauseActivities(identity="operator", match_all=True)
        await connection.start_batch_operation(batch_request(unpause_activities_operation=operation))
        assert counts(await finished(connection)) == (3, 3, 0)
        for workflow_id in ids:
            answer = await connection.describe_workflow_execution(describe_request(workflow_id))
            assert [activity.paused for activity in answer.pending_activities] == [False]


@virtual
async def test_executions_may_be_listed_and_those_that_are_not_there_are_done_with(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await orders(connection, 2)
        listed = [WorkflowExecution(workflow_id="order-0"), WorkflowExecution(workflow_id="nobody")]
        await connection.start_batch_operation(batch_request(query="", executions=listed, **TERMINATION))
        answer = await finished(connection)
        assert (answer.state, counts(answer)) == (COMPLETED, (2, 2, 0))
        assert [one.business_id for one in answer.executions] == ["order-0", "nobody"]
        assert await last_events(connection, ["order-1"]) == {"WORKFLOW_TASK_SCHEDULED"}


@virtual
async def test_a_rate_is_kept_and_a_stop_stops(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await orders(connection, 20)
        began = world.clock.now_ns()
        await connection.start_batch_operation(batch_request(max_operations_per_second=0.5, **TERMINATION))
        await reached(connection, "job", lambda answer: answer.complete_operation_count == 5)
        assert 8e9 <= world.clock.now_ns() - began <= 9e9
        stop = service.StopBatchOperationRequest(namespace="default", job_id="job", reason="enough", identity="boss")
        await connection.stop_batch_operation(stop)
        await asyncio.sleep(60)
        answer = await described(connection)
        assert (answer.state, answer.reason, counts(answer)) == (FAILED, "enough", (20, 5, 0))
        with pytest.raises(Rejected, match="has ended"):
            await connection.stop_batch_operation(stop)


@virtual
async def test_a_restart_goes_on_where_it_was_and_signals_nobody_twice(world: World) -> None:
    signal: dict[str, Any] = {"signal_operation": BatchOperationSignal(signal="hurry")}
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        ids = await orders(connection, 30)
        await connection.start_batch_operation(batch_request(max_operations_per_second=10, **signal))
        await engine.batches.pages.reached(2)
        world.store.fails = lambda method: method == "put_records"
        await engine.batches.pages.reached(2)
        await asyncio.sleep(3)
        await engine.abort()
    world.store.fails = lambda method: False
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        assert counts(await finished(connection)) == (30, 30, 0)
        for workflow_id in ids:
            assert names(await history(connection, workflow_id)).count("WORKFLOW_EXECUTION_SIGNALED") == 1


@virtual
async def test_lists_and_forgetting(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for job_id in ("a", "b", "c"):
            await connection.start_batch_operation(batch_request(job_id, **TERMINATION))
            await finished(connection, job_id)
        request = service.ListBatchOperationsRequest(namespace="default", page_size=2)
        first = await connection.list_batch_operations(request)
        request.next_page_token = first.next_page_token
        second = await connection.list_batch_operations(request)
        assert [one.job_id for one in (*first.operation_info, *second.operation_info)] == ["a", "b", "c"]
        assert {one.state for one in first.operation_info} == {COMPLETED}
        await asyncio.sleep(31 * 86_400)
        assert not (
            await connection.list_batch_operations(service.ListBatchOperationsRequest(namespace="default"))
        ).operation_info


@virtual
async def test_only_so_many_at_a_time(world: World) -> None:
    async with world.engine(batches_max=1) as engine:
        connection = WorkflowService(engine)
        await orders(connection, 2)
        await connection.start_batch_operation(batch_request("slow", max_operations_per_second=0.1, **TERMINATION))
        with pytest.raises(Rejected, match="Max concurrent batch operations is reached") as refused:
            await connection.start_batch_operation(batch_request("other", **TERMINATION))
        assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED


BAD: list[tuple[dict[str, Any], StatusCode, str]] = [
    ({}, StatusCode.INVALID_ARGUMENT, "must provide required parameters"),
    ({"query": "", **TERMINATION}, StatusCode.INVALID_ARGUMENT, "must provide required parameters"),
    (
        {"executions": [WorkflowExecution(workflow_id="a")], **TERMINATION},
        StatusCode.INVALID_ARGUMENT,
        "mutually exclusive",
    ),
    ({"query": "bogus bogus", **TERMINATION}, StatusCode.INVALID_ARGUMENT, "invalid visibility query"),
    ({"query": "ORDER BY StartTime", **TERMINATION}, StatusCode.INVALID_ARGUMENT, "only conditions are allowed"),
    ({"job_id": "", **TERMINATION}, StatusCode.INVALID_ARGUMENT, "JobId is not set on request."),
    ({"signal_operation": BatchOperationSignal()}, StatusCode.INVALID_ARGUMENT, "must provide signal name"),
    ({"reset_operation": BatchOperationReset()}, StatusCode.INVALID_ARGUMENT, "unknown batch reset type Unspecified"),
    ({"max_operations_per_second": -1, **TERMINATION}, StatusCode.INVALID_ARGUMENT, "is negative"),
    (
        {"query": "", "executions": [WorkflowExecution(workflow_id="a")] * 1001, **TERMINATION},
        StatusCode.INVALID_ARGUMENT,
        "too many executions",
    ),
]


@pytest.mark.parametrize(("fields", "code", "text"), BAD)
def test_refusals(fields: dict[str, Any], code: StatusCode, text: str) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            with pytest.raises(Rejected, match=text) as refused:
                await WorkflowService(engine).start_batch_operation(batch_request(**fields))
            assert refused.value.code is code

    run_virtual(lambda loop: life(World(loop)))


@virtual
async def test_what_this_server_cannot_do_to_one_it_refuses_for_many(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        beyond: list[tuple[dict[str, Any], str]] = [
            ({"reset_operation": BatchOperationReset(options=ResetOptions(build_id="old"))}, "by build id"),
            ({"cancel_activities_operation": BatchOperationCancelActivities()}, "cancel_activities_operation"),
        ]
        for operation, text in beyond:
            with pytest.raises(Rejected, match=text) as refused:
                await connection.start_batch_operation(batch_request(**operation))
            assert refused.value.code is StatusCode.UNIMPLEMENTED


@virtual
async def test_an_id_is_used_once_and_an_unknown_one_is_not_found(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_batch_operation(batch_request(**TERMINATION))
        with pytest.raises(Rejected) as refused:
            await connection.start_batch_operation(batch_request(**TERMINATION))
        assert refused.value.code is StatusCode.ALREADY_EXISTS
        with pytest.raises(Rejected) as refused:
            await described(connection, "nobody")
        assert refused.value.code is StatusCode.NOT_FOUND
        with pytest.raises(Rejected, match="Reason is not set"):
            await connection.stop_batch_operation(service.StopBatchOperationRequest(namespace="default", job_id="job"))

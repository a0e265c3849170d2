"""Numbers in schedules, namespaces, batches, lists and search attributes: as in `test_numbers`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.batch.v1 import BatchOperationTermination
from temporalio.api.common.v1 import RetryPolicy as RetryPolicyMessage
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice import v1 as service

from perdure.api.backoff import RetryPolicy, backoff_ns
from perdure.api.bounds import DURATION_MAX_S
from perdure.api.errors import Rejected
from perdure.api.times import LONG_MAX
from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from perdure.stores.api import Namespace
from perdure.testing import VirtualClock
from tests.engine.world import (
    World,
    completion,
    describe_request,
    history,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)
from tests.frontend.test_numbers import FEW, INVALID, LONG, command, refused

# --- schedules ------------------------------------------------------------------------------------


KEYWORD_LIST = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST


def schedule_request(change: Callable[[service.CreateScheduleRequest], Any]) -> service.CreateScheduleRequest:
    request = service.CreateScheduleRequest(namespace="default", schedule_id="s", request_id="r")
    action = request.schedule.action.start_workflow
    action.workflow_id, action.workflow_type.name, action.task_queue.name = "w", "t", "q"
    request.schedule.spec.interval.add().interval.seconds = 3600
    change(request)
    return request


def spec(request: service.CreateScheduleRequest) -> Any:
    return request.schedule.spec


def first(request: service.CreateScheduleRequest) -> Any:
    return spec(request).interval[0]


def backfill(request: service.CreateScheduleRequest) -> Any:
    return request.initial_patch.backfill_request.add()


ENDLESS = RetryPolicyMessage(backoff_coefficient=math.inf)

SCHEDULES: list[tuple[Callable[[service.CreateScheduleRequest], Any], str]] = [
    (lambda r: first(r).interval.CopyFrom(Duration(seconds=10**10)), "interval is not a valid duration: 10000000000 s"),
    (lambda r: first(r).interval.CopyFrom(LONG[2]), "interval is not a valid duration"),
    (lambda r: first(r).interval.CopyFrom(Duration(seconds=-1)), "interval is too small"),
    (
        lambda r: first(r).interval.CopyFrom(Duration(seconds=9, nanos=-1)),
        "interval.interval: duration has seconds",
    ),
    (lambda r: first(r).phase.CopyFrom(LONG[2]), "phase cannot be greater than Interval"),
    (lambda r: spec(r).jitter.CopyFrom(Duration(nanos=10**9)), "spec.jitter: duration has out-of-range nanos"),
    (lambda r: spec(r).start_time.CopyFrom(Timestamp(seconds=99_999_999_999)), "start time is later than any action"),
    (lambda r: spec(r).start_time.CopyFrom(Timestamp(seconds=10**12)), "before year 1 or after year 9999"),
    (lambda r: spec(r).end_time.CopyFrom(Timestamp(nanos=-1)), "spec.end_time: timestamp has out-of-range nanos"),
    (lambda r: spec(r).cron_string.append("@every " + "9" * 4000 + "s"), "invalid duration"),
    (lambda r: setattr(r.schedule.state, "remaining_actions", -1), "remaining_actions is negative: -1"),
    (lambda r: backfill(r).end_time.CopyFrom(Timestamp(seconds=-LONG_MAX)), "backfill_request.end_time: timestamp is"),
    (lambda r: [backfill(r) for _ in range(1001)], "too many backfills: 1001 > 1000"),
    (
        lambda r: r.initial_patch.trigger_immediately.scheduled_time.CopyFrom(Timestamp(seconds=10**10)),
        "scheduled_time is no time that can be stored",
    ),
    (
        lambda r: r.schedule.action.start_workflow.workflow_run_timeout.CopyFrom(Duration(seconds=-1)),
        "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative duration",
    ),
    (
        lambda r: r.schedule.action.start_workflow.retry_policy.CopyFrom(
            RetryPolicyMessage(backoff_coefficient=math.inf)
        ),
        "BackoffCoefficient cannot be more than",
    ),
]


@pytest.mark.parametrize(("change", "why"), SCHEDULES)
def test_a_schedule_that_no_store_holds_is_refused(change: Callable[[Any], Any], why: str) -> None:
    refused(lambda rpcs: rpcs.create_schedule(schedule_request(change)), why)


@virtual
async def test_what_a_schedule_may_take_is_cut_and_it_acts(world: World) -> None:
    def change(request: service.CreateScheduleRequest) -> None:
        first(request).interval.seconds = 1
        spec(request).end_time.seconds = 253_402_300_799
        spec(request).start_time.seconds = -62_135_596_800
        request.schedule.policies.catchup_window.seconds = LONG_MAX
        request.schedule.action.start_workflow.workflow_run_timeout.seconds = 10**12
        request.schedule.action.start_workflow.retry_policy.initial_interval.seconds = LONG_MAX

    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        await rpcs.create_schedule(schedule_request(change))
        listed = service.ListWorkflowExecutionsRequest(namespace="default")
        await asyncio.sleep(3)
        found = (await rpcs.list_workflow_executions(listed)).executions
        began = (await history(rpcs, found[0].execution.workflow_id))[0].workflow_execution_started_event_attributes
        assert began.workflow_run_timeout.seconds == DURATION_MAX_S
        described = await rpcs.describe_schedule(service.DescribeScheduleRequest(namespace="default", schedule_id="s"))
        assert described.schedule.policies.catchup_window.seconds == DURATION_MAX_S


# --- the rest -------------------------------------------------------------------------------------


@virtual
async def test_a_retention_is_cut_to_a_century_or_refused(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        kept = service.RegisterNamespaceRequest(namespace="kept", workflow_execution_retention_period=LONG[2])
        await rpcs.register_namespace(kept)
        described = await rpcs.describe_namespace(service.DescribeNamespaceRequest(namespace="kept"))
        assert described.config.workflow_execution_retention_ttl.seconds == DURATION_MAX_S
        change = service.UpdateNamespaceRequest(namespace="kept")
        change.config.workflow_execution_retention_ttl.seconds = 10**18
        changed = await rpcs.update_namespace(change)
        assert changed.config.workflow_execution_retention_ttl.seconds == DURATION_MAX_S
        change.config.workflow_execution_retention_ttl.seconds = -(10**18)
        with pytest.raises(Rejected, match="A valid retention period is not set"):
            await rpcs.update_namespace(change)


@virtual
async def test_a_namespaces_data_does_not_grow_without_end(world: World) -> None:
    async with world.engine(limits=FEW) as engine:
        rpcs = WorkflowService(engine)
        change = service.UpdateNamespaceRequest(namespace="default")
        change.update_info.data.update({"a": "1", "b": "2"})
        await rpcs.update_namespace(change)
        change.update_info.data.clear()
        change.update_info.data.update({"b": "3", "c": "4", "d": "5"})
        with pytest.raises(Rejected, match="too many entries: 4 > 3"):
            await rpcs.update_namespace(change)


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, -1.0])
def test_a_batch_has_a_rate_that_is_a_number(rate: float) -> None:
    request = service.StartBatchOperationRequest(
        namespace="default",
        job_id="j",
        reason="r",
        visibility_query="WorkflowId = 'x'",
        max_operations_per_second=rate,
        termination_operation=BatchOperationTermination(),
    )
    refused(lambda rpcs: rpcs.start_batch_operation(request), "max_operations_per_second")


@virtual
async def test_a_batch_that_is_slower_than_anything_does_its_first_page(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        for number in range(3):
            await rpcs.start_workflow_execution(start_request(f"order-{number}"))
        request = service.StartBatchOperationRequest(
            namespace="default",
            job_id="j",
            reason="r",
            visibility_query="ExecutionStatus = 'Running'",
            max_operations_per_second=1e-38,
            termination_operation=BatchOperationTermination(),
        )
        await rpcs.start_batch_operation(request)
        asking = service.DescribeBatchOperationRequest(namespace="default", job_id="j")
        await asyncio.sleep(3600)
        assert (await rpcs.describe_batch_operation(asking)).complete_operation_count == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[" * 100_000, "size 100000 exceeds size limit"),
        (b"[" * 2000, "invalid value for search attribute Words of type KeywordList"),
        (b"[" * 900 + b"]" * 900, "invalid value for search attribute Words of type KeywordList: [[...]]"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "invalid value for search attribute Words of type KeywordList: map[...]"),
        (b'"\xff"', "invalid value for search attribute Words"),
        (b"9" * 400, "invalid value for search attribute Words"),
    ],
    ids=["long", "unclosed", "deep", "deep map", "no UTF-8", "digits"],
)
def test_json_that_is_no_search_attribute(data: bytes, why: str) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            adding = AddSearchAttributesRequest(namespace="default", search_attributes={"Words": KEYWORD_LIST})
            await OperatorService(engine).add_search_attributes(adding)
            request = start_request()
            request.search_attributes.indexed_fields["Words"].metadata["encoding"] = b"json/plain"
            request.search_attributes.indexed_fields["Words"].data = data
            with pytest.raises(Rejected) as refusal:
                await WorkflowService(engine).start_workflow_execution(request)
            assert (refusal.value.code, why in refusal.value.message) == (INVALID, True), refusal.value.message

    scenario()


@virtual
async def test_a_list_is_ordered_by_so_many_fields(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        await rpcs.start_workflow_execution(start_request())

        def ordered(count: int) -> service.ListWorkflowExecutionsRequest:
            query = "ORDER BY " + ", ".join(["StartTime"] * count)
            return service.ListWorkflowExecutionsRequest(namespace="default", query=query, page_size=1)

        page = await rpcs.list_workflow_executions(ordered(16))
        following = ordered(16)
        following.next_page_token = page.next_page_token
        assert not (await rpcs.list_workflow_executions(following)).executions
        for count in (17, 180):
            with pytest.raises(Rejected, match="'ORDER BY' clause with more than 16 fields"):
                await rpcs.list_workflow_executions(ordered(count))


@virtual
async def test_a_filter_of_start_times_reaches_from_the_first_year_to_the_last(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        await rpcs.start_workflow_execution(start_request())
        request = service.ListOpenWorkflowExecutionsRequest(namespace="default")
        request.start_time_filter.earliest_time.seconds = -62_135_596_800
        request.start_time_filter.latest_time.seconds = 253_402_300_799
        assert len((await rpcs.list_open_workflow_executions(request)).executions) == 1
        request.start_time_filter.latest_time.seconds += 1
        with pytest.raises(Rejected, match=r"start_time_filter\.latest_time: timestamp is before year 1 or after"):
            await rpcs.list_open_workflow_executions(request)


@virtual
async def test_a_child_outlives_the_namespace_of_its_parent(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        await engine.namespaces.add(Namespace("shop", "shop-id", 10**15))
        begun = start_request("parent")
        begun.namespace = "shop"
        await rpcs.start_workflow_execution(begun)
        poll = workflow_poll()
        poll.namespace = "shop"
        task = await rpcs.poll_workflow_task_queue(poll)
        child = command("START_CHILD_WORKFLOW_EXECUTION", namespace="default", parent_close_policy=2)
        await rpcs.respond_workflow_task_completed(completion(task.task_token, child))
        assert (await rpcs.poll_workflow_task_queue(workflow_poll())).workflow_execution.workflow_id == "kid"
        described = await rpcs.describe_workflow_execution(describe_request("kid"))
        assert described.workflow_execution_info.parent_namespace_id == "shop-id"
        await engine.namespaces.forget("shop")
        described = await rpcs.describe_workflow_execution(describe_request("kid"))
        assert described.workflow_execution_info.parent_execution.workflow_id == "parent"
        assert described.workflow_execution_info.parent_namespace_id == ""


@virtual
async def test_deadlines_beyond_the_end_of_time_are_its_end(world: World) -> None:
    """In a test whose time was skipped two centuries, a century more is beyond what a store holds."""
    world.clock = VirtualClock(world.loop, epoch_ns=(LONG_MAX // 10**9 - 1000) * 10**9)
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        request = start_request()
        request.workflow_execution_timeout.seconds = request.workflow_start_delay.seconds = DURATION_MAX_S
        await rpcs.start_workflow_execution(request)
        await rpcs.start_workflow_execution(start_request("order-2"))
        task = await rpcs.poll_workflow_task_queue(workflow_poll())
        timer = command("START_TIMER", start_to_fire_timeout=LONG[0])
        await rpcs.respond_workflow_task_completed(completion(task.task_token, timer))
        await rpcs.start_workflow_execution(start_request("order-3"))
        task = await rpcs.poll_workflow_task_queue(workflow_poll())
        act = schedule("a", seconds=DURATION_MAX_S)
        act.schedule_activity_task_command_attributes.schedule_to_close_timeout.seconds = DURATION_MAX_S
        await rpcs.respond_workflow_task_completed(completion(task.task_token, act))
        bounded = start_request("order-4")
        bounded.workflow_run_timeout.seconds = DURATION_MAX_S
        await rpcs.start_workflow_execution(bounded)
        for workflow_id in ("order-1", "order-2", "order-3", "order-4"):
            await rpcs.describe_workflow_execution(describe_request(workflow_id))
            assert await history(rpcs, workflow_id)
        soon_ns = world.clock.now_ns() + 60 * 10**9
        assert await engine.store.next_wake_at_ns(soon_ns) == LONG_MAX
        assert await engine.store.next_wake_at_ns(LONG_MAX) is None


@virtual
async def test_a_worker_may_be_in_a_state_that_nobody_knows(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        heard = service.RecordWorkerHeartbeatRequest(namespace="default")
        heard.worker_heartbeat.add(worker_instance_key="w", status=99)
        await rpcs.record_worker_heartbeat(heard)
        for query, count in (("Status = 'Running'", 0), ("Status = '99'", 1), ("Status != 'Running'", 1)):
            listed = await rpcs.list_workers(service.ListWorkersRequest(namespace="default", query=query))
            assert len(listed.workers_info) == count, query


def test_a_policy_that_was_stored_before_it_was_checked_still_says_when() -> None:
    for coefficient in (math.nan, math.inf, 1e308):
        for attempt in (1, 2, 1000):
            policy = RetryPolicy(10**9, coefficient, 100 * 10**9, 0)
            assert 10**9 <= backoff_ns(policy, attempt) <= 100 * 10**9

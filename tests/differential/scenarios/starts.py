"""Starts: options, id policies, delays, refused requests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.common.v1 import RetryPolicy as RetryPolicyMessage
from temporalio.api.common.v1 import WorkflowType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError

from tests.differential.stage import Stage


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, value: str) -> str:
        return value


@workflow.defn
class Fails:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no", non_retryable=True)


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: "go" in self.names)
        return self.names

    @workflow.signal
    def name(self, name: str) -> None:
        self.names.append(name)


async def completes(stage: Stage) -> Any:
    async with stage.worker([Echo]):
        handle = await stage.start(Echo.run, "hello")
        return [await stage.outcome(handle), await stage.describe(handle.id)]


async def with_every_option(stage: Stage) -> Any:
    order_id = SearchAttributeKey.for_keyword("OrderId")
    async with stage.worker([Waits]):
        handle = await stage.start(
            Waits.run,
            memo={"customer": "ada", "items": [1, 2]},
            search_attributes=TypedSearchAttributes([SearchAttributePair(order_id, "1001")]),
            execution_timeout=timedelta(hours=3),
            run_timeout=timedelta(hours=2),
            task_timeout=timedelta(seconds=7),
            retry_policy=RetryPolicy(maximum_attempts=2, non_retryable_error_types=["Broken"]),
            static_summary="an order",
            static_details="of *two* items",
            priority=Priority(priority_key=2, fairness_key="ada", fairness_weight=2.0),
        )
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        open_one = await stage.describe(handle.id)
        await handle.signal(Waits.name, "go")
        return [open_one, await stage.outcome(handle), await stage.describe(handle.id)]


async def id_in_use(stage: Stage) -> Any:
    await stage.start(Waits.run)
    return [await stage.answer(stage.start(Waits.run)), await stage.answer(_raw(stage, workflow_id=stage.id()))]


async def id_in_use_and_the_existing_one_is_used(stage: Stage) -> Any:
    first = await stage.start(Waits.run)
    second = await stage.start(Waits.run, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING)
    raw = await _raw(stage, workflow_id=first.id, workflow_id_conflict_policy=2)
    return [first.result_run_id == second.result_run_id, raw]


async def id_in_use_and_the_existing_one_is_terminated(stage: Stage) -> Any:
    first = await stage.start(Waits.run)
    await stage.start(Echo.run, "new", id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
    return [await stage.outcome(first)]


async def terminate_if_running(stage: Stage) -> Any:
    first = await stage.start(Waits.run)
    await stage.start(Echo.run, "new", id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING)
    return [await stage.outcome(first)]


async def id_used_before(stage: Stage) -> Any:
    async with stage.worker([Echo, Fails]):
        policy = WorkflowIDReusePolicy
        answers = [
            await stage.run(Echo.run, "1"),
            await stage.answer(stage.start(Echo.run, "2", id_reuse_policy=policy.REJECT_DUPLICATE)),
            await stage.answer(stage.start(Echo.run, "3", id_reuse_policy=policy.ALLOW_DUPLICATE_FAILED_ONLY)),
            await stage.run(Echo.run, "4", id_reuse_policy=policy.ALLOW_DUPLICATE),
            await stage.run(Fails.run),
            await stage.run(Echo.run, "5", id_reuse_policy=policy.ALLOW_DUPLICATE_FAILED_ONLY),
        ]
    return answers


async def the_same_request_again(stage: Stage) -> Any:
    fields = {"workflow_id": stage.id(), "request_id": "request"}
    first, second = await _raw(stage, **fields), await _raw(stage, **fields)
    return [first.run_id == second.run_id, first, second]


async def start_is_delayed(stage: Stage) -> Any:
    async with stage.worker([Echo]):
        handle = await stage.start(Echo.run, "late", start_delay=timedelta(seconds=1))
        before = await stage.describe(handle.id)
        return [before.workflow_execution_info.history_length, await stage.outcome(handle)]


async def delayed_start_is_ended_by_a_signal_with_start(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, start_delay=timedelta(hours=1))
        await stage.start(Waits.run, start_signal="name", start_signal_args=["go"])
        return [await stage.outcome(handle)]


async def signal_with_start(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, start_signal="name", start_signal_args=["first"])
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        again = await stage.start(Waits.run, start_signal="name", start_signal_args=["go"])
        return [handle.result_run_id == again.result_run_id, await stage.outcome(handle)]


async def started_eagerly(stage: Stage) -> Any:
    async with stage.worker([Echo]):
        return [await stage.run(Echo.run, "at once", request_eager_start=True)]


async def retried_until_done(stage: Stage) -> Any:
    async with stage.worker([FailsAtFirst]):
        policy = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
        return [await stage.run(FailsAtFirst.run, retry_policy=policy)]


async def retried_until_exhausted(stage: Stage) -> Any:
    async with stage.worker([AlwaysFails]):
        policy = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=2)
        return [await stage.run(AlwaysFails.run, retry_policy=policy)]


async def retry_is_not_for_this_error(stage: Stage) -> Any:
    async with stage.worker([AlwaysFails]):
        policy = RetryPolicy(non_retryable_error_types=["Broken"])
        return [await stage.run(AlwaysFails.run, retry_policy=policy)]


async def run_time_out_is_retried(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        policy = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=2)
        return [await stage.run(Waits.run, run_timeout=timedelta(seconds=3), retry_policy=policy)]


async def execution_times_out(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        return [await stage.run(Waits.run, execution_timeout=timedelta(seconds=3))]


async def run_times_out(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        return [await stage.run(Waits.run, run_timeout=timedelta(seconds=3))]


async def refused_starts(stage: Stage) -> Any:
    """Each request is wrong in one field."""
    wrong: list[dict[str, Any]] = [
        {"workflow_id": ""},
        {"workflow_id": "x" * 1_001},
        {"workflow_type": WorkflowType()},
        {"workflow_type": WorkflowType(name="x" * 1_001)},
        {"task_queue": TaskQueue()},
        {"request_id": "x" * 1_001},
        {"namespace": ""},
        {"namespace": "nowhere"},
        {"workflow_execution_timeout": Duration(seconds=-1)},
        {"workflow_run_timeout": Duration(seconds=-1)},
        {"workflow_task_timeout": Duration(seconds=-1)},
        {"workflow_start_delay": Duration(seconds=-1)},
        {"retry_policy": RetryPolicyMessage(backoff_coefficient=0.5)},
        {"retry_policy": RetryPolicyMessage(initial_interval=Duration(seconds=-1))},
        {
            "retry_policy": RetryPolicyMessage(
                initial_interval=Duration(seconds=9), maximum_interval=Duration(seconds=1)
            )
        },
        {"retry_policy": RetryPolicyMessage(maximum_attempts=-1)},
        {"workflow_id_reuse_policy": 4, "workflow_id_conflict_policy": 1},
        {"workflow_id_reuse_policy": 3, "workflow_id_conflict_policy": 3},
    ]
    return [[str(fields)[:70], await stage.answer(_raw(stage, **fields))] for fields in wrong]


async def an_unknown_workflow_type(stage: Stage) -> Any:
    async with stage.worker([Echo]):
        handle = await stage.start("Unheard")
        await stage.events(handle, "WORKFLOW_TASK_FAILED")
        await handle.terminate("enough")
        return [await stage.outcome(handle)]


async def _raw(stage: Stage, **fields: Any) -> Any:
    """StartWorkflowExecution with these fields beside the ordinary ones; a start, not the workflow."""
    request = StartWorkflowExecutionRequest(
        **{
            "namespace": stage.namespace,
            "workflow_id": stage.name("refused"),
            "workflow_type": WorkflowType(name="Echo"),
            "task_queue": TaskQueue(name=stage.task_queue),
            "identity": "client",
            "request_id": "id",
            **fields,
        }
    )
    return await stage.rpc.start_workflow_execution(request)


@workflow.defn
class FailsAtFirst:
    @workflow.run
    async def run(self) -> int:
        if workflow.info().attempt < 2:
            raise ApplicationError("not yet", {"attempt": 1})
        return workflow.info().attempt


@workflow.defn
class AlwaysFails:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("broken", type="Broken")


async def two_starts_race(stage: Stage) -> Any:
    answers = await asyncio.gather(
        *(stage.answer(_raw(stage, workflow_id=stage.id(), request_id=f"id{n}")) for n in (1, 2))
    )
    return [sorted(str(answer)[:14] if isinstance(answer, str) else "started" for answer in answers)]

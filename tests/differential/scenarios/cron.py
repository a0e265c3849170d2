"""Workflows that are started again and again by a cron schedule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from tests.differential.stage import Stage


async def every_second(stage: Stage) -> Any:
    async with stage.worker([Counts]):
        handle = await stage.start(Counts.run, cron_schedule="@every 1s")
        first = await stage.events(handle, "WORKFLOW_EXECUTION_STARTED")
        for _ in range(2):
            handle = await _next_run(stage, handle, "completed")
        await stage.events(handle, "WORKFLOW_EXECUTION_STARTED")
        described = await stage.describe(handle.id)
        await handle.terminate("enough")
        return [len(first), described.workflow_execution_info.status]


async def _next_run(stage: Stage, handle: Any, kind: str) -> Any:
    [closed] = await stage.events(handle, f"WORKFLOW_EXECUTION_{kind.upper()}")
    attributes = getattr(closed, f"workflow_execution_{kind}_event_attributes")
    return stage.client.get_workflow_handle(handle.id, run_id=attributes.new_execution_run_id)


async def goes_on_after_a_failure(stage: Stage) -> Any:
    async with stage.worker([CountsAndFails]):
        handle = await stage.start(CountsAndFails.run, cron_schedule="@every 1s")
        for kind in ("completed", "failed", "completed"):
            handle = await _next_run(stage, handle, kind)
        await handle.terminate("enough")
        return [await stage.outcome(handle)]


@workflow.defn
class Counts:
    @workflow.run
    async def run(self) -> int:
        last = workflow.get_last_completion_result(int) if workflow.has_last_completion_result() else 0
        return (last or 0) + 1


@workflow.defn
class CountsAndFails:
    @workflow.run
    async def run(self) -> int:
        last = workflow.get_last_completion_result(int) if workflow.has_last_completion_result() else 0
        if last == 1 and workflow.get_last_failure() is None:
            raise ApplicationError("the second fails")
        return (last or 0) + 1


@workflow.defn
class Obeys:
    @workflow.run
    async def run(self, how: str) -> str:
        if how == "continue" and workflow.info().continued_run_id is None:
            workflow.continue_as_new("wait")
        if how == "fail":
            raise ApplicationError("no")
        await workflow.wait_condition(lambda: False)
        return "never"


async def cancelled(stage: Stage) -> Any:
    """A cancelled run is not followed by another."""
    async with stage.worker([Obeys]):
        handle = await stage.start(Obeys.run, "wait", cron_schedule="@every 1s")
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        await handle.cancel()
        return [await stage.outcome(handle), await stage.describe(handle.id)]


async def times_out_and_goes_on(stage: Stage) -> Any:
    async with stage.worker([Obeys]):
        handle = await stage.start(Obeys.run, "wait", cron_schedule="@every 1s", run_timeout=timedelta(seconds=3))
        handle = await _next_run(stage, handle, "timed_out")
        await handle.terminate("enough")
        return [await stage.outcome(handle)]


async def retries_come_before_the_next_time(stage: Stage) -> Any:
    policy = RetryPolicy(maximum_attempts=2, initial_interval=timedelta(seconds=1))
    async with stage.worker([Obeys]):
        handle = await stage.start(Obeys.run, "fail", cron_schedule="@every 1s", retry_policy=policy)
        for _ in range(2):
            handle = await _next_run(stage, handle, "failed")
        await handle.terminate("enough")
        return [await stage.outcome(handle)]


async def continues_as_new(stage: Stage) -> Any:
    async with stage.worker([Obeys]):
        handle = await stage.start(Obeys.run, "continue", cron_schedule="@every 1s")
        [closed] = await stage.events(handle, "WORKFLOW_EXECUTION_CONTINUED_AS_NEW")
        attributes = closed.workflow_execution_continued_as_new_event_attributes
        handle = stage.client.get_workflow_handle(handle.id, run_id=attributes.new_execution_run_id)
        await handle.terminate("enough")
        return [await stage.outcome(handle)]


async def refused(stage: Stage) -> Any:
    schedules = ["not a schedule", "* * * *", "61 * * * *", "@every", "@never", "TZ=Nowhere * * * * *", "* * * * * *"]
    wrong: list[dict[str, Any]] = [{"cron_schedule": schedule} for schedule in schedules]
    wrong.append({"cron_schedule": "* * * * *", "workflow_start_delay": Duration(seconds=1)})
    wrong.append({"cron_schedule": "* * * * *", "request_eager_execution": True})
    right = ["0 12 * * MON-FRI", "*/15 0-6 1,15 * ?", "@daily", "@every 90s", "CRON_TZ=Europe/Berlin 30 4 * * *"]
    right += ["TZ=UTC @hourly", "0 0 1 JAN *", "@yearly"]
    answers = [[str(fields), await stage.answer(_raw(stage, "refused", **fields))] for fields in wrong]
    for number, schedule in enumerate(right):
        response = await stage.answer(_raw(stage, f"accepted{number}", cron_schedule=schedule))
        answers.append([schedule, response if isinstance(response, str) else "started"])
    return answers


async def _raw(stage: Stage, name: str, **fields: Any) -> Any:
    request = StartWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_id=stage.name(name),
        workflow_type=WorkflowType(name="Counts"),
        task_queue=TaskQueue(name=stage.task_queue),
        request_id=name,
        **fields,
    )
    return await stage.rpc.start_workflow_execution(request)

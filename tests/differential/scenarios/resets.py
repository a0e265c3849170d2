"""Resets: where the new run begins, what it is told again, what is refused."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType, ResetReapplyType
from temporalio.api.workflow.v1 import PostResetOperation, VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from tests.differential.stage import Stage


@activity.defn
async def step(number: int) -> int:
    return number


@workflow.defn
class Steps:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> Any:
        from datetime import timedelta

        for number in (1, 2):
            await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(seconds=30))
        await workflow.wait_condition(lambda: "go" in self.words)
        return self.words

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)

    @workflow.update
    def tell(self, word: str) -> int:
        self.words.append(word)
        return len(self.words)


async def _reset(stage: Stage, workflow_id: str, finish: int, **fields: Any) -> Any:
    request = ResetWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=fields.pop("run_id", "")),
        reason="to try again",
        workflow_task_finish_event_id=finish,
        request_id=fields.pop("request_id", "reset"),
        identity="client",
        **fields,
    )
    response = await stage.rpc.reset_workflow_execution(request)
    stage.saw(workflow_id, response.run_id)
    return stage.client.get_workflow_handle(workflow_id, run_id=response.run_id)


async def _stepped(stage: Stage, **options: Any) -> Any:
    """A workflow that has done its steps, and waits."""
    handle = await stage.start(Steps.run, **options)
    await stage.events(handle, "WORKFLOW_TASK_COMPLETED", 3)
    return handle


async def to_its_first_task(stage: Stage) -> Any:
    async with stage.worker([Steps], [step]):
        handle = await _stepped(stage)
        again = await _reset(stage, handle.id, 4)
        await stage.events(again, "WORKFLOW_TASK_COMPLETED", 3)
        await again.signal(Steps.say, "go")
        return [await stage.outcome(again), await stage.outcome(stage.client.get_workflow_handle(handle.id))]


async def to_a_later_task_with_what_it_began_with(stage: Stage) -> Any:
    async with stage.worker([Steps], [step]):
        handle = await _stepped(stage, memo={"a": 1}, static_summary="sum")
        again = await _reset(stage, handle.id, 10)
        await stage.events(again, "ACTIVITY_TASK_COMPLETED", 2)
        await stage.events(again, "WORKFLOW_TASK_COMPLETED", 3)
        described = (await stage.describe(handle.id)).workflow_execution_info
        await again.signal(Steps.say, "go")
        return [described.memo, described.first_run_id, await stage.outcome(again)]


async def of_a_closed_workflow(stage: Stage) -> Any:
    async with stage.worker([Steps], [step]):
        handle = await _stepped(stage)
        await handle.signal(Steps.say, "go")
        before = await stage.outcome(handle)
        again = await _reset(stage, handle.id, 4)
        return [before, await stage.outcome(again)]


async def _told(stage: Stage, **fields: Any) -> Any:
    async with stage.worker([Steps], [step]):
        handle = await _stepped(stage)
        await handle.signal(Steps.say, "a signal")
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED", 4)
        await handle.execute_update(Steps.tell, "an update", id="u")
        await handle.terminate("enough")
    again = await _reset(stage, handle.id, 16, **fields)
    await again.signal(Steps.say, "go")
    async with stage.worker([Steps], [step]):
        return [await stage.outcome(again)]


async def signals_and_updates_are_told_again(stage: Stage) -> Any:
    return await _told(stage)


async def signals_alone_are_told_again(stage: Stage) -> Any:
    return await _told(stage, reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_SIGNAL)


async def nothing_is_told_again(stage: Stage) -> Any:
    excluded = [
        ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
        ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
    ]
    return await _told(stage, reset_reapply_exclude_types=excluded)


async def followed_by_other_options(stage: Stage) -> Any:
    options = PostResetOperation.UpdateWorkflowOptions(
        workflow_execution_options=WorkflowExecutionOptions(versioning_override=VersioningOverride(auto_upgrade=True)),
        update_mask=FieldMask(paths=["versioning_override"]),
    )
    signal = PostResetOperation.SignalWorkflow(signal_name="say")
    async with stage.worker([Steps], [step]):
        handle = await _stepped(stage)
        unsupported = [PostResetOperation(signal_workflow=signal)]
        answers = [await stage.answer(_reset(stage, handle.id, 4, post_reset_operations=unsupported))]
        await handle.terminate("enough")
        again = await _reset(
            stage, handle.id, 4, post_reset_operations=[PostResetOperation(update_workflow_options=options)]
        )
        await stage.events(again, "WORKFLOW_TASK_COMPLETED", 3)
        await again.signal(Steps.say, "go")
        return [*answers, await stage.outcome(again)]


async def refused(stage: Stage) -> Any:
    async with stage.worker([Steps], [step]):
        handle = await _stepped(stage)
        answers = [await stage.answer(_reset(stage, handle.id, finish)) for finish in (0, 1, 2, 5, 6, 999)]
        answers.append(await stage.answer(_reset(stage, stage.name("unknown"), 4)))
        answers.append(await stage.answer(_reset(stage, handle.id, 4, request_id="")))
        await handle.terminate("enough")
        return answers

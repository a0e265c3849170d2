"""What operators do to running activities and workflows: pause, unpause, reset, other options."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import activity, workflow
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from tests.differential.stage import Stage

READY: set[str] = set()
"""Workflow ids whose activity may succeed."""


@activity.defn
async def flaky() -> int:
    info = activity.info()
    if info.workflow_id not in READY:
        raise ApplicationError("not yet")
    return info.attempt


@activity.defn
async def beats() -> str:
    try:
        while True:
            activity.heartbeat(1)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        told = [name for name in ("paused", "reset", "cancel_requested") if details and getattr(details, name)]
        if details and details.cancel_requested:
            raise
        raise ApplicationError(f"told to stop: {told}") from None


@workflow.defn
class Tries:
    @workflow.run
    async def run(self, name: str) -> Any:
        return await workflow.execute_activity(
            name,
            activity_id="it",
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=3600 if name == "flaky" else 1)),
        )


async def _tried(stage: Stage, attempts: int = 2) -> Any:
    handle = await stage.start(Tries.run, "flaky")
    await _until(stage, handle, lambda one: one.attempt == attempts)
    return handle


async def _until(stage: Stage, handle: Any, holds: Any) -> Any:
    described = await stage.until(
        lambda: stage.describe(handle.id), lambda seen: [one for one in seen.pending_activities if holds(one)]
    )
    return described.pending_activities[0]


def _fields(stage: Stage, handle: Any, **more: Any) -> dict[str, Any]:
    execution = WorkflowExecution(workflow_id=handle.id)
    return {"namespace": stage.namespace, "execution": execution, "identity": "client", "id": "it", **more}


async def backing_off_activity_is_paused_and_unpaused(stage: Stage) -> Any:
    async with stage.worker([Tries], [flaky]):
        handle = await _tried(stage)
        fields = _fields(stage, handle)
        answers = [await stage.answer(stage.rpc.pause_activity(service.PauseActivityRequest(reason="wait", **fields)))]
        answers.append(await _until(stage, handle, lambda one: one.paused))
        READY.add(handle.id)
        answers.append(await stage.answer(stage.rpc.unpause_activity(service.UnpauseActivityRequest(**fields))))
        return [*answers, await stage.outcome(handle)]


async def unpaused_with_its_attempts_reset(stage: Stage) -> Any:
    async with stage.worker([Tries], [flaky]):
        handle = await _tried(stage)
        fields = _fields(stage, handle)
        await stage.rpc.pause_activity(service.PauseActivityRequest(**fields))
        READY.add(handle.id)
        await stage.rpc.unpause_activity(service.UnpauseActivityRequest(reset_attempts=True, **fields))
        return [await stage.outcome(handle)]


async def running_activity_is_paused(stage: Stage) -> Any:
    async with stage.worker([Tries], [beats], max_heartbeat_throttle_interval=timedelta(milliseconds=100)):
        handle = await stage.start(Tries.run, "beats")
        await _until(stage, handle, lambda one: one.state == 2 and one.HasField("last_heartbeat_time"))
        fields = _fields(stage, handle)
        await stage.rpc.pause_activity(service.PauseActivityRequest(reason="wait", **fields))
        paused = await _until(stage, handle, lambda one: one.state == 4)
        await handle.terminate("enough")
        return [paused]


async def activity_is_reset(stage: Stage) -> Any:
    async with stage.worker([Tries], [flaky]):
        handle = await _tried(stage)
        READY.add(handle.id)
        answer = await stage.answer(stage.rpc.reset_activity(service.ResetActivityRequest(**_fields(stage, handle))))
        return [answer, await stage.outcome(handle)]


@activity.defn
async def told_and_tried_again() -> list[Any]:
    """Runs until it is told to stop, then says which attempt it is and what it knows of the last."""
    info = activity.info()
    try:
        while info.workflow_id not in READY:
            activity.heartbeat(info.attempt)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        told = [name for name in ("paused", "reset", "cancel_requested") if details and getattr(details, name)]
        READY.add(str(info.workflow_id))
        raise ApplicationError(f"told to stop: {told}") from None
    return [info.attempt, list(info.heartbeat_details)]


async def _reset_while_it_runs(stage: Stage, **options: Any) -> list[Any]:
    throttle = timedelta(milliseconds=100)
    async with stage.worker([Tries], [told_and_tried_again], max_heartbeat_throttle_interval=throttle):
        handle = await stage.start(Tries.run, "told_and_tried_again")
        await _until(stage, handle, lambda one: one.state == 2 and one.HasField("last_heartbeat_time"))
        request = service.ResetActivityRequest(**_fields(stage, handle), **options)
        answer = await stage.answer(stage.rpc.reset_activity(request))
        described = await stage.describe(handle.id)
        return [answer, [one.attempt for one in described.pending_activities], await stage.outcome(handle)]


async def running_activity_is_reset(stage: Stage) -> Any:
    return await _reset_while_it_runs(stage)


async def running_activity_is_reset_with_its_heartbeat(stage: Stage) -> Any:
    return await _reset_while_it_runs(stage, reset_heartbeat=True)


@activity.defn
async def goes_on_regardless() -> list[Any]:
    info = activity.info()
    while info.workflow_id not in READY:  # noqa: ASYNC110 - it is told by nothing
        await asyncio.sleep(0.05)
    return [info.attempt, list(info.heartbeat_details)]


async def running_activity_is_reset_and_ends_well(stage: Stage) -> Any:
    async with stage.worker([Tries], [goes_on_regardless]):
        handle = await stage.start(Tries.run, "goes_on_regardless")
        await _until(stage, handle, lambda one: one.state == 2)
        answer = await stage.answer(stage.rpc.reset_activity(service.ResetActivityRequest(**_fields(stage, handle))))
        described = await _until(stage, handle, lambda one: True)
        READY.add(handle.id)
        return [answer, described, await stage.outcome(handle)]


async def activity_gets_other_options(stage: Stage) -> Any:
    async with stage.worker([Tries], [flaky]):
        handle = await _tried(stage)
        options = ActivityOptions(heartbeat_timeout=Duration(seconds=7))
        options.retry_policy.maximum_attempts = 9
        request = service.UpdateActivityOptionsRequest(
            **_fields(stage, handle),
            activity_options=options,
            update_mask=FieldMask(paths=["heartbeat_timeout", "retry_policy.maximum_attempts"]),
        )
        answer = await stage.answer(stage.rpc.update_activity_options(request))
        await handle.terminate("enough")
        return [answer]


async def refused_controls(stage: Stage) -> Any:
    async with stage.worker([Tries], [flaky]):
        handle = await _tried(stage)
        unknown = {**_fields(stage, handle), "id": "other"}
        nobody = {**_fields(stage, handle), "execution": WorkflowExecution(workflow_id=stage.name("nobody"))}
        rpc = stage.rpc
        answers = [
            await stage.answer(rpc.pause_activity(service.PauseActivityRequest(**unknown))),
            await stage.answer(rpc.unpause_activity(service.UnpauseActivityRequest(**unknown))),
            await stage.answer(rpc.reset_activity(service.ResetActivityRequest(**unknown))),
            await stage.answer(rpc.pause_activity(service.PauseActivityRequest(**nobody))),
            await stage.answer(rpc.update_activity_options(service.UpdateActivityOptionsRequest(**unknown))),
        ]
        await handle.terminate("enough")
        return answers


@workflow.defn
class Naps:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> Any:
        await workflow.wait_condition(lambda: "go" in self.words)
        return self.words

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)


async def workflow_is_paused_and_unpaused(stage: Stage) -> Any:
    async with stage.worker([Naps]):
        handle = await stage.start(Naps.run)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        fields: dict[str, Any] = {
            "namespace": stage.namespace, "workflow_id": handle.id, "identity": "client", "reason": "wait"
        }  # fmt: skip
        pause = service.PauseWorkflowExecutionRequest(request_id="p", **fields)
        answers = [await stage.answer(stage.rpc.pause_workflow_execution(pause))]
        answers.append(await stage.answer(stage.rpc.pause_workflow_execution(pause)))
        await handle.signal(Naps.say, "go")
        described = await stage.describe(handle.id)
        answers += [described.workflow_execution_info.status, described.workflow_extended_info.pause_info]
        unpause = service.UnpauseWorkflowExecutionRequest(request_id="u", **fields)
        answers.append(await stage.answer(stage.rpc.unpause_workflow_execution(unpause)))
        return [*answers, await stage.outcome(handle)]

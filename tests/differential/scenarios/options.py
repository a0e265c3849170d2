"""What is changed of a running workflow's options, by an operator or by a start that finds it running; links."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import workflow
from temporalio.api.common.v1 import Link, Priority, WorkflowExecution, WorkflowType
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import OnConflictOptions, VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice import v1 as service

from tests.differential.stage import Stage


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> Any:
        await workflow.wait_condition(lambda: "go" in self.words)
        return self.words

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)


def _update(stage: Stage, workflow_id: str, *paths: str, **options: Any) -> Any:
    request = service.UpdateWorkflowExecutionOptionsRequest(
        namespace=stage.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id),
        workflow_execution_options=WorkflowExecutionOptions(**options),
        update_mask=FieldMask(paths=paths),
        identity="client",
    )
    return stage.answer(stage.rpc.update_workflow_execution_options(request))


async def versioning_override(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        upgrade = VersioningOverride(auto_upgrade=True)
        answers = [await _update(stage, handle.id, "versioning_override", versioning_override=upgrade)]
        described = await stage.describe(handle.id)
        answers.append(described.workflow_execution_info.versioning_info)
        answers.append(await _update(stage, handle.id, "versioning_override", versioning_override=upgrade))
        answers.append(await _update(stage, handle.id, "versioning_override"))
        await handle.signal(Waits.say, "go")
        return [*answers, await stage.outcome(handle)]


async def priority(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        answers = [await _update(stage, handle.id, "priority", priority=Priority(priority_key=1, fairness_key="ada"))]
        described = await stage.describe(handle.id)
        answers.append(described.workflow_execution_info.priority)
        answers.append(await _update(stage, handle.id, "priority.priority_key", priority=Priority(priority_key=4)))
        await handle.signal(Waits.say, "go")
        return [*answers, await stage.outcome(handle)]


async def refused(stage: Stage) -> Any:
    handle = await stage.start(Waits.run)
    upgrade = VersioningOverride(auto_upgrade=True)
    pinned = VersioningOverride(
        pinned=VersioningOverride.PinnedOverride(
            behavior=VersioningOverride.PinnedOverrideBehavior.PINNED_OVERRIDE_BEHAVIOR_PINNED,
            version=WorkerDeploymentVersion(deployment_name="shop", build_id="1"),
        )
    )
    answers = [
        await _update(stage, handle.id, "unheard"),
        await _update(stage, handle.id),
        await _update(stage, stage.name("nobody"), "versioning_override", versioning_override=upgrade),
        await _update(stage, "", "versioning_override", versioning_override=upgrade),
        str(await _update(stage, handle.id, "versioning_override", versioning_override=pinned)).partition(":")[0],
    ]
    await handle.terminate(reason="enough")
    return [*answers, await _update(stage, handle.id, "versioning_override", versioning_override=upgrade)]


async def a_start_attaches_itself_to_the_running_one(stage: Stage) -> Any:
    handle = await stage.start(Waits.run)
    event = Link.WorkflowEvent.EventReference(event_id=5, event_type=EventType.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED)
    run_id = "0198c5c4-0000-7000-8000-000000000000"
    caller = Link.WorkflowEvent(namespace="default", workflow_id="caller", run_id=run_id, event_ref=event)
    link = Link(workflow_event=caller)
    request = service.StartWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_id=handle.id,
        workflow_type=WorkflowType(name="Waits"),
        task_queue=TaskQueue(name=stage.task_queue),
        identity="client",
        request_id="0198c5c4-0000-7000-8000-000000000001",
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        on_conflict_options=OnConflictOptions(attach_request_id=True, attach_links=True),
        links=[link],
    )
    answers = [await stage.answer(stage.rpc.start_workflow_execution(request)) for _ in range(2)]
    described = await stage.describe(handle.id)
    infos = described.workflow_extended_info.request_id_infos
    return [*answers, sorted(str(info) for info in infos.values())]


async def links_of_starts_and_signals(stage: Stage) -> Any:
    link = Link(workflow_event=Link.WorkflowEvent(namespace="default", workflow_id="caller", run_id="x"))
    start = service.StartWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_id=stage.id(),
        workflow_type=WorkflowType(name="Waits"),
        task_queue=TaskQueue(name=stage.task_queue),
        request_id="start",
        links=[link],
    )
    answers = [await stage.answer(stage.rpc.start_workflow_execution(start))]
    signal = service.SignalWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_execution=WorkflowExecution(workflow_id=stage.id()),
        signal_name="say",
        request_id="signal",
        links=[link],
    )
    answers.append(await stage.answer(stage.rpc.signal_workflow_execution(signal)))
    cancel = service.RequestCancelWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_execution=WorkflowExecution(workflow_id=stage.id()),
        request_id="cancel",
        links=[link],
    )
    answers.append(await stage.answer(stage.rpc.request_cancel_workflow_execution(cancel)))
    terminate = service.TerminateWorkflowExecutionRequest(
        namespace=stage.namespace, workflow_execution=WorkflowExecution(workflow_id=stage.id()), links=[link]
    )
    answers.append(await stage.answer(stage.rpc.terminate_workflow_execution(terminate)))
    return answers

"""Signals: order, buffering behind a running workflow task, and who cannot be signalled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.common import RawValue

from tests.differential.stage import Gate, Stage

GATES: dict[str, Gate] = {}
"""By workflow id: where workflow code waits for the scenario, in the same process."""


@workflow.defn
class Collects:
    def __init__(self) -> None:
        self.names: list[Any] = []

    @workflow.run
    async def run(self) -> list[Any]:
        await workflow.wait_condition(lambda: "go" in self.names)
        return self.names

    @workflow.signal
    def name(self, name: str, number: int = 0) -> None:
        self.names += [name, number] if number else [name]

    @workflow.signal(dynamic=True)
    def other(self, signal: str, arguments: Sequence[RawValue]) -> None:
        self.names.append(signal)


@workflow.defn
class AtTheGate:
    """Its first workflow task ends when the scenario says so, and the workflow with it."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.run
    async def run(self, wanted: int) -> list[str]:
        gate = GATES[workflow.info().workflow_id]
        gate.wait()
        await workflow.wait_condition(lambda: len(self.names) >= wanted)
        return self.names

    @workflow.signal
    def name(self, name: str) -> None:
        self.names.append(name)


async def in_order(stage: Stage) -> Any:
    async with stage.worker([Collects]):
        handle = await stage.start(Collects.run)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        for count, (name, arguments) in enumerate([("name", ["a", 1]), ("unheard", []), ("name", ["b", 2])], 2):
            await handle.signal(name, args=arguments)
            await stage.events(handle, "WORKFLOW_TASK_COMPLETED", count)
        await handle.signal(Collects.name, args=["go", 0])
        return [await stage.outcome(handle)]


async def before_the_first_task(stage: Stage) -> Any:
    handle = await stage.start(Collects.run)
    await handle.signal("name", args=["early", 1])
    await handle.signal("name", args=["go", 0])
    async with stage.worker([Collects]):
        return [await stage.outcome(handle)]


async def _at_the_gate(stage: Stage, wanted: int, *names: str) -> Any:
    gate = GATES[stage.id()] = Gate()
    async with stage.worker([AtTheGate], debug_mode=False):
        handle = await stage.start(AtTheGate.run, wanted)
        await gate.arrival()
        for name in names:
            await handle.signal(AtTheGate.name, name)
        seen = await stage.describe(handle.id)
        gate.opened.set()
        return [seen.workflow_execution_info.history_length, seen.pending_workflow_task, await stage.outcome(handle)]


async def buffered_behind_a_running_task(stage: Stage) -> Any:
    return await _at_the_gate(stage, 2, "a", "b")


async def a_workflow_ends_over_a_buffered_one(stage: Stage) -> Any:
    """UnhandledCommand: the workflow is asked again, and knows of the signal."""
    return await _at_the_gate(stage, 0, "late")


async def sent_twice(stage: Stage) -> Any:
    async with stage.worker([Collects]):
        handle = await stage.start(Collects.run)
        request = SignalWorkflowExecutionRequest(
            namespace=stage.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id),
            signal_name="name",
            identity="client",
            request_id="the same",
        )
        request.input.payloads.extend(await stage.client.data_converter.encode(["go"]))
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        await stage.rpc.signal_workflow_execution(request)
        outcome = await stage.outcome(handle)
        return [outcome, await stage.answer(stage.rpc.signal_workflow_execution(request))]


async def refused(stage: Stage) -> Any:
    closed = await stage.start(Collects.run)
    await closed.signal("name", args=["go", 0])
    async with stage.worker([Collects]):
        await stage.outcome(closed)
    unknown = stage.client.get_workflow_handle(stage.name("unknown"))
    unknown_run = stage.client.get_workflow_handle(closed.id, run_id="0198c5c4-0000-7000-8000-000000000000")
    strange_run = stage.client.get_workflow_handle(closed.id, run_id="strange")
    nameless = stage.client.get_workflow_handle("")
    return [
        await stage.answer(closed.signal("name", "late")),
        await stage.answer(unknown.signal("name", "x")),
        await stage.answer(unknown_run.signal("name", "x")),
        await stage.answer(strange_run.signal("name", "x")),
        await stage.answer(nameless.signal("name", "x")),
        await stage.answer(closed.signal("", "x")),
        await stage.answer(closed.signal("x" * 1_001, "x")),
    ]

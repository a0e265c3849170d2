"""Children: their ends, cancellation, close policies, refused starts; other workflows signalled and cancelled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

from tests.differential.stage import Stage, explained


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self, how: str) -> str:
        if how == "fail":
            raise ApplicationError("the child failed", {"x": 1}, type="Broken")
        if how == "wait":
            await workflow.wait_condition(lambda: bool(self.told))
        if how == "clean up":
            try:
                await workflow.wait_condition(lambda: False)
            except asyncio.CancelledError:
                await workflow.sleep(0.1)
                raise
        if how == "wait for two":
            await workflow.wait_condition(lambda: len(self.told) == 2)
        if how == "ignore":
            try:
                await workflow.wait_condition(lambda: False)
            except asyncio.CancelledError:
                return "ignored"
        if how == "continue":
            workflow.continue_as_new("return")
        return f"{how} {self.told}"

    @workflow.signal
    def tell(self, word: str) -> None:
        self.told.append(word)


def _child_id() -> str:
    own = workflow.info().workflow_id
    return own.replace("order", "child")


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, how: str, options: dict[str, Any]) -> str:
        try:
            return await workflow.execute_child_workflow(Child.run, how, id=_child_id(), **_options(options))
        except Exception as error:
            return explained(error)


def _options(plain: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key, value in plain.items():
        if key.endswith("timeout"):
            options[key] = timedelta(seconds=value)
        elif key == "attempts":
            options["retry_policy"] = RetryPolicy(maximum_attempts=value, initial_interval=timedelta(seconds=1))
        elif key == "id_reuse_policy":
            options[key] = WorkflowIDReusePolicy[value]
        else:
            options[key] = value
    return options


async def _parent(stage: Stage, how: str, **options: Any) -> Any:
    stage.id("child")
    async with stage.worker([Parent, Child]):
        return [await stage.run(Parent.run, how, options)]


async def completes(stage: Stage) -> Any:
    return await _parent(stage, "return")


async def has_every_option(stage: Stage) -> Any:
    return await _parent(
        stage, "return", execution_timeout=60, run_timeout=50, task_timeout=5, memo={"a": 1},
        static_summary="a child", static_details="of a *parent*", attempts=3,
    )  # fmt: skip


async def fails(stage: Stage) -> Any:
    return await _parent(stage, "fail")


async def is_retried(stage: Stage) -> Any:
    return await _parent(stage, "fail", attempts=2)


async def continues_as_new(stage: Stage) -> Any:
    return await _parent(stage, "continue")


async def times_out(stage: Stage) -> Any:
    return await _parent(stage, "wait", execution_timeout=3)


async def id_is_in_use(stage: Stage) -> Any:
    async with stage.worker([Parent, Child]):
        existing = await stage.start(Child.run, "wait", id="child")
        outcome = await stage.run(Parent.run, "return", {})
        await existing.signal(Child.tell, "go")
        return [outcome, await stage.outcome(existing)]


async def id_was_used(stage: Stage) -> Any:
    async with stage.worker([Parent, Child]):
        before = await stage.run(Child.run, "return", id="child")
        return [before, await stage.run(Parent.run, "return", {"id_reuse_policy": "REJECT_DUPLICATE"})]


async def is_terminated(stage: Stage) -> Any:
    async with stage.worker([Parent, Child]):
        handle = await stage.start(Parent.run, "wait", {})
        await stage.events(handle, "CHILD_WORKFLOW_EXECUTION_STARTED")
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED", 2)
        child = stage.client.get_workflow_handle(stage.id("child"))
        await stage.events(child, "WORKFLOW_TASK_COMPLETED")
        await child.terminate("enough")
        return [await stage.outcome(handle)]


async def pending_ones_are_described(stage: Stage) -> Any:
    async with stage.worker([Parent, Child]):
        handle = await stage.start(Parent.run, "wait", {})
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED", 2)
        await stage.events(stage.client.get_workflow_handle(stage.id("child")), "WORKFLOW_TASK_COMPLETED")
        parent, child = await stage.describe(handle.id), await stage.describe(stage.id("child"))
        await stage.client.get_workflow_handle(stage.id("child")).signal(Child.tell, "go")
        info = child.workflow_execution_info
        return [list(parent.pending_children), info.parent_execution, info.root_execution, await stage.outcome(handle)]


@workflow.defn
class Canceller:
    """Starts a child, and cancels it once it is told to."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, how: str, kind: str) -> str:
        child = await workflow.start_child_workflow(
            Child.run,
            how,
            id=_child_id(),
            cancellation_type=ChildWorkflowCancellationType[kind],
        )
        await workflow.wait_condition(lambda: self.told)
        child.cancel()
        try:
            return await child
        except BaseException as error:
            return explained(error)

    @workflow.signal
    def cancel(self) -> None:
        self.told = True


async def _cancelled(stage: Stage, how: str, kind: str) -> Any:
    stage.id("child")
    async with stage.worker([Canceller, Child]):
        handle = await stage.start(Canceller.run, how, kind)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED", 2)
        child = stage.client.get_workflow_handle(stage.id("child"))
        await stage.events(child, "WORKFLOW_TASK_COMPLETED")
        await handle.signal(Canceller.cancel)
        return [await stage.outcome(handle), await stage.outcome(child)]


async def cancelled_and_waited_for(stage: Stage) -> Any:
    return await _cancelled(stage, "clean up", "WAIT_CANCELLATION_COMPLETED")


async def cancelled_and_ignored(stage: Stage) -> Any:
    return await _cancelled(stage, "ignore", "WAIT_CANCELLATION_COMPLETED")


@workflow.defn
class Leaver:
    """Ends before its child does."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, how: str, policy: str) -> None:
        await workflow.start_child_workflow(
            Child.run, how, id=_child_id(), parent_close_policy=ParentClosePolicy[policy]
        )
        await workflow.wait_condition(lambda: self.told)

    @workflow.signal
    def leave(self) -> None:
        self.told = True


async def _left(stage: Stage, how: str, policy: str) -> Any:
    stage.id("child")
    async with stage.worker([Leaver, Child]):
        handle = await stage.start(Leaver.run, how, policy)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED", 2)
        child = stage.client.get_workflow_handle(stage.id("child"))
        await stage.events(child, "WORKFLOW_TASK_COMPLETED")
        await handle.signal(Leaver.leave)
        outcome = await stage.outcome(handle)
        if policy == "ABANDON":
            await child.signal(Child.tell, "go")
        return [outcome, await stage.outcome(child)]


async def terminated_with_its_parent(stage: Stage) -> Any:
    return await _left(stage, "wait", "TERMINATE")


async def cancelled_with_its_parent(stage: Stage) -> Any:
    return await _left(stage, "clean up", "REQUEST_CANCEL")


async def abandoned_by_its_parent(stage: Stage) -> Any:
    return await _left(stage, "wait", "ABANDON")


@workflow.defn
class Signaller:
    """Signals its child through the handle, and others by id."""

    @workflow.run
    async def run(self, others: list[str]) -> list[str]:
        child = await workflow.start_child_workflow(
            Child.run, "wait for two", id=_child_id(), parent_close_policy=ParentClosePolicy.ABANDON
        )
        await child.signal(Child.tell, "hello child")
        answers: list[str] = []
        for other in others:
            handle = workflow.get_external_workflow_handle_for(Child.run, other)
            try:
                await handle.signal(Child.tell, "hello other")
                answers.append("signalled")
            except Exception as error:
                answers.append(explained(error))
        return answers


async def signalled_and_others_too(stage: Stage) -> Any:
    stage.id("child")
    async with stage.worker([Signaller, Child]):
        other = await stage.start(Child.run, "wait", id="other")
        await stage.events(other, "WORKFLOW_TASK_COMPLETED")
        done = await stage.start(Child.run, "return", id="done")
        await stage.outcome(done)
        answers = await stage.run(Signaller.run, [other.id, done.id, stage.name("unknown")])
        child = stage.client.get_workflow_handle(stage.id("child"))
        await child.signal(Child.tell, "goodbye")
        return [*answers, await stage.outcome(other), await stage.outcome(child)]


@workflow.defn
class CancelsOthers:
    @workflow.run
    async def run(self, others: list[str]) -> list[str]:
        answers: list[str] = []
        for other in others:
            try:
                await workflow.get_external_workflow_handle(other).cancel()
                answers.append("cancelled")
            except Exception as error:
                answers.append(explained(error))
        return answers


async def others_are_cancelled(stage: Stage) -> Any:
    async with stage.worker([CancelsOthers, Child]):
        other = await stage.start(Child.run, "wait", id="other")
        await stage.events(other, "WORKFLOW_TASK_COMPLETED")
        done = await stage.start(Child.run, "return", id="done")
        await stage.outcome(done)
        answers = await stage.run(CancelsOthers.run, [other.id, done.id, stage.name("unknown")])
        return [*answers, await stage.outcome(other)]


@workflow.defn
class Three:
    @workflow.run
    async def run(self) -> list[str]:
        answers: list[str] = []
        for number in range(3):
            answers.append(await workflow.execute_child_workflow(Child.run, f"{number}", id=f"{_child_id()}"))
        return answers


async def three_of_one_id(stage: Stage) -> Any:
    stage.id("child")
    async with stage.worker([Three, Child]):
        return [await stage.run(Three.run)]

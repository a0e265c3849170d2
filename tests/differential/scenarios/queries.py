"""Queries: of open and closed workflows, rejected ones, failing ones."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError

from tests.differential.stage import Stage


@workflow.defn
class Asked:
    def __init__(self) -> None:
        self.stage = "new"

    @workflow.run
    async def run(self, fails: bool) -> str:
        if self.stage == "new":
            self.stage = "waiting"
        await workflow.wait_condition(lambda: self.stage == "told")
        if fails:
            raise ApplicationError("as asked", non_retryable=True)
        return self.stage

    @workflow.signal
    def tell(self) -> None:
        self.stage = "told"

    @workflow.query
    def where(self) -> str:
        return self.stage

    @workflow.query
    def plus(self, left: int, right: int) -> int:
        return left + right

    @workflow.query
    def broken(self) -> None:
        raise ApplicationError("cannot say", "detail", type="Broken")


async def _asked(stage: Stage, handle: Any) -> list[Any]:
    return [
        await stage.answer(handle.query(Asked.where)),
        await stage.answer(handle.query(Asked.plus, args=[1, 2])),
        await stage.answer(handle.query(Asked.broken)),
        await stage.answer(handle.query("unheard")),
    ]


async def of_an_open_workflow(stage: Stage) -> Any:
    async with stage.worker([Asked]):
        handle = await stage.start(Asked.run, False)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        return await _asked(stage, handle)


async def of_a_workflow_that_no_worker_keeps(stage: Stage) -> Any:
    async with stage.worker([Asked], max_cached_workflows=0):
        handle = await stage.start(Asked.run, False)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        return await _asked(stage, handle)


async def of_closed_workflows(stage: Stage) -> Any:
    async with stage.worker([Asked]):
        done = await stage.start(Asked.run, False, start_signal="tell")
        failed = await stage.start(Asked.run, True, id="failed", start_signal="tell")
        answers = [await stage.outcome(done), await stage.outcome(failed)]
        return [*answers, *await _asked(stage, done), *await _asked(stage, failed)]


async def rejected(stage: Stage) -> Any:
    async with stage.worker([Asked]):
        waiting = await stage.start(Asked.run, False, id="open")
        done = await stage.start(Asked.run, False, id="done", start_signal="tell")
        failed = await stage.start(Asked.run, True, id="failed", start_signal="tell")
        await stage.events(waiting, "WORKFLOW_TASK_COMPLETED")
        await stage.outcome(done)
        await stage.outcome(failed)
        answers: list[Any] = []
        for condition in (QueryRejectCondition.NOT_OPEN, QueryRejectCondition.NOT_COMPLETED_CLEANLY):
            for handle in (waiting, done, failed):
                asked = handle.query(Asked.where, reject_condition=condition)
                answers.append(await stage.answer(_query_status(asked)))
        return answers


async def _query_status(asked: Any) -> str:
    from temporalio.client import WorkflowQueryRejectedError

    try:
        return await asked
    except WorkflowQueryRejectedError as error:
        return f"rejected: {error.status.name if error.status else None}"


async def of_nobody(stage: Stage) -> Any:
    unknown = stage.client.get_workflow_handle(stage.name("unknown"))
    handle = await stage.start(Asked.run, False)
    return [
        await stage.answer(unknown.query("where")),
        await stage.answer(handle.query("")),
        await stage.answer(stage.client.get_workflow_handle("").query("where")),
    ]


async def before_the_first_task(stage: Stage) -> Any:
    """The workflow must have begun; then the worker answers with the state after all that is known."""
    handle = await stage.start(Asked.run, False)
    async with stage.worker([Asked]):
        return [await stage.answer(handle.query(Asked.where))]


async def after_a_worker_is_gone(stage: Stage) -> Any:
    async with stage.worker([Asked]):
        handle = await stage.start(Asked.run, False)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
    async with stage.worker([Asked]):
        return [await stage.answer(handle.query(Asked.where))]


async def built_in_ones(stage: Stage) -> Any:
    async with stage.worker([Asked]):
        handle = await stage.start(Asked.run, False)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        stack = await handle.query("__stack_trace")
        metadata = await handle.query("__temporal_workflow_metadata")
        return ["queries.py" in stack, sorted(field.name for field, _ in metadata.ListFields())]

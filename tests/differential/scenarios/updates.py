"""Updates: stages, rejections, failures, repetitions, update-with-start, and workflows that end first."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage
from temporalio.api.update.v1 import Input, Meta, Request, UpdateRef, WaitPolicy
from temporalio.api.workflowservice.v1 import PollWorkflowExecutionUpdateRequest, UpdateWorkflowExecutionRequest
from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateStage
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError

from tests.differential.stage import Gate, Stage

GATES: dict[str, Gate] = {}


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.total = 0
        self.ended = False
        self.opened = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.ended)
        return self.total

    @workflow.signal
    def end(self) -> None:
        self.ended = True

    @workflow.signal
    def open(self) -> None:
        self.opened = True

    @workflow.query
    def now(self) -> int:
        return self.total

    @workflow.update
    def add(self, number: int) -> int:
        self.total += number
        return self.total

    @add.validator
    def check(self, number: int) -> None:
        if number < 0:
            raise ApplicationError("only more", number, type="Negative")

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def add_later(self, number: int) -> int:
        await workflow.wait_condition(lambda: self.opened)
        self.total += number
        return self.total

    @workflow.update
    async def add_slowly(self, number: int) -> int:
        await workflow.sleep(0.1)
        self.total += number
        return self.total

    @workflow.update
    async def fail(self) -> None:
        raise ApplicationError("cannot", {"a": 1}, type="Broken", non_retryable=True)

    @workflow.update
    def add_and_end(self, number: int) -> int:
        self.total += number
        self.ended = True
        return self.total


async def _counter(stage: Stage) -> Any:
    handle = await stage.start(Counter.run)
    await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
    return handle


async def _end(stage: Stage, handle: Any) -> Any:
    await handle.signal(Counter.end)
    return await stage.outcome(handle)


async def completes(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        answers = [await stage.answer(handle.execute_update(Counter.add, n, id=f"u{n}")) for n in (1, 2)]
        return [*answers, await _end(stage, handle)]


async def completes_in_several_tasks(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        answer = await stage.answer(handle.execute_update(Counter.add_slowly, 5, id="u"))
        return [answer, await _end(stage, handle)]


async def waits_for_acceptance(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        update = await handle.start_update(Counter.add_later, 5, id="u", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        await handle.signal(Counter.open)
        return [update.id, await stage.answer(update.result()), await _end(stage, handle)]


async def rejected_by_its_validator(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        answers = [
            await stage.answer(handle.execute_update(Counter.add, -1, id="u1")),
            await stage.answer(
                handle.start_update(Counter.add, -2, id="u2", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
            ),
        ]
        return [str(answer) for answer in answers[:1]] + [await _end(stage, handle)]


async def rejected_and_then_accepted(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        return [
            await stage.answer(handle.execute_update(Counter.add, -1, id="u1")),
            await stage.answer(handle.execute_update(Counter.add, 1, id="u2")),
            await stage.answer(handle.execute_update(Counter.add, -1, id="u3")),
            await _end(stage, handle),
        ]


async def rejected_by_a_worker_without_memory(stage: Stage) -> Any:
    async with stage.worker([Counter], max_cached_workflows=0):
        handle = await _counter(stage)
        return [
            await stage.answer(handle.execute_update(Counter.add, -1, id="u1")),
            await stage.answer(handle.execute_update(Counter.add, 1, id="u2")),
            await _end(stage, handle),
        ]


async def fails(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        return [await stage.answer(handle.execute_update(Counter.fail, id="u")), await _end(stage, handle)]


async def unheard(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        return [await stage.answer(handle.execute_update("unheard", id="u")), await _end(stage, handle)]


async def the_same_again(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        answers = [await stage.answer(handle.execute_update(Counter.add, 3, id="the same")) for _ in range(2)]
        again = handle.get_update_handle("the same", result_type=int)
        return [*answers, await stage.answer(again.result()), await _end(stage, handle)]


async def before_the_first_task(stage: Stage) -> Any:
    handle = await stage.start(Counter.run)
    asked = asyncio.create_task(stage.answer(handle.execute_update(Counter.add_and_end, 2, id="u")))
    async with stage.worker([Counter]):
        return [await asked, await stage.outcome(handle)]


async def ends_the_workflow(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        answer = await stage.answer(handle.execute_update(Counter.add_and_end, 2, id="u"))
        outcome = await stage.outcome(handle)
        again = await stage.answer(handle.execute_update(Counter.add_and_end, 2, id="u"))
        return [answer, outcome, again]


async def its_workflow_ends_first(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        update = await handle.start_update(Counter.add_later, 5, id="u", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        outcome = await _end(stage, handle)
        return [outcome, await stage.answer(update.result())]


async def its_workflow_is_terminated_first(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        update = await handle.start_update(Counter.add_later, 5, id="u", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        await handle.terminate("enough")
        return [await stage.answer(update.result())]


async def of_nobody(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        outcome = await _end(stage, handle)
        unknown = stage.client.get_workflow_handle(stage.name("unknown"))
        poll = PollWorkflowExecutionUpdateRequest(
            namespace=stage.namespace,
            update_ref=UpdateRef(workflow_execution=WorkflowExecution(workflow_id=handle.id), update_id="unknown"),
        )
        return [
            outcome,
            await stage.answer(handle.execute_update(Counter.add, 1, id="late")),
            await stage.answer(unknown.execute_update(Counter.add, 1, id="u")),
            await stage.answer(handle.execute_update("", id="nameless")),
            await stage.answer(stage.rpc.poll_workflow_execution_update(poll)),
        ]


async def polled(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        update = await handle.start_update(Counter.add_later, 5, id="u", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        reference = UpdateRef(workflow_execution=WorkflowExecution(workflow_id=handle.id), update_id=update.id)
        poll = PollWorkflowExecutionUpdateRequest(namespace=stage.namespace, update_ref=reference)
        before = await stage.answer(stage.rpc.poll_workflow_execution_update(poll))
        await handle.signal(Counter.open)
        await update.result()
        after = await stage.answer(stage.rpc.poll_workflow_execution_update(poll))
        return [before, after, await _end(stage, handle)]


async def waited_for_with_little_time(stage: Stage) -> Any:
    """The caller's deadline is before the outcome: it passes, and no answer comes early."""
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        await handle.start_update(Counter.add_later, 5, id="u", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        execution = WorkflowExecution(workflow_id=handle.id)
        completed = WaitPolicy(lifecycle_stage=UpdateWorkflowExecutionLifecycleStage.Value(_COMPLETED))
        poll = PollWorkflowExecutionUpdateRequest(
            namespace=stage.namespace,
            update_ref=UpdateRef(workflow_execution=execution, update_id="u"),
            wait_policy=completed,
        )
        update = UpdateWorkflowExecutionRequest(
            namespace=stage.namespace,
            workflow_execution=execution,
            wait_policy=completed,
            request=Request(meta=Meta(update_id="u"), input=Input(name="add_later")),
        )
        answers: list[str] = []
        for seconds in (0.5, 1.5):
            for ask, request in (
                (stage.rpc.poll_workflow_execution_update, poll),
                (stage.rpc.update_workflow_execution, update),
            ):
                asked = ask(request, timeout=timedelta(seconds=seconds))
                code = str(await stage.answer(asked)).partition(":")[0]
                # Whichever of client and server saw it first.
                answers.append("the deadline passed" if code in ("CANCELLED", "DEADLINE_EXCEEDED") else code)
        await handle.terminate()
        return answers


_COMPLETED = "UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED"


def _with_start(stage: Stage, **options: Any) -> WithStartWorkflowOperation[Any, Any]:
    policies = {"id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING, **options}
    return WithStartWorkflowOperation(Counter.run, id=stage.id(), task_queue=stage.task_queue, **policies)


async def with_a_start(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        answers: list[Any] = []
        for number in (1, 2):
            operation = _with_start(stage)
            answers.append(
                await stage.answer(
                    stage.client.execute_update_with_start_workflow(
                        Counter.add, number, id=f"u{number}", start_workflow_operation=operation
                    )
                )
            )
        return [*answers, await _end(stage, await operation.workflow_handle())]


async def with_a_start_and_rejected(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        operation = _with_start(stage)
        answer = await stage.answer(
            stage.client.execute_update_with_start_workflow(Counter.add, -1, id="u", start_workflow_operation=operation)
        )
        return [answer, await _end(stage, await operation.workflow_handle())]


async def with_a_start_that_is_refused(stage: Stage) -> Any:
    async with stage.worker([Counter]):
        handle = await _counter(stage)
        fail = WorkflowIDConflictPolicy.FAIL
        answers = await _refused(stage, _with_start(stage, id_conflict_policy=fail))
        await _end(stage, handle)
        reject = WorkflowIDReusePolicy.REJECT_DUPLICATE
        return answers + await _refused(stage, _with_start(stage, id_reuse_policy=reject))


async def _refused(stage: Stage, operation: WithStartWorkflowOperation[Any, Any]) -> list[Any]:
    return [await stage.answer(_asked(stage, operation)), await stage.answer(operation.workflow_handle())]


def _asked(stage: Stage, operation: WithStartWorkflowOperation[Any, Any]) -> Any:
    return stage.client.execute_update_with_start_workflow(
        Counter.add, 1, id="refused", start_workflow_operation=operation
    )


async def with_a_start_of_a_closed_workflow_that_knows_it(stage: Stage) -> Any:
    """The run has closed, the update completed in it: whoever sends both again is told of both, or is he not?"""
    answers: dict[str, Any] = {}
    reuses = [
        WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        WorkflowIDReusePolicy.REJECT_DUPLICATE,
    ]
    conflicts = [
        WorkflowIDConflictPolicy.FAIL,
        WorkflowIDConflictPolicy.USE_EXISTING,
        WorkflowIDConflictPolicy.TERMINATE_EXISTING,
    ]
    async with stage.worker([Counter]):
        for reuse in reuses:
            for conflict in conflicts:
                name = f"{reuse.name}-{conflict.name}".lower()
                handle = await stage.start(Counter.run, id=name)
                await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
                await handle.execute_update(Counter.add, 1, id="u")
                await _end(stage, handle)
                operation = WithStartWorkflowOperation(
                    Counter.run,
                    id=handle.id,
                    task_queue=stage.task_queue,
                    id_reuse_policy=reuse,
                    id_conflict_policy=conflict,
                )
                asked = stage.client.execute_update_with_start_workflow(
                    Counter.add, 7, id="u", start_workflow_operation=operation
                )
                answers[name] = [await stage.answer(asked), await stage.answer(_run_of(operation, handle))]
                await stage.answer(stage.client.get_workflow_handle(handle.id).terminate())
    return answers


async def _run_of(operation: WithStartWorkflowOperation[Any, Any], first: Any) -> str:
    """Whether the run that the operation speaks of is the first one."""
    handle = await operation.workflow_handle()
    return "the closed run" if handle.first_execution_run_id == first.first_execution_run_id else "a new run"


@workflow.defn
class Stumbles:
    """Its first workflow task fails so many times."""

    def __init__(self) -> None:
        self.total = 0

    @workflow.run
    async def run(self, name: str) -> int:
        left = FAILURES.get(name, 0)
        if left:
            FAILURES[name] = left - 1
            raise RuntimeError("not yet")
        await workflow.wait_condition(lambda: self.total > 0)
        return self.total

    @workflow.update
    def add(self, number: int) -> int:
        self.total += number
        return self.total


FAILURES: dict[str, int] = {}


async def _stumbled(stage: Stage, attempt: int, failures: int) -> Any:
    """An update that comes while the workflow task is at this attempt, of a workflow that fails so many of them."""
    name = stage.id(f"at-{attempt}-of-{failures}")
    FAILURES[name] = failures
    handle = await stage.start(Stumbles.run, name, id=f"at-{attempt}-of-{failures}", task_timeout=timedelta(seconds=2))
    await stage.until(lambda: stage.describe(name), lambda seen: seen.pending_workflow_task.attempt >= attempt)
    answer = await stage.answer(handle.execute_update(Stumbles.add, 2, id="u"))
    FAILURES[name] = 0
    if isinstance(answer, str):
        await handle.terminate()
    return answer


async def while_its_task_fails_at_first(stage: Stage) -> Any:
    """The SDK reports the first failure alone and lets later attempts time out: an update waits for as long as that."""
    async with stage.worker([Stumbles]):
        return await _stumbled(stage, 2, 2)


async def while_its_task_fails_on_and_on(stage: Stage) -> Any:
    async with stage.worker([Stumbles]):
        return [await _stumbled(stage, attempt, 100) for attempt in (3, 4)]

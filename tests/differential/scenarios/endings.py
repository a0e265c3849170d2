"""How workflows end, and are ended: failures of all kinds, cancellation, termination, continue-as-new."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

from tests.differential.stage import Stage


class Odd(Exception):
    pass


@activity.defn
async def breaks() -> None:
    raise ApplicationError("deep down", type="Deep", non_retryable=True)


@workflow.defn(failure_exception_types=[Odd])
class Fails:
    @workflow.run
    async def run(self, how: str) -> None:
        if how == "application":
            raise ApplicationError("no", {"a": [1]}, "two", type="No", non_retryable=True)
        if how == "benign":
            raise ApplicationError("no", category=ApplicationErrorCategory.BENIGN)
        if how == "delay":
            raise ApplicationError("no", next_retry_delay=timedelta(seconds=7))
        if how == "odd":
            raise Odd("declared as a failure")
        if how == "cancelled":
            raise CancelledError("of its own will")
        if how == "activity":
            await workflow.execute_activity(breaks, start_to_close_timeout=timedelta(seconds=9))
        if how == "cause":
            try:
                raise ValueError("inner")
            except ValueError as error:
                raise ApplicationError("outer") from error


async def failures_of_all_kinds(stage: Stage) -> Any:
    kinds = ["application", "benign", "delay", "odd", "cancelled", "activity", "cause"]
    async with stage.worker([Fails], [breaks]):
        return [[kind, await stage.run(Fails.run, kind, id=kind)] for kind in kinds]


@workflow.defn
class BreaksOnce:
    tried = False

    @workflow.run
    async def run(self) -> str:
        if not BreaksOnce.tried:
            BreaksOnce.tried = True
            raise RuntimeError("a bug, mended meanwhile")
        return "mended"


async def a_bug_fails_the_task_and_not_the_workflow(stage: Stage) -> Any:
    BreaksOnce.tried = False
    async with stage.worker([BreaksOnce]):
        return [await stage.run(BreaksOnce.run)]


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, how: str) -> Any:
        try:
            await workflow.wait_condition(lambda: bool(self.words))
        except asyncio.CancelledError:
            if how == "ignores":
                return "ignored"
            if how == "cleans up":
                await workflow.sleep(0.1)
            raise
        return self.words

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)


async def _cancelled(stage: Stage, how: str) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, how)
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        await handle.cancel()
        return [await stage.outcome(handle), await stage.answer(handle.cancel())]


async def cancelled(stage: Stage) -> Any:
    return await _cancelled(stage, "obeys")


async def cancelled_and_ignored(stage: Stage) -> Any:
    return await _cancelled(stage, "ignores")


async def cancelled_and_cleaned_up(stage: Stage) -> Any:
    return await _cancelled(stage, "cleans up")


async def cancelled_before_the_first_task(stage: Stage) -> Any:
    handle = await stage.start(Waits.run, "obeys")
    await handle.cancel()
    async with stage.worker([Waits]):
        return [await stage.outcome(handle)]


async def cancelled_twice(stage: Stage) -> Any:
    handle = await stage.start(Waits.run, "obeys")
    answers = [await stage.answer(handle.cancel()) for _ in range(2)]
    async with stage.worker([Waits]):
        return [*answers, await stage.outcome(handle)]


async def terminated(stage: Stage) -> Any:
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, "obeys")
        await stage.events(handle, "WORKFLOW_TASK_COMPLETED")
        await handle.terminate("by hand", "enough", reason="because")
        return [await stage.outcome(handle), await stage.answer(handle.terminate()), await stage.describe(handle.id)]


async def nobody_is_cancelled_or_terminated(stage: Stage) -> Any:
    unknown = stage.client.get_workflow_handle(stage.name("unknown"))
    handle = await stage.start(Waits.run, "obeys")
    other_chain = stage.client.get_workflow_handle(
        handle.id, first_execution_run_id="0198c5c4-0000-7000-8000-000000000000"
    )
    return [
        await stage.answer(unknown.cancel()),
        await stage.answer(unknown.terminate()),
        await stage.answer(unknown.describe()),
        await stage.answer(unknown.fetch_history()),
        await stage.answer(other_chain.cancel()),
        await stage.answer(other_chain.terminate()),
    ]


@workflow.defn
class Continues:
    @workflow.run
    async def run(self, left: int) -> str:
        if left > 0:
            workflow.continue_as_new(left - 1)
        return f"done as run {workflow.info().continued_run_id is not None}"


async def continued_as_new(stage: Stage) -> Any:
    async with stage.worker([Continues]):
        return [await stage.run(Continues.run, 2)]


async def continued_as_new_with_what_it_began_with(stage: Stage) -> Any:
    order_id = SearchAttributeKey.for_keyword("OrderId")
    async with stage.worker([Continues]):
        return [
            await stage.run(
                Continues.run,
                1,
                memo={"a": 1},
                search_attributes=TypedSearchAttributes([SearchAttributePair(order_id, "1001")]),
                execution_timeout=timedelta(seconds=90),
                run_timeout=timedelta(seconds=60),
                task_timeout=timedelta(seconds=5),
                retry_policy=RetryPolicy(maximum_attempts=3),
                static_summary="sum",
                static_details="det",
            )
        ]


@workflow.defn
class ContinuesOtherwise:
    @workflow.run
    async def run(self) -> None:
        workflow.upsert_memo({"run": 1})
        workflow.continue_as_new(
            args=[0],
            workflow="Continues",
            run_timeout=timedelta(seconds=50),
            task_timeout=timedelta(seconds=4),
            retry_policy=RetryPolicy(maximum_attempts=2),
            memo={"b": 2},
        )


async def continued_as_another_type(stage: Stage) -> Any:
    async with stage.worker([Continues, ContinuesOtherwise]):
        return [await stage.run(ContinuesOtherwise.run, memo={"a": 1}, static_summary="sum")]


async def a_history_is_read_to_its_close_event(stage: Stage) -> Any:
    async with stage.worker([Continues]):
        handle = await stage.start(Continues.run, 1)
        await stage.outcome(handle)
        run = stage.client.get_workflow_handle(handle.id, run_id=handle.result_run_id)
        alone = await stage.answer(run.result(follow_runs=False))
        return [alone, len((await run.fetch_history()).events)]

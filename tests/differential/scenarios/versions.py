"""Patches and their markers, memo and search attributes that change, side information of workflows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from tests.differential.stage import Stage

ORDER_ID = SearchAttributeKey.for_keyword("OrderId")
ORDER_TOTAL = SearchAttributeKey.for_int("OrderTotal")


@workflow.defn
class Patched:
    @workflow.run
    async def run(self, deprecated: bool) -> str:
        if deprecated:
            workflow.deprecate_patch("new way")
            return "deprecated"
        answers = [workflow.patched("new way"), workflow.patched("new way"), workflow.patched("newer way")]
        await workflow.sleep(0.05)
        return str([*answers, workflow.patched("new way")])


async def patched(stage: Stage) -> Any:
    async with stage.worker([Patched]):
        return [await stage.run(Patched.run, False)]


async def patch_deprecated(stage: Stage) -> Any:
    async with stage.worker([Patched]):
        return [await stage.run(Patched.run, True)]


@workflow.defn
class Describes:
    @workflow.run
    async def run(self) -> Any:
        workflow.upsert_memo({"b": 2, "c": [3]})
        workflow.upsert_search_attributes([ORDER_ID.value_set("1001"), ORDER_TOTAL.value_set(42)])
        await workflow.sleep(0.05)
        workflow.upsert_memo({"a": None, "b": 4})
        workflow.upsert_search_attributes([ORDER_ID.value_unset()])
        workflow.set_current_details("nearly done")
        await workflow.sleep(0.05)
        return [sorted(workflow.memo()), workflow.info().typed_search_attributes.get(ORDER_TOTAL)]


async def memo_and_search_attributes_change(stage: Stage) -> Any:
    async with stage.worker([Describes]):
        handle = await stage.start(Describes.run, memo={"a": 1})
        outcome = await stage.outcome(handle)
        described = (await stage.describe(handle.id)).workflow_execution_info
        return [outcome, described.memo, described.search_attributes]


@workflow.defn
class UnknownAttribute:
    @workflow.run
    async def run(self) -> None:
        workflow.upsert_search_attributes([SearchAttributeKey.for_keyword("Unheard").value_set("x")])
        await workflow.sleep(timedelta(hours=1))


async def an_unknown_search_attribute_is_upserted(stage: Stage) -> Any:
    async with stage.worker([UnknownAttribute]):
        handle = await stage.start(UnknownAttribute.run)
        await stage.events(handle, "WORKFLOW_TASK_FAILED")
        await handle.terminate(reason="enough")
        return [await stage.outcome(handle)]


async def an_unknown_search_attribute_at_start(stage: Stage) -> Any:
    unknown = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_keyword("Unheard"), "x")])
    wrong = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_keyword("OrderTotal"), "not a number")])
    return [
        await stage.answer(stage.start(Describes.run, search_attributes=unknown)),
        await stage.answer(stage.start(Describes.run, search_attributes=wrong)),
    ]


@workflow.defn
class Randoms:
    @workflow.run
    async def run(self) -> Any:
        info = workflow.info()
        first = (workflow.uuid4(), workflow.random().random(), workflow.now())
        await workflow.sleep(0.05)
        return [len(first), info.attempt, info.get_current_history_length(), info.is_continue_as_new_suggested()]


async def side_information(stage: Stage) -> Any:
    async with stage.worker([Randoms]):
        return [await stage.run(Randoms.run)]

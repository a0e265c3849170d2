"""Dynamic workflows and activities: they run every type that has no definition of its own."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Engine, activity, call, call_local, start, workflow
from perdure.sdk.declare.definitions import Registry
from perdure.sdk.errors import DefinitionError
from perdure.testing import TestEngine, assert_replays


@activity(dynamic=True)
def any_activity(name: str, *args: int) -> str:
    return f"{name}{list(args)} by {activity.info().activity_type}"


@activity(dynamic=True)
async def any_activity_async(name: str, *args: int) -> str:
    return f"{name}{list(args)} on the loop"


@activity
def charge(cents: int, tip: int = 0) -> str:
    return "by its own definition"


@activity
def known(cents: int) -> str:
    return f"known {cents}"


@workflow(dynamic=True)
def any_workflow(name: str, *args: Any) -> list[str]:
    assert workflow.info().workflow_type == name
    return [name, *args, call(charge, 5), call(known, 7), call_local(charge, 6, 1), start(charge, 8).result()]


@workflow(dynamic=True)
class AnyOf:
    @workflow.run
    async def run(self, name: str, number: int) -> list[Any]:
        if number:
            workflow.continue_as_new(number - 1)
        return [name, number]


@workflow
def order(item: str) -> list[str]:
    return ["by its own definition"]


@workflow
def count(number: int) -> list[Any]:
    return ["by its own definition"]


def test_types_without_a_definition_are_run_with_their_name() -> None:
    with TestEngine(workflows=[any_workflow], activities=[any_activity, known]) as engine:
        result = engine.run(order, "pen", id="w")
        history = engine.get("w").history()
    local = "charge[6, 1] by charge"
    assert result == ["order", "pen", "charge[5] by charge", "known 7", local, "charge[8] by charge"]
    assert_replays(history, [any_workflow])


def test_classes_and_coroutines_may_be_dynamic_and_keep_their_type_over_a_chain() -> None:
    with TestEngine(workflows=[AnyOf], activities=[any_activity_async]) as engine:
        assert engine.run(count, 2, id="w") == ["count", 0]


def test_what_has_a_definition_of_its_own_is_run_by_that() -> None:
    with TestEngine(workflows=[any_workflow, order], activities=[any_activity, charge]) as engine:
        assert engine.run(order, "pen", id="w") == ["by its own definition"]


def test_there_is_one_of_each() -> None:
    with pytest.raises(DefinitionError, match="two activities are dynamic"):
        Registry([], [any_activity, any_activity_async])
    with pytest.raises(DefinitionError, match="two workflows are dynamic"):
        Registry([any_workflow, AnyOf])


def test_without_one_an_unknown_type_is_still_an_error() -> None:
    with Engine("memory://", workflows=[order], activities=[]) as engine, pytest.raises(LookupError, match="count"):
        engine.start(count, 1, id="w")


@workflow
class HandlesAll:
    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.run
    def run(self) -> list[str]:
        workflow.wait_condition(lambda: "end" in self.heard)
        return self.heard

    @workflow.signal(dynamic=True)
    def hear(self, name: str, *args: str) -> None:
        self.heard.append(" ".join([name, *args]))

    @workflow.query(dynamic=True)
    def tell(self, name: str, *args: int) -> str:
        return f"{name} of {list(args)}, {len(self.heard)} heard"

    @workflow.update(dynamic=True)
    def do(self, name: str, *args: int) -> str:
        self.heard.append(name)
        return f"{name} did {sum(args)}"


@workflow
def handles_all() -> list[str]:
    heard: list[str] = []
    workflow.on_signal(None, lambda name, *args: heard.append(" ".join([name, *args])))
    workflow.on_query(None, lambda name, *args: f"{name} of {list(args)}, {len(heard)} heard")

    def do(name: str, *args: int) -> str:
        heard.append(name)
        return f"{name} did {sum(args)}"

    workflow.on_update(None, do)
    workflow.wait_condition(lambda: "end" in heard)
    return heard


@pytest.mark.parametrize("code", [HandlesAll, handles_all])
def test_handlers_of_every_kind_may_be_dynamic(code: Any) -> None:
    with TestEngine() as engine:
        handle = engine.start(code, id="w")
        handle.signal("word", "a", "b")
        assert handle.query("depth", 1, 2) == "depth of [1, 2], 1 heard"
        assert handle.update("add", 3, 4) == "add did 7"
        handle.signal("end")
        assert handle.result() == ["word a b", "add", "end"]
        assert_replays(handle.history(), [code])

"""Signals that nobody took are handed on to the next run of a chain, each once and in order."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import workflow
from perdure.testing import TestEngine, assert_replays


@workflow
def relay(left: int, heard: list[int]) -> list[int]:
    """One signal a run; the others wait for the next."""
    heard = [*heard, workflow.wait_signal("number")]
    if left == 1:
        return heard
    workflow.continue_as_new(left - 1, heard)


@workflow
async def relay_async(left: int, heard: list[int]) -> list[int]:
    heard = [*heard, await workflow.wait_signal("number")]
    if left == 1:
        return heard
    workflow.continue_as_new(left - 1, heard)


@workflow
class Later:
    """Its first run has no use for what its second one handles."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.run
    def run(self, number: int) -> list[str]:
        if number == 0:
            workflow.sleep("1h")
            workflow.continue_as_new(1)
        self.heard.append(workflow.wait_signal("second"))
        return self.heard

    @workflow.signal
    def handled(self, word: str) -> None:
        self.heard.append(word)


@workflow
def passes_on(runs: int) -> int:
    """Never asks for them."""
    workflow.sleep("1m")
    if runs == 0:
        return 0
    workflow.continue_as_new(runs - 1)


@workflow
def registers(number: int) -> list[str]:
    heard: list[str] = []
    if number == 0:
        workflow.sleep("1h")
        workflow.continue_as_new(1)
    workflow.on_signal("one", heard.append)
    workflow.on_signal(None, lambda name, value: heard.append(f"{name} {value}"))
    workflow.wait_condition(workflow.all_handlers_finished)
    return heard


@pytest.mark.parametrize("code", [relay, relay_async])
def test_each_is_heard_once_and_in_order(code: Any) -> None:
    with TestEngine() as engine:
        engine.start(code, 10, [], id="w")
        for number in range(10):
            engine.get("w").signal("number", number)
        assert engine.get("w").result() == list(range(10))


def test_those_that_come_with_the_next_run_are_behind_those_that_were_carried() -> None:
    with TestEngine() as engine:
        engine.start(relay, 4, [], id="w")
        for number in (1, 2, 3):
            engine.get("w").signal("number", number)
        engine.advance("1s")
        engine.get("w").signal("number", 4)
        assert engine.get("w").result() == [1, 2, 3, 4]


def test_a_class_hears_later_what_it_had_no_use_for() -> None:
    with TestEngine() as engine:
        engine.start(Later, 0, id="w")
        engine.get("w").signal("handled", "is done with the first run")
        engine.get("w").signal("second", "kept")
        assert engine.get("w").result() == ["kept"]


def test_they_go_through_runs_that_never_ask() -> None:
    with TestEngine() as engine:
        engine.start(passes_on, 3, id="w")
        engine.get("w").signal("unheard", 1)
        engine.get("w").signal("unheard", {"a": [1, 2]})
        assert engine.get("w").result() == 0
        history = engine.get("w").history()
        assert_replays(history, [passes_on])
        fields = history[0].workflow_execution_started_event_attributes.header.fields
        assert set(fields) == {"perdure-signals"}


def test_handlers_that_are_registered_get_them() -> None:
    with TestEngine() as engine:
        engine.start(registers, 0, id="w")
        engine.get("w").signal("two", 2)
        engine.get("w").signal("one", "1")
        assert sorted(engine.get("w").result()) == ["1", "two 2"]


def test_a_run_without_them_has_no_header() -> None:
    with TestEngine() as engine:
        engine.run(passes_on, 1, id="w")
        started = engine.get("w").history()[0].workflow_execution_started_event_attributes
        assert not started.header.fields

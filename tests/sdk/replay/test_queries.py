"""Queries as the machine sees them: answered from what the code has in memory, and without a trace."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from google.protobuf import json_format
from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.sdk.v1 import WorkflowMetadata

from perdure import call, workflow
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.workflow.workflow import start
from tests.sdk.replay.given import failure_text, texts
from tests.sdk.replay.letters import Letters
from tests.sdk.replay.pieces import a, version_of
from tests.sdk.replay.played import waited_for

ANSWERED = QueryResultType.QUERY_RESULT_TYPE_ANSWERED


@workflow
class Counter:
    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    def run(self) -> int:
        workflow.wait_condition(lambda: self.count == 3)
        return self.count

    @workflow.signal
    def add(self) -> None:
        self.count += 1

    @workflow.query
    def value(self, times: int = 1) -> int:
        return self.count * times

    @workflow.query
    def meddles(self) -> str:
        return call(a)

    @workflow.query(dynamic=True)
    def others(self, name: str) -> str:
        return f"no {name} here"


def asked(history: Letters, name: str, *args: object) -> WorkflowQueryResult:
    machine = history.machine()
    try:
        outcome = machine.process(history.queried(name, *args))
        assert outcome.failure is None
        assert outcome.query_results is not None
        return outcome.query_results[""]
    finally:
        machine.close()


def text(result: WorkflowQueryResult) -> str:
    if result.result_type == ANSWERED:
        return result.answer.payloads[0].data.decode()
    return failure_text(result.failure)


def test_a_run_is_asked_from_its_history_open_and_closed() -> None:
    history = Letters(Counter).task().done().signaled("add").signaled("add").task().done()
    assert text(asked(history, "value")) == "2"
    assert text(asked(history, "value", 10)) == "20"
    assert text(asked(history, "colour")) == '"no colour here"'
    history.signaled("add").task().done().workflow_completed(3)
    assert text(asked(history, "value")) == "3"


def test_a_query_that_does_something_is_an_error() -> None:
    history = Letters(Counter).task().done().signaled("add").task().done()
    assert "must not call activities" in text(asked(history, "meddles"))


def handlers() -> None:
    """A query that looks, and one that wakes the code."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await woken

    waits = asyncio.create_task(wait())

    def meddle() -> str:
        woken.set_result(None)
        return str(waits.done())

    workflow.on_query("look", lambda: "seen")
    workflow.on_query("meddle", meddle)


@version_of("busy")
async def left() -> None:
    """Ends while callbacks of what it waited for are still to run."""
    handlers()
    async with asyncio.timeout(600):
        await asyncio.wait_for(start(a), 60)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ended.add_done_callback(lambda _: None)
    ended.set_result(None)
    workflow.continue_as_new()


@version_of("busy")
async def polls() -> None:
    """Waits in a scope that is cancelled: anyio looks again and again whether the scope is left."""
    handlers()
    with anyio.move_on_after(5):
        await start(waited_for)


@version_of("busy")
async def waits() -> None:
    handlers()
    await start(a)


def in_the_middle(code: AnyWorkflow) -> Letters:
    """A run that waits for its activity, or has ended with it."""
    history = Letters(code).task()
    history.answer(history.cold())
    if code is left:
        history.completed("1").task()
    elif code is polls:
        history.now_ns += 6_000_000_000
        history.fired("1").task()
    return history if code is waits else history.answer(history.cold())


@pytest.mark.parametrize("code", [waits, polls, left])
def test_what_the_code_left_to_do_is_not_the_querys_doing(code: AnyWorkflow) -> None:
    history = in_the_middle(code)
    machine = history.machine()
    assert machine.process(history.queried("look")).query_results is not None
    assert (machine.fiber.ready_count() > 0) == (code is not waits)
    assert said(machine, history, "look") == ["seen"]
    assert machine.next_event_id == history.last + 1, "it need not be replayed for the next one"


@pytest.mark.parametrize("code", [waits, polls, left])
def test_a_query_that_wakes_the_code_is_an_error_and_no_other_beside_it(code: AnyWorkflow) -> None:
    history = in_the_middle(code)
    machine = history.machine()
    first, second, third = said(machine, history, "look", "meddle", "look")
    assert (first, third) == ("seen", "seen")
    assert "the query meddle set off something in the workflow" in second
    assert machine.next_event_id == 0, "it is replayed: it is not what history says any more"


def said(machine: WorkflowMachine, history: Letters, *names: str) -> list[str]:
    task = history.since()
    for number, name in enumerate(names):
        task.queries[str(number)].query_type = name
    outcome = machine.process(task)
    assert outcome.query_results is not None
    return [text(outcome.query_results[str(number)]).strip('"') for number in range(len(names))]


def test_questions_come_with_a_task_and_are_answered_behind_it() -> None:
    history = Letters(Counter).task().done().signaled("add").task()
    task = history.since()
    task.queries["first"].query_type = "value"
    task.queries["second"].query_type = "__stack_trace"
    outcome = history.machine().process(task)
    assert outcome.query_results is not None
    assert text(outcome.query_results["first"]) == "1"
    assert "in Counter.run" in text(outcome.query_results["second"])
    history.signaled("add").signaled("add").task()
    assert texts(history.cold().commands) == ["complete 3"]


@workflow
class Described:
    @workflow.run
    def run(self) -> None:
        workflow.set_current_details("waiting for **pay**")
        workflow.wait_condition(lambda: False)

    @workflow.signal
    def pay(self, card: str) -> None:
        """Pay the order,
        once.

        More about it.
        """

    @workflow.signal(dynamic=True)
    def other(self, name: str, *args: str) -> None:
        """Whatever else comes."""

    @workflow.query(name="state")
    def asked(self) -> str:
        return workflow.current_details()

    @workflow.update
    def change(self, item: str) -> None: ...

    @workflow.query
    def meddles(self) -> None:
        workflow.set_current_details("changed")


@workflow
def plain() -> None:
    workflow.wait_condition(lambda: False)


def metadata(history: Letters) -> WorkflowMetadata:
    """As tools read it: in the JSON that Temporal's SDKs write."""
    result = asked(history, "__temporal_workflow_metadata")
    assert result.answer.payloads[0].metadata == {
        "encoding": b"json/protobuf", "messageType": b"temporal.api.sdk.v1.WorkflowMetadata"
    }  # fmt: skip
    return json_format.Parse(text(result), WorkflowMetadata())


def test_a_run_says_what_it_takes_and_where_it_stands() -> None:
    found = metadata(Letters(Described).task().done())
    assert found.current_details == "waiting for **pay**"
    definition = found.definition
    assert definition.type == "Described"
    assert [(d.name, d.description) for d in definition.signal_definitions] == [
        ("", "Whatever else comes."), ("pay", "Pay the order, once."),
    ]  # fmt: skip
    assert [d.name for d in definition.query_definitions] == [
        "__stack_trace", "__temporal_workflow_metadata", "meddles", "state",
    ]  # fmt: skip
    assert [d.name for d in definition.update_definitions] == ["change"]


def test_a_function_without_handlers_says_so_too() -> None:
    found = metadata(Letters(plain).task().done())
    assert (found.definition.type, found.current_details) == ("plain", "")
    assert [d.name for d in found.definition.query_definitions] == ["__stack_trace", "__temporal_workflow_metadata"]


def test_a_query_may_read_the_details_and_not_set_them() -> None:
    history = Letters(Described).task().done()
    assert text(asked(history, "state")) == '"waiting for **pay**"'
    assert "must not" in text(asked(history, "meddles"))
    assert metadata(history).current_details == "waiting for **pay**"

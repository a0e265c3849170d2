"""Queries as the machine sees them: answered from what the code has in memory, and without a trace."""

from __future__ import annotations

from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.query.v1 import WorkflowQueryResult

from perdure import call, wait, workflow
from tests.sdk.replay.given import failure_text, texts
from tests.sdk.replay.letters import Letters
from tests.sdk.replay.pieces import a

ANSWERED = QueryResultType.QUERY_RESULT_TYPE_ANSWERED


@workflow
class Counter:
    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    def run(self) -> int:
        wait(lambda: self.count == 3)
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

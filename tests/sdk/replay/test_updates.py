"""Updates as the machine sees them: what is said of each, in which order, and what replay makes of it."""

from __future__ import annotations

import pytest

from perdure import ApplicationError, start, workflow
from perdure.errors import NonDeterminismError
from tests.sdk.replay.given import texts
from tests.sdk.replay.letters import Letters, said
from tests.sdk.replay.pieces import a


@workflow
class Account:
    def __init__(self) -> None:
        self.cents = 0
        self.ended = False

    @workflow.run
    def run(self) -> int:
        workflow.wait_condition(lambda: self.ended)
        return self.cents

    @workflow.update
    def add(self, cents: int) -> int:
        self.cents += cents
        return self.cents

    @add.validator
    def check(self, cents: int) -> None:
        if cents < 0:
            raise ApplicationError("less than nothing")

    @workflow.update
    def slow(self, cents: int) -> int:
        start(a).result()
        self.cents += cents
        return self.cents

    @workflow.update
    def refuses(self) -> None:
        raise ApplicationError("too late")

    @workflow.update
    def breaks(self) -> None:
        raise KeyError("a bug")

    @workflow.signal
    def end(self) -> None:
        self.ended = True


@workflow
async def sums() -> int:
    total: list[int] = []

    async def add(number: int) -> int:
        await start(a)
        total.append(number)
        return sum(total)

    workflow.on_update("add", add)
    await workflow.wait_condition(lambda: len(total) == 2)
    return sum(total)


def test_an_update_is_accepted_and_answered_in_the_same_task() -> None:
    history = Letters(Account).task().done().task()
    history.update("u1", "add", 5)
    outcome = history.machine().process(history.since())
    assert texts(outcome.commands) == ["say u1/request/accept", "say u1/request/complete"]
    assert said(outcome.messages) == ["accept u1", "answer u1: 5"]
    history.answer(outcome).signaled("end").task()
    assert texts(history.cold().commands) == ["complete 5"]


def test_an_update_that_waits_is_answered_later_and_replays() -> None:
    history = Letters(Account).task()
    history.update("u1", "slow", 5)
    machine = history.machine()
    first = machine.process(history.since())
    assert said(first.messages) == ["accept u1"]
    history.answer(first).completed("1").task()
    second = machine.process(history.since(3))
    assert said(second.messages) == ["answer u1: 5"]
    assert (texts(history.cold().commands), history.cold().failure) == (texts(second.commands), None)
    history.answer(second).signaled("end").task()
    assert texts(history.cold().commands) == ["complete 5"]


def test_a_rejection_is_a_message_and_no_command() -> None:
    history = Letters(Account).task()
    history.update("u1", "add", -1).update("u2", "nothing").update("u3", "add").update("u4", "add", 1)
    outcome = history.machine().process(history.since())
    assert texts(outcome.commands) == ["say u4/request/accept", "say u4/request/complete"]
    known = "the workflow has: add, breaks, refuses, slow"
    assert said(outcome.messages) == [
        "reject u1: less than nothing",
        "reject u3: update add: its handler takes cents, and was given none",
        "accept u4",
        "answer u4: 1",
        f"reject u2: no handler is registered for the update 'nothing'; {known}",
    ]


def test_a_failure_is_the_answer_and_a_bug_fails_the_task() -> None:
    history = Letters(Account).task()
    history.update("u1", "refuses")
    assert said(history.machine().process(history.since()).messages) == ["accept u1", "answer u1: failed, too late"]
    history.update("u2", "breaks")
    outcome = history.machine().process(history.since())
    assert outcome.failure is not None
    assert "a bug" in outcome.failure.message


def test_updates_of_an_async_workflow_run_beside_each_other() -> None:
    history = Letters(sums).task()
    history.update("u1", "add", 3).update("u2", "add", 4)
    machine = history.machine()
    first = machine.process(history.since())
    assert said(first.messages) == ["accept u1", "accept u2"]
    history.answer(first).completed("2").completed("1").task()
    second = machine.process(history.since(3))
    assert said(second.messages) == ["answer u2: 4", "answer u1: 7"]
    assert texts(second.commands)[-1] == "complete 7"
    assert texts(history.cold().commands) == texts(second.commands)


def test_an_acceptance_that_code_no_longer_gives_is_noticed() -> None:
    history = Letters(Account).task().done()
    history.accepted("u1", "gone").task()
    error = history.cold().error
    assert isinstance(error, NonDeterminismError)
    assert "acceptance of update gone (id u1)" in str(error)


@pytest.mark.parametrize("update_id", ["u1", "u2"])
def test_an_answer_that_belongs_to_another_update_is_noticed(update_id: str) -> None:
    history = Letters(Account).task().done()
    history.accepted("u1", "add", 1).answered(update_id).task()
    error = history.cold().error
    assert (error is None) is (update_id == "u1")
    assert error is None or "completion of an update (id u2)" in str(error)

"""Activities that are ended from outside, pauses and resets, from a client to the workflow's code."""

from __future__ import annotations

import queue

import pytest

from perdure import (
    ActivityInfo,
    ApplicationError,
    Engine,
    Retry,
    WorkflowAlreadyStartedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    activity,
    call,
    workflow,
)

asked: queue.Queue[ActivityInfo] = queue.Queue()


@activity(retry=Retry(maximum_attempts=1))
def ask_a_person(question: str) -> str:
    asked.put(activity.info())
    activity.raise_complete_async()


@workflow
def asks(question: str) -> str:
    return call(ask_a_person, question)


@workflow
def listens() -> str:
    return workflow.wait_signal("word")


@workflow
class Counter:
    def __init__(self) -> None:
        self.numbers: list[int] = []

    @workflow.run
    def run(self) -> list[int]:
        workflow.wait_condition(lambda: len(self.numbers) == 2)
        return self.numbers

    @workflow.update
    def add(self, number: int) -> int:
        self.numbers.append(number)
        return len(self.numbers)


def test_an_activity_is_completed_by_its_token_and_by_its_id() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(asks, "why?", id="asks-1")
        assert engine.activities.heartbeat("half", token=asked.get(timeout=20).task_token) is False
        engine.activities.complete("because", workflow_id="asks-1", activity_id="1")
        assert handle.result() == "because"
        handle = engine.start(asks, "why?", id="asks-2")
        token = asked.get(timeout=20).task_token
        engine.activities.complete("therefore", token=token)
        assert handle.result() == "therefore"
        with pytest.raises(WorkflowNotFoundError):
            engine.activities.complete("late", token=token)
        with pytest.raises(ValueError, match="by its token, or by"):
            engine.activities.complete("nobody's")


def test_an_activity_is_failed_from_outside() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(asks, "why?", id="asks-1")
        asked.get(timeout=20)
        engine.activities.fail(ApplicationError("no idea", type="NoIdea"), workflow_id="asks-1", activity_id="1")
        with pytest.raises(WorkflowFailedError, match="no idea"):
            handle.result()


def test_a_paused_workflow_waits() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(listens, id="ear")
        engine.get("ear").pause("for a look")
        handle.signal("word", "hello")
        with pytest.raises(TimeoutError):
            handle.result(timeout="50ms")
        engine.get("ear").unpause()
        assert handle.result() == "hello"


def test_the_id_of_a_paused_workflow_is_taken() -> None:
    with Engine("memory://") as engine:
        engine.start(listens, id="ear")
        engine.get("ear").pause("for a look")
        assert engine.get("ear").describe().status.is_open
        with pytest.raises(WorkflowAlreadyStartedError, match="is open already"):
            engine.start(listens, id="ear", id_conflict_policy="FAIL")


def test_a_workflow_is_reset() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(listens, id="ear")
        handle.signal("word", "hello")
        assert handle.result() == "hello"
        again = engine.get("ear").reset(event_id=4, reason="again")
        assert again.run_id != handle.run_id
        assert again.result() == "hello"


def test_what_a_workflow_was_asked_since_is_asked_again_after_a_reset() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(Counter, id="counter")
        assert handle.update("add", 1) == 1
        engine.get("counter").reset(event_id=4, reason="again")
        handle = engine.get("counter")
        assert handle.update("add", 2) == 2
        assert handle.result() == [1, 2]

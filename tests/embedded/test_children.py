"""Workflows that start, signal and cancel others, and that go on as new runs."""

from __future__ import annotations

import pytest

from perdure import (
    ApplicationError,
    CancelledError,
    ChildHandle,
    ChildWorkflowError,
    Engine,
    WorkflowFailedError,
    WorkflowStatus,
    activity,
    call,
    call_child,
    start_child,
    workflow,
)


@activity
def double(number: int) -> int:
    return 2 * number


@workflow
def doubles(number: int) -> int:
    if number < 0:
        raise ApplicationError("too small", type="TooSmall")
    return call(double, number)


@workflow
def listens() -> str:
    return workflow.wait_signal("word")


@workflow
def sums(numbers: list[int]) -> int:
    handles = [start_child(doubles, number) for number in numbers]
    return sum(workflow.wait_all(*handles)) + call_child(doubles, 1)


@workflow
async def sums_async(numbers: list[int]) -> int:
    total = 0
    for number in numbers:
        total += await start_child(doubles, number, id=f"child-{number}")
    return total


@workflow
def asks_a_child() -> str:
    child = start_child(listens, id="ear")
    child.signal("word", "hello")
    assert isinstance(child, ChildHandle) and child.id == "ear" and child.run_id
    return child.result()


@workflow
def explains() -> str:
    try:
        call_child(doubles, -1)
    except ChildWorkflowError as error:
        return f"{error.workflow_type}: {error.cause}"
    return "no error"


@workflow
def tells(workflow_id: str) -> str:
    other = workflow.external(workflow_id)
    try:
        other.signal("word", "from outside")
    except ApplicationError as error:
        return error.type
    return "told"


@workflow
def stops(workflow_id: str) -> None:
    workflow.external(workflow_id).cancel()


@workflow
def waits_for_a_child() -> str:
    child = start_child(listens, id="ear")
    try:
        return child.result()
    except ChildWorkflowError as error:
        return "the child was cancelled" if isinstance(error.cause, CancelledError) else str(error)


@workflow
def leaves_a_child() -> str:
    child = start_child(listens, id="ear", parent_close_policy="abandon")
    workflow.wait_condition(lambda: child.run_id is not None)
    return child.id


@workflow
def counts(number: int, until: int) -> tuple[int, str]:
    number = call(double, number)
    if number < until:
        workflow.continue_as_new(number, until)
    info = workflow.info()
    assert info.history_length == workflow.history_length() and not info.continue_as_new_suggested
    return number, info.continued_run_id


@workflow
async def counts_async(left: int) -> str:
    if left:
        workflow.continue_as_new(left - 1)
    return workflow.info().workflow_type


def test_children_are_called_and_started() -> None:
    with Engine("memory://") as engine:
        assert engine.run(sums, [1, 2, 3], id="sums") == 14
        assert engine.run(sums_async, [1, 2, 3], id="sums-async") == 12
        assert engine.get("child-2").result() == 4


def test_a_child_is_signalled_by_its_handle() -> None:
    with Engine("memory://") as engine:
        assert engine.run(asks_a_child, id="asks") == "hello"


def test_a_childs_failure_says_why() -> None:
    with Engine("memory://") as engine:
        assert engine.run(explains, id="explains") == "doubles: TooSmall: too small"
        with pytest.raises(WorkflowFailedError) as caught:
            engine.run(sums, [-1], id="sums")
        assert isinstance(caught.value.cause, ChildWorkflowError)


def test_any_workflow_can_be_signalled_and_cancelled() -> None:
    with Engine("memory://") as engine:
        ear = engine.start(listens, id="ear")
        assert engine.run(tells, "ear", id="tells") == "told"
        assert ear.result() == "from outside"
        assert engine.run(tells, "nobody", id="tells nobody") == "WorkflowNotFound"
        other = engine.start(listens, id="other ear")
        engine.run(stops, "other ear", id="stops")
        with pytest.raises(WorkflowFailedError, match="was cancelled"):
            other.result()


def test_a_cancelled_parent_waits_for_its_child() -> None:
    with Engine("memory://") as engine:
        parent = engine.start(waits_for_a_child, id="parent")
        engine.run(tells, "nobody", id="meanwhile")
        parent.cancel()
        assert parent.result() == "the child was cancelled"
        assert engine.get("ear").describe().status is WorkflowStatus.CANCELED


def test_an_abandoned_child_lives_on() -> None:
    with Engine("memory://") as engine:
        assert engine.run(leaves_a_child, id="parent") == "ear"
        assert engine.get("ear").describe().status is WorkflowStatus.RUNNING
        engine.get("ear").signal("word", "still here")
        assert engine.get("ear").result() == "still here"


def test_children_survive_the_engine(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/children.db"
    with Engine(url) as engine:
        engine.start(waits_for_a_child, id="parent")
    with Engine(url) as engine:
        engine.get("parent").query("__stack_trace")
        engine.run(tells, "ear", id="tells")
        assert engine.get("parent").result() == "from outside"


def test_a_run_continues_as_new() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(counts, 1, 8, id="counts")
        number, before = handle.result()
        assert number == 8 and before != handle.run_id
        assert len(engine.get("counts").history()) < 15
        assert engine.run(counts_async, 2, id="counts-async") == "counts_async"

"""Children, other workflows and the next run, as the machine sees them."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import CommandType

from perdure import ApplicationError, ChildWorkflowError, workflow
from perdure.errors import CancelledError, NonDeterminismError, TerminatedError, TimedOutError
from perdure.sdk.replay.child import FailedCause
from perdure.sdk.workflow.children import call_child, start_child
from tests.sdk.replay.given import texts
from tests.sdk.replay.letters import Letters

NO_NAMESPACE = FailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND


@workflow(name="kid")
def kid(number: int) -> str:
    return str(number)


@workflow
def parent() -> str:
    return call_child(kid, 7, id="kid-1")


@workflow
async def async_parent() -> str:
    return await start_child(kid, 7, id="kid-1")


@workflow
def tells() -> str:
    try:
        return call_child(kid, 7, id="kid-1")
    except ChildWorkflowError as error:
        return f"{type(error.cause).__name__} {error.cause} of {error.workflow_id} {error.run_id}"


@pytest.mark.parametrize("code", [parent, async_parent])
def test_a_child_is_started_once_and_its_result_handed_back(code: Any) -> None:
    history = Letters(code).task()
    machine = history.machine()
    first = machine.process(history.since())
    assert texts(first.commands) == ["child kid as kid-1"]
    history.answer(first).child_started("kid-1").task()
    assert texts(machine.process(history.since(3)).commands) == []
    seen = history.last
    history.done()
    history.child_closed("kid-1", "completed", "seven").task()
    assert texts(machine.process(history.since(seen)).commands) == ['complete "seven"']
    assert texts(history.cold().commands) == ['complete "seven"']


@pytest.mark.parametrize(
    ("how", "value", "expected"),
    [
        ("failed", ApplicationError("broken"), f"{ApplicationError.__name__} broken"),
        ("canceled", None, f"{CancelledError.__name__} child workflow kid was cancelled"),
        ("timed_out", None, f"{TimedOutError.__name__} child workflow kid timed out"),
        ("terminated", None, f"{TerminatedError.__name__} child workflow kid was terminated"),
    ],
)
def test_a_child_that_ends_otherwise_is_an_error_that_names_it(how: str, value: Any, expected: str) -> None:
    history = Letters(tells).task().done().child("kid-1", "kid").child_started("kid-1")
    history.child_closed("kid-1", how, value).task()
    assert texts(history.cold().commands) == [f'complete "{expected} of kid-1 run of kid-1"']


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (None, "WorkflowAlreadyStarted: workflow id 'kid-1' is taken"),
        (NO_NAMESPACE, "NamespaceNotFound: the namespace does not exist"),
    ],
)
def test_a_child_that_could_not_be_started_is_an_error(cause: Any, expected: str) -> None:
    history = Letters(tells).task().done().child("kid-1", "kid")
    history = history.child_not_started("kid-1") if cause is None else history.child_not_started("kid-1", cause)
    assert texts(history.task().cold().commands) == [f'complete "ApplicationError {expected} of kid-1 "']


@pytest.mark.parametrize(("workflow_id", "name"), [("kid-2", "kid"), ("kid-1", "niece")])
def test_another_child_than_history_has_is_noticed(workflow_id: str, name: str) -> None:
    error = Letters(parent).task().done().child(workflow_id, name).task().cold().error
    assert isinstance(error, NonDeterminismError)
    assert f"child workflow {name} (id {workflow_id})" in str(error)
    assert "child workflow kid (id kid-1)" in str(error)


@workflow
def cancels(cancellation: str) -> str:
    withdrawn = start_child(kid, 1, id="withdrawn")
    withdrawn.cancel()
    child = start_child(kid, 7, id="kid-1", cancellation=cancellation)
    workflow.sleep(1)
    child.cancel()
    try:
        return child.result()
    except (CancelledError, ChildWorkflowError) as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("cancellation", "commands"),
    [
        ("wait", ["cancel child kid-1"]),
        ("try", ["cancel child kid-1", 'complete "CancelledError"']),
        ("abandon", ['complete "CancelledError"']),
    ],
)
def test_a_child_is_cancelled_as_the_call_says(cancellation: str, commands: list[str]) -> None:
    history = Letters(cancels, cancellation).task()
    machine = history.machine()
    first = machine.process(history.since())
    assert texts(first.commands) == ["child kid as kid-1", "timer 1 for 1s"]
    history.answer(first).child_started("kid-1").fired("1").task()
    second = machine.process(history.since(3))
    assert texts(second.commands) == commands
    assert texts(history.cold().commands) == commands


def test_a_cancelled_child_that_is_waited_for_may_still_complete() -> None:
    history = Letters(cancels, "wait").task().done().child("kid-1", "kid").timer()
    history.child_started("kid-1").fired("1").task().done()
    history.cancel_sent("kid-1").cancel_delivered("kid-1").child_closed("kid-1", "completed", "late").task()
    assert texts(history.cold().commands) == ['complete "late"']


@workflow
def meddles() -> str:
    other = workflow.external("other")
    try:
        other.signal("go", 1)
        other.cancel()
    except ApplicationError as error:
        return str(error.type)
    return "told"


@workflow
async def meddles_async() -> str:
    other = workflow.external("other")
    try:
        await other.signal("go", 1)
        await other.cancel()
    except ApplicationError as error:
        return str(error.type)
    return "told"


@pytest.mark.parametrize("code", [meddles, meddles_async])
def test_another_workflow_is_signalled_and_cancelled(code: Any) -> None:
    history = Letters(code).task()
    machine = history.machine()
    first = machine.process(history.since())
    assert texts(first.commands) == ["signal go to other"]
    history.answer(first).signal_delivered("other").task()
    second = machine.process(history.since(3))
    assert texts(second.commands) == ["cancel other"]
    history.answer(second).cancel_delivered("other").task()
    assert texts(history.cold().commands) == ['complete "told"']


@pytest.mark.parametrize("code", [meddles, meddles_async])
def test_another_workflow_that_is_not_there_is_an_error(code: Any) -> None:
    unheard = Letters(code).task().done().signal_sent("other", "go").signal_refused("other").task()
    assert texts(unheard.cold().commands) == ['complete "WorkflowNotFound"']
    unhurt = Letters(code).task().done().signal_sent("other", "go").signal_delivered("other").task().done()
    unhurt.cancel_sent("other").cancel_refused("other").task()
    assert texts(unhurt.cold().commands) == ['complete "WorkflowNotFound"']


def test_another_message_than_history_has_is_noticed() -> None:
    error = Letters(meddles).task().done().signal_sent("other", "stop").task().cold().error
    assert isinstance(error, NonDeterminismError)
    assert "signal stop to workflow 'other'" in str(error)
    error = Letters(meddles).task().done().cancel_sent("other").task().cold().error
    assert isinstance(error, NonDeterminismError)
    assert "cancellation of workflow 'other'" in str(error)


@workflow
def again(number: int) -> None:
    call_child(kid, number, id="kid-1")
    workflow.continue_as_new(number + 1)


def test_the_next_run_is_begun_with_its_arguments() -> None:
    history = Letters(again, 1).task().done().child("kid-1", "kid").child_started("kid-1")
    history.child_closed("kid-1", "completed", "1").task()
    outcome = history.cold()
    assert texts(outcome.commands) == ["continue as new 2"]
    assert outcome.finished
    [command] = outcome.commands
    assert command.command_type == CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION
    assert command.continue_as_new_workflow_execution_command_attributes.workflow_type.name == again.name
    whole = history.answer(outcome)
    assert whole.cold().finished


def test_an_end_that_history_shows_otherwise_is_noticed() -> None:
    history = Letters(again, 1).task().done().child("kid-1", "kid").child_started("kid-1")
    history.child_closed("kid-1", "completed", "1").task().done().workflow_completed().task()
    assert isinstance(history.cold().error, NonDeterminismError)

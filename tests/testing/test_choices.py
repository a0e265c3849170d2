"""A choice is spelled the same way wherever one is made, and a wrong one is refused with the right ones."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.enums import v1 as enums
from temporalio.api.enums.v1 import ParentClosePolicy as WirePolicy

import perdure.errors
import perdure.interventions
from perdure import (
    IdConflictPolicy,
    IdReusePolicy,
    WorkflowAlreadyStartedError,
    activity,
    call,
    call_child,
    choices,
    start_child,
    workflow,
)
from perdure.errors import DefinitionError
from perdure.schedules import Overlap
from perdure.sdk.choices import Numbered, member_of, word_of
from perdure.testing import TestEngine


class TheirReusePolicy(enum.IntEnum):
    """As Temporal's Python SDK has it."""

    ALLOW_DUPLICATE = 1
    NEVER = 9


class TheirCancellation(enum.IntEnum):
    TRY_CANCEL = 0
    WAIT_CANCELLATION_COMPLETED = 1
    ABANDON = 2


@activity
def step() -> int:
    return 1


@workflow
def child() -> int:
    return call(step)


@workflow
def calls_a_child(options: dict[str, Any]) -> int:
    return call_child(child, id="the-child", **options)


@workflow
async def starts_a_child(given: dict[str, Any]) -> int:
    return await start_child(child, id="the-child", **given)


@workflow
class Talks:
    @workflow.run
    def run(self) -> None:
        workflow.sleep("1h")

    def sign(self) -> None: ...

    @workflow.update
    def add(self, number: int) -> int:
        return number


SPELLINGS: list[Any] = [
    IdReusePolicy.ALLOW_DUPLICATE,
    "ALLOW_DUPLICATE",
    "allow_duplicate",
    "allow-duplicate",
    "AllowDuplicate",
    "Allow Duplicate",
    "WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE",
    TheirReusePolicy.ALLOW_DUPLICATE,
]


@pytest.mark.parametrize("policy", SPELLINGS)
def test_a_policy_may_be_spelled_in_every_usual_way_of_a_client(policy: Any) -> None:
    with TestEngine() as engine:
        first = engine.start(child, id="a")
        first.result()
        again = engine.start(child, id="a", id_reuse_policy=policy, id_conflict_policy="USE_EXISTING")
        assert again.run_id != first.run_id
        engine.run(child, id="b")
        with_signal = engine.start(child, id="b", start_signal="go", id_reuse_policy=policy)
        assert with_signal.result() == 1


@pytest.mark.parametrize("policy", [policy for policy in SPELLINGS if isinstance(policy, str)])
@pytest.mark.parametrize("parent", [calls_a_child, starts_a_child])
def test_and_in_workflow_code(parent: Any, policy: str) -> None:
    with TestEngine() as engine:
        engine.run(child, id="the-child")
        options = {"id_reuse_policy": policy, "parent_close_policy": "REQUEST_CANCEL", "cancellation": "Try"}
        assert engine.run(parent, options) == 1


def test_every_reuse_policy_is_there_for_a_child() -> None:
    with TestEngine() as engine:
        assert engine.run(calls_a_child, {"id_reuse_policy": "terminate_if_running"}) == 1


@pytest.mark.parametrize("spelled", ["fail", "FAIL", "WORKFLOW_ID_CONFLICT_POLICY_FAIL", IdConflictPolicy.FAIL])
def test_a_conflict_policy_too(spelled: Any) -> None:
    with TestEngine() as engine:
        engine.start(Talks, id="a")
        with pytest.raises(WorkflowAlreadyStartedError):
            engine.start(Talks, id="a", id_conflict_policy=spelled)


def _definition(**options: Any) -> Any:
    return activity(name="one of many", **options)(lambda: None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("wait", "wait"),
        ("WAIT", "wait"),
        ("TRY_CANCEL", "try"),
        (TheirCancellation.WAIT_CANCELLATION_COMPLETED, "wait"),
        (TheirCancellation.ABANDON, "abandon"),
    ],
)
def test_a_cancellation_too(given: Any, meant: str) -> None:
    assert _definition(cancellation=given).activity_options.cancellation == meant
    assert _definition().options(cancellation=given).activity_options.cancellation == meant


REFUSALS: list[tuple[str, Callable[[TestEngine], Any], str]] = [
    ("start", lambda e: e.start(child, id_reuse_policy="maybe"), "id_reuse_policy must be one of 'allow_duplicate', "),
    ("number", lambda e: e.start(child, id_reuse_policy=1), "not 1"),  # pyright: ignore
    ("truth", lambda e: e.start(child, id_conflict_policy=True), "not True"),  # pyright: ignore
    ("other", lambda e: e.start(child, id_reuse_policy=Overlap.SKIP), "not <Overlap.SKIP"),
    ("theirs", lambda e: e.start(child, id_reuse_policy=TheirReusePolicy.NEVER), "id_reuse_policy must be"),  # pyright: ignore
    ("near", lambda e: e.start(child, id_conflict_policy="use_exsting"), "did you mean 'use_existing'?"),
    ("signal", lambda e: e.start(child, id="a", start_signal="go", id_reuse_policy="no"), "id_reuse_policy must"),
    ("update", lambda e: e.start(child, id="a", start_update="u", id_conflict_policy="x"), "id_conflict_policy"),
    ("schedule", lambda e: e.schedules.create("s", child, every="1h", overlap="both"), "overlap must be one of 'skip'"),
    ("trigger", lambda e: e.schedules.trigger("s", overlap="both"), "overlap must be one of 'skip'"),
    ("wait", lambda e: e.get("a").update("add", 1, wait_for="sent"), "wait_for must be one of 'accepted', 'completed'"),  # pyright: ignore
    ("reset", lambda e: e.get("a").reset(event_id=3, reapply="some"), "reapply must be one of 'all', 'signals'"),
    ("type", lambda e: e.search_attributes.add({"A": "Words"}), "attribute 'A' must be one of 'Text'"),
    ("run in", lambda e: _definition(run_in="gpu"), "run_in of one of many must be one of 'auto', 'loop'"),
    ("cancellation", lambda e: _definition(cancellation="soon"), "cancellation must be one of 'try', 'wait'"),
    ("unfinished", lambda e: workflow.signal(unfinished="drop")(Talks.cls.sign), "unfinished must be one of 'warn'"),  # pyright: ignore
    ("of update", lambda e: workflow.update(unfinished="drop")(Talks.cls.sign), "unfinished must be one of 'warn'"),  # pyright: ignore
]  # fmt: skip


@pytest.mark.parametrize(("misuse", "told"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_wrong_one_is_refused_at_once_with_the_right_ones(misuse: Callable[[TestEngine], Any], told: str) -> None:
    with TestEngine() as engine, pytest.raises(ValueError) as caught:
        misuse(engine)
    assert told in str(caught.value)


@workflow
def mends_its_own_mistake(options: dict[str, Any]) -> str:
    try:
        start_child(child, **options)
    except ValueError as error:
        return str(error)
    return "accepted"


@pytest.mark.parametrize("option", ["id_reuse_policy", "parent_close_policy", "cancellation"])
def test_in_workflow_code_it_is_an_error_at_its_line(option: str) -> None:
    with TestEngine() as engine:
        assert f"{option} must be one of" in engine.run(mends_its_own_mistake, {option: "sometimes"})


@pytest.mark.parametrize("spelled", ["accepted", "ACCEPTED"])
def test_how_long_an_update_is_waited_for(spelled: Any) -> None:
    with TestEngine() as engine:
        talks = engine.start(Talks, id="a")
        assert talks.update("add", 1, wait_for=spelled).result() == 1


def test_the_wires_names_count_without_their_beginning() -> None:
    name = WirePolicy.Name(WirePolicy.PARENT_CLOSE_POLICY_ABANDON)
    assert word_of(("terminate", "abandon"), name, "policy", wire="PARENT_CLOSE_POLICY_") == "abandon"
    with pytest.raises(ValueError, match="must be one of"):  # what only ends like one is none
        member_of(IdConflictPolicy, "never_fail", "id_conflict_policy")


def test_every_choice_is_a_text_and_one_of_temporals_knows_its_number() -> None:
    kinds = [getattr(choices, name) for name in choices.__all__]
    assert all(issubclass(kind, enum.StrEnum) for kind in kinds)
    assert len(kinds) > 10
    named = {**vars(perdure), **vars(perdure.errors), **vars(perdure.interventions)}.values()
    ours = {thing for thing in named if isinstance(thing, type) and issubclass(thing, enum.Enum)}
    assert {kind.__name__ for kind in ours if kind.__module__.startswith("perdure.sdk")} <= set(choices.__all__)
    assert (IdReusePolicy.REJECT_DUPLICATE, IdReusePolicy(3)) == ("reject_duplicate", "reject_duplicate")
    assert choices.WorkflowStatus(8) is choices.WorkflowStatus.PAUSED and choices.WorkflowStatus.PAUSED.number == 8
    with pytest.raises(ValueError, match="99"):
        choices.WorkflowStatus(99)
    assert choices.RetryState(99) is choices.RetryState.UNKNOWN


WIRE = {
    choices.IdConflictPolicy: enums.WorkflowIdConflictPolicy,
    choices.IdReusePolicy: enums.WorkflowIdReusePolicy,
    choices.Overlap: enums.ScheduleOverlapPolicy,
    choices.ParentClosePolicy: enums.ParentClosePolicy,
    choices.RetryState: enums.RetryState,
    choices.TimeoutType: enums.TimeoutType,
    choices.WaitFor: enums.UpdateWorkflowExecutionLifecycleStage,
    choices.WorkflowStatus: enums.WorkflowExecutionStatus,
}


def test_the_numbers_are_those_of_temporals_api() -> None:
    assert set(WIRE) == {kind for name in choices.__all__ if issubclass(kind := getattr(choices, name), Numbered)}
    for kind, wire in WIRE.items():
        for member in kind:
            assert member.number == 0 or wire.Name(member.number).endswith(f"_{member.name}"), member


def test_a_choice_is_a_member_or_its_text_wherever_one_is_made() -> None:
    with TestEngine() as engine:
        talks = engine.start(Talks, id="a", id_conflict_policy=IdConflictPolicy.USE_EXISTING)
        assert talks.update("add", 1, wait_for=choices.WaitFor.ACCEPTED).result() == 1
        options = {"parent_close_policy": choices.ParentClosePolicy.ABANDON, "cancellation": choices.Cancellation.TRY}
        assert engine.run(calls_a_child, options) == 1
        engine.search_attributes.add({"Word": choices.SearchAttributeType.KEYWORD})
        assert engine.search_attributes.list() == {"Word": "Keyword"}
        status = talks.describe().status
        assert status == "running" and status is choices.WorkflowStatus.RUNNING
        assert talks.describe().waits[0].kind is choices.WaitKind.TIMER
    assert _definition(run_in=choices.RunIn.THREAD).run_in == "thread"


def test_an_error_of_a_declaration_is_a_definition_error() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'thread'"):
        _definition(run_in="threads")

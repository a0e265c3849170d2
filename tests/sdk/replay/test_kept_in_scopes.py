"""Scopes, shields and asyncio's own blocks: none of them uses up a cancellation, and none swallows another's."""

from __future__ import annotations

import asyncio

import pytest

from perdure import call_child, start_child
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ActivityError, CancelledError, ChildWorkflowError
from perdure.sdk.workflow.workflow import CancelScope, call, start, workflow
from tests.sdk.replay.given import texts
from tests.sdk.replay.letters import Letters
from tests.sdk.replay.pieces import a, b, version_of
from tests.sdk.replay.played import ENDS, TOLD, WAYS, Played, first, first_handle, in_a_task, kid, said, waited_for

# --- scopes -------------------------------------------------------------------------------------------


class Shared:
    scope: CancelScope


def scoped(kind: str, heard: list[str]) -> AnyWorkflow:
    @version_of("kept")
    def code() -> None:
        heard.clear()
        shared = Shared()
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            try:
                heard.append(first(kind))
            except (CancelledError, ActivityError, ChildWorkflowError) as error:
                heard.append(said(error))
                if heard[-1] == TOLD[kind]["is cancelled"][0]:
                    raise
            for _ in range(2):
                try:
                    workflow.sleep(60)
                except CancelledError as error:
                    heard.append(said(error))
        heard.append("behind")
        workflow.sleep(60)

    return code


def scoped_async(kind: str, way: str, heard: list[str]) -> AnyWorkflow:
    @version_of("kept")
    async def code() -> None:
        heard.clear()
        shared = Shared()
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            try:
                heard.append(await WAYS[way](kind))
            except (asyncio.CancelledError, ActivityError, ChildWorkflowError) as error:
                heard.append(said(error))
                if heard[-1] == "cancelled":
                    raise
            for _ in range(2):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError as error:
                    heard.append(said(error))
        heard.append("behind")
        await asyncio.sleep(60)

    return code


def play_scope(code: AnyWorkflow, heard: list[str], kind: str, end: str) -> list[str]:
    run = Played(code, heard)
    run.task()
    if kind == "child":
        run.history.child_started("kid")
    run.history.signaled("stop")
    assert [line.split()[0] for line in run.task()] == ["cancel"], "it is asked to end, once"
    ENDS[kind][end](run.history)
    run.task()
    return list(heard)


@pytest.mark.parametrize("end", ["well", "fails", "is cancelled"])
@pytest.mark.parametrize("kind", ["activity", "child"])
def test_a_cancelled_scope_is_told_at_the_next_wait_in_it(kind: str, end: str) -> None:
    heard: list[str] = []
    expected = TOLD[kind][end] if end != "is cancelled" else [*TOLD[kind][end], "behind"]
    assert play_scope(scoped(kind, heard), heard, kind, end) == expected


@pytest.mark.parametrize("end", ["well", "fails", "is cancelled"])
@pytest.mark.parametrize("kind", ["activity", "child"])
@pytest.mark.parametrize("way", WAYS)
def test_so_it_is_in_an_async_workflow_whose_block_is_left_by_asyncios_error(way: str, kind: str, end: str) -> None:
    heard: list[str] = []
    expected = TOLD["activity"][end] if end != "is cancelled" else ["cancelled", "behind"]
    if end == "fails":
        expected = TOLD[kind][end]
    assert play_scope(scoped_async(kind, way, heard), heard, kind, end) == expected


def test_of_two_scopes_that_are_cancelled_at_once_the_outer_one_is_left() -> None:
    heard: list[str] = []

    @version_of("kept")
    def code(order: str) -> None:
        heard.clear()
        with workflow.scope() as outer:
            with workflow.scope() as inner:
                for scope in (inner, outer) if order == "inner first" else (outer, inner):
                    scope.cancel()
                workflow.sleep(60)
            heard.append("behind the inner one")
            workflow.sleep(60)
        heard.append("behind the outer one")

    @version_of("kept")
    async def async_code(order: str) -> None:
        heard.clear()
        with workflow.scope() as outer:
            with workflow.scope() as inner:
                for scope in (inner, outer) if order == "inner first" else (outer, inner):
                    scope.cancel()
                await workflow.sleep(60)
            heard.append("behind the inner one")
            await workflow.sleep(60)
        heard.append("behind the outer one")

    for definition in (code, async_code):
        for order in ("inner first", "outer first"):
            history = Letters(definition, order).task()
            assert texts(history.cold().commands) == ["complete null"]
            assert heard == ["behind the outer one"], (definition, order)


def of_scope_and_run(heard: list[str]) -> list[AnyWorkflow]:
    @version_of("kept")
    def code() -> None:
        heard.clear()
        shared = Shared()
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            heard.append(call(waited_for))
            workflow.sleep(60)
        heard.append("swallowed by the scope")
        workflow.sleep(60)

    @version_of("kept")
    async def async_code() -> None:
        heard.clear()
        shared = Shared()
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            heard.append(await start(waited_for))
            await workflow.sleep(60)
        heard.append("swallowed by the scope")
        await workflow.sleep(60)

    return [code, async_code]


@pytest.mark.parametrize("end", ["well", "is cancelled"])
@pytest.mark.parametrize("order", ["scope, run", "run, scope", "together"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_scope_does_not_swallow_the_cancellation_of_the_run_that_came_with_its_own(
    which: int, order: str, end: str
) -> None:
    heard: list[str] = []
    run = Played(of_scope_and_run(heard)[which], heard)
    run.task()
    for step in ["scope", "run"] if order == "together" else order.split(", "):
        _ = run.history.signaled("stop") if step == "scope" else run.history.cancel_requested()
        if order != "together":
            run.task()
    if order == "together":
        run.task()
    ENDS["activity"][end](run.history)
    assert run.task()[-1] == "cancel workflow"
    assert heard == (["value"] if end == "well" else [])


def test_what_the_code_itself_has_given_up_does_not_tell_it_of_the_runs_cancellation() -> None:
    heard: list[str] = []

    @version_of("kept")
    def code() -> None:
        heard.clear()
        handle = start(waited_for)
        workflow.wait_signal("give up")
        handle.cancel()
        for wait_once in (handle.result, lambda: workflow.sleep(60)):
            try:
                wait_once()
            except CancelledError as error:
                heard.append(said(error))
        workflow.wait_condition(lambda: False)

    @version_of("kept")
    async def async_code() -> None:
        heard.clear()
        handle = start(waited_for)
        await workflow.wait_signal("give up")
        handle.cancel()
        for waits in (lambda: handle, lambda: workflow.sleep(60)):
            try:
                await waits()
            except asyncio.CancelledError as error:
                heard.append(said(error))
        await workflow.wait_condition(lambda: False)

    for definition in (code, async_code):
        run = Played(definition, heard)
        run.task()
        run.history.signaled("give up")
        run.task()
        run.history.cancel_requested()
        run.task()
        assert heard == []
        run.history.cancelled("1")
        run.task()
        assert heard == ["cancelled", "cancelled"]


# --- shields ------------------------------------------------------------------------------------------


def test_behind_a_shield_around_the_next_wait_it_is_told_all_the_same() -> None:
    heard: list[str] = []

    @version_of("kept")
    def code() -> None:
        heard.clear()
        heard.append(call(waited_for))
        with workflow.shield():
            heard.append(call(b))
        try:
            workflow.sleep(60)
        except CancelledError as error:
            heard.append(said(error))
        workflow.sleep(60)

    @version_of("kept")
    async def async_code() -> None:
        heard.clear()
        heard.append(await start(waited_for))
        with workflow.shield():
            heard.append(await start(b))
        try:
            await workflow.sleep(60)
        except asyncio.CancelledError as error:
            heard.append(said(error))
        await workflow.sleep(60)

    for definition in (code, async_code):
        run = Played(definition, heard)
        run.task()
        run.history.cancel_requested()
        run.task()
        run.history.completed("1", "value")
        assert run.task() == ["schedule b() as 2"], "not cancelled"
        run.history.completed("2", "cleaned")
        run.task()
        assert heard == ["value", "cleaned", "cancelled"]


@pytest.mark.parametrize("by", ["run", "scope"])
def test_a_task_that_was_shielded_to_its_end_leaves_the_cancellation_to_whoever_awaits_it(by: str) -> None:
    heard: list[str] = []

    async def shielded() -> str:
        with workflow.shield():
            return await start(a)

    @version_of("kept")
    async def code() -> None:
        heard.clear()
        shared = Shared()
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            heard.append(await asyncio.create_task(shielded()))
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                heard.append(said(error))
            await asyncio.sleep(60)

    run = Played(code, heard)
    run.task()
    _ = run.history.cancel_requested() if by == "run" else run.history.signaled("stop")
    assert run.task() == [], "a shield holds it back"
    run.history.completed("1", "value")
    run.task()
    assert heard == ["value", "cancelled"]


# --- what asyncio does with tasks ---------------------------------------------------------------------


def test_whoever_takes_its_request_back_has_it_told_to_nobody() -> None:
    """asyncio.timeout and TaskGroup call uncancel() as they are left: what ended well in time is no cancellation."""
    heard: list[str] = []

    @version_of("kept")
    async def code() -> None:
        heard.clear()
        try:
            async with asyncio.timeout(60):
                heard.append(await start(waited_for))
        except TimeoutError:
            heard.append("late")
        await asyncio.sleep(60)
        heard.append("slept")

    run = Played(code, heard)
    run.task()
    run.history.fired("1")
    run.task()
    run.history.completed("1", "value")
    assert run.task() == ["timer 2 for 60s"]
    run.history.fired("2")
    assert run.task() == ["complete null"]
    assert heard == ["value", "slept"]


@pytest.mark.parametrize("kind", ["activity", "child"])
def test_a_time_out_that_strikes_in_the_middle_of_a_block_is_told_at_the_next_wait_in_it(kind: str) -> None:
    heard: list[str] = []

    @version_of("kept")
    async def code() -> None:
        heard.clear()
        try:
            async with asyncio.timeout(60):
                heard.append(await first_handle(kind))
                await asyncio.sleep(3600)
                heard.append("never")
        except TimeoutError:
            heard.append("late")
        await asyncio.sleep(1)

    run = Played(code, heard)
    run.task()
    run.history.fired("1")
    if kind == "child":
        run.history.child_started("kid")
    run.task()
    ENDS[kind]["well"](run.history)
    run.task()
    assert heard == ["value", "late"]


def test_a_time_out_around_a_child_is_a_time_out() -> None:
    heard: list[str] = []

    @version_of("kept")
    async def code() -> None:
        heard.clear()
        try:
            async with asyncio.timeout(60):
                await start_child(kid, id="kid")
        except TimeoutError:
            heard.append("late")

    run = Played(code, heard)
    run.task()
    run.history.fired("1").child_started("kid")
    run.task()
    run.history.child_closed("kid", "canceled")
    assert run.task() == ["complete null"]
    assert heard == ["late"]


@pytest.mark.parametrize("ends", ["canceled", "completed"])
def test_a_run_that_is_cancelled_while_a_group_of_children_runs_is_cancelled(ends: str) -> None:
    async def of(number: int) -> str:
        return await start_child(kid, id=f"kid-{number}")

    @version_of("kept")
    async def code() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(of(number))

    run = Played(code, [])
    run.task()
    run.history.child_started("kid-0").child_started("kid-1").cancel_requested()
    assert run.task() == ["cancel child kid-0", "cancel child kid-1"]
    run.history.child_closed("kid-0", ends).child_closed("kid-1", "canceled")
    assert run.task() == ["cancel workflow"]


@pytest.mark.parametrize("code", ["call", "task"])
def test_a_run_that_is_cancelled_while_it_waits_for_a_child_is_cancelled_and_not_failed(code: str) -> None:
    @version_of("kept")
    def plain_code() -> str:
        return call_child(kid, id="kid")

    @version_of("kept")
    async def task_code() -> str:
        return await in_a_task("child")

    run = Played(plain_code if code == "call" else task_code, [])
    run.task()
    run.history.child_started("kid").cancel_requested()
    assert run.task() == ["cancel child kid"]
    run.history.child_closed("kid", "canceled")
    assert run.task() == ["cancel workflow"]


@pytest.mark.parametrize("end", ["well", "fails"])
@pytest.mark.parametrize("order", ["the end first", "the signal first"])
@pytest.mark.parametrize("kind", ["activity", "child"])
@pytest.mark.parametrize("way", [None, *WAYS])
def test_a_scope_that_is_cancelled_as_its_call_ends_hands_the_end_over_first(
    way: str | None, kind: str, order: str, end: str
) -> None:
    heard: list[str] = []
    run = Played(scoped(kind, heard) if way is None else scoped_async(kind, way, heard), heard)
    run.task()
    if kind == "child":
        run.history.child_started("kid")
    if order == "the signal first":
        run.history.signaled("stop")
    ENDS[kind][end](run.history)
    if order == "the end first":
        run.history.signaled("stop")
    run.task()
    assert heard == TOLD[kind][end]


def test_clean_up_in_an_inner_block_is_not_interrupted_again_by_its_own_scope() -> None:
    heard: list[str] = []

    @version_of("kept")
    def code() -> None:
        heard.clear()
        with workflow.scope() as outer, workflow.scope() as inner:
            inner.cancel()
            outer.cancel()
            try:
                workflow.sleep(60)
            finally:
                heard.append(call(b))
        heard.append("behind")

    @version_of("kept")
    async def async_code() -> None:
        heard.clear()
        with workflow.scope() as outer, workflow.scope() as inner:
            inner.cancel()
            outer.cancel()
            try:
                await workflow.sleep(60)
            finally:
                heard.append(await start(b))
        heard.append("behind")

    for definition in (code, async_code):
        run = Played(definition, heard)
        assert run.task() == ["schedule b() as 1"]
        run.history.completed("1", "cleaned")
        assert run.task() == ["complete null"]
        assert heard == ["cleaned", "behind"]


def test_a_child_that_was_asked_by_each_that_was_cancelled_is_so_in_replay() -> None:
    """The first release asked it once for the run, and twice for a scope."""
    heard: list[str] = []
    history = Letters(scoped("child", heard)).task().done().child("kid", "kid").child_started("kid")
    history.cancel_requested().task().done().cancel_sent("kid")
    history.signaled("stop").task().done().cancel_sent("kid").cancel_sent("kid")
    history.child_closed("kid", "completed", "value").task().done().timer().signaled("x").task()
    assert history.cold().error is None
    assert heard == ["value"]

"""What is begun in a scope is cancelled together, by whoever cancels it, and the code goes on behind the block."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import CancelledError, EngineError
from perdure.sdk.workflow.workflow import CancelScope, call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b, version_of, x

CANCEL_BOTH = ["cancel activity of event 5", "cancel timer 1"]


@version_of("scoped")
def first_of_two() -> str:
    with workflow.scope() as scope:
        start(a)
        workflow.timer(60)
        call(b)
        scope.cancel()
    assert scope.cancelled
    return call(x, "behind")


@version_of("scoped")
async def first_of_two_async() -> str:
    with workflow.scope() as scope:
        start(a)
        workflow.timer(60)
        await start(b)
        scope.cancel()
    assert scope.cancelled
    return await start(x, "behind")


@pytest.mark.parametrize("code", [first_of_two, first_of_two_async])
def test_what_is_under_way_is_cancelled_and_the_code_goes_on(code: AnyWorkflow) -> None:
    history = History(code).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule a() as 1", "timer 1 for 60s", "schedule b() as 2"]
    history.apply(first.commands).completed("2").task()
    second = history.cold()
    assert texts(second.commands) == [*CANCEL_BOTH, 'schedule x("behind") as 3']
    history.apply(second.commands).completed("3", "done").task()
    assert texts(history.cold().commands) == ['complete "done"']


class Shared:
    """What the branches of one run of a test's workflow share."""

    scope: CancelScope
    seen: list[str]


def by_signal(make: Any) -> AnyWorkflow:
    return make(Shared())


def _sync(shared: Shared) -> AnyWorkflow:
    @workflow(name="scoped")
    def code() -> str:
        shared.seen = []
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            start(a)
            try:
                workflow.sleep(60)
            except CancelledError:
                shared.seen.append(call(b))
                raise
            shared.seen.append("never")
        return call(x, ",".join(shared.seen))

    return code


def _sync_condition(shared: Shared) -> AnyWorkflow:
    @workflow(name="scoped")
    def code() -> str:
        shared.seen = []
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            start(a)
            workflow.timer(60)
            try:
                workflow.wait_condition(lambda: False)
            except CancelledError:
                shared.seen.append(call(b))
                raise
            shared.seen.append("never")
        return call(x, ",".join(shared.seen))

    return code


def _async(shared: Shared) -> AnyWorkflow:
    @workflow(name="scoped")
    async def code() -> str:
        shared.seen = []
        workflow.on_signal("stop", lambda: shared.scope.cancel())
        with workflow.scope() as shared.scope:
            start(a)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                shared.seen.append(await start(b))
                raise
            shared.seen.append("never")
        return await start(x, ",".join(shared.seen))

    return code


def _async_task(shared: Shared) -> AnyWorkflow:
    @workflow(name="scoped")
    async def code() -> str:
        shared.seen = []
        workflow.on_signal("stop", lambda: shared.scope.cancel())

        async def below() -> None:
            start(a)
            try:
                await workflow.sleep(60)
            except asyncio.CancelledError:
                shared.seen.append(await start(b))
                raise

        with workflow.scope() as shared.scope:
            await asyncio.gather(asyncio.create_task(below()))
            shared.seen.append("never")
        return await start(x, ",".join(shared.seen))

    return code


@pytest.mark.parametrize("make", [_sync, _sync_condition, _async])
def test_a_handler_cancels_it_and_clean_up_in_the_block_may_wait(make: Any) -> None:
    history = History(by_signal(make)).task()
    machine = history.machine()
    first, at = machine.process(history.since()), history.last
    assert texts(first.commands) == ["schedule a() as 1", "timer 1 for 60s"]
    history.apply(first.commands).signaled("stop").task()
    second, before = machine.process(history.since(at)), at
    assert sorted(texts(second.commands)) == [*CANCEL_BOTH, "schedule b() as 2"]
    assert sorted(texts(history.cold(by_signal(make)).commands)) == sorted(texts(second.commands))
    at = history.last
    assert at > before
    history.apply(second.commands).completed("2", "cleaned").task()
    third = machine.process(history.since(at))
    assert texts(third.commands) == ['schedule x("cleaned") as 3']
    assert texts(history.cold(by_signal(make)).commands) == texts(third.commands)


def test_tasks_that_were_created_in_it_are_cancelled() -> None:
    history = History(by_signal(_async_task)).task()
    machine = history.machine()
    first, at = machine.process(history.since()), history.last
    history.apply(first.commands).signaled("stop").task()
    second = machine.process(history.since(at))
    assert [line for line in CANCEL_BOTH if line not in texts(second.commands)] == []
    assert "schedule b() as 2" in texts(second.commands)


@version_of("nested")
def nested() -> str:
    with workflow.scope() as outer:
        with workflow.scope() as inner:
            start(a)
            call(b)
            outer.cancel()
            workflow.sleep(5)
        return "the inner one swallowed it"
    return f"{outer.cancelled} {inner.cancelled}"


@version_of("nested")
async def nested_async() -> str:
    with workflow.scope() as outer:
        with workflow.scope() as inner:
            start(a)
            await start(b)
            outer.cancel()
            await workflow.sleep(5)
        return "the inner one swallowed it"
    return f"{outer.cancelled} {inner.cancelled}"


@pytest.mark.parametrize("code", [nested, nested_async])
def test_an_outer_scope_cancels_what_is_in_an_inner_one(code: AnyWorkflow) -> None:
    history = History(code).task()
    history.apply(history.cold().commands).completed("2").task()
    assert texts(history.cold().commands) == ["cancel activity of event 5", 'complete "True False"']


@version_of("shielded")
def shielded_in_scope() -> str:
    with workflow.scope() as scope:
        start(a)
        scope.cancel()
        with workflow.shield():
            call(b)
        workflow.sleep(5)
    return "behind"


@version_of("shielded")
async def shielded_in_scope_async() -> str:
    with workflow.scope() as scope:
        start(a)
        scope.cancel()
        with workflow.shield():
            await start(b)
        await workflow.sleep(5)
    return "behind"


@pytest.mark.parametrize("code", [shielded_in_scope, shielded_in_scope_async])
def test_what_is_shielded_is_not_in_it(code: AnyWorkflow) -> None:
    history = History(code).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule b() as 2"]
    history.apply(first.commands).completed("2").task()
    assert texts(history.cold().commands) == ['complete "behind"']


@version_of("run-cancelled")
def run_cancelled() -> str:
    with workflow.scope():
        workflow.sleep(60)
    return "swallowed"


@version_of("run-cancelled")
async def run_cancelled_async() -> str:
    with workflow.scope():
        await workflow.sleep(60)
    return "swallowed"


@pytest.mark.parametrize("code", [run_cancelled, run_cancelled_async])
def test_a_cancellation_of_the_run_is_not_swallowed(code: AnyWorkflow) -> None:
    history = History(code).task().done().timer().cancel_requested().task()
    assert texts(history.cold().commands) == ["cancel timer 1", "cancel workflow"]


def test_left_before_it_was_cancelled_nothing_is() -> None:
    @workflow
    def left() -> str:
        with workflow.scope() as scope:
            handle = start(a)
        scope.cancel()
        return f"{handle.result()} {scope.cancelled}"

    history = History(left).task()
    history.apply(history.cold().commands).completed("1", "a").task()
    assert texts(history.cold().commands) == ['complete "a False"']


def test_outside_of_a_workflow_it_is_refused() -> None:
    with pytest.raises(EngineError, match=r"workflow\.scope\(\) works inside a running workflow"):
        workflow.scope()

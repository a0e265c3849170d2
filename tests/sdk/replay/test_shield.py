"""A shield holds a cancellation of the run back until the code waits outside of it; and the memo that code changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ApplicationError, CancelledError
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b, version_of


@version_of("shielded")
def shielded() -> str:
    with workflow.shield():
        call(a)
        with workflow.shield():
            call(b)
    workflow.sleep(60)
    return "not cancelled"


@version_of("shielded")
async def shielded_async() -> str:
    with workflow.shield():
        await start(a)
        with workflow.shield():
            await start(b)
    await asyncio.sleep(60)
    return "not cancelled"


@version_of("shielded")
async def shielded_below() -> str:
    async def inner() -> None:
        with workflow.shield():
            await start(a)
            await start(b)

    await asyncio.gather(inner())
    await asyncio.sleep(60)
    return "not cancelled"


@pytest.mark.parametrize("code", [shielded, shielded_async, shielded_below])
def test_a_cancellation_waits_until_the_block_is_left(code: AnyWorkflow) -> None:
    history = History(code).task()
    machine = history.machine()
    first, at = machine.process(history.since()), history.last
    history.apply(first.commands).cancel_requested("enough").task()
    assert machine.process(history.since(at)).commands == []
    at = history.last
    history.done().completed("1").task()
    second = machine.process(history.since(at))
    assert texts(second.commands) == ["schedule b() as 2"]
    at = history.last
    history.apply(second.commands).completed("2").task()
    last = machine.process(history.since(at))
    assert texts(last.commands)[-1] == "cancel workflow"
    assert texts(history.cold().commands) == texts(last.commands)


@version_of("plain")
def catches() -> str:
    try:
        workflow.sleep(60)
    except CancelledError:
        with workflow.shield():
            call(a)
    return "cleaned up"


def test_clean_up_behind_a_delivered_cancellation() -> None:
    history = History(catches).task().done().timer().cancel_requested().task()
    first = history.cold()
    assert texts(first.commands) == ["cancel timer 1", "schedule a() as 1"]
    history.apply(first.commands).completed("1").task()
    assert texts(history.cold().commands) == ['complete "cleaned up"']


def test_which_errors_end_a_run() -> None:
    seen: list[bool] = []

    @workflow(fail_on=(KeyError,))
    def asks() -> None:
        errors = (ApplicationError("x"), CancelledError(), TimeoutError(), asyncio.CancelledError(), KeyError("x"))
        seen.extend(workflow.ends_run(error) for error in errors)
        seen.append(workflow.ends_run(ValueError("x")))
        seen.append(workflow.ends_run(GeneratorExit()))

    History(asks).task().cold()
    assert seen == [True] * 5 + [False] * 2


def test_the_memo_is_what_was_given_and_what_the_code_made_of_it() -> None:
    from tests.sdk.replay.given import CONVERTER

    seen: list[dict[str, Any]] = []

    @workflow
    def notes() -> None:
        workflow.upsert_memo({"state": "paid", "customer": None, "never": None})
        seen.append(workflow.memo())
        call(a)
        seen.append(workflow.memo())

    history = History(notes)
    memo = history.events[0].workflow_execution_started_event_attributes.memo
    memo.fields["customer"].CopyFrom(CONVERTER.to_payload("c-1"))
    memo.fields["kept"].CopyFrom(CONVERTER.to_payload(1))
    history.task()
    first = history.cold()
    assert texts(first.commands) == ['memo customer=null never=null state="paid"', "schedule a() as 1"]
    history.apply(first.commands).completed("1").task()
    assert texts(history.cold().commands) == ["complete null"]
    assert seen == [{"kept": 1, "state": "paid"}] * 3


def test_a_memo_of_other_keys_is_another_command() -> None:
    @workflow(name="notes")
    def notes(key: str) -> None:
        workflow.upsert_memo({key: 1})
        call(a)

    history = History(notes, "state").task()
    history.apply(history.cold().commands).completed("1").task()

    @workflow(name="notes")
    def other(key: str) -> None:
        workflow.upsert_memo({"status": 1})
        call(a)

    assert "change of the memo (status)" in str(history.cold(other).error)

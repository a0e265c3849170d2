"""A machine may be dropped at any moment and leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import pytest

from perdure.sdk import abandoned
from perdure.sdk.errors import (
    CancelledError,
    NonDeterminismError,
)
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.replay.outcome import HistoryGapError
from perdure.sdk.replay.running import guarded, running
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b, two_in_a_row


def test_closing_frees_the_code_and_runs_no_more_of_it_than_clean_up() -> None:
    class Thing:
        pass

    said: list[str] = []
    references: list[Any] = []

    @workflow
    def holds() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        try:
            call(a)
            said.append("unreached")
        except CancelledError:
            said.append("not cancelled either")
        finally:
            said.append("finally")
            call(b)
            said.append("unreached")

    history = History(holds).task()
    machine = history.machine()
    machine.process(history.since())
    assert references[0]() is not None
    machine.close()
    assert said == ["finally"]
    gc.collect()
    assert references[0]() is None
    assert not running
    assert not guarded


def test_a_def_run_that_was_closed_is_freed_at_once_and_not_by_the_cycle_collector() -> None:
    """A worker in which very many fall asleep lets go of as many: what waits for the collector no bound counts."""

    def machines() -> int:
        return sum(type(one) is WorkflowMachine for one in gc.get_objects())

    gc.collect()
    before = machines()
    gc.disable()
    try:
        history = History(two_in_a_row, 1).task()
        machine = history.machine()
        machine.process(history.since())
        assert machines() == before + 1
        machine.close()
        del machine
        assert machines() == before
    finally:
        gc.enable()


def test_closing_twice_and_before_the_start_is_fine() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    machine.close()
    machine.close()
    assert texts(machine.process(history.since()).commands) == ["schedule a(1) as 1"]
    machine.close()
    machine.close()


def test_code_that_will_not_end_is_left_standing() -> None:
    tries: list[int] = []

    @workflow
    def stubborn() -> None:
        while True:
            try:
                call(a)
            except BaseException:
                tries.append(1)

    history = History(stubborn).task()
    machine = history.machine()
    machine.process(history.since())
    before = abandoned.count
    machine.close()
    assert len(tries) == 101
    assert abandoned.count == before + 1


def test_a_machine_that_failed_starts_over_at_event_one_alone() -> None:
    broken = [True]

    @workflow
    def mended() -> int:
        value = call(a)
        if broken:
            raise ValueError("not yet")
        return value

    history = History(mended).task()
    machine = history.machine()
    first = machine.process(history.since())
    at = history.last
    history.apply(first.commands).completed("1", 3).task()
    failed = machine.process(history.since(at))
    assert isinstance(failed.error, ValueError)
    history.task_failed()
    at = history.last
    history.task()
    with pytest.raises(HistoryGapError):
        machine.process(history.since(at))
    broken.clear()
    assert texts(machine.process(history.since()).commands) == ["complete 3"]


def test_an_event_of_an_unknown_kind_of_command_is_named() -> None:
    from temporalio.api.enums.v1 import EventType

    history = History(two_in_a_row, 1).task().done()
    history._add(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
    outcome = history.task().cold()
    assert isinstance(outcome.error, NonDeterminismError)
    assert "StartChildWorkflowExecutionInitiated" in str(outcome.error)


STUBBORN = """
import asyncio
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.replay.given import History
from tests.sdk.replay.pieces import a

@workflow
def stubborn():
    while True:
        try:
            call(a)
        except BaseException:
            pass

@workflow
async def stubborn_async():
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            pass

for definition in (stubborn, stubborn_async):
    History(definition).task().cold()
print("the end")
"""


def test_a_process_with_code_that_will_not_end_ends_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the end\n"

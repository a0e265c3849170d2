"""What is wrong in a workflow fails its test at once, with what is wrong and where."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    ApplicationError,
    Retry,
    WorkflowFailedError,
    WorkflowStatus,
    activity,
    call,
    call_child,
    start_child,
    workflow,
)
from perdure.errors import DeterminismViolation, NonDeterminismError
from perdure.testing import DeadlockError, EndlessRetriesError, TestEngine, WorkflowTaskFailedError, virtual_time


@activity(name="bugs.charge")
def charge(order: str) -> str:
    return f"receipt {order}"


@activity(name="bugs.flaky")
def flaky() -> str:
    raise ConnectionError("no route to host")


@workflow(name="bugs.missing_key")
def missing_key() -> str:
    return {}["sku"]


@workflow(name="bugs.after_a_step")
def after_a_step() -> str:
    receipt = call(charge, "1")
    raise ValueError(f"what is {receipt}?")


@workflow(name="bugs.asynchronous")
async def asynchronous() -> None:
    assert 1 + 1 == 3


@workflow(name="bugs.reads_the_clock")
def reads_the_clock() -> float:
    return time.time()


@workflow(name="bugs.parent")
def parent() -> None:
    start_child(missing_key).result()


@workflow(name="bugs.too_long")
def too_long() -> None:
    workflow.sleep("1s")
    workflow.upsert_memo({"note": "x" * 3_000_000})


@workflow(name="bugs.odd_signal")
class OddSignal:
    @workflow.run
    def run(self) -> None:
        workflow.wait_condition(lambda: False)

    @workflow.update
    def fails(self) -> None:
        {}["in a handler"]


EVERY = [missing_key, after_a_step, asynchronous, reads_the_clock, parent, too_long]
PLACES = {
    "bugs.missing_key": "KeyError: 'sku' (at test_bugs.py:",
    "bugs.after_a_step": "ValueError: what is receipt 1? (at test_bugs.py:",
    "bugs.asynchronous": "AssertionError: assert (1 + 1) == 3 (at test_bugs.py:",
    "bugs.reads_the_clock": "workflow code calls time.time()",
    "bugs.parent": "KeyError: 'sku' (at test_bugs.py:",
    "bugs.too_long": "note",
}


@pytest.mark.parametrize("which", EVERY, ids=lambda which: which.name)
def test_a_bug_is_raised_at_once_with_the_users_line(which: Any, caplog: pytest.LogCaptureFixture) -> None:
    with TestEngine(workflows=EVERY, activities=[charge]) as engine:
        with pytest.raises(WorkflowTaskFailedError) as failed:
            engine.run(which, id="w")
        assert PLACES[which.name] in str(failed.value)
        assert "retry_bugs=True" in str(failed.value)
        assert engine.get("w").describe().status is WorkflowStatus.RUNNING
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) <= 3


def test_what_was_raised_is_the_cause_and_shows_the_users_frames_alone() -> None:
    with TestEngine(workflows=EVERY, activities=[charge]) as engine, pytest.raises(WorkflowTaskFailedError) as failed:
        engine.run(after_a_step, id="w")
    cause = failed.value.__cause__
    assert isinstance(cause, ValueError)
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)] == ["after_a_step"]
    assert (failed.value.workflow_id, isinstance(failed.value, AssertionError)) == ("w", True)


def test_a_guard_and_a_replay_that_fails_are_bugs_as_well() -> None:
    with TestEngine(workflows=EVERY, activities=[charge]) as engine, pytest.raises(WorkflowTaskFailedError) as failed:
        engine.run(reads_the_clock, id="w")
    assert isinstance(failed.value.__cause__, DeterminismViolation)


def changed(steps: list[str]) -> Any:
    @workflow(name="bugs.changed")
    def code() -> str:
        for step in steps:
            call(charge, step) if step != "sleep" else workflow.sleep("1s")
        return workflow.wait_signal("end")

    return code


def test_code_that_does_not_fit_its_history_is_a_bug(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with TestEngine(url, workflows=[changed(["1"])], activities=[charge]) as engine:
        engine.start(changed(["1"]), id="w")
    with TestEngine(url, workflows=[changed(["sleep"])], activities=[charge]) as engine:
        engine.get("w").signal("end", "now")
        with pytest.raises(WorkflowTaskFailedError, match=r"bugs\.changed 'w' failed: NonDeterminismError") as failed:
            engine.get("w").result()
        assert isinstance(failed.value.__cause__, NonDeterminismError)


def test_who_waits_with_an_update_or_a_time_out_is_told_too() -> None:
    with TestEngine(workflows=[missing_key, OddSignal], activities=[]) as engine:
        handle = engine.start(missing_key, id="w")
        with pytest.raises(WorkflowTaskFailedError):
            handle.result(timeout="1h")
        engine.start(OddSignal, id="u")
        with pytest.raises(WorkflowTaskFailedError, match="in a handler"):
            engine.get("u").update("fails")


def test_a_run_that_is_stuck_may_be_looked_at_steered_and_mended() -> None:
    mended: list[bool] = []

    @workflow(name="bugs.mended")
    def typo() -> str:
        return "well" if mended else {}["typo"]

    with TestEngine(workflows=[typo], activities=[]) as engine:
        handle = engine.start(typo, id="w")
        engine.advance("10s")
        assert "KeyError: 'typo'" in handle.describe().workflow_task_failure
        mended.append(True)
        assert handle.result() == "well"


def test_with_retry_bugs_a_run_waits_for_better_code_as_in_production() -> None:
    tries: list[None] = []

    @workflow(name="bugs.third_try")
    def third_try() -> str:
        tries.append(None)
        return "well" if len(tries) == 3 else {}["not yet"]

    with TestEngine(workflows=[third_try], activities=[], retry_bugs=True) as engine:
        assert engine.run(third_try, id="w") == "well"


def test_time_that_passes_over_a_bug_for_long_is_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    with TestEngine(workflows=EVERY, activities=[]) as engine:
        engine.start(missing_key, id="w")
        with pytest.raises(WorkflowTaskFailedError, match="'sku'"):
            engine.advance("365 days")
        assert len(caplog.records) == 10


def test_a_failure_that_ends_the_run_is_no_bug() -> None:
    @workflow(name="bugs.declines")
    def declines() -> None:
        raise ApplicationError("declined")

    with TestEngine(workflows=[declines], activities=[]) as engine, pytest.raises(WorkflowFailedError):
        engine.run(declines, id="w")


@workflow(name="bugs.hopes")
def hopes() -> str:
    return call(flaky)


def test_an_activity_that_is_retried_without_end_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with TestEngine(workflows=[hopes], activities=[flaky], attempts=50) as engine:
        with pytest.raises(EndlessRetriesError) as failed:
            engine.run(hopes, id="w")
        text = str(failed.value)
        assert text.startswith("activity bugs.flaky of workflow 'w' has failed 50 times, and its retries have no end: ")
        assert "ConnectionError: no route to host (at test_bugs.py:" in text and "in flaky" in text
        assert isinstance(failed.value, DeadlockError) and isinstance(failed.value.__cause__, ConnectionError)
        assert len(caplog.records) == 50
        engine.mock(flaky, returns="at last")
        assert engine.get("w").result() == "at last"


def test_an_outage_that_a_test_lets_pass_is_no_error() -> None:
    with TestEngine(workflows=[hopes], activities=[flaky], attempts=50) as engine:
        handle = engine.start(hopes, id="w")
        engine.advance("1 day")
        (pending,) = handle.describe().pending_activities
        assert pending.attempt > 500
        engine.mock(flaky, returns="at last")
        assert handle.result() == "at last"


def test_retries_that_end_by_themselves_may_be_many() -> None:
    with TestEngine(workflows=[with_end], activities=[counted], attempts=50) as engine:
        with pytest.raises(WorkflowFailedError, match="no route to host"):
            engine.run(with_end, id="w")
        assert len(seen) == 120


seen: list[None] = []


@activity(name="bugs.counted", retry=Retry(maximum_attempts=120))
def counted() -> None:
    seen.append(None)
    raise ConnectionError("no route to host")


@workflow(name="bugs.with_end")
def with_end() -> None:
    call(counted)


@virtual_time
async def test_async_tests_are_told_at_once_too() -> None:
    async with TestEngine(workflows=EVERY, activities=[charge]) as engine:
        with pytest.raises(WorkflowTaskFailedError, match="'sku'"):
            await engine.run(missing_key, id="w")
        handle = await engine.start(after_a_step, id="v")
        with pytest.raises(WorkflowTaskFailedError, match="what is receipt 1"):
            await handle.result()
        with pytest.raises(WorkflowTaskFailedError):
            await engine.advance("30 days")


def test_what_pytest_shows_is_short_and_has_the_line(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(
        textwrap.dedent(
            """
            from perdure import workflow
            from perdure.testing import TestEngine

            @workflow
            def order(n):
                return {}["price"]

            def test_an_order():
                with TestEngine() as engine:
                    assert engine.run(order, 1) == 1
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 1
    assert 'return {}["price"]' in done.stdout and "E       KeyError: 'price'" in done.stdout
    assert len(done.stdout.splitlines()) < 120


@workflow(name="bugs.of_a_child")
def waits_for_a_buggy_child() -> None:
    call_child(looks_up_what_is_not_there)


@workflow(name="bugs.looks_up")
def looks_up_what_is_not_there() -> str:
    return {"a": "b"}["x"]


@pytest.mark.parametrize("code", [looks_up_what_is_not_there, waits_for_a_buggy_child])
def test_who_waits_for_a_while_is_told_of_the_bug_and_not_of_the_time(code: Any) -> None:
    with TestEngine() as engine:
        handle = engine.start(code, id="w")
        with pytest.raises(WorkflowTaskFailedError, match="KeyError: 'x'") as told:
            handle.result(timeout=4)
        assert isinstance(told.value.__cause__, KeyError)

"""Reset to a step: the task that called it is done anew, with what the outside had told the run since."""

from __future__ import annotations

from typing import Any, cast

import pytest

from perdure import (
    EngineError,
    WorkflowNotFoundError,
    WorkflowStatus,
    activity,
    call,
    call_child,
    call_local,
    workflow,
)
from perdure.testing import TestEngine

calls: list[str] = []


@activity
def charge(what: str) -> str:
    calls.append(f"charge {what}")
    return f"{what}, charge {len(calls)}"


@activity
def check(what: str) -> str:
    calls.append(f"check {what}")
    return f"{what} checked"


@workflow
def packs(what: str) -> str:
    calls.append(f"pack {what}")
    return f"{what} packed"


@workflow
def order() -> list[str]:
    results = [call(charge, "pen")]
    results.append(call_local(check, "pen"))
    workflow.sleep("1h")
    results.append(call(charge, "ink"))
    results.append(call_child(packs, "all"))
    results.append(workflow.wait_signal("word"))
    return results


@workflow
def listens_twice() -> list[str]:
    call(charge, "once")
    return [workflow.wait_signal("word"), workflow.wait_signal("word")]


@pytest.fixture
def engine() -> TestEngine:
    calls.clear()
    return TestEngine()


def ran(engine: TestEngine) -> list[str]:
    """What an order did; it is complete."""
    handle = engine.start(order, id="o")
    engine.advance("2h")
    handle.signal("word", "hello")
    handle.result()
    done, calls[:] = list(calls), []
    return done


@pytest.mark.parametrize(
    ("step", "nth", "again"),
    [
        (charge, -1, ["charge ink", "pack all"]),
        ("charge", 1, ["charge pen", "check pen", "charge ink", "pack all"]),
        ("charge", -2, ["charge pen", "check pen", "charge ink", "pack all"]),
        (check, -1, ["check pen", "charge ink", "pack all"]),
        ("timer", 1, ["check pen", "charge ink", "pack all"]),
        (packs, 1, ["pack all"]),
    ],
)
def test_what_was_done_since_is_done_again_and_nothing_before(
    engine: TestEngine, step: Any, nth: int, again: list[str]
) -> None:
    with engine:
        assert ran(engine) == ["charge pen", "check pen", "charge ink", "pack all"]
        before = engine.get("o").describe().run_id
        run_id = engine.get("o").reset(step=step, nth=nth, reason="mended").run_id
        result = engine.get("o", run_id).result()
        assert calls == again
        assert result[-1] == "hello", "the signal is told again"
        assert run_id != before


def test_the_handle_resets_its_own_run_and_gives_one_to_the_new(engine: TestEngine) -> None:
    with engine:
        ran(engine)
        first = engine.get("o")
        new = first.reset(step=charge, nth=2)
        assert new.result()[0] == "pen, charge 1", "what was recorded before is not done again"
        assert new.describe().run_id == engine.get("o").describe().run_id


def test_signals_are_told_again_unless_it_is_forbidden(engine: TestEngine) -> None:
    with engine:
        handle = engine.start(listens_twice, id="s")
        engine.advance("1s")
        handle.signal("word", "one")
        new = handle.reset(step=charge, reapply="none")
        new.signal("word", "two")
        new.signal("word", "three")
        assert new.result() == ["two", "three"]
        assert handle.describe().status is WorkflowStatus.TERMINATED
        again = new.reset(step=charge, reapply="signals")
        assert again.result() == ["two", "three"]


def test_a_step_that_is_not_there_is_told_with_those_that_are(engine: TestEngine) -> None:
    with engine:
        ran(engine)
        with pytest.raises(
            ValueError, match=r"no step 'refund'; its steps are: charge \(2\), check \(1\), timer \(1\)"
        ):
            engine.get("o").reset(step="refund")
        with pytest.raises(ValueError, match="2 of the step 'charge': nth is 1 to 2"):
            engine.get("o").reset(step="charge", nth=3)
        with pytest.raises(ValueError, match="nth is 1 to 2"):
            engine.get("o").reset(step="charge", nth=0)
        with pytest.raises(TypeError, match="a step is"):
            engine.get("o").reset(step=cast(Any, 5))


def test_a_place_that_cannot_be_is_refused(engine: TestEngine) -> None:
    with engine:
        ran(engine)
        with pytest.raises(ValueError, match="one of them"):
            engine.get("o").reset()
        with pytest.raises(ValueError, match="one of them"):
            engine.get("o").reset(event_id=4, step="charge")
        with pytest.raises(ValueError, match="reapply"):
            engine.get("o").reset(event_id=4, reapply=cast(Any, "everything"))
        with pytest.raises(EngineError):
            engine.get("o").reset(event_id=2)
        with pytest.raises(WorkflowNotFoundError):
            engine.get("nobody").reset(step="charge")

"""Scene 11: versions.

A subscription sleeps for a year. Meanwhile its code changes: from now on the address is verified before the card is
charged. Deployed as it is, the new code does not fit what the old runs have behind them, and they stand still, told so
to the line. Behind a gate, each run stays on the path that it began on. When the last old run has ended, the
old path is removed.
"""

from __future__ import annotations

import time
from typing import Any

from stage import Stage, play, seen, show, step, title, until

from perdure import Engine, activity, call, workflow
from perdure.api.digest import digest
from perdure.embedded import EngineSeams, seamed

YEAR_NS = 365 * 86_400 * 10**9


@activity(start_to_close_timeout="10s")
def verify_address(customer: str) -> None: ...


@activity(start_to_close_timeout="10s")
def charge(customer: str) -> str:
    return "charged"


def version_1() -> Any:
    @workflow(name="subscription")
    def subscription(customer: str) -> str:
        call(charge, customer)
        workflow.sleep(days=365)
        return call(charge, customer)

    return subscription


def version_2_without_a_gate() -> Any:
    @workflow(name="subscription")
    def subscription(customer: str) -> str:
        call(verify_address, customer)
        call(charge, customer)
        workflow.sleep(days=365)
        return call(charge, customer)

    return subscription


def version_2() -> Any:
    @workflow(name="subscription")
    def subscription(customer: str) -> str:
        if workflow.patched("verify-first"):
            call(verify_address, customer)
        call(charge, customer)
        workflow.sleep(days=365)
        return call(charge, customer)

    return subscription


def version_3() -> Any:
    @workflow(name="subscription")
    def subscription(customer: str) -> str:
        workflow.deprecate_patch("verify-first")
        call(verify_address, customer)
        call(charge, customer)
        workflow.sleep(days=365)
        return call(charge, customer)

    return subscription


class LaterClock:
    """The time some years from now."""

    def __init__(self, years: float) -> None:
        self._ahead_ns = round(years * YEAR_NS)

    def now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns


def deployed(url: str, code: Any, years: float) -> Engine:
    """An engine with one version of the code, some years from now."""
    return seamed(Engine, EngineSeams(clock=LaterClock(years)), url, workflows=[code])


def sleeps(engine: Engine, workflow_id: str) -> bool:
    return any(line.name == "TimerStarted" for line in digest(engine.get(workflow_id).history()))


def path_of(engine: Engine, workflow_id: str) -> list[str]:
    """The activities of a run, in order."""
    lines = digest(engine.get(workflow_id).history())
    return [line.subject for line in lines if line.name == "ActivityTaskScheduled"]


def told(engine: Engine, workflow_id: str) -> str:
    lines = digest(engine.get(workflow_id).history())
    return next((line.detail for line in lines if line.name == "WorkflowTaskFailed"), "")


def story(stage: Stage) -> None:
    title("Scene 11: versions")
    url = stage.url

    step("version 1 begins a subscription, which sleeps for a year")
    with deployed(url, version_1(), years=0) as engine:
        old = engine.start(version_1(), "Ada", id="ada")
        until(lambda: sleeps(engine, "ada"))
        show(f"history: {len(old.history())} events")

        step("before version 2 is deployed: would what is open replay under it?")
        report = engine.check_replay(version_2_without_a_gate())
        show(str(report))
        for problem in report.problems:
            show(f"{problem.workflow_id}: {problem.event}, and the code: {problem.command.partition(', at ')[0]}")
        seen("without a gate the check says which run would break", [p.workflow_id for p in report.problems] == ["ada"])
        seen("behind a gate none would", engine.check_replay(version_2()).ok)

    step("a year later it is deployed without the gate all the same")
    with deployed(url, version_2_without_a_gate(), years=1.01) as engine:
        error = until(lambda: told(engine, "ada"))
        show(error.splitlines()[0])
        seen("the run is told where history and code part", "charge" in error and "verify_address" in error)
        seen("it stays open: nothing is lost", engine.get("ada").describe().closed_at is None)

    step("then with the gate")
    with deployed(url, version_2(), years=1.01) as engine:
        seen("the year-old run goes on and ends", engine.get("ada").result() == "charged")
        show(f"ada: {' → '.join(path_of(engine, 'ada'))}")
        seen("on its old path", path_of(engine, "ada") == ["charge", "charge"])
        engine.start(version_2(), "Bob", id="bob")
        until(lambda: sleeps(engine, "bob"))
        show(f"bob: {' → '.join(path_of(engine, 'bob'))}")
        seen("a new run takes the new one", path_of(engine, "bob") == ["verify_address", "charge"])

        step("no run is on the old path any more: version 3 has it no longer")
        seen("what is open replays under version 3", engine.check_replay(version_3()).ok)
    with deployed(url, version_3(), years=2.02) as engine:
        result = engine.get("bob").result()
        seen("a run of version 2 ends under version 3", result == "charged")


if __name__ == "__main__":
    play(__file__, story)

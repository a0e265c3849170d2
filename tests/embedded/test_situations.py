"""A run that is stuck says why: to `describe`, to whoever waited in vain, and on the command line."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from perdure import Engine, activity, call, start_child, workflow
from perdure.cli.main import cli
from perdure.errors import EngineError
from tests.eventually import eventually


@activity(name="situations.charge")
def charge(order: str) -> str:
    raise ConnectionError("bank is down")


@activity(name="situations.render", task_queue="gpu")
def render() -> None: ...


let_go = threading.Event()


@activity(name="situations.long")
def long() -> None:
    activity.heartbeat(1)
    let_go.wait(60)


@workflow(name="situations.pay")
def pay() -> str:
    return call(charge, "order-1")


@workflow(name="situations.film")
def film() -> None:
    call(render)


@workflow(name="situations.typo")
def typo() -> str:
    return {}["price"]


@workflow(name="situations.approval")
def approval() -> str:
    return workflow.wait_signal("approved")


@workflow(name="situations.nap")
def nap() -> None:
    workflow.sleep(days=30)


@workflow(name="situations.parent")
def parent() -> None:
    start_child(nap, id="child-1").result()


@workflow(name="situations.works")
def works() -> None:
    call(long)


@workflow(name="situations.counts")
class Counts:
    @workflow.run
    def run(self) -> None:
        workflow.sleep("1h")

    @workflow.update
    def slowly(self) -> None:
        workflow.sleep("1h")


WORKFLOWS = [pay, film, typo, approval, nap, parent, works, Counts]
SAID = {
    pay: r"attempt \d of activity situations.charge (id 1) failed, next try in ",
    film: "activity situations.render (id 1) waits on the task queue 'gpu', which nobody polls, for ",
    typo: "of its workflow task failed",
    approval: "it waits for a message (a signal, an update), or for a condition of its own",
    nap: "timer 1 fires in 29 d 23 h",
    parent: "child workflow situations.nap 'child-1' has not ended",
    works: "activity situations.long (id 1) runs at ",
}
PLACES = {pay: "pay", film: "film", approval: "approval", nap: "nap", parent: "parent", works: "works"}


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine with one run of each, at the place where it is stuck, and the store's URL."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stuck') / 'shop.db'}"
    activities = [charge, render, long]
    with Engine(url, workflows=WORKFLOWS, activities=activities, shutdown_grace="0.1s") as engine:
        for each in SAID:
            engine.start(each, id=each.name)
        for each, text in SAID.items():
            plain = text.replace(r"\d ", "")
            eventually(
                lambda each=each, plain=plain: plain.split("failed")[-1] in engine.get(each.name).describe().situation,
                text,
            )
        eventually(lambda: engine.get(pay.name).describe().pending_activities[0].last_failure, "a failed attempt")
        eventually(lambda: engine.get(works.name).describe().pending_activities[0].last_heartbeat_at, "a heartbeat")
        yield engine, url
        let_go.set()


@pytest.mark.parametrize("which", SAID, ids=lambda which: which.name)
def test_describe_and_who_waited_in_vain_are_told_the_same(stuck: Any, which: Any) -> None:
    engine, _ = stuck
    described = engine.get(which.name).describe()
    with pytest.raises(TimeoutError) as waited:
        engine.get(which.name).result(timeout=0.01)
    for text in (described.situation, str(described), str(waited.value)):
        for part in SAID[which].split(r"\d"):
            assert part in text
    assert str(waited.value).startswith(f"workflow {which.name!r} has not closed within 10 ms: ")
    assert str(waited.value).endswith("; it goes on")
    assert len(described.workers) == 1
    if which in PLACES:
        (place,) = described.waits_at
        assert place.startswith("test_situations.py:") and place.endswith(f"in {PLACES[which]}")
        assert f"its code waits at {place}" in str(waited.value)


def test_the_user_s_own_line_is_in_what_is_said(stuck: Any) -> None:
    engine, _ = stuck
    assert "ConnectionError: bank is down (at test_situations.py:" in engine.get(pay.name).describe().situation
    assert "KeyError: 'price' (at test_situations.py:" in engine.get(typo.name).describe().situation
    assert ", its last heartbeat " in engine.get(works.name).describe().situation


@pytest.mark.parametrize("which", [*SAID], ids=lambda which: which.name)
def test_the_command_line_says_the_same_beside_the_running_engine(stuck: Any, which: Any) -> None:
    _, url = stuck
    described = CliRunner().invoke(cli, ["workflow", "describe", which.name, "--store", url]).output
    line = " ".join(described.split())
    for part in SAID[which].split(r"\d"):
        # From outside nobody can see who polls.
        assert part.split(", which nobody polls")[0].strip() in line
    assert "not seen from outside; the store is open in this process, pid" in line
    as_json = CliRunner().invoke(cli, ["workflow", "describe", which.name, "--store", url, "--json"]).output
    told = json.loads(as_json)
    assert told["waits"][0]["kind"] in ("activity", "workflow_task", "message", "timer", "child")
    if which is pay:
        (pending,) = told["pending"]
        assert (pending["activity_id"], pending["activity_type"]) == ("1", "situations.charge")
        assert pending["attempt"] >= 2 and "bank is down" in pending["last_failure"]
    if which is typo:
        assert told["workflow_task"]["attempt"] >= 2 and "KeyError: 'price'" in told["workflow_task"]["failure"]


def test_an_update_that_does_not_end_says_what_its_workflow_waits_for(stuck: Any) -> None:
    engine, _ = stuck
    engine.start(Counts, id="counts")
    handle = engine.get("counts").update("slowly", wait_for="accepted")
    with pytest.raises(
        TimeoutError, match=r"of workflow 'counts' has not ended within 10 ms: timer 1 fires in 59 min"
    ) as e:
        handle.result(timeout=0.01)
    assert "in Counts.slowly" in str(e.value)


def test_a_question_to_code_that_fails_is_answered_at_once_with_what_is_wrong(stuck: Any) -> None:
    engine, _ = stuck
    eventually(lambda: engine.get(typo.name).describe().workflow_task_attempt >= 3, "the third attempt")
    failing = r"in failed state\. attempt \d+ of its workflow task failed.*: KeyError: 'price' \(at test_situations"
    with pytest.raises(EngineError, match=failing):
        engine.get(typo.name).query("anything")
    with pytest.raises(EngineError, match=failing):
        engine.get(typo.name).update("anything")


def test_a_description_without_a_stack_asks_no_worker(stuck: Any) -> None:
    engine, _ = stuck
    described = engine.get(approval.name).describe(stack=False)
    assert described.waits_at == () and described.stack == ""
    assert engine.get(approval.name).describe(stack=False).waits == described.waits


def test_a_closed_run_waits_for_nothing(tmp_path: Path) -> None:
    @workflow(name="situations.quick")
    def quick() -> None: ...

    url = f"sqlite:///{tmp_path / 'quick.db'}"
    with Engine(url, workflows=[quick], activities=[]) as engine:
        engine.run(quick, id="q")
        described = engine.get("q").describe()
        assert (described.situation, described.waits, described.workers) == ("", (), None)
        assert str(described) == "situations.quick 'q' is COMPLETED"
    output = CliRunner().invoke(cli, ["workflow", "describe", "q", "--store", url]).output
    assert "pending      nothing" in output and "workers" not in output


def test_a_store_that_nobody_has_open_says_that_nothing_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stopped.db'}"
    with Engine(url, workflows=[nap], activities=[]) as engine:
        engine.start(nap, id="n")
        eventually(lambda: "timer" in engine.get("n").describe().situation, "the timer")
    output = CliRunner().invoke(cli, ["workflow", "describe", "n", "--store", url]).output
    assert "no engine has this store open: nothing goes on until one does" in output
    assert "timer 1 fires in 29 d 23 h" in output

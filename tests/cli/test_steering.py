"""`perdure workflow` and `perdure activity`, where they change something."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdure import ApplicationError, Engine, Retry, WorkflowStatus, activity, call, workflow
from perdure.cli.main import cli
from perdure.embedded import EngineSeams, seamed, shared_file
from perdure.engine.node.config import EngineConfig
from tests.eventually import eventually

Run = Callable[..., Result]


@activity(retry=Retry(initial_interval="1h"))
def down() -> str:
    raise ApplicationError("down")


@workflow
def listens(word: str) -> str:
    return f"{word}, {workflow.wait_signal('word')}"


@workflow
def stuck() -> str:
    return call(down)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with a workflow that waits for a signal, and one whose activity backs off."""
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    with Engine(url, workflows=[listens, stuck], activities=[down]) as engine:
        engine.start(listens, "hello", id="ear")
        engine.start(stuck, id="stuck")
        eventually(
            lambda: any(found.attempt == 2 for found in engine.get("stuck").describe().pending_activities),
            "a second attempt",
        )
        eventually(lambda: engine.get("ear").describe().history_length >= 4, "its first workflow task has ended")
    return url


@pytest.fixture
def run(store: str) -> Run:
    def invoke(*arguments: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(cli, [*arguments, "--store", store])
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


def status(store: str, workflow_id: str) -> WorkflowStatus:
    with Engine(store, worker=False) as engine:
        return engine.get(workflow_id).describe().status


def test_a_signal_reaches_a_paused_workflow_when_it_goes_on(store: str, run: Run) -> None:
    assert "ear is paused" in run("workflow", "pause", "ear", "--reason", "a look").output
    assert status(store, "ear") is WorkflowStatus.PAUSED
    assert "has the signal word" in run("workflow", "signal", "ear", "word", '"world"').output
    assert "ear goes on" in run("workflow", "unpause", "ear").output
    with Engine(store, workflows=[listens], activities=[]) as engine:
        assert engine.get("ear").result() == "hello, world"


def test_search_attributes_are_shown_by_their_types(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'attributes.db'}"
    at = datetime(2026, 11, 20, 8, tzinfo=UTC)
    with Engine(url, workflows=[listens], activities=[]) as engine:
        engine.start(listens, "hello", id="ear", search_attributes={"Customer": "c-7", "Amount": 42.5, "At": at})
    described = CliRunner().invoke(cli, ["workflow", "describe", "ear", "--store", url]).output
    assert "Amount = 42.5" in described and "Customer = c-7" in described
    shown = CliRunner().invoke(cli, ["workflow", "describe", "ear", "--store", url, "--json"]).output
    assert json.loads(shown)["search_attributes"] == {
        "Amount": 42.5, "At": "2026-11-20T08:00:00+00:00", "Customer": "c-7",
    }  # fmt: skip


def test_a_workflow_is_asked_to_stop_or_ended(store: str, run: Run) -> None:
    run("workflow", "cancel", "ear", "--reason", "no more")
    run("workflow", "terminate", "stuck")
    assert status(store, "stuck") is WorkflowStatus.TERMINATED
    with Engine(store, workflows=[listens], activities=[]) as engine:
        assert "no more" in str(engine.get("ear").history())


def test_a_workflow_is_reset_to_a_step(store: str, run: Run) -> None:
    assert "stuck goes on as run" in run("workflow", "reset", "stuck", "--step", "down").output
    with Engine(store, worker=False) as engine:
        assert not engine.get("stuck").describe().pending_activities, "the task that called it is to be done anew"
    assert "no step 'up'" in run("workflow", "reset", "stuck", "--step", "up", exit_code=1).output
    assert "one of them" in run("workflow", "reset", "stuck", exit_code=1).output


def test_an_activity_is_paused_changed_and_let_go_on(store: str, run: Run) -> None:
    named = ("stuck", "--activity-id", "1")
    run("activity", "pause", *named)
    run("activity", "update", *named, "--start-to-close-timeout", "5s", "--maximum-attempts", "7")
    with Engine(store, worker=False) as engine:
        (pending,) = engine.get("stuck").describe().pending_activities
        assert (pending.state, pending.maximum_attempts, pending.attempt) == ("paused", 7, 2)
    run("activity", "reset", *named, "--keep-paused")
    run("activity", "unpause", *named)
    run("activity", "update", *named, "--restore")
    with Engine(store, worker=False) as engine:
        (pending,) = engine.get("stuck").describe().pending_activities
        assert (pending.state, pending.maximum_attempts, pending.attempt) == ("scheduled", 0, 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("workflow", "pause", "nobody"), "nobody"),
        (("activity", "pause", "stuck", "--activity-id", "9"), "'9'"),
        (("activity", "update", "stuck", "--activity-id", "1"), "which options"),
        (("activity", "update", "stuck", "--activity-id", "1", "--heartbeat", "soon"), "is not a duration"),
    ],
)
def test_what_goes_wrong_is_one_sentence(run: Run, arguments: tuple[str, ...], text: str) -> None:
    output = run(*arguments, exit_code=1).output
    assert text in output and "Traceback" not in output


def test_a_value_that_is_no_json_is_told_how_to_be_one(run: Run) -> None:
    assert "is not JSON" in run("workflow", "signal", "ear", "word", "world", exit_code=2).output


def test_a_workflow_of_a_running_application_is_steered_and_goes_on_at_once(store: str, run: Run) -> None:
    with Engine(store, workflows=[listens, stuck], activities=[down]) as engine:
        run("workflow", "pause", "ear", "--reason", "a look")
        assert engine.get("ear").describe().status is WorkflowStatus.PAUSED
        run("workflow", "unpause", "ear")
        assert "next engine" not in run("workflow", "signal", "ear", "word", '"world"').output
        assert engine.get("ear").result() == "hello, world"
        run("activity", "update", "stuck", "--activity-id", "1", "--maximum-attempts", "7")
        assert engine.get("stuck").describe().pending_activities[0].maximum_attempts == 7
        assert "RUNNING" in run("workflow", "describe", "stuck").output


def test_an_application_that_does_not_share_its_file_is_named(
    store: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "OPEN_WAIT_S", 0.1)
    alone = EngineSeams(engine_config=EngineConfig(has_duties=False))
    with seamed(Engine, alone, store, worker=False):
        output = run("workflow", "pause", "ear", exit_code=1).output
        assert "open already in this process" in output and "does not serve other processes" in output

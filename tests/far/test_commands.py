"""`perdure workflow` and `perdure schedule` read a server as they read a file."""

from __future__ import annotations

import json
import uuid

import pytest
from click.testing import CliRunner, Result
from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import History

from perdure import Engine, activity, call, workflow
from perdure.cli.main import cli
from tests.eventually import eventually


@activity(name="far_commands.greet")
def greet(name: str) -> str:
    return f"Hello, {name}"


@workflow(name="far_commands.greeting")
def greeting(name: str) -> str:
    return call(greet, name)


@workflow(name="far_commands.patience")
def patience() -> None:
    workflow.sleep(days=30)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_a_server_is_listed_described_and_read(url: str) -> None:
    queue = uuid.uuid4().hex[:12]
    with Engine(url, task_queue=queue, workflows=[greeting, patience], activities=[greet]) as engine:
        closed, sleeping = f"greeting-{queue}", f"patience-{queue}"
        assert engine.run(greeting, "Ada", id=closed) == "Hello, Ada"
        engine.start(patience, id=sleeping)
        for _ in range(1000):
            listed = run("workflow", "list", "--type", "far_commands.greeting", "--closed", "--store", url, "--json")
            found = [(one["workflow_id"], one["status"], one["task_queue"]) for one in json.loads(listed.output)]
            if (closed, "COMPLETED", queue) in found:  # a server's lists follow a moment later
                break
        assert (closed, "COMPLETED", queue) in found
        for _ in range(1000):
            query = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
            by_query = json.loads(run("workflow", "list", "--query", query, "--store", url, "--json").output)
            if by_query:
                break
        assert [one["workflow_id"] for one in by_query] == [sleeping]
        described = run("workflow", "describe", sleeping, "--store", url)
        assert (described.exit_code, "RUNNING" in described.output) == (0, True)
        shown = json.loads(run("workflow", "history", closed, "--store", url, "--json").output)
        assert list(ParseDict(shown, History()).events) == engine.get(closed).history()
        engine.get(sleeping).terminate()


def test_what_a_server_does_not_have_is_named(url: str) -> None:
    for command in (("describe",), ("history",), ("export",), ("describe", "--run-id", "xyz")):
        result = run("workflow", command[0], "nobody", *command[1:], "--store", url)
        assert (result.exit_code, "There is no workflow 'nobody'" in result.stderr) == (1, True), result.output
    assert run("schedule", "list", "--store", url).exit_code == 0


@activity(name="far_commands.down", start_to_close_timeout="10s")
def down() -> None:
    raise ConnectionError("bank is down")


@workflow(name="far_commands.pays")
def pays() -> None:
    call(down)


def test_a_run_that_is_stuck_on_a_server_says_why(url: str) -> None:
    queue = uuid.uuid4().hex[:12]
    with Engine(url, task_queue=queue, workflows=[pays, patience], activities=[down]) as engine:
        engine.start(pays, id=f"pays-{queue}")
        engine.start(patience, id=f"patience-{queue}")
        eventually(
            lambda: "failed, next try in" in engine.get(f"pays-{queue}").describe().situation, "a failed attempt"
        )
        eventually(lambda: engine.get(f"patience-{queue}").describe().waits_at, "the timer")
        with pytest.raises(TimeoutError, match="ConnectionError: bank is down") as waited:
            engine.get(f"pays-{queue}").result(timeout=0.1)
        assert "(at test_commands.py:" in str(waited.value) and "its code waits at test_commands.py:" in str(
            waited.value
        )
        assert "timer 1 fires in 29 d 23 h; its code waits at test_commands.py:" in str(
            engine.get(f"patience-{queue}").describe()
        )
        described = " ".join(run("workflow", "describe", f"pays-{queue}", "--store", url).output.split())
        assert "of activity far_commands.down (id 1) failed, next try in" in described
        assert "waits at test_commands.py:" in described
    with Engine(url, task_queue=queue, worker=False) as engine:
        engine.get(f"patience-{queue}").signal("wake-up")
        eventually(lambda: engine.get(f"patience-{queue}").describe().waits[0].kind == "workflow_task", "an owed task")
        for workflow_id in (f"pays-{queue}", f"patience-{queue}"):
            engine.get(workflow_id).terminate()

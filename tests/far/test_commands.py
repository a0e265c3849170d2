"""`perdure workflow` and `perdure schedule` read a server as they read a file."""

from __future__ import annotations

import json
import uuid

from click.testing import CliRunner, Result
from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import History

from perdure import Engine, activity, call, workflow
from perdure.cli.main import cli


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
            by_query = run("workflow", "list", "--query", query, "--store", url).output
            if "RUNNING" in by_query:
                break
        assert sleeping in by_query and closed not in by_query
        described = run("workflow", "describe", sleeping, "--store", url)
        assert (described.exit_code, "RUNNING" in described.output) == (0, True)
        shown = json.loads(run("workflow", "history", closed, "--store", url, "--json").output)
        assert list(ParseDict(shown, History()).events) == engine.history(closed)
        engine.terminate(sleeping)


def test_what_a_server_does_not_have_is_named(url: str) -> None:
    for command in (("describe",), ("history",), ("export",), ("describe", "--run-id", "xyz")):
        result = run("workflow", command[0], "nobody", *command[1:], "--store", url)
        assert (result.exit_code, "There is no workflow 'nobody'" in result.stderr) == (1, True), result.output
    assert run("schedule", "list", "--store", url).exit_code == 0

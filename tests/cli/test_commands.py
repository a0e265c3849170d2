"""The command line as its users meet it: what it prints, in both forms, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import History

from perdure import Engine, Retry, activity, call, workflow
from perdure.api.digest import digest
from perdure.cli.main import cli
from perdure.errors import ApplicationError, WorkflowFailedError
from perdure.stores.api import StoreError
from perdure.stores.reading import StoreFile
from tests.eventually import eventually

Run = Callable[..., Result]


@activity(start_to_close_timeout="10s", retry=Retry(maximum_attempts=1))
def greet(name: str) -> str:
    if name == "nobody":
        raise ApplicationError("there is nobody", type="NobodyThere", non_retryable=True)
    return f"Hello, {name}"


@workflow
def greeting(name: str) -> str:
    return call(greet, name)


@workflow
def patience() -> str:
    workflow.sleep(days=30)
    return "at last"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a completed, a failed and a sleeping workflow."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'orders.db'}"
    with Engine(url, workflows=[greeting, patience], activities=[greet]) as engine:
        assert engine.run(greeting, "Ada", id="greeting-1") == "Hello, Ada"
        with pytest.raises(WorkflowFailedError):
            engine.run(greeting, "nobody", id="greeting-2")
        engine.start(patience, id="patience-1")
        eventually(
            lambda: "TimerStarted" in [line.name for line in digest(engine.get("patience-1").history())],
            "the sleep begins",
        )
    return url


@pytest.fixture
def run() -> Run:
    # Wide enough that no line of a table is folded.
    return lambda *arguments: CliRunner(env={"COLUMNS": "200"}).invoke(cli, arguments, catch_exceptions=False)


def test_help_lists_every_noun(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for noun in ("demo", "workflow", "store"):
        assert noun in result.output


def test_version_is_the_package_version(run: Run) -> None:
    assert run("--version").output == f"perdure {version('perdure')}\n"


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "workflow",
        "workflow list",
        "workflow describe",
        "workflow history",
        "store",
        "store check",
        "store backup",
    ],
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()[2].strip()) > 20


def test_list_shows_a_line_per_execution(run: Run, store: str) -> None:
    lines = run("workflow", "list", "--store", store).output.splitlines()
    rows = [line.split() for line in lines if line.startswith(("COMPLETED", "FAILED", "RUNNING"))]
    assert [row[:3] for row in rows] == [
        ["COMPLETED", "greeting-1", "greeting"],
        ["FAILED", "greeting-2", "greeting"],
        ["RUNNING", "patience-1", "patience"],
    ]
    assert lines[-1] == "3 executions"


def test_list_as_json(run: Run, store: str) -> None:
    listed = json.loads(run("workflow", "list", "--store", store, "--json").output)
    assert [(e["workflow_id"], e["status"]) for e in listed] == [
        ("greeting-1", "COMPLETED"),
        ("greeting-2", "FAILED"),
        ("patience-1", "RUNNING"),
    ]
    assert listed[0]["closed_at_ns"] > listed[0]["started_at_ns"]
    assert listed[2]["closed_at_ns"] is None


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--open",), ["patience-1"]),
        (("--closed",), ["greeting-1", "greeting-2"]),
        (("--type", "patience"), ["patience-1"]),
        (("--limit", "1"), ["greeting-1"]),
        (("--query", "WorkflowType = 'greeting' OR CloseTime IS NULL"), ["patience-1", "greeting-2", "greeting-1"]),
        (("--query", "ORDER BY StartTime", "--limit", "2"), ["greeting-1", "greeting-2"]),
        (("--namespace", "elsewhere"), []),
    ],
)
def test_list_filters(run: Run, store: str, filters: tuple[str, ...], ids: list[str]) -> None:
    listed = json.loads(run("workflow", "list", "--store", store, "--json", *filters).output)
    assert [execution["workflow_id"] for execution in listed] == ids


def test_what_is_no_query_is_told_so(run: Run, store: str) -> None:
    assert refused(
        run("workflow", "list", "--store", store, "--query", "Colour = 1"), "invalid search attribute: Colour"
    )
    assert run("workflow", "list", "--store", store, "--query", "", "--open").exit_code == 2


def test_list_says_when_there_may_be_more(run: Run, store: str) -> None:
    assert run("workflow", "list", "--store", store, "--limit", "1").output.endswith(
        "1 execution (there may be more: --limit)\n"
    )


def test_describe_tells_what_is_pending(run: Run, store: str) -> None:
    output = run("workflow", "describe", "patience-1", "--store", store).output
    assert "status       RUNNING" in output
    assert "pending      timer " in output
    described = json.loads(run("workflow", "describe", "greeting-1", "--store", store, "--json").output)
    assert (described["status"], described["pending"]) == ("COMPLETED", [])


def test_history_is_a_line_per_event(run: Run, store: str) -> None:
    output = run("workflow", "history", "greeting-2", "--store", store).output
    assert "ActivityTaskScheduled" in output
    assert "NobodyThere: there is nobody" in output
    assert "WorkflowExecutionFailed" in output


def test_history_as_json_is_temporals_format(run: Run, store: str) -> None:
    shown = json.loads(run("workflow", "history", "greeting-1", "--store", store, "--json").output)
    with StoreFile(store) as file:
        execution = file.load("greeting-1")
        assert execution is not None
        assert list(ParseDict(shown, History()).events) == file.history(execution.key)


def test_a_store_is_read_beside_the_engine_that_owns_it(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    with Engine(url, workflows=[greeting], activities=[greet]) as engine:
        engine.run(greeting, "Ada", id="greeting-1")
        assert "1 execution" in run("workflow", "list", "--store", url).output
        engine.run(greeting, "Bob", id="greeting-2")
        assert "2 executions" in run("workflow", "list", "--store", url).output


def test_check_finds_a_sound_store_sound(run: Run, store: str) -> None:
    result = run("store", "check", "--store", store)
    assert result.exit_code == 0
    assert result.output.startswith("3 executions, ")
    assert result.output.endswith("events folded, 0 differ\n")


def test_check_finds_an_event_that_is_gone(run: Run, store: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    assert run("store", "backup", str(broken), "--store", store).exit_code == 0
    with closing(sqlite3.connect(broken)) as db:
        db.execute("DELETE FROM history WHERE rowid = (SELECT max(rowid) FROM history)")
        db.commit()
    result = run("store", "check", "--store", str(broken), "--json")
    assert result.exit_code == 1
    assert "patience-1" in json.loads(result.output)["problems"][0]


def test_check_finds_an_index_that_says_something_else(run: Run, store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("store", "backup", str(copy), "--store", store)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("INSERT INTO search_attributes VALUES (1, 'Colour', 2, 'red')")
    result = run("store", "check", "--store", f"sqlite:///{copy}")
    assert result.exit_code == 1
    assert "greeting-1" in result.output
    assert "index" in result.output


def test_check_goes_on_behind_a_state_that_cannot_be_read(run: Run, store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("store", "backup", str(copy), "--store", store)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE executions SET snapshot = x'ff' WHERE workflow_id LIKE 'greeting%'")
    result = run("store", "check", "--store", f"sqlite:///{copy}", "--json")
    assert result.exit_code == 1
    assert ["is damaged" in problem for problem in json.loads(result.output)["problems"]] == [True, True]


def test_a_backup_is_the_whole_store(run: Run, store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert f"{copy}: " in run("store", "backup", str(copy), "--store", store).output
    with Engine(f"sqlite:///{copy}", workflows=[greeting, patience], activities=[greet]) as engine:
        assert engine.run(greeting, "Ada", id="greeting-1") == "Hello, Ada"


def refused(result: Result, sentence: str) -> bool:
    """One sentence on standard error, no traceback, exit code 1."""
    lines = result.stderr.splitlines()
    return result.exit_code == 1 and len(lines) == 1 and sentence in lines[0] and result.stdout == ""


def test_what_is_not_there_is_named(run: Run, store: str, tmp_path: Path) -> None:
    assert refused(run("workflow", "list", "--store", str(tmp_path / "no.db")), "There is no store")
    assert refused(run("workflow", "history", "order-7", "--store", store), "There is no workflow 'order-7'")
    assert refused(
        run("workflow", "describe", "greeting-1", "--run-id", "xyz", "--store", store),
        "There is no workflow 'greeting-1' with run id xyz",
    )


def test_what_is_no_store_is_told_so(run: Run, store: str, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Ada, this is not a database, however long you look at it.")
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE cats (name TEXT)")
        db.commit()
    for name, sentence in [("letter.txt", "is not a SQLite database"), ("other.db", "database of another application")]:
        assert refused(run("workflow", "list", "--store", str(tmp_path / name)), sentence)
    assert refused(run("workflow", "list", "--store", "ftp://x"), "is not understood")


def test_a_backup_is_restored_once_and_over_another_store_only_when_told(run: Run, store: str, tmp_path: Path) -> None:
    copy, place = tmp_path / "copy.db", tmp_path / "place.db"
    run("store", "backup", str(copy), "--store", store)
    assert f"{place}: " in run("store", "restore", str(copy), str(place)).output
    assert refused(run("store", "restore", str(copy), f"sqlite:///{place}"), "exists already")
    assert run("store", "restore", str(copy), f"sqlite:///{place}", "--overwrite").exit_code == 0
    assert "0 differ" in run("store", "check", "--store", str(place)).output
    with Engine(f"sqlite:///{place}", workflows=[greeting, patience], activities=[greet]) as engine:
        assert engine.run(greeting, "Ada", id="greeting-1") == "Hello, Ada"
        assert refused(run("store", "restore", str(copy), str(place), "--overwrite"), "is open already")


def test_check_names_what_is_damaged(run: Run, store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("store", "backup", str(copy), "--store", store)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE history SET data = x'00' WHERE execution_id = 1 AND first_event_id = 1")
    result = run("store", "check", "--store", str(copy), "--json")
    assert result.exit_code == 1
    assert ["does not fit its checksum" in problem for problem in json.loads(result.output)["damage"]] == [True]
    assert ", 1 damaged" in run("store", "check", "--store", str(copy)).output


def test_a_store_that_lost_its_log_goes_on_when_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with Engine(f"sqlite:///{path}", workflows=[greeting], activities=[greet]) as engine:
        engine.run(greeting, "Ada", id="greeting-1")
        for suffix in ("", ".lock"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"killed.db{suffix}")
    killed = str(tmp_path / "killed.db")
    with pytest.raises(StoreError, match="accept-loss"), Engine(f"sqlite:///{killed}", workflows=[greeting]):
        pass
    checked = run("store", "check", "--store", killed)
    assert checked.exit_code == 1
    assert "write-ahead log" in checked.output
    assert "goes on without" in run("store", "accept-loss", "--store", killed).output
    assert "lacks nothing" in run("store", "accept-loss", "--store", killed).output
    with Engine(f"sqlite:///{killed}", workflows=[greeting], activities=[greet]) as engine:
        assert engine.count() == 0


def test_a_backup_overwrites_nothing(run: Run, store: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious.db"
    precious.write_text("precious")
    assert refused(run("store", "backup", str(precious), "--store", store), "exists already")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("arguments", ["workflow list", "workflow history --store x", "demo --kills -1", "dance"])
def test_what_is_asked_wrongly_has_exit_code_2(run: Run, arguments: str) -> None:
    assert run(*arguments.split()).exit_code == 2


def test_a_reader_that_leaves_early_is_no_error(store: str) -> None:
    perdure = f"{sys.executable} -c 'from perdure.cli.main import main; main()'"
    command = f"{perdure} workflow history greeting-1 --json --store {store} | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_a_terminal_without_arrows_is_no_error(store: str) -> None:
    perdure = [sys.executable, "-c", "from perdure.cli.main import main; main()"]
    command = [*perdure, "workflow", "history", "greeting-1", "--store", store]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert '? "Hello, Ada"' in done.stdout

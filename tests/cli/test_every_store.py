"""Every command that takes `--store` works with every kind of store; who only looks changes and makes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from perdure import ApplicationError, Engine, Retry, activity, call, workflow
from perdure.cli.main import cli
from perdure.stores.mysql import schema as mysql
from perdure.stores.postgres import schema as postgres
from perdure.stores.sqlite import read_only
from tests.eventually import eventually
from tests.servers.chosen import kinds
from tests.servers.stores import new_store
from tests.servers.tables import rows_of

LOOKS = [
    ("workflow list", "", "stuck"),
    ("workflow list", "--query WorkflowId='ear'", "every.listens"),
    ("workflow describe", "ear", "every.listens"),
    ("workflow history", "ear", "WorkflowTaskCompleted"),
    ("workflow export", "ear", '"every.listens"'),
    ("workflow check-replay", f"--workflows {__file__}", "every.stuck"),
    ("schedule list", "", "nightly"),
    ("schedule describe", "nightly", "starts every.listens"),
    ("nodes", "", ""),
    ("requests", "", "none waits"),
    ("store check", "", "2 executions"),
    ("store sizes", "", "executions"),
]
"""Command, arguments, and what is seen."""
STEERS = [
    ("workflow pause", "ear"),
    ("workflow unpause", "ear"),
    ("workflow signal", "ear word"),
    ("activity pause", "stuck --activity-id 1"),
    ("activity unpause", "stuck --activity-id 1"),
    ("activity reset", "stuck --activity-id 1"),
    ("activity update", "stuck --activity-id 1 --maximum-attempts 7"),
    ("workflow reset", "stuck --step every.down"),
    ("workflow cancel", "ear"),
    ("workflow terminate", "ear"),
    ("schedule pause", "nightly"),
    ("schedule unpause", "nightly"),
    ("schedule trigger", "nightly"),
    ("schedule backfill", "nightly --from 2026-01-01T00:00:00Z --to 2026-01-03T00:00:00Z"),
    ("schedule delete", "nightly"),
]
FILES_ONLY = ["store backup", "store accept-loss"]
SERVES = ["server", "demo"]


@activity(name="every.down", retry=Retry(initial_interval="1h"))
def down() -> str:
    raise ApplicationError("down")


@workflow(name="every.listens")
def listens() -> object:
    return workflow.wait_signal("word")


@workflow(name="every.stuck")
def stuck() -> str:
    return call(down)


def nouns(group: click.Group, name: str = "") -> Iterator[str]:
    """Of all commands with a `--store`."""
    for command in group.commands.values():
        whole = f"{name} {command.name}".strip()
        if isinstance(command, click.Group):
            yield from nouns(command, whole)
        elif any("--store" in option.opts for option in command.params):
            yield whole


def perdure(words: str, url: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [*words.split(), "--store", url])
    return result.exit_code, result.output


KINDS = kinds("sqlite", "postgres", "mariadb")


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nothing in it, or of a file that is not there."""
    with new_store(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=KINDS, scope="module")
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store with a workflow that waits, one whose activity backs off, and a schedule."""
    with new_store(request.param, tmp_path_factory.mktemp("store")) as url:
        with Engine(url, workflows=[listens, stuck], activities=[down]) as engine:
            engine.start(listens, id="ear")
            engine.start(stuck, id="stuck")
            engine.schedules.create("nightly", listens, cron="0 3 * * *")
            eventually(
                lambda: any(found.attempt == 2 for found in engine.get("stuck").describe().pending_activities),
                "a second attempt",
            )
            eventually(lambda: engine.get("ear").describe().history_length >= 4, "its first workflow task has ended")
        yield url


def test_every_command_is_here() -> None:
    here = {name for name, *_ in (*LOOKS, *STEERS)} | {*FILES_ONLY, *SERVES}
    assert set(nouns(cli)) == here


def test_who_looks_finds_what_is_there_and_changes_nothing(filled: str) -> None:
    before = rows_of(filled)
    for name, arguments, seen in LOOKS:
        code, output = perdure(f"{name} {arguments}", filled)
        assert code == 0 and seen in output, (name, output)
        assert rows_of(filled) == before, name


def test_who_looks_brings_no_older_store_up_to_date(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for schema in (mysql, postgres):
        monkeypatch.setattr(schema, "read_migrations", lambda: {2: "CREATE TABLE later (n int)"})
    monkeypatch.setattr(read_only, "_NEWEST_SCHEMA", 1_000)
    before = rows_of(filled)
    for name, arguments, _ in LOOKS:
        code, output = perdure(f"{name} {arguments}", filled)
        assert (code == 0 and filled.startswith("sqlite:") and name == "nodes") or "brings it up to date" in output, (
            name
        )
    assert rows_of(filled) == before


def test_who_steers_does_so(filled: str) -> None:
    for name, arguments in STEERS:
        code, output = perdure(f"{name} {arguments}", filled)
        assert code == 0, (name, output)
    code, output = perdure("store check", filled)
    assert code == 0, output


def test_what_is_not_there_is_not_made(empty: str, tmp_path: Path) -> None:
    for name, arguments, *_ in (*LOOKS, *STEERS):
        code, output = perdure(f"{name} {arguments}", empty)
        assert code == 1, (name, output)
        assert "There is no store" in output and "start an engine on it first" in output, (name, output)
    result = CliRunner().invoke(cli, ["store", "copy", empty, f"sqlite:///{tmp_path / 'copy.db'}"])
    assert result.exit_code == 1 and "There is no store" in result.output
    assert rows_of(empty) == {} and not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("command", FILES_ONLY)
def test_what_is_for_files_alone_says_so(command: str, tmp_path: Path) -> None:
    target = f" {tmp_path / 'copy.db'}" if command == "store backup" else ""
    code, output = perdure(command + target, "postgresql://127.0.0.1:1/orders")
    assert code == 1 and "SQLite store" in output


def test_a_memory_store_is_nobodys_but_its_process() -> None:
    code, output = perdure("workflow list", "memory://")
    assert code == 1 and "memory" in output and "grpc://" in output

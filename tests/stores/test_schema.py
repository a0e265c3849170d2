"""The tables, the statements, and how an older file becomes a newer one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from importlib.resources import files
from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.sqlite import SqliteStore, schema
from perdure.stores.sqlite.queries import query
from tests.stores.given import APPLIED, Run, stored

SQLITE = files("perdure.stores.sqlite")
NAMES = sorted(
    entry.name.removesuffix(".sql") for entry in SQLITE.joinpath("queries").iterdir() if ".sql" in entry.name
)
WALKS = {
    "list_longest": "a person asks for sizes",
    "list_namespaces": "a handful of rows",
    "remove_records": "once in a namespace's life",
    **dict.fromkeys(("all_executions", "all_history", "all_records", "lost_workflow_ids"), "a check reads everything"),
}
"""Statements that may read all of a table or of an index."""


@pytest.fixture
def tables() -> Generator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.read_schema())
    yield connection
    connection.close()


def shape(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Tables and indexes with their SQL, without comments and layout."""
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    ).fetchall()
    return [(type, name, _plain(sql)) for type, name, sql in rows]


def _plain(sql: str) -> str:
    """As ALTER TABLE writes it: a column that is added has a space before its comma, a table that is renamed quotes."""
    return re.sub(r" ?([(),]) ?", r"\1", re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql))).replace('"', "")


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_says_what_it_is_for(name: str) -> None:
    text = SQLITE.joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")
    assert text.startswith("-- ")
    assert not text.rstrip().endswith(";")


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_has_a_number(name: str) -> None:
    """Python 3.12 takes numbered parameters for named ones, and warns when it is given a sequence for them."""
    assert not re.search(r"\?\d", query(name))


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_walks_a_table(tables: sqlite3.Connection, name: str) -> None:
    statement = query(name)
    parameters = [None] * statement.count("?")
    plan = tables.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    walks = [
        step[3]
        for step in plan
        if re.match(r"SCAN (executions|history|tasks|current_runs|records|namespaces)\b", step[3])
    ]
    walks = [step for step in walks if "USING" not in step or "LIMIT" not in statement]
    assert not walks or name in WALKS, walks


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_is_used(name: str) -> None:
    used = [file.read_text(encoding="utf-8") for file in SQLITE.iterdir() if file.name.endswith(".py")]
    assert any(f'query("{name}")' in text for text in used)


def test_a_statement_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        query("guess")


# --- versions ------------------------------------------------------------------------------------


def test_migrations_lead_from_the_first_schema_to_the_newest(tables: sqlite3.Connection) -> None:
    migrations = schema.read_migrations()
    assert sorted(migrations) == list(range(schema.FIRST_VERSION + 1, schema.FIRST_VERSION + 1 + len(migrations)))
    oldest = sqlite3.connect(":memory:", isolation_level=None)
    oldest.executescript(Path(__file__).with_name("schema_1.sql").read_text(encoding="utf-8"))
    schema.migrate(oldest, schema.FIRST_VERSION, migrations)
    assert shape(oldest) == shape(tables)
    oldest.close()


def _pragma(path: Path, name: str) -> int:
    connection = sqlite3.connect(path)
    [value] = connection.execute(f"PRAGMA {name}").fetchone()
    connection.close()
    return value


async def test_a_new_file_says_whose_it_is_and_of_which_version(sqlite: SqliteStore) -> None:
    await sqlite.open()
    await sqlite.close()
    assert _pragma(sqlite.path, "application_id") == schema.APPLICATION_ID
    assert _pragma(sqlite.path, "user_version") == max(schema.read_migrations(), default=schema.FIRST_VERSION)


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The migrations that a later perdure will come with; a test adds some."""
    migrations = schema.read_migrations()
    monkeypatch.setattr(schema, "read_migrations", lambda: migrations)
    return migrations


async def _make(store: SqliteStore) -> int:
    """A file with one run in it; its version."""
    await store.open()
    await store.commit([Run().commit(events=1)])
    await store.close()
    return _pragma(store.path, "user_version")


async def test_an_older_file_is_brought_to_the_newest_version(sqlite: SqliteStore, newest: dict[int, str]) -> None:
    version = await _make(sqlite)
    newest[version + 2] = "UPDATE executions SET colour = 'blue';"
    newest[version + 1] = "ALTER TABLE executions ADD COLUMN colour TEXT; -- a comment at the end"
    await sqlite.open()
    assert await stored(sqlite, Run()) == (1, [1])
    assert await sqlite.commit([Run("order-2").commit()]) == [APPLIED]
    await sqlite.close()
    assert _pragma(sqlite.path, "user_version") == version + 2
    connection = sqlite3.connect(sqlite.path)
    assert connection.execute("SELECT colour FROM executions ORDER BY id").fetchall() == [("blue",), (None,)]
    connection.close()
    await sqlite.open()
    await sqlite.close()


async def test_a_migration_that_fails_leaves_the_file_as_it_was(sqlite: SqliteStore, newest: dict[int, str]) -> None:
    version = await _make(sqlite)
    newest[version + 1] = "ALTER TABLE executions ADD COLUMN colour TEXT; UPDATE executions SET shade = 1;"
    with pytest.raises(StoreError, match="shade"):
        await sqlite.open()
    assert _pragma(sqlite.path, "user_version") == version
    newest[version + 1] = "ALTER TABLE executions ADD COLUMN colour TEXT;"
    await sqlite.open()
    assert await stored(sqlite, Run()) == (1, [1])
    await sqlite.close()
    assert _pragma(sqlite.path, "user_version") == version + 1


async def test_a_file_of_a_newer_perdure_is_refused_and_left_alone(sqlite: SqliteStore, newest: dict[int, str]) -> None:
    version = await _make(sqlite)
    newest[version + 1] = "ALTER TABLE executions ADD COLUMN colour TEXT;"
    await sqlite.open()
    await sqlite.close()
    del newest[version + 1]
    before = sqlite.path.read_bytes()
    with pytest.raises(StoreError, match=f"newer perdure .*{version + 1}.*upgrade perdure"):
        await sqlite.open()
    assert sqlite.path.read_bytes() == before

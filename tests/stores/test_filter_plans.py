"""Compiled filters: nothing of the user's text is in the SQL, and an index answers what it can."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator

import pytest

from perdure.stores.sqlite import filters, schema
from perdure.stores.visibility import bind, parse

CUSTOM = {"K": 2, "KL": 7, "T": 1, "D": 4, "it's": 2}


@pytest.fixture
def tables() -> Generator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.read_schema())
    yield connection
    connection.close()


def plan(tables: sqlite3.Connection, text: str, *, next_page: bool = False) -> list[str]:
    """How SQLite would find a page, a line for each step."""
    query = bind(parse(text), CUSTOM)
    after = (5,) * (len(query.order) + 1 if query.order else 3) if next_page else None
    steps: list[str] = []
    for statement in filters.find("default", query, after, 10):
        steps += [row[3] for row in tables.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters)]
    return steps


@pytest.mark.parametrize("next_page", [False, True])
@pytest.mark.parametrize(
    "text",
    ["", "ExecutionStatus = 'Running'", "ExecutionStatus != 'Running'", "WorkflowType = 'a'", "K != 'x' OR T = 'y'"],
)
def test_a_page_ends_the_walk_along_the_index(tables: sqlite3.Connection, text: str, next_page: bool) -> None:
    steps = plan(tables, text, next_page=next_page)
    walks = [step for step in steps if step.startswith("SEARCH e ")]
    assert walks
    assert all("INDEX executions_visibility (namespace=? AND status=?" in step for step in walks)
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps, "only runs of equal times are sorted"


def test_times_are_bounds_on_the_index(tables: sqlite3.Connection) -> None:
    steps = plan(tables, "CloseTime > '2026-01-01T00:00:00Z' AND ExecutionStatus = 'Failed'")
    assert any("status=? AND closed_at_ns>?)" in step for step in steps)
    steps = plan(tables, "StartTime > '2026-01-01T00:00:00Z' AND ExecutionStatus = 'Running'")
    assert any("closed_at_ns=? AND started_at_ns>?)" in step for step in steps)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("WorkflowId = 'x'", "executions_key (namespace=? AND workflow_id=?)"),
        ("WorkflowId STARTS_WITH 'x' AND CloseTime IS NULL", "executions_key (namespace=? AND workflow_id>? "),
        ("RunId IN ('x', 'y')", "executions_key (namespace=?)"),
        ("K = 'x' AND WorkflowType = 'a'", "search_attributes_value (name=? AND type=? AND value=?)"),
        ("KL IN ('x', 'y')", "search_attributes_value (name=? AND type=? AND value=?)"),
        ("T = 'x y'", "search_attributes_value (name=? AND type=? AND value=?)"),
        ("ParentWorkflowId = 'x'", "search_attributes_value (name=? AND type=? AND value=?)"),
        ("RootWorkflowId = 'x'", "search_attributes_value (name=? AND type=? AND value=?)"),
        ("TemporalScheduledById STARTS_WITH 'x'", "search_attributes_value (name=? AND type=? AND value>? "),
    ],
)
def test_what_is_demanded_gives_the_rows(tables: sqlite3.Connection, text: str, index: str) -> None:
    steps = plan(tables, text)
    assert any(index in step for step in steps), steps
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)" in steps
    assert not any("executions_visibility" in step for step in steps)


@pytest.mark.parametrize(
    "text",
    [
        "K = '\\'; DROP TABLE executions; --'",
        "K STARTS_WITH '%_'' OR 1=1 --' OR T = 'hostile'",
        "`it's` IN ('hostile', \"a\\\"b\") ORDER BY `it's` DESC",
        "WorkflowType BETWEEN 'hostile' AND '?1' AND NOT RootWorkflowId = 'hostile'",
    ],
)
def test_no_text_of_the_user_is_in_the_sql(tables: sqlite3.Connection, text: str) -> None:
    query = bind(parse(text), CUSTOM)
    for statement in (*filters.find("default", query, None, 10), filters.count("default", query)):
        for word in ("DROP", "hostile", "%", "it's", '"'):
            assert word not in statement.sql
        tables.execute(statement.sql, statement.parameters).fetchall()


def test_floats_go_through_json_exactly() -> None:
    query = bind(parse("ORDER BY D"), CUSTOM)
    assert filters.cursors(query, '[["0.30000000000000004", 7], [null, 8]]') == [(0.30000000000000004, 7), (None, 8)]


def test_the_next_page_of_open_executions_begins_where_the_last_one_ended(tables: sqlite3.Connection) -> None:
    steps = plan(tables, "ExecutionStatus = 'Running'", next_page=True)
    assert any("closed_at_ns=? AND started_at_ns<?)" in step for step in steps), steps

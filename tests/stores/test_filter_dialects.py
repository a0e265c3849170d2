"""One compiler, three databases: each has its parameters in its own way, and none has a text of the user in its SQL."""

from __future__ import annotations

import re
from itertools import count

import pytest

from perdure.stores.partitions import partition_of
from perdure.stores.sql import filters
from perdure.stores.sql.dialects import MYSQL, POSTGRES, SQLITE, Dialect, Statement
from perdure.stores.visibility import bind, parse

CUSTOM = {"K": 2, "I": 3, "D": 4, "B": 5, "T": 1, "DT": 6, "KL": 7}
FILTERS = (
    "",
    "K = 'hostile' AND I > 1 AND D <= 0.5 AND B = true AND T = 'two words' AND DT > '2026-01-01T00:00:00Z'",
    "KL NOT IN ('hostile', 'b') OR K IS NULL OR NOT K STARTS_WITH 'hostile'",
    "ExecutionStatus = 'Running' OR HistoryLength BETWEEN 1 AND 99999999999",
    "WorkflowId IN ('a', 'b') AND RunId STARTS_WITH 'hostile' OR RootWorkflowId = 'hostile'",
    "ExecutionDuration > '1s' ORDER BY D DESC, K, ExecutionStatus",
)


def statements(dialect: Dialect, text: str) -> list[Statement]:
    """Of a first page, of the next one, and of a count."""
    query = bind(parse(text), CUSTOM)
    places = count(1)
    after = tuple(next(places) for _ in range((len(query.order) or 2) + 1))
    return [
        *filters.find(dialect, "default", query, None, 10),
        *filters.find(dialect, "default", query, after, 10),
        filters.count(dialect, "default", query),
    ]


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("dialect", [SQLITE, MYSQL], ids=["sqlite", "mysql"])
def test_a_place_for_each_parameter(dialect: Dialect, text: str) -> None:
    mark = "?" if dialect is SQLITE else "%"
    for statement in statements(dialect, text):
        assert statement.sql.count(mark) == len(statement.parameters)
        assert "hostile" not in statement.sql


@pytest.mark.parametrize("text", FILTERS)
def test_postgres_is_told_a_type_for_each_parameter(text: str) -> None:
    for statement in statements(POSTGRES, text):
        assert "hostile" not in statement.sql
        types = dict(re.findall(r"\$(\d+)::(text|bigint|double precision)", statement.sql))
        assert len(types) == len(statement.parameters), "each is used, or the server does not know its type"
        assert statement.sql.count("$") == statement.sql.count("::")
        for number, type in types.items():
            value = statement.parameters[int(number) - 1]
            assert isinstance(value, str) is (type == "text") or value is None or "ORDER BY D" in text


def test_mysql_compares_bytes() -> None:
    (statement,) = filters.find(MYSQL, "default", bind(parse("K = 'Größe'"), CUSTOM), None, 10)
    assert "Größe".encode() in statement.parameters
    assert filters.cursors([("Größe".encode(), 1.5, None, 7, 8)]) == [("Größe", 1.5, None, 7, 8)]


@pytest.mark.parametrize("dialect", [POSTGRES, MYSQL], ids=["postgres", "mysql"])
def test_a_workflow_id_names_its_partition(dialect: Dialect) -> None:
    (statement,) = filters.find(dialect, "default", bind(parse("WorkflowId IN ('a', 'b')"), {}), None, 10)
    partitions = sorted(partition_of("default", name) for name in "ab")
    assert f"k.partition_id IN ({partitions[0]}, {partitions[1]})" in statement.sql


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES, MYSQL], ids=["sqlite", "postgres", "mysql"])
def test_equals_are_told_apart_by_their_keys(dialect: Dialect) -> None:
    for text in ("", "ORDER BY K"):
        for statement in filters.find(dialect, "default", bind(parse(text), CUSTOM), None, 10):
            assert f"id DESC{', partition_id DESC' if dialect.is_partitioned else ''} LIMIT" in statement.sql

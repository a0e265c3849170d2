"""Filters are understood, or refused in the same words, as Temporal's server does it.

`list_filters.json` holds what the real server (1.32, its SQLite visibility) said to each query in a
namespace with the custom attributes below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perdure.stores.visibility import AllOf, AnyOf, Condition, Query, QueryError, bind, parse

CUSTOM = {"K": 2, "I": 3, "D": 4, "B": 5, "T": 1, "DT": 6, "KL": 7}
ORACLE: list[dict[str, Any]] = json.loads(Path(__file__).with_name("list_filters.json").read_text(encoding="utf-8"))

OTHERWISE = {
    # ORDER BY is understood here in lists.
    **dict.fromkeys(
        ("ORDER BY StartTime", "ORDER BY StartTime DESC", "ORDER BY WorkflowId", "K = 'alpha' ORDER BY StartTime"), None
    ),
    "ORDER BY CloseTime ASC, WorkflowId DESC": None,
    # Counts refuse it behind the parser.
    "GROUP BY ExecutionStatus ORDER BY ExecutionStatus": None,
    # What is no list filter at all is refused sooner, in fewer words.
    "lower(K) = 'alpha'": "operation is not supported: nested func",
    "I = 2+3": "malformed SQL query: syntax error at position 34",
    "I + 1 = 6": "malformed SQL query: syntax error at position 31",
    "EXISTS (SELECT 1)": "malformed SQL query: syntax error at position 34 near 'exists'",
    "K = (SELECT 1)": "malformed SQL query: syntax error at position 33",
    "K = 'a' ?": "malformed SQL query: syntax error at position 37 near '?'",
    "K = :x": "malformed SQL query: syntax error at position 33 near ':'",
    "K = ?": "malformed SQL query: syntax error at position 33 near '?'",
    "case = 5": "malformed SQL query: syntax error at position 32 near 'case'",
    "group = 5": "malformed SQL query: syntax error at position 35",
    # A name of the server's storage, which is nobody's business.
    "Keyword01 = 'alpha'": "invalid search attribute: Keyword01",
}
"""Where we differ, and why."""


def refusal(query: str) -> str | None:
    try:
        bind(parse(query), CUSTOM)
    except QueryError as error:
        return str(error)
    return None


@pytest.mark.parametrize("asked", ORACLE, ids=lambda asked: asked["query"] or "nothing")
def test_temporal_says_the_same(asked: dict[str, Any]) -> None:
    query = asked["query"]
    assert refusal(query) == OTHERWISE.get(query, asked["refusal"])


def test_every_difference_is_one() -> None:
    asked = {one["query"]: one["refusal"] for one in ORACLE}
    assert all(asked[query] != ours for query, ours in OTHERWISE.items())


def where(text: str) -> object:
    return bind(parse(text), CUSTOM).where


def test_not_is_pushed_down_to_the_conditions() -> None:
    negated = where("NOT (K = 'a' AND (I > 1 OR NOT B = true))")
    assert negated == where("K != 'a' OR (I <= 1 AND B = true)")
    assert isinstance(negated, AnyOf)
    assert isinstance(where("NOT (K = 'a' OR I BETWEEN 1 AND 2)"), AllOf)
    assert where("NOT K IS NULL") == where("K IS NOT NULL")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("'1h30m'", 5_400 * 10**9),
        ("'1.5s'", 1_500_000_000),
        ("'-2ms'", -2_000_000),
        ("'01:00:01'", 3_601 * 10**9),
        ("'2d'", 172_800 * 10**9),
        ("'17'", 17),
        ("17", 17),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    found = where(f"ExecutionDuration > {text}")
    assert isinstance(found, Condition)
    assert found.values == (nanoseconds,)


@pytest.mark.parametrize("text", ["'1h 30m'", "''", "'h'", "'1e3s'", f"'{'9' * 30}h'", "'-'"])
def test_what_is_no_duration(text: str) -> None:
    assert "invalid duration value" in (refusal(f"ExecutionDuration > {text}") or "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"'it\'s'", "it's"),
        ("'it''s'", "it's"),
        (r'"a\"b"', 'a"b'),
        (r"'tab\tline\n'", "tab\tline\n"),
        (r"'50\%'", "50%"),
        ("'Größe 😀'", "Größe 😀"),
        ("''", ""),
    ],
)
def test_strings(text: str, value: str) -> None:
    found = where(f"K = {text}")
    assert isinstance(found, Condition)
    assert found.values == (value,)


def test_an_order_is_asked_for() -> None:
    query = bind(parse("K = 'a' GROUP BY ExecutionStatus ORDER BY CloseTime DESC, `I`, D ASC;"), CUSTOM)
    assert [(term.attribute.name, term.descending) for term in query.order] == [
        ("CloseTime", True),
        ("I", False),
        ("D", False),
    ]
    assert query.group_by is not None
    assert "not supported for search attribute KL" in (refusal("ORDER BY KL") or "")


def test_bounds_are_told() -> None:
    assert refusal("(" * 64 + "I = 1" + ")" * 64) is None
    assert "64 levels" in (refusal("(" * 65 + "I = 1" + ")" * 65) or "")
    assert "64 levels" in (refusal("NOT " * 10_000 + "I = 1") or "")
    assert refusal(" OR ".join(["I = 1"] * 250)) is None
    assert "250 conditions" in (refusal(" OR ".join(["I = 1"] * 251)) or "")
    assert "250 conditions" in (refusal(f"I IN ({', '.join(['1'] * 501)})") or "")


def test_what_a_query_requires_is_known() -> None:
    query = bind(parse("K = 'a' AND (I = 1 OR I = 2) AND (B = true AND NOT D = 5)"), CUSTOM)
    assert sorted(condition.attribute.name for condition in query.required()) == ["B", "D", "K"]
    assert list(Query().required()) == []

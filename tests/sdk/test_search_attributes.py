"""Search attributes on the wire: typed as Temporal's SDKs type them, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from perdure import PayloadError, SearchAttribute
from perdure.sdk.declare.search_attributes import payloads_of, value_of, values_of

NOON = datetime(2026, 11, 20, 12, 30, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "kind", "data"),
    [
        ("v", "Keyword", b'"v"'),
        (5, "Int", b"5"),
        (1.5, "Double", b"1.5"),
        (True, "Bool", b"true"),
        (NOON, "Datetime", b'"2026-11-20T12:30:00.250000+00:00"'),
        (["a", "b"], "KeywordList", b'["a","b"]'),
        ([], "KeywordList", b"[]"),
    ],
)
def test_the_type_follows_from_the_value(value: Any, kind: str, data: bytes) -> None:
    payload = payloads_of({"Name": value})["Name"]
    assert dict(payload.metadata) == {"encoding": b"json/plain", "type": kind.encode()}
    assert payload.data == data
    assert value_of(payload) == value and type(value_of(payload)) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        (SearchAttribute.text("T"), "two words", b"Text"),
        (SearchAttribute.keyword("T"), "two words", b"Keyword"),
        (SearchAttribute.double("T"), 5, b"Double"),
        (SearchAttribute.int("T"), 5, b"Int"),
        (SearchAttribute.bool("T"), False, b"Bool"),
        (SearchAttribute.datetime("T"), NOON, b"Datetime"),
        (SearchAttribute.keyword_list("T"), {"b", "a"}, b"KeywordList"),
    ],
)
def test_a_key_says_the_type(key: SearchAttribute, value: Any, kind: bytes) -> None:
    assert payloads_of({key: value})["T"].metadata["type"] == kind


def test_a_whole_number_of_a_double_comes_back_as_a_float() -> None:
    value = value_of(payloads_of({SearchAttribute.double("D"): 5})["D"])
    assert (value, type(value)) == (5.0, float)


def test_moments_are_written_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert payloads_of({"At": there})["At"].data == b'"2026-11-20T12:30:00.250000+00:00"'


@pytest.mark.parametrize(
    "values",
    [
        {"Name": object()},
        {"Name": None},
        {"Name": ["a", 1]},
        {"Name": 2**63},
        {"Name": float("nan")},
        {"Name": NOON.replace(tzinfo=None)},
        {SearchAttribute.int("Name"): "5"},
        {SearchAttribute.int("Name"): True},
        {SearchAttribute.keyword("Name"): 5},
    ],
)
def test_what_it_cannot_be_is_named(values: dict[Any, Any]) -> None:
    with pytest.raises(PayloadError, match="'Name'"):
        payloads_of(values)


def test_a_name_must_be_one() -> None:
    with pytest.raises(PayloadError, match="name"):
        payloads_of({"": 1})


def test_none_takes_one_away_where_that_is_meant() -> None:
    payloads = payloads_of({"A": None, SearchAttribute.keyword("B"): None}, removing=True)
    assert dict(payloads["A"].metadata) == {"encoding": b"binary/null"}
    assert dict(payloads["B"].metadata) == {"encoding": b"binary/null", "type": b"Keyword"}
    assert values_of(payloads) == {"A": None, "B": None}

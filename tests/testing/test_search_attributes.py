"""Search attributes as a user sets and sees them: at the start, in the run, over its chain, and in its children."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure import EngineError, PayloadError, SearchAttribute, call_child, start_child, workflow
from perdure.testing import TestEngine, assert_replays

SHIPPED = datetime(2026, 11, 20, 8, tzinfo=UTC)
STARTED: dict[str, Any] = {"Customer": "c-1", "Amount": 42.5}


@workflow
def stages() -> list[dict[str, Any]]:
    seen = [dict(workflow.info().search_attributes)]
    workflow.upsert_search_attributes({"Stage": "shipped", "ShippedAt": SHIPPED, "Tags": ["a", "b"]})
    workflow.upsert_search_attributes({SearchAttribute.text("Note"): "left at the door", "Amount": None})
    workflow.upsert_search_attributes({})
    workflow.upsert_search_attributes({"NeverHeardOf": None})
    seen.append(dict(workflow.info().search_attributes))
    return seen


@workflow
async def chain(number: int) -> list[Any]:
    if number == 0:
        workflow.patched("a change")
        workflow.upsert_search_attributes({"Stage": "one", "Customer": None})
        workflow.upsert_memo({"note": "kept"})
        workflow.continue_as_new(1)
    if number == 1:
        found = dict(workflow.info().search_attributes), workflow.memo()
        workflow.continue_as_new(2, memo={"found": found}, search_attributes={"Stage": "two"})
    return [workflow.memo()["found"], dict(workflow.info().search_attributes)]


@workflow
def parent() -> list[Any]:
    first = call_child(tells, search_attributes={"Stage": "child"}, memo={"a": 1})
    return [first, start_child(tells).result()]


@workflow
def tells() -> list[Any]:
    return [dict(workflow.info().search_attributes), workflow.memo()]


@workflow
def misuses() -> str:
    try:
        workflow.upsert_search_attributes({"Bad": object()})
    except PayloadError as error:
        return str(error)
    return "it was taken"


@contextmanager
def registered() -> Generator[TestEngine]:
    """An engine that knows the names which the workflows of this module use."""
    with TestEngine() as engine:
        engine.search_attributes.add(
            {"Customer": "Keyword", "Amount": "Double", "Stage": "Keyword", "ShippedAt": "Datetime"}
        )
        engine.search_attributes.add([SearchAttribute.keyword_list("Tags"), SearchAttribute.text("Note")])
        yield engine


def upserted(events: list[HistoryEvent]) -> list[list[str]]:
    kind = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
    found = [event.upsert_workflow_search_attributes_event_attributes for event in events if event.event_type == kind]
    return [sorted(attributes.search_attributes.indexed_fields) for attributes in found]


def test_a_run_sees_what_it_was_given_and_what_it_set() -> None:
    with registered() as engine:
        before, after = engine.run(stages, id="w", search_attributes=STARTED)
        assert before == {"Amount": 42.5, "Customer": "c-1"}
        described = engine.get("w").describe().search_attributes
        events = engine.get("w").history()
    now = {"Customer": "c-1", "Note": "left at the door", "ShippedAt": SHIPPED, "Stage": "shipped", "Tags": ["a", "b"]}
    assert described == now
    assert after == {**now, "ShippedAt": SHIPPED.isoformat().replace("+00:00", "Z")}
    assert upserted(events) == [["ShippedAt", "Stage", "Tags"], ["Amount", "Note"]]
    assert_replays(events, [stages])


def test_runs_are_found_by_them() -> None:
    with registered() as engine:
        engine.run(stages, id="w", search_attributes=STARTED)
        engine.run(stages, id="other", search_attributes={"Customer": "c-2"})
        found = engine.list("Customer = 'c-1' AND Stage = 'shipped' AND Note = 'door'")
        assert [(summary.id, summary.search_attributes["Tags"]) for summary in found] == [("w", ["a", "b"])]
        assert engine.count("Tags = 'b'") == 2


def test_what_is_registered_is_listed() -> None:
    with registered() as engine:
        engine.search_attributes.add({})
        assert engine.search_attributes.list() == {
            "Amount": "Double", "Customer": "Keyword", "Note": "Text", "ShippedAt": "Datetime", "Stage": "Keyword",
            "Tags": "KeywordList",
        }  # fmt: skip
        with pytest.raises(ValueError, match="'Word'"):
            engine.search_attributes.add({"Word": cast(Any, "string")})
        with pytest.raises(EngineError, match="reserved"):
            engine.search_attributes.add({"WorkflowId": "Keyword"})


def test_an_embedded_engine_registers_a_name_that_is_set_and_then_it_has_its_type() -> None:
    with TestEngine() as engine:
        engine.run(stages, id="w", search_attributes={"Customer": "c-1"})
        assert engine.search_attributes.list()["Customer"] == "Keyword"
        with pytest.raises(EngineError, match="Customer"):
            engine.start(stages, id="other", search_attributes={"Customer": 5})


def test_the_next_run_of_a_chain_has_them_without_the_versions_of_this_one() -> None:
    with registered() as engine:
        found, last = engine.run(chain, 0, id="w", search_attributes=STARTED)
    assert found == [{"Amount": 42.5, "Stage": "one"}, {"note": "kept"}]
    assert last == {"Stage": "two"}


def test_a_child_has_its_own() -> None:
    with registered() as engine:
        assert engine.run(parent, id="w", search_attributes=STARTED) == [[{"Stage": "child"}, {"a": 1}], [{}, {}]]


def test_what_cannot_be_one_is_said_where_it_is_given() -> None:
    with registered() as engine:
        assert "'Bad'" in engine.run(misuses, id="w")
        with pytest.raises(PayloadError, match="'Bad'"):
            engine.start(misuses, id="other", search_attributes={"Bad": object()})


def test_code_that_sets_others_than_history_says_is_told() -> None:
    with registered() as engine:
        engine.run(stages, id="w", search_attributes=STARTED)
        events = engine.get("w").history()

    @workflow(name="stages")
    def changed() -> None:
        workflow.upsert_search_attributes({"Stage": "shipped"})

    with pytest.raises(AssertionError, match=r"change of the search attributes \(ShippedAt, Stage, Tags\)"):
        assert_replays(events, [changed])

"""Texts that UTF-8 cannot hold, as ids, names, reasons and notes: refused by name where they are written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perdure import AsyncEngine, Engine, Retry, activity, call, start_child, workflow
from perdure.embedded import WorkflowHandle
from perdure.interventions.desk import AsyncInterventions
from perdure.sdk.client.handle import AsyncWorkflowHandle
from perdure.sdk.client.messages import AsyncUpdateHandle
from perdure.sdk.client.schedules import AsyncSchedules
from tests.eventually import eventually

BAD = "caf\udce9"


@activity
def ordinary() -> str:
    return "fine"


@workflow
def waits() -> str:
    return workflow.wait_signal("go", returns=str)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine("memory://", shutdown_grace="100ms") as engine:
        yield engine


@pytest.fixture(scope="module")
def handle(engine: Engine) -> Any:
    return engine.start(waits, id="waits")


Ask = Callable[[Any, WorkflowHandle[Any]], object]

ASKED: dict[str, tuple[str, Ask]] = {
    "start": ("id", lambda e, h: e.start(waits, id=BAD)),
    "run": ("id", lambda e, h: e.run(waits, id=BAD)),
    "task_queue": ("task_queue", lambda e, h: e.start(waits, id="x", task_queue=BAD)),
    "memo key": ("memo (its key 'caf\\udce9')", lambda e, h: e.start(waits, id="x", memo={BAD: 1})),
    "describe": ("id", lambda e, h: e.get(BAD).describe()),
    "history": ("id", lambda e, h: e.get(BAD).history()),
    "cancel": ("id", lambda e, h: e.get(BAD).cancel()),
    "terminate": ("reason", lambda e, h: e.get("waits").terminate(BAD)),
    "handle": ("reason", lambda e, h: h.terminate(BAD)),
    "signal": ("signal", lambda e, h: h.signal(BAD)),
    "query": ("query", lambda e, h: h.query(BAD)),
    "update": ("update", lambda e, h: h.update(BAD)),
    "update_id": ("update_id", lambda e, h: h.update("u", update_id=BAD)),
    "pause": ("reason", lambda e, h: e.get("waits").pause(BAD)),
    "reset": ("reason", lambda e, h: h.reset(event_id=3, reason=BAD)),
    "list": ("query", lambda e, h: e.list(f"WorkflowId = '{BAD}'")),
    "schedule": ("id", lambda e, h: e.schedules.create(BAD, waits, every="1h")),
    "note": ("note", lambda e, h: e.schedules.create("x", waits, every="1h", note=BAD)),
    "emit": ("name", lambda e, h: e.events.emit(BAD, 1)),
    "complete": ("activity_id", lambda e, h: e.activities.complete(1, workflow_id="w", activity_id=BAD)),
    "fail": ("workflow_id", lambda e, h: e.activities.fail(OSError(), workflow_id=BAD, activity_id="1")),
    "pause activity": ("reason", lambda e, h: e.activities.pause("waits", ordinary, BAD)),
    "attribute": ("attributes (its key 'caf\\udce9')", lambda e, h: e.search_attributes.add({BAD: "Keyword"})),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_text_that_cannot_be_sent_is_refused_by_the_name_of_its_argument(
    engine: Engine, handle: WorkflowHandle[Any], what: str
) -> None:
    argument, ask = ASKED[what]
    with pytest.raises(ValueError, match="half a surrogate pair") as caught:
        ask(engine, handle)
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(f"{argument} cannot be sent: ")
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    ("what", "declare"),
    [
        ("namespace", lambda: Engine("memory://", namespace=BAD)),
        ("task_queue", lambda: Engine("memory://", task_queue=BAD)),
        ("identity", lambda: Engine("memory://", identity=BAD).__enter__()),
        ("name", lambda: activity(name=BAD)(lambda: None)),
        ("name", lambda: workflow(name=BAD)(lambda: None)),
        ("task_queue", lambda: ordinary.options(task_queue=BAD)),
        ("Retry.non_retryable_error_types", lambda: Retry(non_retryable_error_types=[BAD])),
    ],
)
def test_a_declared_text_is_refused_where_it_is_declared(what: str, declare: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"{what} cannot be sent") as caught:
        declare()
    assert not isinstance(caught.value, UnicodeEncodeError)


@workflow
def asks(what: str) -> str:
    try:
        match what:
            case "child":
                start_child(waits, id=BAD)
            case "signal":
                workflow.external("other").signal(BAD)
            case "external":
                workflow.external(BAD).signal("go")
            case "memo":
                workflow.upsert_memo({BAD: 1})
            case _:
                workflow.patched(BAD)
    except ValueError:
        return "went another way"
    return call(ordinary)


@pytest.mark.parametrize("what", ["signal", "external", "memo", "patch"])
def test_in_a_workflow_it_fails_the_task_even_where_the_code_catches_it(engine: Engine, what: str) -> None:
    handle = engine.start(asks, what, id=f"asks {what}")
    told = eventually(lambda: handle.describe().workflow_task_failure, "a failed workflow task")
    handle.terminate()
    assert told.startswith("ValueError: ")
    assert "half a surrogate pair" in told
    assert "(at test_unsendable_texts.py:" in told


def test_a_childs_id_is_refused_in_replay_too_so_code_may_catch_it(engine: Engine) -> None:
    assert engine.run(asks, "child", id="asks child") == "went another way"
    engine.check_replay([asks])


def test_whatever_a_client_can_be_asked_is_watched() -> None:
    bare = [
        f"{cls.__name__}.{name}"
        for cls in (AsyncEngine, AsyncWorkflowHandle, AsyncUpdateHandle, AsyncSchedules, AsyncInterventions)
        for name, member in inspect.getmembers(cls, inspect.iscoroutinefunction)
        if not name.startswith("_") and "sends_texts" not in _wrappers(member)
    ]
    takes_no_text = ("AsyncEngine.open", "AsyncEngine.close", "AsyncEngine.run_forever")
    assert [name for name in bare if name not in takes_no_text] == []


def _wrappers(member: Any) -> str:
    names = ""
    while hasattr(member, "__wrapped__"):
        names += member.__code__.co_qualname
        member = member.__wrapped__
    return names.replace("_refusing", "sends_texts")


def test_what_was_refused_has_changed_nothing(engine: Engine) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        engine.run(waits, id=BAD)
    handle = engine.start(waits, id="after all that")
    handle.signal("go", "on")
    assert handle.result() == "on"

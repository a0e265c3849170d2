"""Activities and workflows that are named by a text, and payloads that nobody looks into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType

from perdure import (
    ActivityError,
    AsyncEngine,
    Engine,
    RawValue,
    Retry,
    WorkflowFailedError,
    activity,
    call,
    call_child,
    call_local,
    start,
    start_child,
    workflow,
)
from perdure.errors import DefinitionError, UnknownTypeError
from perdure.testing import assert_replays
from tests.eventually import eventually

ODD = RawValue(Payload(metadata={"encoding": b"application/x-odd"}, data=b"\x00\xff"))


@dataclass
class Receipt:
    number: int


@activity(name="charge")
def charging(cents: int, currency: str = "EUR") -> dict[str, Any]:
    return {"number": cents}


@activity(name="fail", retry=Retry(maximum_attempts=9))
def failing() -> None:
    raise RuntimeError("no")


@workflow(name="order")
def ordering(cents: int) -> dict[str, Any]:
    return call("charge", cents)


@workflow(name="order-async")
async def ordering_async(cents: int) -> Any:
    return await start("charge", cents, "USD")


CHARGE = activity.named(
    "charge",
    returns=Receipt,
    start_to_close_timeout="30s",
    heartbeat_timeout="5s",
    retry=Retry(maximum_attempts=3),
    task_queue="default",
)
ORDER = workflow.named("order", returns=Receipt)


@workflow
def parent(cents: int) -> list[Any]:
    typed = call(CHARGE, cents)
    child = start_child(ORDER, cents + 1)
    return [isinstance(typed, Receipt), typed.number, child.result().number, call_child("order-async", cents + 2)]


@workflow
async def parent_async(cents: int) -> list[Any]:
    typed = await start(CHARGE.options(start_to_close_timeout="1m"), cents)
    return [typed.number, (await start_child(ORDER, cents + 1)).number, await start_child("order", cents + 2)]


@workflow
def becomes_another(cents: int) -> dict[str, Any]:
    workflow.continue_as_new(cents + 1, workflow="order")


@workflow
def becomes_another_typed(cents: int) -> dict[str, Any]:
    workflow.continue_as_new(cents + 1, workflow=workflow.named("order", task_queue="default"))


@workflow
def fails_quickly() -> None:
    call(activity.named("fail", retry=Retry(maximum_attempts=1)))


@workflow
def misuses() -> list[str]:
    found: list[str] = []
    for wrong in (
        lambda: cast(Any, call)("charge", cents=1),
        lambda: call(CHARGE, cents=1),
        lambda: call_local(CHARGE, 1),
        lambda: cast(Any, call)(17),
        lambda: cast(Any, call_child)(ORDER, cents=1),
    ):
        try:
            wrong()
        except (TypeError, DefinitionError) as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


@activity(dynamic=True)
def anything(name: str, *values: RawValue) -> RawValue:
    assert name.startswith("raw-")
    return values[0]


@workflow
def passes_on(value: RawValue) -> RawValue:
    return call(activity.named("raw-echo", returns=RawValue), value)


@workflow
class Router:
    def __init__(self) -> None:
        self.seen: list[RawValue] = []

    @workflow.run
    async def run(self) -> RawValue:
        await workflow.wait_condition(lambda: len(self.seen) == 2)
        return self.seen[1]

    @workflow.signal
    def pass_on(self, value: RawValue) -> None:
        self.seen.append(value)

    @workflow.query
    def first(self) -> RawValue:
        return self.seen[0]

    @workflow.update
    def swap(self, value: RawValue) -> RawValue:
        self.seen.insert(0, value)
        return value


@pytest.mark.parametrize("body", [parent, parent_async])
def test_work_that_is_named_by_a_text_is_called_and_typed(body: Any) -> None:
    with Engine("memory://") as engine:
        handle = engine.start(body, 10)
        plain = {"number": 12}
        expected = [True, 10, 11, plain] if body is parent else [10, 11, plain]
        assert handle.result() == expected
        events = handle.history()
    assert_replays(events, [parent, parent_async])
    scheduled = [e.activity_task_scheduled_event_attributes for e in events if e.event_type == _SCHEDULED]
    assert [(s.activity_type.name, s.start_to_close_timeout.ToTimedelta()) for s in scheduled] == [
        ("charge", timedelta(seconds=30 if body is parent else 60))
    ]
    assert (scheduled[0].retry_policy.maximum_attempts, scheduled[0].heartbeat_timeout.seconds) == (3, 5)


_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED


def test_a_bare_text_has_the_defaults_of_a_bare_activity() -> None:
    with Engine("memory://") as engine:
        handle = engine.start("order", 5)
        assert handle.result() == {"number": 5}
        [scheduled] = [e for e in handle.history() if e.event_type == _SCHEDULED]
    attributes = scheduled.activity_task_scheduled_event_attributes
    assert attributes.start_to_close_timeout.ToTimedelta() == timedelta(minutes=10)


def test_an_engine_starts_and_schedules_by_name() -> None:
    with Engine("memory://") as engine:
        assert engine.run("order", 7) == {"number": 7}
        assert engine.run(ORDER, 7) == Receipt(7)
        assert engine.run("order-async", 8) == {"number": 8}
        with pytest.raises(UnknownTypeError, match=r"workflow type 'ordre' is not registered.*order"):
            engine.start("ordre", 1)
        engine.schedules.create("by-name", "order", 9, every="1h", trigger=True)
        engine.schedules.create("by-definition", ORDER, 9, every="1h")
        query = 'WorkflowType = "order" AND WorkflowId STARTS_WITH "by-name"'
        runs = eventually(lambda: engine.list(query), "the run that was triggered")
        assert engine.get(runs[0].id).result() == {"number": 9}
        elsewhere = engine.start(workflow.named("packs", task_queue="rust"), 1, 2, id="packs")
        assert elsewhere.describe(stack=False).task_queue == "rust", "nobody here need know what runs there"


async def test_an_async_engine_starts_by_name() -> None:
    async with AsyncEngine("memory://") as engine:
        assert await engine.run(ORDER, 3) == Receipt(3)
        assert await (await engine.start("order", 4)).result() == {"number": 4}


@pytest.mark.parametrize("body", [becomes_another, becomes_another_typed])
def test_a_run_continues_as_another_workflow(body: Any) -> None:
    with Engine("memory://") as engine:
        handle = engine.start(body, 1, id=f"becomes-{body.name}")
        assert handle.result() == {"number": 2}
        assert engine.get(handle.id).describe().workflow_type == "order"


def test_the_options_of_the_name_count_and_not_those_of_the_declaration() -> None:
    with Engine("memory://") as engine, pytest.raises(WorkflowFailedError) as caught:
        engine.run(fails_quickly)
    assert isinstance(caught.value.__cause__, ActivityError)


def test_what_cannot_be_said_of_a_name_is_refused_in_words() -> None:
    with Engine("memory://") as engine:
        found = engine.run(misuses)
    by_name = "known by its name alone, so what it is called with has positions"
    parts = [by_name, by_name, "runs in this very worker", "takes a function", "has no option 'cents'"]
    for text, part in zip(found, parts, strict=True):
        assert part in text
    with pytest.raises(DefinitionError, match="'charge' is known by its name alone: it cannot be run here"):
        Engine("memory://", activities=[CHARGE])
    with pytest.raises(DefinitionError, match="empty"):
        activity.named("")
    with pytest.raises(TypeError, match="name"):
        cast(Any, workflow.named)(3)


def test_a_raw_value_goes_through_untouched() -> None:
    """Even one whose encoding nobody here knows."""
    with Engine("memory://", activities=[anything]) as engine:
        handle = engine.start(passes_on, ODD)
        events = eventually(lambda: [e for e in handle.history() if e.event_type == _SCHEDULED], "the call")
        payloads = [events[0].activity_task_scheduled_event_attributes.input.payloads[0]]
        result = engine.get(handle.id, result_type=RawValue).result()
        assert handle.result() == result == ODD
        payloads.append(handle.history()[-1].workflow_execution_completed_event_attributes.result.payloads[0])
    assert payloads == [ODD.payload, ODD.payload]


def test_a_raw_value_is_a_signal_a_query_and_an_update() -> None:
    with Engine("memory://", activities=[anything]) as engine:
        handle = engine.start(Router)
        handle.signal("pass_on", ODD)
        assert handle.query("first", returns=RawValue) == ODD
        other = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b'{"a": 1}'))
        assert handle.update("swap", other) == {"a": 1}
        assert handle.result() == ODD
        assert engine.run(passes_on, other) == other
        with pytest.raises(TypeError, match="RawValue takes a temporalio Payload, not bytes"):
            RawValue(cast(Any, b"odd"))


class Reversed:
    """A codec."""

    def encode(self, payloads: Any) -> list[Payload]:
        return [Payload(metadata={"encoding": b"x"}, data=p.SerializeToString()[::-1]) for p in payloads]

    def decode(self, payloads: Any) -> list[Payload]:
        return [Payload.FromString(p.data[::-1]) for p in payloads]


def test_a_codec_works_on_raw_values_as_on_all_others() -> None:
    with Engine("memory://", codec=Reversed(), activities=[anything]) as engine:
        handle = engine.start(passes_on, ODD)
        assert handle.result() == ODD
        attributes = handle.history()[0].workflow_execution_started_event_attributes
    assert attributes.input.payloads[0].metadata["encoding"] == b"x"

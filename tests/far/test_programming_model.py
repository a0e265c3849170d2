"""Local activities, search attributes, carried signals and resets: the same on Temporal's server as on ours."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from temporalio.api.enums.v1 import EventType

from perdure import ApplicationError, Engine, Retry, activity, call, call_local, start_local, workflow
from perdure.testing import assert_replays
from tests.eventually import eventually

charged: list[str] = []


@activity(retry=Retry(initial_interval="10ms", backoff_coefficient=20))
def validate(item: str) -> str:
    if activity.info().attempt < 3:
        raise ApplicationError("not yet")
    return f"{item} is valid"


@activity
async def takes(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"took {seconds:g} s"


@activity
def charge(what: str) -> str:
    charged.append(what)
    return f"charge {len(charged)}"


@workflow
def locally() -> list[Any]:
    found = [call_local(validate, "pen"), call_local(validate.options(local_retry_threshold="100ms"), "ink")]
    handle = start_local(takes, 2.0)
    workflow.timer("50ms").result()
    return [*found, handle.result()]


@workflow
def stages(customer: str) -> dict[str, Any]:
    workflow.upsert_search_attributes({"PerdureStage": "packed", "PerdureCustomer": customer})
    return dict(workflow.info().search_attributes)


@workflow
def relay(left: int, heard: list[int]) -> list[int]:
    heard = [*heard, workflow.wait_signal("number")]
    if left == 1:
        return heard
    workflow.continue_as_new(left - 1, heard)


@workflow
def order() -> list[str]:
    return [call(charge, "pen"), call(charge, "ink"), workflow.wait_signal("word")]


def test_local_activities_and_their_markers(url: str) -> None:
    with engine_on(url) as engine:
        handle = engine.start(locally, id=f"local-{uuid.uuid4()}", task_timeout="2s")
        assert handle.result() == ["pen is valid", "ink is valid", "took 2 s"]
        events = handle.history()
    kinds = [event.event_type for event in events]
    assert kinds.count(EventType.EVENT_TYPE_MARKER_RECORDED) == 4, "one of them backed off durably"
    assert_replays(events, [locally])


def test_search_attributes(url: str) -> None:
    customer = str(uuid.uuid4())
    with engine_on(url) as engine:
        engine.search_attributes.add({"PerdureStage": "Keyword", "PerdureCustomer": "Keyword"})
        assert engine.search_attributes.list()["PerdureStage"] == "Keyword"
        handle = engine.start(stages, customer, id=f"stages-{customer}", search_attributes={"PerdureStage": "new"})
        assert handle.result() == {"PerdureStage": "packed", "PerdureCustomer": customer}
        assert handle.describe().search_attributes["PerdureCustomer"] == customer
        # Temporal's index follows a moment later.
        eventually(lambda: engine.count(f"PerdureCustomer = '{customer}'"), "the list finds it")


def test_signals_are_carried_over_a_chain_of_runs(url: str) -> None:
    id = f"relay-{uuid.uuid4()}"
    with engine_on(url) as engine:
        engine.start(relay, 3, [], id=id)
        for number in (1, 2, 3):
            engine.get(id).signal("number", number)
        assert engine.get(id).result() == [1, 2, 3]


def test_reset_to_a_step(url: str) -> None:
    id = f"order-{uuid.uuid4()}"
    charged.clear()
    with engine_on(url) as engine:
        engine.start(order, id=id)
        engine.get(id).signal("word", "hello")
        assert engine.get(id).result() == ["charge 1", "charge 2", "hello"]
        again = engine.get(id).reset(step=charge, reason="mended")
        assert again.result() == ["charge 1", "charge 3", "hello"]
        assert charged == ["pen", "ink", "ink"]


def engine_on(url: str) -> Engine:
    queue = f"model-{uuid.uuid4()}"
    return Engine(
        url, task_queue=queue, workflows=[locally, stages, relay, order], activities=[validate, takes, charge]
    )

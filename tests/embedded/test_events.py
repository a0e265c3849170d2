"""Events: whoever subscribed is told, once and in order; whoever did not is not."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, WorkflowStatus, on_event, workflow
from perdure.errors import DefinitionError, EngineError, PayloadError, WorkflowFailedError
from perdure.testing import TestEngine


@dataclass
class Paid:
    order: str
    cents: int


@workflow(name="events.pays")
def pays(order: str, cents: int) -> str:
    workflow.emit("events.paid", Paid(order, cents), key=order)
    return "paid"


@workflow(name="events.pays_async")
async def pays_async(order: str) -> None:
    for cents in (1, 2, 3):
        await workflow.emit("events.paid", Paid(order, cents), key=order)


@workflow(name="events.ships")
def ships(order: str) -> str:
    paid = workflow.wait_event("events.paid", key=order, timeout="2 days", returns=Paid)
    return f"{paid.order} for {paid.cents}"


@workflow(name="events.ships_async")
async def ships_async(order: str) -> int:
    paid = await workflow.wait_event("events.paid", key=order, timeout="2 days", returns=Paid)
    return paid.cents


@workflow(name="events.collects")
def collects(count: int) -> list[int]:
    with workflow.subscribe("events.paid", returns=Paid) as payments:
        return [payments.next().cents for _ in range(count)]


@workflow(name="events.collects_async")
async def collects_async(count: int) -> list[int]:
    async with workflow.subscribe("events.paid", returns=Paid) as payments:
        return [(await payments.next()).cents for _ in range(count)]


@on_event("events.placed")
@workflow(name="events.bills")
def bills(order: dict[str, Any]) -> str:
    return f"bill of {order['id']}"


@on_event("events.placed", key="abroad")
@workflow(name="events.declares")
async def declares() -> str:
    return "declared"


def test_a_workflow_tells_another_that_it_does_not_know() -> None:
    with TestEngine() as engine:
        waiting = engine.start(ships, "1001", id="shipping-1001")
        other = engine.start(ships, "1002", id="shipping-1002")
        assert engine.run(pays, "1001", 4200, id="pay-1001") == "paid"
        assert waiting.result() == "1001 for 4200"
        assert other.describe().status is WorkflowStatus.RUNNING, "an event of another key is none of its business"


def test_async_workflows_emit_and_wait_likewise() -> None:
    with TestEngine() as engine:
        waiting = engine.start(ships_async, "1001", id="shipping-1001")
        collecting = engine.start(collects_async, 3, id="books")
        engine.run(pays_async, "1001", id="pay-1001")
        assert (waiting.result(), collecting.result()) == (1, [1, 2, 3])


def test_each_subscriber_gets_all_events_in_their_order() -> None:
    with TestEngine() as engine:
        books = [engine.start(collects, 50, id=f"books-{n}") for n in range(3)]
        for cents in range(50):
            engine.events.emit("events.paid", Paid("1001", cents))
        assert [book.result() for book in books] == [list(range(50))] * 3


def test_what_was_emitted_before_is_not_seen() -> None:
    with TestEngine() as engine:
        engine.events.emit("events.paid", Paid("1001", 1), key="1001")
        waiting = engine.start(ships, "1001", id="shipping-1001")
        engine.events.emit("events.paid", Paid("1001", 2), key="1001")
        assert waiting.result() == "1001 for 2"


def test_the_same_event_again_is_told_once() -> None:
    with TestEngine() as engine:
        books = engine.start(collects, 2, id="books")
        ids = [engine.events.emit("events.paid", Paid("1001", 1), id="payment-1") for _ in range(3)]
        assert ids == ["payment-1"] * 3
        engine.events.emit("events.paid", Paid("1001", 2))
        assert books.result() == [1, 2]


def test_waiting_in_vain_ends_with_the_time_out_and_the_subscription() -> None:
    with TestEngine() as engine:
        with pytest.raises(WorkflowFailedError, match=r"no event 'events\.paid' came within 2 days"):
            engine.run(ships, "1001", id="shipping-1001")
        with pytest.raises(WorkflowFailedError, match=r"no event 'events\.paid' came within 2 days"):
            engine.run(ships_async, "1001", id="shipping-1002")
        engine.advance("1 minute")
        assert engine.get("perdure-events/events.paid").query("state")["subscribers"] == []


def test_a_cancelled_waiter_is_told_so() -> None:
    with TestEngine() as engine:
        waiting = [engine.start(ships, "1001", id="s"), engine.start(ships_async, "1001", id="a")]
        for handle in waiting:
            handle.cancel("enough")
        engine.advance("1 minute")
        assert [handle.describe().status for handle in waiting] == [WorkflowStatus.CANCELED] * 2
        assert engine.get("perdure-events/events.paid").query("state")["subscribers"] == []


def test_nobody_need_be_there() -> None:
    with TestEngine() as engine:
        assert engine.run(pays, "1001", 1, id="pay-1001") == "paid"
        assert engine.get("perdure-events/events.paid").describe().status is WorkflowStatus.RUNNING
        engine.advance("2 days")
        assert engine.get("perdure-events/events.paid").describe().status is WorkflowStatus.COMPLETED
        books = engine.start(collects, 1, id="books")
        engine.events.emit("events.paid", Paid("1001", 2))
        assert books.result() == [2], "a hub that had ended begins again"


def test_a_subscriber_that_was_terminated_is_forgotten() -> None:
    with TestEngine() as engine:
        engine.start(collects, 9, id="books")
        engine.get("books").terminate()
        engine.events.emit("events.paid", Paid("1001", 1))
        engine.advance("1 minute")
        assert engine.get("perdure-events/events.paid").query("state")["subscribers"] == []


def count(engine: Engine, workflow_type: str) -> int:
    return len([run for run in engine.list() if run.workflow_type == workflow_type])


# --- started by events ----------------------------------------------------------------------------------


def test_each_event_starts_one() -> None:
    with TestEngine() as engine:
        engine.events.emit("events.placed", {"id": "1001"}, id="1001")
        engine.events.emit("events.placed", {"id": "1001"}, id="1001")
        engine.events.emit("events.placed", {"id": "1002"}, id="1002", key="abroad")
        assert engine.get("events.bills/1001").result() == "bill of 1001"
        assert engine.get("events.bills/1002").result() == "bill of 1002"
        assert engine.get("events.declares/1002").result() == "declared"
        assert count(engine, "events.bills") == 2
        assert count(engine, "events.declares") == 1


def test_listening_is_durable_and_is_ended_by_a_word(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    with TestEngine(url, workflows=[bills, declares], seed=1):
        pass
    with TestEngine(url, workflows=[pays], seed=2) as engine:
        engine.events.emit("events.placed", {"id": "1001"}, id="1001")
        engine.events.stop_listening("events.placed", bills)
        engine.events.emit("events.placed", {"id": "1002"}, id="1002")
    with TestEngine(url, workflows=[bills], seed=3) as engine:
        assert engine.get("events.bills/1001").result() == "bill of 1001"
        engine.events.emit("events.placed", {"id": "1003"}, id="1003")
        assert engine.get("events.bills/1003").result() == "bill of 1003"
        assert count(engine, "events.bills") == 2


def test_a_workflow_that_cannot_be_started_by_an_event_is_refused() -> None:
    @workflow
    def wants_two(a: int, b: int) -> None: ...

    with pytest.raises(DefinitionError, match="wants_two is started by an event"):
        on_event("events.placed")(wants_two)
    with pytest.raises(DefinitionError, match="is no workflow"):
        on_event("events.placed")(len)  # pyright: ignore[reportArgumentType] - that is the test


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_is_a_text_of_some_length(name: str) -> None:
    with TestEngine() as engine, pytest.raises(ValueError, match="an event's name is a text"):
        engine.events.emit(name)


# --- without end ----------------------------------------------------------------------------------------


@workflow(name="events.keeps_books")
def keeps_books(total: int, count: int) -> list[int]:
    """Continues as new after every tenth payment, and stays subscribed."""
    with workflow.subscribe("events.paid", returns=Paid) as payments:
        taken = 0
        while count < 100:
            if taken == 10:
                workflow.continue_as_new(total, count)
            total += payments.next().cents
            count += 1
            taken += 1
    return [total, count]


def test_a_subscription_outlives_the_run(engine: TestEngine) -> None:
    books = engine.start(keeps_books, 0, 0, id="books")
    for cents in range(100):
        engine.events.emit("events.paid", Paid("1001", cents))
        if cents % 7 == 0:
            engine.advance("5s")
    assert books.result() == [sum(range(100)), 100]
    assert len([run for run in engine.list() if run.id == "books"]) > 3


def test_a_hub_goes_on_as_a_new_run_and_loses_nothing(engine: TestEngine) -> None:
    books = engine.start(collects, 1500, id="books")
    for cents in range(1500):
        engine.events.emit("events.paid", Paid("1001", cents), id=f"payment-{cents}")
    engine.events.emit("events.paid", Paid("1001", 0), id="payment-1400")
    assert books.result() == list(range(1500))
    hub = [run for run in engine.list(limit=100) if run.id == "perdure-events/events.paid"]
    assert len(hub) > 1
    assert max(run.history_length for run in hub) < 5000


@pytest.fixture
def engine() -> Any:
    with TestEngine() as engine:
        yield engine


@workflow(name="events.asks")
def asks(question: str) -> str:
    """Subscribes before it asks, so that an answer that comes at once is not missed."""
    with workflow.subscribe("events.answered", key=question) as answers:
        workflow.emit("events.asked", question)
        return answers.next()


@on_event("events.asked")
@workflow(name="events.answers")
def answers(question: str) -> None:
    workflow.emit("events.answered", question.upper(), key=question)


def test_a_question_is_answered_by_whoever_knows() -> None:
    with TestEngine() as engine:
        assert engine.run(asks, "why", id="q") == "WHY"


@workflow(name="events.two_waits")
def two_waits() -> list[str]:
    found: list[str] = []
    workflow.on_signal("go", lambda: found.append(workflow.wait_event("events.x")))
    found.append(workflow.wait_event("events.x"))
    workflow.wait_condition(lambda: len(found) == 2)
    return found


def test_two_waits_of_one_workflow_each_get_the_event() -> None:
    with TestEngine() as engine:
        both = engine.start(two_waits, id="both")
        both.signal("go")
        engine.events.emit("events.x", "seen")
        assert both.result() == ["seen", "seen"]


def test_what_was_not_taken_goes_on_to_the_next_run(engine: TestEngine) -> None:
    books = engine.start(keeps_books, 0, 0, id="books")
    engine.advance("1s")
    engine.get("books").pause()
    for cents in range(100):
        engine.events.emit("events.paid", Paid("1001", cents))
    engine.get("books").unpause()
    assert books.result() == [sum(range(100)), 100], "they had come all at once, and ten runs shared them"


@workflow(name="events.measures")
def measures(count: int) -> list[int]:
    with workflow.subscribe("events.drawn") as drawings:
        return [len(drawings.next()) for _ in range(count)]


def test_values_of_any_size_get_through(engine: TestEngine) -> None:
    artists = [engine.start(measures, 30, id=f"artist-{n}") for n in range(3)]
    engine.get("perdure-events/events.drawn").pause()
    sizes = [n * 10_000 for n in range(29)] + [1_500_000]
    for size in sizes:
        engine.events.emit("events.drawn", b"x" * size)
    engine.get("perdure-events/events.drawn").unpause()
    assert [artist.result() for artist in artists] == [sizes] * 3
    largest = max(event.ByteSize() for event in engine.get("perdure-events/events.drawn").history())
    assert largest < 1_600_000, "servers bound what one command may carry"


@pytest.mark.parametrize("size", [2_096_000, 2_096_650, 2_096_700, 2_096_750, 2_096_800, 2_096_850, 2_097_152])
def test_what_may_be_emitted_may_be_delivered(engine: TestEngine, size: int) -> None:
    artist = engine.start(measures, 1, id="artist")
    try:
        engine.events.emit("events.drawn", b"x" * size)
    except PayloadError:
        assert size > 2_096_500
    else:
        assert artist.result() == [size]


def test_an_engine_that_cannot_listen_is_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*given: Any) -> None:
        raise EngineError("the hub cannot be reached")

    url = f"sqlite:///{tmp_path}/events.db"
    before = threading.active_count()
    with monkeypatch.context() as broken:
        broken.setattr("perdure.embedded.workers.listen", refuse)
        with pytest.raises(EngineError, match="cannot be reached"):
            Engine(url, workflows=[bills]).open()
    assert threading.active_count() == before, "its worker has been stopped"
    with Engine(url, workflows=[bills]) as engine:
        assert engine.events.emit("events.placed", {"id": "1"}) != ""

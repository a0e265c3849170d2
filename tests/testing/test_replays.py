"""Histories against code: what passes, what does not and where, and what is no history."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.api.history.v1 import History, HistoryEvent

from perdure import ActivityHandle, activity, call, start, workflow
from perdure.errors import DefinitionError, UnknownTypeError
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.replay.checking import ReplayChecker, Workflows
from perdure.testing import HistoryFormatError, TestEngine, assert_replays, format_history, parse_history
from tests.testing import shop
from tests.testing.shop import ACTIVITIES, WORKFLOWS, Order, charge, fulfil, remind, subscribe

ORDER = Order("1001", 4200)


@pytest.fixture
def history(engine: TestEngine) -> list[HistoryEvent]:
    """A subscription in its second month."""
    engine.mock("shop.charge", returns="paid")
    engine.start(subscribe, ORDER, 12, id="w")
    engine.advance("40 days")
    return engine.get("w").history()


def changed(*, remind_first: bool = False, month_days: int = 30) -> AnyWorkflow:
    """The workflow of the shop, as somebody might have changed it."""

    @workflow(name="shop.subscribe")
    def subscribe_again(order: Order, months: int) -> list[str]:
        for _ in range(months):
            if remind_first:
                call(remind, order)
            call(charge, order)
            workflow.sleep(days=month_days)
        return []

    return subscribe_again


@pytest.mark.parametrize("code", [subscribe, [subscribe], WORKFLOWS, shop, [shop]])
def test_the_code_that_wrote_it_replays_it(history: list[HistoryEvent], code: Workflows) -> None:
    assert_replays(history, code)


def test_every_form_of_a_history_will_do(history: list[HistoryEvent], tmp_path: Path) -> None:
    whole = History(events=history)
    file = tmp_path / "history.json"
    file.write_text(format_history(history), encoding="utf-8")
    for form in (whole, whole.SerializeToString(), format_history(history), file, iter(history)):
        assert_replays(form, subscribe)
    assert parse_history(format_history(history)) == parse_history(whole.SerializeToString()) == history


def test_a_breaking_change_is_told_with_event_command_and_line(history: list[HistoryEvent]) -> None:
    with pytest.raises(AssertionError, match=r"disagree at event 5") as told:
        assert_replays(history, changed(remind_first=True))
    assert "activity shop.charge (id 1)" in str(told.value)
    assert "activity shop.remind" in str(told.value)
    assert "test_replays.py:" in str(told.value)


def test_what_is_not_in_history_may_change(history: list[HistoryEvent]) -> None:
    assert_replays(history, changed(month_days=28))


def test_a_finding_says_where_in_fields_too(history: list[HistoryEvent]) -> None:
    checker = ReplayChecker(changed(remind_first=True))
    problem = checker.check(history, "order-1", "run-1")
    assert problem is not None
    assert (problem.workflow_id, problem.run_id, problem.workflow_type) == ("order-1", "run-1", "shop.subscribe")
    assert problem.event_id == 5
    assert problem.event == "ActivityTaskScheduled, activity shop.charge (id 1)"
    assert "shop.remind" in problem.command and "test_replays.py:" in problem.command
    assert str(problem).startswith("shop.subscribe 'order-1' (run run-1): history and code disagree")
    assert not checker.report.ok


def test_code_that_raises_in_replay_is_a_finding(history: list[HistoryEvent]) -> None:
    @workflow(name="shop.subscribe")
    def broken(order: Order, months: str) -> None:
        call(charge, order)

    checker = ReplayChecker(broken)
    problem = checker.check(history)
    assert problem is not None
    assert problem.event_id == 5
    assert problem.command.startswith("raised PayloadError: the arguments of workflow shop.subscribe [1]")


def test_a_task_in_hand_is_not_run(engine: TestEngine) -> None:
    """What the code does next is its own affair; a side effect of it least of all."""
    made: list[int] = []

    @workflow(name="testing.next")
    def first() -> None:
        workflow.sleep("1h")
        workflow.side_effect(lambda: made.append(1) or 1, int)

    with TestEngine(workflows=[first], activities=[]) as engine:
        engine.run(first, id="w")
        whole = engine.get("w").history()
    made.clear()
    started = [event.event_id for event in whole if event.HasField("workflow_task_started_event_attributes")]
    assert_replays(whole[: started[-1]], first)
    assert made == []


def test_finished_histories_replay_too(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns="paid")
    engine.mock("shop.ship", returns="shipped")
    engine.run(fulfil, ORDER, id="w")
    assert_replays(engine.get("w").history(), shop)


def test_a_type_that_was_not_given_is_no_pass(history: list[HistoryEvent]) -> None:
    with pytest.raises(UnknownTypeError, match=r"'shop\.subscribe' is not registered"):
        assert_replays(history, fulfil)


def test_no_code_at_all_is_an_error(history: list[HistoryEvent]) -> None:
    with pytest.raises(DefinitionError, match="no workflow was given"):
        assert_replays(history, [])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "its first event is not WorkflowExecutionStarted"),
        (b"{}", "its first event is not WorkflowExecutionStarted"),
        (b"{ not json", "this is no event history"),
        (b'{"events": 5}', "this is no event history"),
        (b"\xff\xfe\x00binary", "this is no event history"),
        ('{"events": [{"eventId": "1", "eventType": "EVENT_TYPE_TIMER_FIRED"}]}', "its first event is not"),
    ],
)
def test_what_is_no_history_is_told(data: bytes | str, why: str) -> None:
    with pytest.raises(HistoryFormatError, match=why):
        parse_history(data)


# --- all open executions --------------------------------------------------------------------------


def test_a_check_of_all_finds_exactly_those_that_would_break(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns="paid")
    engine.mock("shop.ship", lambda order, express: "shipped")
    for number in range(40):
        engine.start(subscribe, ORDER, 2 if number % 4 else 1, id=f"s{number}")
        engine.start(shop.forget, ORDER, id=f"f{number}")
        engine.run(fulfil, ORDER, id=f"closed{number}")
    engine.advance("31 days")  # those of one month are done; of the others half a breaking change is in the past

    @workflow(name="shop.subscribe")
    def no_second_month(order: Order, months: int) -> list[str]:
        call(charge, order)
        workflow.sleep(days=30)
        if months == 2:
            workflow.sleep(days=1)
        return []

    report = engine.check_replay([no_second_month])
    found = sorted(problem.workflow_id for problem in report.problems)
    assert found == sorted(f"s{n}" for n in range(40) if n % 4)
    assert (report.checked, report.broken) == ({"shop.subscribe": 30}, {"shop.subscribe": 30})
    assert report.unknown == {"shop.forget": 40}
    assert not report.ok
    assert "30 replayed, 30 would break" in str(report)
    assert "not judged, for their code was not given: shop.forget (40)" in str(report)
    whole = engine.check_replay(shop)
    assert whole.ok
    assert whole.checked == {"shop.subscribe": 30, "shop.forget": 40}


def test_a_paused_run_is_checked_too(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns="paid")
    engine.mock("shop.ship", lambda order, express: "shipped")
    engine.start(subscribe, ORDER, 2, id="s")

    @workflow(name="shop.subscribe")
    def ships_first(order: Order, months: int) -> list[str]:
        workflow.sleep(days=3)
        return []

    engine.advance("1 day")
    engine.get("s").pause("for a look")
    report = engine.check_replay([ships_first])
    assert (report.checked, report.broken) == ({"shop.subscribe": 1}, {"shop.subscribe": 1})


def test_progress_and_query(engine: TestEngine) -> None:
    for number in range(5):
        engine.start(shop.forget, ORDER, id=f"f{number}")
    seen: list[int] = []
    query = 'WorkflowType = "shop.forget"'
    report = engine.check_replay(shop, query=query, progress=lambda report: seen.append(report.checked.total()))
    assert seen == [1, 2, 3, 4, 5]
    assert report.events == 20
    assert engine.check_replay(shop, query='WorkflowType = "shop.fulfil"').checked == {}


def test_a_loop_that_gathers_handles_replays(engine: TestEngine) -> None:
    @activity(name="testing.one")
    def one(n: int) -> int:
        return n

    @workflow(name="testing.many")
    def many(count: int) -> int:
        handles: list[ActivityHandle[int]] = [start(one, n) for n in range(count)]
        return sum(handle.result() for handle in handles)

    with TestEngine(workflows=[many], activities=[one, *ACTIVITIES]) as engine:
        assert engine.run(many, 50, id="w") == 1225
        assert_replays(engine.get("w").history(), many)

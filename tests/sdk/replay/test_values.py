"""Side effects, time, chance, ids, info and log lines: the same in replay."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.sdk.errors import (
    EngineError,
)
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a


def test_a_side_effect_runs_once_and_replay_gives_the_recorded_value() -> None:
    ran: list[int] = []

    def make() -> int:
        ran.append(1)
        return len(ran)

    @workflow
    def uses() -> list[Any]:
        one = workflow.side_effect(make)
        call(a)
        return [one, workflow.side_effect(make)]

    history = History(uses).task()
    first = history.cold()
    assert texts(first.commands) == ["marker SideEffect 1", "schedule a() as 1"]
    history.apply(first.commands).completed("1").task()
    second = history.cold()
    assert texts(second.commands) == ["marker SideEffect 2", "complete [1,2]"]
    assert len(ran) == 2
    marker = first.commands[0].record_marker_command_attributes
    assert marker.details["side-effect-id"].payloads[0].data == b"1"


def test_a_side_effect_gives_the_same_type_live_and_replayed() -> None:
    import dataclasses

    seen: list[Any] = []

    @workflow
    def uses() -> None:
        seen.append(workflow.side_effect(lambda: (1, 2)))
        seen.append(workflow.side_effect(lambda: {"x": 3, "y": 4}, Point))
        call(a)

    @dataclasses.dataclass
    class Point:
        x: int
        y: int

    history = History(uses).task()
    first = history.cold()
    history.apply(first.commands).completed("1").task()
    history.cold()
    assert seen == [[1, 2], Point(3, 4)] * 2


def test_a_side_effect_must_not_ask_for_anything() -> None:
    @workflow
    def misuses() -> None:
        workflow.side_effect(lambda: call(a))

    outcome = History(misuses).task().cold()
    assert isinstance(outcome.error, EngineError)
    assert "side effect must not" in str(outcome.error)


def test_time_chance_and_ids_are_the_same_in_replay() -> None:
    seen: list[list[Any]] = []

    @workflow
    def asks() -> None:
        mine: list[Any] = []
        seen.append(mine)
        for _ in range(2):
            mine.append(workflow.now())
            mine.append(workflow.time_ns())
            mine.append(workflow.random().random())
            mine.append(workflow.random().randint(1, 10**9))
            mine.append(workflow.uuid4())
            call(a)

    history = History(asks).task()
    machine = history.machine()
    first = machine.process(history.since())
    at = history.last
    history.apply(first.commands).completed("1").task()
    machine.process(history.since(at))
    history.cold()
    assert seen[0] == seen[1]
    assert len(seen[0]) == 10
    now = seen[0][0]
    assert now.tzinfo is not None
    assert now.timestamp() == history.events[2].event_time.seconds
    assert seen[0][4].version == 4
    assert seen[0][4] != seen[0][9]
    other = History(asks, run_id="run-2").task()
    other.cold()
    assert seen[2][2] != seen[0][2]


def test_info_memo_and_length() -> None:
    from tests.sdk.replay.given import CONVERTER

    seen: list[Any] = []

    @workflow
    def asks() -> None:
        info = workflow.info()
        seen.extend([info.workflow_id, info.run_id, info.workflow_type, info.task_queue, info.attempt, info.namespace])
        seen.append(workflow.memo())
        seen.append(workflow.history_length())
        seen.append(info.started_at.timestamp())

    history = History(asks, workflow_id="order-7")
    memo = history.events[0].workflow_execution_started_event_attributes.memo
    memo.fields["customer"].CopyFrom(CONVERTER.to_payload("c-1"))
    history.task().cold()
    assert seen[:6] == ["order-7", "run-1", "asks", "default", 1, "default"]
    assert seen[6] == {"customer": "c-1"}
    assert seen[7] == 3
    assert seen[8] == history.events[0].event_time.seconds


def test_is_replaying_and_the_logger_know_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[bool] = []

    @workflow
    def talks() -> None:
        seen.append(workflow.is_replaying())
        workflow.logger.warning("first %s", "line")
        call(a)
        seen.append(workflow.is_replaying())
        workflow.logger.warning("second line")

    history = History(talks).task().done().scheduled("a").completed("1").task()
    history.cold()
    assert seen == [True, False]
    assert [r.getMessage() for r in caplog.records] == ["second line (talks w-1)"]
    record: Any = caplog.records[0]
    assert record.workflow_id == "w-1"
    assert record.funcName == "talks"

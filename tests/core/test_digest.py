"""A history told in lines: names, subjects, and the word that matters, for every kind of event."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import ActivityType, Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.failure.v1 import ActivityFailureInfo, ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.api.history.v1 import (
    ActivityTaskCompletedEventAttributes,
    ActivityTaskFailedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    ActivityTaskStartedEventAttributes,
    HistoryEvent,
    MarkerRecordedEventAttributes,
    TimerFiredEventAttributes,
    TimerStartedEventAttributes,
    WorkflowExecutionStartedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
)

from perdure.api.digest import (
    digest,
    duration_text,
    duration_words,
    event_name,
    failure_text,
    payloads_text,
    status_name,
)


def json_payloads(*texts: str) -> Payloads:
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=text.encode()) for text in texts])


def timer_started() -> HistoryEvent:
    started = TimerStartedEventAttributes(timer_id="2")
    started.start_to_fire_timeout.FromSeconds(30 * 86400)
    return HistoryEvent(
        event_id=5, event_type=EventType.EVENT_TYPE_TIMER_STARTED, timer_started_event_attributes=started
    )


def history() -> list[HistoryEvent]:
    charge = ActivityTaskScheduledEventAttributes(
        activity_type=ActivityType(name="Charge"), input=json_payloads("1001", '{"a":1}')
    )
    declined = Failure(message="no", application_failure_info=ApplicationFailureInfo(type="Declined"))
    events = [
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
            workflow_execution_started_event_attributes=WorkflowExecutionStartedEventAttributes(
                workflow_type=WorkflowType(name="Order"), input=json_payloads('"x"'), attempt=1
            ),
        ),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, activity_task_scheduled_event_attributes=charge
        ),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
            activity_task_started_event_attributes=ActivityTaskStartedEventAttributes(scheduled_event_id=2, attempt=3),
        ),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
            activity_task_completed_event_attributes=ActivityTaskCompletedEventAttributes(
                scheduled_event_id=2, result=json_payloads('"ok"')
            ),
        ),
        timer_started(),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_TIMER_FIRED,
            timer_fired_event_attributes=TimerFiredEventAttributes(timer_id="2", started_event_id=5),
        ),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
            activity_task_failed_event_attributes=ActivityTaskFailedEventAttributes(
                scheduled_event_id=2, failure=declined
            ),
        ),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_MARKER_RECORDED,
            marker_recorded_event_attributes=MarkerRecordedEventAttributes(marker_name="SideEffect"),
        ),
        HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED),
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
            workflow_execution_terminated_event_attributes=WorkflowExecutionTerminatedEventAttributes(reason="enough"),
        ),
    ]
    for number, event in enumerate(events, start=1):
        event.event_id = number
        event.event_time.FromSeconds(number)
    return events


def test_every_event_is_a_line() -> None:
    assert [(line.event_id, line.name, line.subject, line.detail) for line in digest(history())] == [
        (1, "WorkflowExecutionStarted", "Order", '"x"'),
        (2, "ActivityTaskScheduled", "Charge", '1001, {"a":1}'),
        (3, "ActivityTaskStarted", "Charge", "attempt 3"),
        (4, "ActivityTaskCompleted", "Charge", '→ "ok"'),
        (5, "TimerStarted", "timer 2", "30d"),
        (6, "TimerFired", "timer 2", ""),
        (7, "ActivityTaskFailed", "Charge", "Declined: no"),
        (8, "MarkerRecorded", "SideEffect", ""),
        (9, "WorkflowTaskScheduled", "", ""),
        (10, "WorkflowExecutionTerminated", "", "enough"),
    ]
    assert [line.at_ns for line in digest(history())] == [number * 10**9 for number in range(1, 11)]


def test_every_event_type_and_status_has_a_name() -> None:
    assert event_name(EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT) == "ActivityTaskTimedOut"
    assert all(event_name(number).isalpha() for number in EventType.values())
    assert status_name(1) == "RUNNING"


def test_a_failure_is_told_with_its_causes() -> None:
    timeout = TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
    cause = Failure(message="too slow", timeout_failure_info=timeout)
    failure = Failure(message="activity failed", activity_failure_info=ActivityFailureInfo(), cause=cause)
    assert failure_text(failure) == "activity failed: too slow (StartToClose)"


def test_payloads_that_are_no_json_are_told_by_kind_and_size() -> None:
    payloads = [
        Payload(metadata={"encoding": b"binary/null"}),
        Payload(metadata={"encoding": b"binary/encrypted"}, data=b"12345"),
        Payload(data=b"1"),
    ]
    assert payloads_text(payloads) == "null, <binary/encrypted, 5 bytes>, <no encoding, 1 bytes>"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0ms"),
        (98_341_100, "98.3ms"),
        (2_500_000_000, "2.5s"),
        (59_960_000_000, "60s"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h"),
        ((86400 + 7261) * 10**9, "1d2h"),
        (30 * 86400 * 10**9, "30d"),
    ],
)
def test_durations_are_told_in_two_units(ns: int, text: str) -> None:
    assert duration_text(ns) == text


@pytest.mark.parametrize(
    ("ns", "words"),
    [(300_000_000, "300 ms"), (40 * 10**9, "40 s"), (5400 * 10**9, "1 h 30 min"), (86400 * 10**9, "1 d")],
)
def test_durations_in_a_sentence_have_their_units_apart(ns: int, words: str) -> None:
    assert duration_words(ns) == words

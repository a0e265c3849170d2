"""The ways in which a run can be stuck, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import EventType, PendingActivityState, PendingWorkflowTaskState
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from perdure.api.times import set_timestamp
from perdure.sdk.client.descriptions import description_of
from perdure.sdk.client.situation import (
    ACTIVITY_QUEUE,
    WORKFLOW_QUEUE,
    Queue,
    Seen,
    Wait,
    places_of,
    queues_of,
    sentence_of,
    waits_of,
)
from perdure.sdk.convert import Converter

SECOND_NS = 1_000_000_000
NOW_NS = 1_800_000_000 * SECOND_NS
Description = DescribeWorkflowExecutionResponse
OWN: Queue = ("orders", WORKFLOW_QUEUE)
CHARGES: Queue = ("charges", ACTIVITY_QUEUE)
BOTH_POLLED = {OWN: ["worker@a"], CHARGES: ["worker@b"]}


def failure(message: str, type: str = "ConnectionError") -> Failure:
    trace = 'Traceback (most recent call last):\n  File "/app/shop.py", line 31, in charge\n    pay()\n'
    made = Failure(message=message, stack_trace=trace)
    made.application_failure_info.type = type
    return made


def at(message: Any, seconds: float) -> None:
    set_timestamp(message, NOW_NS + round(seconds * SECOND_NS))


def running(status: int = 1) -> Description:
    made = Description()
    info = made.workflow_execution_info
    info.execution.workflow_id, info.type.name, info.task_queue = "order-1", "order", "orders"
    info.status = cast(Any, status)
    at(info.start_time, -60)
    at(info.execution_time, -60)
    return made


def task(
    description: Description, attempt: int = 1, *, started: bool = False, waited: float = 12, then: float = 0
) -> None:
    pending = description.pending_workflow_task
    pending.attempt = attempt
    at(pending.scheduled_time, then or -waited)
    states = PendingWorkflowTaskState
    pending.state = states.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    if started:
        pending.state = states.PENDING_WORKFLOW_TASK_STATE_STARTED
        at(pending.started_time, -waited)


def activity(description: Description, state: str, attempt: int = 1, *, failed: str = "") -> PendingActivityInfo:
    info = description.pending_activities.add(activity_id="5", attempt=attempt, last_worker_identity="worker@b")
    info.activity_type.name = "charge"
    info.state = PendingActivityState.Value(f"PENDING_ACTIVITY_STATE_{state}")
    info.activity_options.task_queue.name = "charges"
    info.activity_options.start_to_close_timeout.FromSeconds(600)
    at(info.scheduled_time, -20)
    if state != "SCHEDULED":
        at(info.last_started_time, -8)
    if failed:
        info.last_failure.CopyFrom(failure(failed))
    return info


def event(kind: str, event_id: int = 7, at_s: float = -5) -> tuple[HistoryEvent, Any]:
    made = HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE_{kind}"), event_id=event_id)
    at(made.event_time, at_s)
    return made, getattr(made, f"{kind.lower()}_event_attributes")


def task_failed() -> HistoryEvent:
    made, attributes = event("WORKFLOW_TASK_FAILED")
    attributes.failure.CopyFrom(failure("'sku'", "KeyError"))
    return made


def timer(timer_id: str, event_id: int, seconds: int, at_s: float = 0) -> HistoryEvent:
    made, attributes = event("TIMER_STARTED", event_id, at_s)
    attributes.timer_id = timer_id
    attributes.start_to_fire_timeout.FromSeconds(seconds)
    return made


def ended(kind: str, started_event_id: int) -> HistoryEvent:
    made, attributes = event(kind)
    attributes.started_event_id = started_event_id
    return made


def asked_of_another(kind: str) -> HistoryEvent:
    made, attributes = event(f"{kind}_WORKFLOW_EXECUTION_INITIATED", 8)
    attributes.workflow_execution.workflow_id = "other"
    if kind == "SIGNAL_EXTERNAL":
        attributes.signal_name = "go"
    return made


WAYS: dict[str, tuple[Callable[[Description], Any], dict[str, Any], list[str]]] = {
    "its code has a bug": (
        lambda d: task(d, 7),
        {"newest": [task_failed()]},
        ["! attempt 6 of its workflow task failed: KeyError: 'sku' (at shop.py:31 in charge) "
         "(the run goes on by itself when mended code is deployed)"],
    ),
    "its code has a bug, and the next try is known": (
        lambda d: task(d, 3, then=30),
        {"newest": [task_failed()]},
        ["! attempt 2 of its workflow task failed, next try in 30 s: KeyError: 'sku' (at shop.py:31 in charge) "
         "(the run goes on by itself when mended code is deployed)"],
    ),
    "its workers die with its task": (
        lambda d: task(d, 2),
        {"newest": [event("WORKFLOW_TASK_TIMED_OUT")[0]]},
        ["! attempt 1 of its workflow task timed out (does its worker live, and does its code come to an end?)"],
    ),
    "its task fails, and history does not say why": (
        lambda d: task(d, 2),
        {"newest": [event("WORKFLOW_TASK_COMPLETED")[0], task_failed()]},
        ["! attempt 1 of its workflow task failed (the run goes on by itself when mended code is deployed)"],
    ),
    "nobody polls its queue": (
        lambda d: task(d),
        {"pollers": {OWN: []}},
        ["! its workflow task waits on the task queue 'orders', which nobody polls, for 12 s "
         "(start a worker for that queue, or correct its name)"],
    ),
    "its workers are busy": (
        lambda d: task(d),
        {"pollers": BOTH_POLLED},
        ["! its workflow task waits on the task queue 'orders' for 12 s: its workers are busy, or gone"],
    ),
    "who polls cannot be told": (
        lambda d: task(d),
        {},
        ["! its workflow task waits on the task queue 'orders' for 12 s (does a worker poll it?)"],
    ),
    "its task was scheduled just now": (
        lambda d: task(d, waited=0.2),
        {"pollers": BOTH_POLLED},
        ["its workflow task is on its way to a worker of the task queue 'orders'"],
    ),
    "its code runs": (
        lambda d: task(d, started=True, waited=2),
        {"pollers": BOTH_POLLED},
        ["a worker runs its code, for 2 s"],
    ),
    "it begins later": (
        lambda d: at(d.workflow_execution_info.execution_time, 90),
        {},
        ["it begins in 1 min 30 s"],
    ),
    "an activity backs off": (
        lambda d: at(activity(d, "SCHEDULED", 8, failed="bank is down").next_attempt_schedule_time, 40),
        {"pollers": BOTH_POLLED},
        ["! attempt 7 of activity charge (id 5) failed, next try in 40 s: "
         "ConnectionError: bank is down (at shop.py:31 in charge)"],
    ),
    "an activity backs off and its worker has gone": (
        lambda d: at(activity(d, "SCHEDULED", 8, failed="bank is down").next_attempt_schedule_time, 40),
        {"pollers": {OWN: ["worker@a"], CHARGES: []}},
        ["! attempt 7 of activity charge (id 5) failed, next try in 40 s: "
         "ConnectionError: bank is down (at shop.py:31 in charge); nobody polls its task queue 'charges' "
         "(start a worker for that queue)"],
    ),
    "an activity on a queue that nobody polls": (
        lambda d: activity(d, "SCHEDULED"),
        {"pollers": {OWN: ["worker@a"], CHARGES: []}},
        ["! activity charge (id 5) waits on the task queue 'charges', which nobody polls, for 20 s "
         "(start a worker for that queue, or correct its name)"],
    ),
    "an activity whose workers are busy": (
        lambda d: activity(d, "SCHEDULED", 2, failed="bank is down"),
        {"pollers": BOTH_POLLED},
        ["! activity charge (id 5) waits on the task queue 'charges' for 20 s: its workers are busy, or gone; "
         "its attempt 1 failed with ConnectionError: bank is down (at shop.py:31 in charge)"],
    ),
    "an activity runs long": (
        lambda d: at(activity(d, "STARTED").last_heartbeat_time, -3),
        {"pollers": BOTH_POLLED},
        ["activity charge (id 5) runs at worker@b, attempt 1, for 8 s, at most 10 min, its last heartbeat 3 s ago"],
    ),
    "an activity runs again": (
        lambda d: activity(d, "STARTED", 3, failed="bank is down"),
        {"pollers": BOTH_POLLED},
        ["activity charge (id 5) runs at worker@b, attempt 3, for 8 s, at most 10 min: "
         "attempt 2 failed with ConnectionError: bank is down (at shop.py:31 in charge)"],
    ),
    "an activity is paused": (
        lambda d: activity(d, "PAUSED", 3, failed="bank is down").pause_info.manual.MergeFrom(
            type(PendingActivityInfo().pause_info.manual)(identity="ada", reason="bank holiday")
        ),
        {"pollers": BOTH_POLLED},
        ["! activity charge (id 5) is paused by ada (bank holiday): attempt 2 failed with "
         "ConnectionError: bank is down (at shop.py:31 in charge) (unpause the activity)"],
    ),
    "an activity is to be paused": (
        lambda d: activity(d, "PAUSE_REQUESTED"),
        {"pollers": BOTH_POLLED},
        ["! activity charge (id 5) runs at worker@b, attempt 1, for 8 s, at most 10 min; "
         "no further attempt begins, for it is paused (unpause the activity)"],
    ),
    "an activity does not heed its cancellation": (
        lambda d: activity(d, "CANCEL_REQUESTED"),
        {"pollers": BOTH_POLLED},
        ["activity charge (id 5) was asked to stop and has not ended yet"],
    ),
    "it sleeps": (
        lambda d: None,
        {"newest": [timer("2", 9, 86_400), ended("TIMER_FIRED", 7), ended("TIMER_CANCELED", 6), timer("1", 7, 60),
                    timer("0", 6, 60), timer("late", 5, 10, -13)]},
        ["timer late is due for 3 s", "timer 2 fires in 1 d"],
    ),
    "it waits for a child": (
        lambda d: d.pending_children.add(workflow_id="line-1", run_id="r", workflow_type_name="line"),
        {},
        ["child workflow line 'line-1' has not ended"],
    ),
    "its child cannot start": (
        lambda d: d.pending_children.add(workflow_id="line-1", workflow_type_name="line"),
        {},
        ["child workflow line 'line-1' has not started yet"],
    ),
    "its signal to another does not arrive": (
        lambda d: None,
        {"newest": [asked_of_another("SIGNAL_EXTERNAL")]},
        ["its signal go to workflow 'other' has not arrived yet"],
    ),
    "a Nexus operation fails": (
        lambda d: d.pending_nexus_operations.add(
            service="billing", operation="charge", attempt=4, last_attempt_failure=failure("down")
        ),
        {},
        ["! Nexus operation billing.charge has not ended: attempt 4 failed with "
         "ConnectionError: down (at shop.py:31 in charge)"],
    ),
    "it waits for a message": (
        lambda d: None,
        {"pollers": BOTH_POLLED},
        ["it waits for a message (a signal, an update), or for a condition of its own"],
    ),
    "it does not heed its cancellation": (
        lambda d: setattr(d.workflow_extended_info, "cancel_requested", True),
        {"newest": [timer("1", 7, 60)]},
        ["timer 1 fires in 1 min", "its cancellation was asked for, and its code goes on"],
    ),
    "it is paused": (
        lambda d: (
            setattr(d.workflow_extended_info.pause_info, "identity", "ada"),
            setattr(d.workflow_extended_info.pause_info, "reason", "a look"),
            at(d.workflow_extended_info.pause_info.paused_time, -300),
        ),
        {"newest": [timer("1", 7, 60)]},
        ["! it is paused by ada since 5 min (a look) (unpause it)", "timer 1 fires in 1 min"],
    ),
}  # fmt: skip


def told(wait: Wait) -> str:
    advice = f" ({wait.advice})" if wait.advice else ""
    return f"{'! ' if wait.is_wrong else ''}{wait.text}{advice}"


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_being_stuck_is_told(way: str) -> None:
    prepare, seen, texts = WAYS[way]
    description = running()
    prepare(description)
    waits = waits_of(Seen(description, NOW_NS, **seen))
    assert [told(wait) for wait in waits] == texts
    assert sentence_of(waits, ()).startswith(texts[0].removeprefix("! "))


def test_a_paused_run_is_open_and_a_closed_one_waits_for_nothing() -> None:
    paused, done = running(8), running(2)
    for description in (paused, done):
        description.pending_children.add(workflow_id="line-1", run_id="r", workflow_type_name="line")
    assert len(waits_of(Seen(paused, NOW_NS))) == 1
    assert waits_of(Seen(done, NOW_NS)) == ()
    assert description_of(Seen(done, NOW_NS), Converter()).situation == ""


def test_what_is_wrong_comes_first_and_the_sentence_ends_somewhere() -> None:
    description = running()
    for number in range(5):
        description.pending_children.add(workflow_id=f"line-{number}", run_id="r", workflow_type_name="line")
    at(activity(description, "SCHEDULED", 8, failed="bank is down").next_attempt_schedule_time, 40)
    found = description_of(
        Seen(description, NOW_NS, BOTH_POLLED, [], "/app/shop.py:31 in order\n/app/m.py:2"), Converter()
    )
    assert [wait.kind for wait in found.waits] == ["activity", *["child"] * 5]
    assert found.situation.startswith("attempt 7 of activity charge (id 5) failed, next try in 40 s: ConnectionError")
    assert found.situation.endswith("'line-1' has not ended; and 3 more things; its code waits at shop.py:31 in order")
    assert str(found) == f"order 'order-1' is RUNNING: {found.situation}"
    assert (found.workers, found.waits_at) == (("worker@a",), ("shop.py:31 in order",))


def test_each_branch_of_the_code_has_its_place() -> None:
    stack = "/app/shop.py:31 in order\n/app/main.py:3 in main\n\nC:\\app\\shop.py:40 in Order.pay.<locals>.f"
    assert places_of(stack) == ("shop.py:31 in order", "shop.py:40 in Order.pay.<locals>.f")
    assert places_of('Stack for <Task name="run"> (most recent call last)\n  File "shop.py", line 3') == ()
    assert places_of("nothing waits: the workflow's code has ended, or has not begun") == ()


def test_the_queues_that_matter_are_the_runs_own_and_those_of_activities_that_nobody_runs() -> None:
    description = running()
    activity(description, "STARTED")
    assert queues_of(description) == [OWN]
    activity(description, "SCHEDULED")
    activity(description, "SCHEDULED")
    assert queues_of(description) == [OWN, CHARGES]


@pytest.mark.parametrize(
    ("kind", "end", "name"),
    [
        ("SIGNAL_EXTERNAL", "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", "its signal go to workflow 'other'"),
        ("SIGNAL_EXTERNAL", "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED", "its signal go to workflow 'other'"),
        ("REQUEST_CANCEL_EXTERNAL", "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED", "its cancellation of workflow"),
        ("REQUEST_CANCEL_EXTERNAL", "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED", "its cancellation of"),
    ],
)
def test_what_was_asked_of_others_is_told_until_it_has_arrived(kind: str, end: str, name: str) -> None:
    begun = asked_of_another(kind)
    (wait,) = waits_of(Seen(running(), NOW_NS, {}, [begun]))
    assert wait.text.startswith(name) and wait.text.endswith("has not arrived yet")
    arrived, attributes = event(end, 9)
    attributes.initiated_event_id = 8
    (wait,) = waits_of(Seen(running(), NOW_NS, {}, [arrived, begun]))
    assert wait.kind == "message"

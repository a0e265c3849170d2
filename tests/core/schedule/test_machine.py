"""What a schedule does, step by step: given a state, when time passes or something ends, then so it stands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import BackfillRequest, Range, Schedule, SchedulePatch

from perdure.api.times import duration, timestamp
from perdure.core.schedule import machine as law
from perdure.core.schedule import requests
from perdure.core.schedule import state as states
from perdure.core.schedule.machine import Machine, new_state, prepared
from perdure.engine.node.zones import find_zone

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 1440 * MINUTE
T0 = 20_000 * DAY


def schedule(overlap: int = law.SKIP, every_ns: int = MINUTE, **state: Any) -> Schedule:
    made = Schedule()
    made.spec.interval.add(interval=duration(every_ns))
    made.policies.overlap_policy = overlap  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
    made.action.start_workflow.workflow_id = "bill"
    for name, value in state.items():
        setattr(made.state, name, value)
    return made


def machine(of: Schedule | None = None) -> Machine:
    state = new_state("uid", prepared(of or schedule(), find_zone), T0)
    return Machine(state, find_zone, b"a namespace and a schedule")


def carry_out(of: Machine, now_ns: int) -> list[str]:
    """Be the shell: start everything that is to start; returns the nominal minutes."""
    started: list[str] = []
    for start in list(of.state.starting):
        name = requests.workflow_id(of.schedule, start)
        of.started(start.number, name, f"run-{start.number}", now_ns)
        started.append(str((start.nominal_ns - T0) // MINUTE))
    return started


def end(of: Machine, status: int = Status.WORKFLOW_EXECUTION_STATUS_COMPLETED, **said: Any) -> None:
    """The oldest of what runs ends."""
    of.ended(of.state.running[0].run_id, status, **said)


def patch(of: Machine, now_ns: int, **fields: Any) -> None:
    of.patch(SchedulePatch(**fields), now_ns)


def test_each_time_that_comes_starts_once() -> None:
    law_of = machine()
    begun: list[str] = []
    for minute in range(1, 4):
        for _ in range(2):
            law_of.advance(T0 + minute * MINUTE)
            begun += carry_out(law_of, T0 + minute * MINUTE)
        end(law_of)
    assert begun == ["1", "2", "3"]
    assert law_of.state.action_count == 3
    assert law_of.state.recent[0].workflow_id == "bill-2024-10-04T00:01:00Z"


@pytest.mark.parametrize(
    ("overlap", "started", "waiting", "skipped"),
    [
        (law.SKIP, 1, 0, 3),
        (law.BUFFER_ONE, 1, 1, 2),
        (law.BUFFER_ALL, 1, 3, 0),
        (law.CANCEL_OTHER, 1, 1, 2),
        (law.TERMINATE_OTHER, 1, 1, 2),
        (law.ALLOW_ALL, 4, 0, 0),
    ],
)
def test_what_comes_while_something_runs(overlap: int, started: int, waiting: int, skipped: int) -> None:
    law_of = machine(schedule(overlap))
    for minute in range(1, 5):
        law_of.advance(T0 + minute * MINUTE)
        carry_out(law_of, T0 + minute * MINUTE)
    state = law_of.state
    assert (state.action_count, len(state.buffer), state.overlap_skipped) == (started, waiting, skipped)


@pytest.mark.parametrize(("overlap", "force"), [(law.CANCEL_OTHER, False), (law.TERMINATE_OTHER, True)])
def test_what_runs_is_stopped_and_the_newest_follows(overlap: int, force: bool) -> None:
    law_of = machine(schedule(overlap))
    for minute in (1, 2, 3):
        law_of.advance(T0 + minute * MINUTE)
        carry_out(law_of, T0 + minute * MINUTE)
    assert law_of.to_stop() == (law_of.state.running, force)
    end(law_of, Status.WORKFLOW_EXECUTION_STATUS_CANCELED)
    assert carry_out(law_of, T0 + 3 * MINUTE) == ["3"]
    assert law_of.to_stop() == ([], False)


def test_after_a_pause_of_the_engine_what_was_missed_is_made_up_for_within_the_window() -> None:
    given_schedule = schedule(law.BUFFER_ALL)
    given_schedule.policies.catchup_window.CopyFrom(duration(5 * MINUTE))
    law_of = machine(given_schedule)
    law_of.advance(T0 + 10 * MINUTE)
    assert law_of.state.missed_catchup_window == 4
    assert len(law_of.state.starting) + len(law_of.state.buffer) == 6


def test_a_paused_schedule_makes_up_for_nothing_and_needs_no_waking() -> None:
    law_of = machine()
    patch(law_of, T0 + MINUTE // 2, pause="maintenance")
    assert law_of.wake_at_ns(T0 + MINUTE) is None
    patch(law_of, T0 + 5 * MINUTE + 1, unpause="done")
    assert not law_of.state.starting
    assert law_of.wake_at_ns(T0 + 5 * MINUTE + 1) == T0 + 6 * MINUTE
    assert law_of.schedule.state.notes == "done" and law_of.state.conflict_token == 3


def test_somebody_may_trigger_a_paused_one() -> None:
    law_of = machine(schedule(paused=True))
    patch(law_of, T0 + 90, trigger_immediately={})
    assert len(law_of.state.starting) == 1
    assert carry_out(law_of, T0 + 90) == ["0"]


def test_limited_actions_are_counted_down_and_then_it_rests() -> None:
    law_of = machine(schedule(law.ALLOW_ALL, limited_actions=True, remaining_actions=2))
    law_of.advance(T0 + 5 * MINUTE)
    assert carry_out(law_of, T0 + 5 * MINUTE) == ["1", "2"]
    assert law_of.schedule.state.remaining_actions == 0
    assert law_of.wake_at_ns(T0 + 5 * MINUTE) is None
    assert law_of.future_times(T0, 10) == []
    patch(law_of, T0 + 6 * MINUTE, trigger_immediately={})
    assert len(carry_out(law_of, T0 + 6 * MINUTE)) == 1, "by hand it still may"


def test_a_failure_pauses_it_if_the_policy_says_so() -> None:
    given_schedule = schedule()
    given_schedule.policies.pause_on_failure = True
    law_of = machine(given_schedule)
    law_of.advance(T0 + MINUTE)
    carry_out(law_of, T0 + MINUTE)
    failure = Failure(message="card declined").SerializeToString()
    end(law_of, Status.WORKFLOW_EXECUTION_STATUS_FAILED, failure=failure, message="card declined")
    assert law_of.schedule.state.paused
    assert law_of.schedule.state.notes == "paused due to workflow failure: bill-2024-10-04T00:01:00Z: card declined"


def test_results_and_failures_are_handed_on() -> None:
    law_of = machine()
    result = Payloads(payloads=[Payload(data=b"42")]).SerializeToString()
    failure = Failure(message="no").SerializeToString()
    said: list[tuple[int, dict[str, Any]]] = [
        (Status.WORKFLOW_EXECUTION_STATUS_COMPLETED, {"result": result}),
        (Status.WORKFLOW_EXECUTION_STATUS_FAILED, {"failure": failure}),
        (Status.WORKFLOW_EXECUTION_STATUS_COMPLETED, {"result": b""}),
    ]
    handed: list[tuple[bytes, str]] = []
    law_of.advance(T0 + MINUTE)
    for minute, (status, outcome) in enumerate(said, 2):
        carry_out(law_of, T0 + minute * MINUTE)
        end(law_of, status, **outcome)
        law_of.advance(T0 + minute * MINUTE)
        request = requests.start_request("ns", "s", law_of.state, law_of.schedule, law_of.state.starting[0])
        last = request.last_completion_result.payloads
        handed.append((last[0].data if last else b"", request.continued_failure.message))
    assert handed == [(b"42", ""), (b"42", "no"), (b"", "")]


def test_a_chain_of_runs_is_followed_to_its_end() -> None:
    law_of = machine()
    law_of.advance(T0 + MINUTE)
    carry_out(law_of, T0 + MINUTE)
    [run] = law_of.state.running
    law_of.continued(run, "run-1b")
    assert law_of.state.running[0].current_run_id == "run-1b"
    law_of.ended("run-1", Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
    assert law_of.state.recent[0].status == Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT
    law_of.ended("run-1", Status.WORKFLOW_EXECUTION_STATUS_COMPLETED)
    assert not law_of.state.last_result, "a repetition changes nothing that counts"


def test_a_backfill_never_drops_anything_however_long() -> None:
    law_of = machine(schedule(law.BUFFER_ALL, paused=True))
    request = {"start_time": timestamp(T0 - 2000 * MINUTE), "end_time": timestamp(T0), "overlap_policy": law.BUFFER_ALL}
    patch(law_of, T0 + 1, backfill_request=[request])
    begun = 0
    while law_of.state.starting or law_of.state.backfills:
        begun += len(carry_out(law_of, T0 + 1))
        end(law_of)
        law_of.advance(T0 + 1)
    assert (begun, law_of.state.buffer_dropped) == (2001, 0)


def test_a_buffer_has_an_end() -> None:
    law_of = machine(schedule(law.BUFFER_ALL))
    for step in range(1, 5):
        law_of.advance(T0 + step * 500 * MINUTE)
        carry_out(law_of, T0 + step * 500 * MINUTE)
    assert len(law_of.state.buffer) == states.BUFFER_MAX
    assert law_of.state.buffer_dropped == 2000 - 1 - states.BUFFER_MAX


def test_a_start_that_cannot_be_made_does_not_stand_in_the_way() -> None:
    law_of = machine(schedule(law.BUFFER_ALL))
    law_of.advance(T0 + 2 * MINUTE)
    law_of.refused(law_of.state.starting[0].number)
    assert carry_out(law_of, T0 + 2 * MINUTE) == ["2"]


def test_an_update_does_not_make_up_for_times_before_it() -> None:
    law_of = machine(schedule(every_ns=DAY))
    law_of.update(prepared(schedule(law.BUFFER_ALL), find_zone), T0 + 100 * MINUTE)
    law_of.advance(T0 + 101 * MINUTE)
    assert carry_out(law_of, T0 + 101 * MINUTE) == ["101"]


def test_an_update_keeps_a_time_that_jitter_holds_back() -> None:
    shaken = schedule(every_ns=DAY)
    shaken.spec.jitter.CopyFrom(duration(DAY))
    law_of = machine(shaken)
    pending = law_of.times.next(T0)
    assert pending is not None and pending.nominal_ns < pending.at_ns
    law_of.update(prepared(shaken, find_zone), pending.at_ns - 1)
    law_of.advance(pending.at_ns)
    assert [start.nominal_ns for start in law_of.state.starting] == [pending.nominal_ns]


def test_a_change_asked_for_twice_is_made_once() -> None:
    state = machine().state
    assert [law.is_repeated(state, one) for one in ("a", "b", "a", "")] == [False, False, True, False]


@given(
    overlap=some.sampled_from((law.SKIP, law.BUFFER_ONE, law.BUFFER_ALL, law.CANCEL_OTHER, law.ALLOW_ALL)),
    steps=some.lists(some.sampled_from(("minute", "end", "trigger", "refuse", "carry out", "decode")), max_size=60),
)
def test_every_time_is_accounted_for(overlap: int, steps: list[str]) -> None:
    law_of = machine(schedule(overlap))
    now_ns, due, refused = T0, 0, 0
    for step in steps:
        if step == "minute":
            now_ns += MINUTE
            due += 1
            law_of.advance(now_ns)
        elif step == "end" and law_of.state.running:
            end(law_of)
        elif step == "trigger":
            due += 1
            patch(law_of, now_ns, trigger_immediately={})
        elif step == "refuse" and law_of.state.starting:
            refused += 1
            law_of.refused(law_of.state.starting[0].number)
        elif step == "carry out":
            carry_out(law_of, now_ns)
        else:
            law_of = Machine(states.decode(states.encode(law_of.state)), find_zone, b"a namespace and a schedule")
    state = law_of.state
    assert due == state.action_count + refused + len(state.starting) + len(state.buffer) + state.overlap_skipped
    if overlap != law.ALLOW_ALL:
        assert len(state.running) + len(state.starting) <= 1
    if not state.running and not state.starting:
        assert not state.buffer, "nothing waits for nothing"


def leap_seconds() -> Schedule:
    """Every second, but those of all days save the first of January 2030."""
    made = schedule(every_ns=SECOND)
    every = [Range(start=0, end=59)]
    excluded = made.spec.exclude_structured_calendar.add(second=every, minute=every, hour=[Range(start=0, end=23)])
    excluded.day_of_week.add(start=0, end=6)
    excluded.month.add(start=1, end=12)
    excluded.day_of_month.add(start=2, end=31)
    for _ in range(150):
        made.spec.exclude_structured_calendar.add().CopyFrom(excluded)
    return made


def test_a_search_that_does_not_end_goes_on_where_it_ended() -> None:
    law_of, now_ns, wakes = machine(leap_seconds()), T0, 0
    while not law_of.state.starting:
        wake_at_ns = law_of.wake_at_ns(now_ns)
        assert wake_at_ns is not None and wake_at_ns > now_ns
        now_ns = wake_at_ns
        law_of.advance(now_ns)
        wakes += 1
        assert wakes < 100
    assert requests.nominal_text(law_of.state.starting[0].nominal_ns).endswith("-01T00:00:00Z")


def test_a_backfill_of_a_time_in_which_nothing_happens_comes_to_an_end() -> None:
    never = leap_seconds()
    for calendar in never.spec.exclude_structured_calendar:
        del calendar.day_of_month[:]
        calendar.day_of_month.add(start=1, end=31)
    law_of = machine(never)
    request = BackfillRequest(start_time=timestamp(T0 - 8_000 * DAY), end_time=timestamp(T0))
    patch(law_of, T0, backfill_request=[request])
    for _ in range(100):
        if not law_of.state.backfills:
            break
        assert law_of.wake_at_ns(T0) == T0, "there is more to do"
        law_of.advance(T0)
    assert law_of.state.backfills == []
    assert law_of.state.action_count == 0


def test_an_update_of_what_never_acts_is_made() -> None:
    law_of = machine(leap_seconds())
    law_of.update(prepared(schedule(), find_zone), T0)
    assert law_of.future_times(T0, 2) == [T0 + MINUTE, T0 + 2 * MINUTE]

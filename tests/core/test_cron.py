"""Cron schedules: when they are due, and how a run is followed by the next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.api import enums
from perdure.api.times import NS_PER_SECOND, duration_ns
from perdure.core.cron import Times
from perdure.core.schedule.calendars import Zone
from perdure.core.schedule.fields import BadSpec
from tests.core import given
from tests.core.given import World, names, refused


def find_zone(name: str) -> Zone:
    if name == "UTC+2":
        return lambda instant_s: 7_200
    if name:
        raise BadSpec(name)
    return lambda instant_s: 0


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def shown(instant_s: int | None) -> str | None:
    return None if instant_s is None else datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2026-11-20 10:00:00", "2026-11-20 10:01:00"),
        ("*/15 0-6 * * *", "2026-11-20 06:45:00", "2026-11-21 00:00:00"),
        ("0 12 * * MON-FRI", "2026-11-20 12:00:00", "2026-11-23 12:00:00"),
        ("30 4 1 * *", "2026-11-20 10:00:00", "2026-12-01 04:30:00"),
        ("@daily", "2026-12-31 23:59:59", "2027-01-01 00:00:00"),
        ("@every 90s", "2026-11-20 10:00:00", "2026-11-20 10:01:30"),
        ("@every 10ms", "2026-11-20 10:00:00", "2026-11-20 10:00:01"),
        ("TZ=UTC+2 0 12 * * *", "2026-11-20 09:00:00", "2026-11-20 10:00:00"),
        ("CRON_TZ=UTC+2 @daily", "2026-11-20 09:00:00", "2026-11-20 22:00:00"),
        ("0 0 13 * FRI", "2026-11-20 00:00:00", "2026-11-27 00:00:00"),
        ("0 0 13 * FRI", "2026-12-12 00:00:00", "2026-12-13 00:00:00"),
        ("0 0 ? * FRI", "2026-11-20 00:00:00", "2026-11-27 00:00:00"),
        ("0 0 30 2 *", "2026-11-20 00:00:00", None),
    ],
)
def test_a_schedule_says_when_it_is_next_due(schedule: str, after: str, expected: str | None) -> None:
    assert shown(Times(schedule, find_zone).next_s(at(after))) == expected


@pytest.mark.parametrize(
    "schedule",
    ["", "now and then", "* * * *", "* * * * * *", "61 * * * *", "@never", "@every", "@every 1h/5m", "TZ=UTC",
     "* * * * * # often", "TZ=Mars * * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(BadSpec):
        Times(schedule, find_zone)


@pytest.mark.parametrize(
    ("late_s", "backoff_s"), [(-30, 30), (0, 60), (30, 30), (59.2, 1), (60, 0), (61, 59), (1_000_000, 20)]
)
def test_a_run_that_took_long_is_followed_at_the_next_time_and_not_at_those_missed(
    late_s: float, backoff_s: int
) -> None:
    scheduled_ns = at("2026-11-20 10:00:00") * NS_PER_SECOND
    for schedule in ("* * * * *", "@every 1m"):
        backoff_ns = Times(schedule, find_zone).backoff_ns(scheduled_ns, scheduled_ns + int(late_s * NS_PER_SECOND))
        assert backoff_ns == backoff_s * NS_PER_SECOND


def started(world: World) -> Any:
    return world.history[0].workflow_execution_started_event_attributes


def test_the_first_run_waits_for_its_time() -> None:
    world = World()
    world.start(cron_schedule="@every 60s")
    assert names(world.history) == ["WorkflowExecutionStarted"]
    assert started(world).initiator == enums.INITIATOR_CRON_SCHEDULE
    assert duration_ns(started(world).first_workflow_task_backoff) == 60 * NS_PER_SECOND
    world.elapse(60)
    assert names(world.history)[1:] == ["WorkflowTaskScheduled"]


def test_a_completed_run_is_followed_by_the_next_with_its_result_in_one_transaction() -> None:
    world = World()
    world.start(cron_schedule="@every 60s")
    world.elapse(60)
    first = world.run.key.run_id
    world.complete_task(world.workflow_task(), given.complete("7"))
    following = world.run
    attributes = started(world)
    assert (following.key.run_id != first, following.first_run_id) == (True, first)
    assert attributes.last_completion_result == given.payloads("7")
    assert (attributes.continued_execution_run_id, attributes.attempt) == (first, 1)
    assert duration_ns(attributes.first_workflow_task_backoff) == 60 * NS_PER_SECOND


def test_no_run_begins_after_the_execution_time_out() -> None:
    world = World()
    world.start(cron_schedule="@every 60s", workflow_execution_timeout=given.seconds(50))
    world.elapse(60)
    world.complete_task(world.workflow_task(), given.complete())
    assert not world.run.is_open


def test_a_delay_and_a_schedule_do_not_go_together() -> None:
    rejected = refused(lambda: World().start(cron_schedule="* * * * *", workflow_start_delay=given.seconds(1)))
    assert rejected.message == "CronSchedule and WorkflowStartDelay may not be used together."

"""When a schedule acts and how it behaves, in plain arguments, and what is told about it in plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import (
    CalendarSpec,
    ScheduleActionResult,
    ScheduleListEntry,
    SchedulePolicies,
    ScheduleSpec,
)
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse

from perdure.sdk.choices import Numbered, member_of
from perdure.sdk.client.descriptions import WorkflowStatus
from perdure.sdk.convert import Converter
from perdure.sdk.declare.search_attributes import values_of
from perdure.sdk.deprecated import instead
from perdure.sdk.moments import former_ns, moment_of
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import YEARS, Duration, duration_message, in_utc, optional_duration, positive_duration


class Overlap(Numbered):
    """What happens when it is time, and what was started before still runs. Temporal's names and numbers."""

    SKIP = "skip", 1
    """Do not start."""
    BUFFER_ONE = "buffer_one", 2
    """Start when that has ended; but only one waits."""
    BUFFER_ALL = "buffer_all", 3
    """Start when that has ended; all wait."""
    CANCEL_OTHER = "cancel_other", 4
    """Cancel that, and start when it has ended."""
    TERMINATE_OTHER = "terminate_other", 5
    """Terminate that, and start."""
    ALLOW_ALL = "allow_all", 6
    """Start beside it."""


@lists_options
@dataclass(frozen=True)
class Calendar:
    """Dates and times as people write them: `*`, `5`, `MON-FRI`, `1,15`, `*/10`, `8-18/2`; all fields must match."""

    hour: str = "0"
    minute: str = "0"
    second: str = "0"
    day_of_month: str = "*"
    month: str = "*"
    day_of_week: str = "*"
    """0 and 7 are Sunday."""
    year: str = "*"

    if not TYPE_CHECKING:

        @instead("temporalio.api.schedule.v1.CalendarSpec(...)")
        def message(self) -> CalendarSpec:
            """The wire's form, as it was known in the version before."""
            return CalendarSpec(**asdict(self))


class ScheduledRun(msgspec.Struct, frozen=True):
    """A workflow that a schedule started. Times are in UTC, to the microsecond."""

    workflow_id: str
    run_id: str
    scheduled_at: datetime
    """The time that it was started for."""
    started_at: datetime
    status: WorkflowStatus

    if not TYPE_CHECKING:
        scheduled_at_ns = former_ns("scheduled_at_ns", "scheduled_at")
        started_at_ns = former_ns("started_at_ns", "started_at")


class ScheduleDescription(msgspec.Struct, frozen=True):
    """How a schedule stands. Times are in UTC, to the microsecond."""

    id: str
    workflow_type: str
    paused: bool
    note: str
    remaining_actions: int | None
    """None: it acts for ever."""
    next_times: list[datetime]
    recent: list[ScheduledRun]
    """The newest last."""
    running: list[str]
    """Workflow ids."""
    action_count: int
    skipped: int
    """Because another one ran."""
    missed: int
    """Because the engine was away for longer than the catch-up window."""
    waiting: int
    created_at: datetime
    memo: dict[str, Any]
    search_attributes: dict[str, Any]

    if not TYPE_CHECKING:
        created_at_ns = former_ns("created_at_ns", "created_at")
        next_times_ns = former_ns("next_times_ns", "next_times")


class ScheduleSummary(msgspec.Struct, frozen=True):
    """One line of a list. Times are in UTC, to the microsecond."""

    id: str
    workflow_type: str
    paused: bool
    note: str
    next_times: list[datetime]
    recent: list[ScheduledRun]
    """The newest last."""

    if not TYPE_CHECKING:
        next_times_ns = former_ns("next_times_ns", "next_times")


def spec_of(
    every: Duration | None,
    phase: Duration | None,
    cron: str | Sequence[str],
    calendars: Sequence[Calendar],
    excluding: Sequence[Calendar],
    time_zone: str,
    begins: datetime | None,
    ends: datetime | None,
    jitter: Duration | None,
) -> ScheduleSpec:
    """Raises ValueError for what cannot be."""
    spec = ScheduleSpec(timezone_name=time_zone)
    spec.cron_string.extend([cron] if isinstance(cron, str) and cron else cron)
    every_ns = positive_duration(every, "every")
    if every_ns is not None:
        spec.interval.add(interval=duration_message(every_ns))
        if phase is not None:
            spec.interval[0].phase.CopyFrom(duration_message(optional_duration(phase, "phase") or 0))
    elif phase is not None:
        raise ValueError("phase means nothing without every")
    spec.calendar.extend(CalendarSpec(**asdict(calendar)) for calendar in calendars)
    spec.exclude_calendar.extend(CalendarSpec(**asdict(calendar)) for calendar in excluding)
    if begins is not None:
        if begins.year > YEARS[-1]:
            raise ValueError(f"begins must be at most in the year {YEARS[-1]}, not {begins!r}: it would never act")
        spec.start_time.CopyFrom(moment(begins, "begins"))
    if ends is not None:
        spec.end_time.CopyFrom(moment(ends, "ends"))
    jitter_ns = optional_duration(jitter, "jitter")
    if jitter_ns:
        spec.jitter.CopyFrom(duration_message(jitter_ns))
    return spec


def policies_of(overlap: Overlap | str, catchup_window: Duration | None, pause_on_failure: bool) -> SchedulePolicies:
    """Raises ValueError for what cannot be."""
    policies = SchedulePolicies(pause_on_failure=pause_on_failure)
    policies.overlap_policy = overlap_number(overlap)  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
    window_ns = optional_duration(catchup_window, "catchup_window")
    if window_ns is not None:
        policies.catchup_window.CopyFrom(duration_message(window_ns))
    return policies


def overlap_number(overlap: Overlap | str | None) -> int:
    """0 for None. Raises ValueError, which lists the names."""
    if overlap is None:
        return 0
    return member_of(Overlap, overlap, "overlap", wire="SCHEDULE_OVERLAP_POLICY_").number


def moment(at: datetime, what: str) -> Timestamp:
    """Raises ValueError for a time that does not say its zone."""
    stamp = Timestamp()
    stamp.FromDatetime(in_utc(at, what).replace(tzinfo=None))
    return stamp


def described(schedule_id: str, response: DescribeScheduleResponse, converter: Converter) -> ScheduleDescription:
    """What DescribeSchedule answered."""
    info, schedule = response.info, response.schedule
    return ScheduleDescription(
        id=schedule_id,
        workflow_type=schedule.action.start_workflow.workflow_type.name,
        paused=schedule.state.paused,
        note=schedule.state.notes,
        remaining_actions=schedule.state.remaining_actions if schedule.state.limited_actions else None,
        next_times=[moment_of(at.ToNanoseconds()) for at in info.future_action_times],
        recent=[_run(action) for action in info.recent_actions],
        running=[run.workflow_id for run in info.running_workflows],
        action_count=info.action_count,
        skipped=info.overlap_skipped,
        missed=info.missed_catchup_window,
        waiting=info.buffer_size,
        created_at=moment_of(info.create_time.ToNanoseconds()),
        memo=_memo(response.memo.fields, converter),
        search_attributes=values_of(response.search_attributes.indexed_fields),
    )


def summary(entry: ScheduleListEntry) -> ScheduleSummary:
    """A line of what ListSchedules answered."""
    info = entry.info
    times = [moment_of(at.ToNanoseconds()) for at in info.future_action_times]
    recent = [_run(action) for action in info.recent_actions]
    return ScheduleSummary(entry.schedule_id, info.workflow_type.name, info.paused, info.notes, times, recent)


def _run(action: ScheduleActionResult) -> ScheduledRun:
    started = action.start_workflow_result
    return ScheduledRun(
        started.workflow_id,
        started.run_id,
        moment_of(action.schedule_time.ToNanoseconds()),
        moment_of(action.actual_time.ToNanoseconds()),
        WorkflowStatus(action.start_workflow_status),
    )


def _memo(fields: Mapping[str, Any], converter: Converter) -> dict[str, Any]:
    return {name: converter.from_payload(payload, Any, f"memo {name!r}") for name, payload in fields.items()}

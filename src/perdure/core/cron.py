"""Cron: a workflow that is started again at the times of a schedule, each run following the one before in its chain.

The notation is the classic one, as Temporal's server reads it for `cron_schedule`: five fields, `@daily` and its like,
`@every 90s`, a time zone before them. Narrower than that of schedules (`core.schedule.text`), which is used here: no
seconds, no years, no phase, no comment. And older: a day of the month and a day of the week, both given, mean either.
A run that is cancelled, terminated or continued as new by its own command is not followed by another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.schedule.v1 import ScheduleSpec, StructuredCalendarSpec

from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.times import NS_PER_SECOND, duration_ns
from perdure.core.refusals import invalid
from perdure.core.schedule import fields, text
from perdure.core.schedule.calendars import Calendar, Zone
from perdure.core.schedule.fields import BadSpec
from perdure.core.state import Execution

FindZone: TypeAlias = Callable[[str], Zone]
"""The zone of a name; raises BadSpec."""

_FIELDS = 5


class Times:
    """When a cron schedule is due. Raises BadSpec."""

    __slots__ = ("_calendars", "_every_s")

    def __init__(self, schedule: str, find_zone: FindZone) -> None:
        spec = ScheduleSpec()
        words = ["*" if word == "?" else word for word in schedule.split()]
        zone = find_zone(text.cron(" ".join(words), spec) or "")
        if words[0].startswith(("TZ=", "CRON_TZ=")):
            words = words[1:]
        if "#" in schedule or (not words[0].startswith("@") and len(words) != _FIELDS):
            raise BadSpec(f"expected exactly {_FIELDS} fields")
        self._every_s = 0
        if spec.interval:
            if spec.interval[0].HasField("phase"):
                raise BadSpec("an interval has no phase")
            self._every_s = max(duration_ns(spec.interval[0].interval) // NS_PER_SECOND, 1)
        self._calendars = [Calendar(found, zone) for found in _either(spec, words)]

    def next_s(self, after_s: int) -> int | None:
        """The first time later than `after_s`, in seconds since the epoch; None: there is none."""
        if self._every_s:
            return after_s + self._every_s
        times = [calendar.next(after_s) for calendar in self._calendars]
        return min((time for time in times if time is not None), default=None)

    def _next_from_s(self, scheduled_s: int, now_s: int) -> int | None:
        """The first time later than `scheduled_s` and not before `now_s`; those missed are not walked through.

        An interval is counted from `scheduled_s`.
        """
        if self._every_s:
            missed = max(-(-(now_s - scheduled_s) // self._every_s), 1)
            return scheduled_s + missed * self._every_s
        return self.next_s(max(scheduled_s, now_s - 1))

    def backoff_ns(self, scheduled_ns: int, now_ns: int) -> int | None:
        """How long after `now_ns` the next run begins, in whole seconds, given when the last was to begin.

        A century at most, as every delay.
        """
        if now_ns < scheduled_ns:
            next_ns = scheduled_ns
        else:
            next_s = self._next_from_s(scheduled_ns // NS_PER_SECOND, -(-now_ns // NS_PER_SECOND))
            if next_s is None:
                return None
            next_ns = next_s * NS_PER_SECOND
        return min(-((now_ns - next_ns) // NS_PER_SECOND) * NS_PER_SECOND, DURATION_MAX_NS)


def _either(spec: ScheduleSpec, words: list[str]) -> list[StructuredCalendarSpec]:
    """Day of the month and day of the week, if both are given, as two calendars: either of them will do."""
    [*calendars] = spec.structured_calendar
    if len(words) != _FIELDS or not calendars or "*" in (words[2], words[4]):
        return calendars
    [by_month_day] = calendars
    by_weekday = StructuredCalendarSpec()
    by_weekday.CopyFrom(by_month_day)
    by_month_day.ClearField("day_of_week")
    by_month_day.day_of_week.extend(fields.parse(fields.DAY_OF_WEEK, "*"))
    by_weekday.ClearField("day_of_month")
    by_weekday.day_of_month.extend(fields.parse(fields.DAY_OF_MONTH, "*"))
    return [by_month_day, by_weekday]


def check(schedule: str, find_zone: FindZone) -> None:
    """Raises Rejected INVALID_ARGUMENT when it is no cron schedule."""
    try:
        Times(schedule, find_zone)
    except BadSpec as error:
        raise invalid("invalid CronSchedule.") from error


def first_backoff_ns(schedule: str, find_zone: FindZone, now_ns: int) -> int:
    """How long the first run of a schedule that was checked waits."""
    return Times(schedule, find_zone).backoff_ns(now_ns, now_ns) or 0


def next_backoff_ns(execution: Execution, find_zone: FindZone, now_ns: int) -> int | None:
    """How long after the end of this run the next one begins; None: none follows."""
    if not execution.first_event:
        return None
    began = WorkflowExecutionStartedEventAttributes.FromString(execution.first_event)
    if not began.cron_schedule:
        return None
    scheduled_ns = execution.started_at_ns + execution.first_task_backoff_ns
    backoff_ns = Times(began.cron_schedule, find_zone).backoff_ns(scheduled_ns, now_ns)
    expires_at_ns = execution.execution_expires_at_ns
    if backoff_ns is None or (expires_at_ns and now_ns + backoff_ns >= expires_at_ns):
        return None
    return backoff_ns

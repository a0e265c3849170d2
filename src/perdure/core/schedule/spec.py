"""A specification in its one canonical form, and the times that it stands for.

What a user wrote as calendars in words or as cron strings is kept in its structured form; that is what
DescribeSchedule shows, as Temporal's server does, and what times are computed from. All times are whole seconds; only
jitter is finer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from temporalio.api.schedule.v1 import IntervalSpec, ScheduleSpec

from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.times import LONG_MAX, NS_PER_SECOND, duration_ns, later, timestamp_ns
from perdure.core.schedule import fields, text
from perdure.core.schedule.calendars import Calendar, Zone
from perdure.core.schedule.fields import BadSpec
from perdure.core.schedule.jitter import shift_ns

FindZone = Callable[[str, bytes], Zone]
"""A time zone's name and its own data (TZif, or none) -> the zone. Raises BadSpec."""

_COMMENT_LENGTH_MAX = 200
_LAST_S = LONG_MAX // NS_PER_SECOND
"""In 2262: no store holds a later time, so none follows."""
_EXCLUSIONS_MAX = 10_000
"""Excluded stretches passed over before it is taken that no other time follows: others wait for the answer."""


def canonical(spec: ScheduleSpec, find_zone: FindZone) -> ScheduleSpec:
    """The same times in structured form. Raises BadSpec."""
    made = ScheduleSpec()
    made.CopyFrom(spec)
    for written in (made.calendar, made.exclude_calendar):
        structured = made.structured_calendar if written is made.calendar else made.exclude_structured_calendar
        structured.extend(text.calendar(calendar) for calendar in written)
        del written[:]
    zones = {text.cron(line, made) for line in spec.cron_string} - {None}
    zone = next(iter(zones), "") or spec.timezone_name
    if len(zones) > 1 or spec.timezone_name not in ("", zone):
        raise BadSpec("conflicting timezone names")
    made.timezone_name = zone
    del made.cron_string[:]
    _check_calendars(made)
    for interval in made.interval:
        _check_interval(interval)
    if timestamp_ns(made.start_time) == LONG_MAX:
        raise BadSpec(f"start time is later than any action can be: {made.start_time.seconds} s > {_LAST_S} s")
    find_zone(made.timezone_name, made.timezone_data)
    return made


def _check_calendars(spec: ScheduleSpec) -> None:
    for calendar in (*spec.structured_calendar, *spec.exclude_structured_calendar):
        if len(calendar.comment.encode()) > _COMMENT_LENGTH_MAX:
            raise BadSpec("invalid calendar spec: comment is too long")
        for field in fields.FIELDS:
            ranges = getattr(calendar, field.attribute)
            try:
                fields.check(field, ranges)
            except BadSpec as fault:
                raise BadSpec(f"invalid calendar spec: {fault}") from fault
            fields.fill(ranges)


def _check_interval(spec: IntervalSpec) -> None:
    interval_ns, phase_ns = duration_ns(spec.interval), duration_ns(spec.phase)
    if interval_ns < NS_PER_SECOND:
        raise BadSpec("interval is too small")
    if interval_ns == LONG_MAX:
        raise BadSpec(f"interval is not a valid duration: {spec.interval.seconds} s > {_LAST_S} s")
    if phase_ns < 0:
        raise BadSpec("phase is negative")
    if phase_ns >= interval_ns:
        raise BadSpec("phase cannot be greater than Interval")


class Occurrence(NamedTuple):
    """One time of a schedule, in nanoseconds since the epoch."""

    nominal_ns: int
    """As specified: what the action is named after."""
    at_ns: int
    """When it is done: the nominal time, and the jitter."""


class Times:
    """The times of a canonical specification. `seed` makes the jitter the schedule's own (`jitter.shift_ns`)."""

    def __init__(self, spec: ScheduleSpec, find_zone: FindZone, seed: bytes) -> None:
        zone = find_zone(spec.timezone_name, spec.timezone_data)
        self._calendars = [Calendar(calendar, zone) for calendar in spec.structured_calendar]
        self._excluded = [Calendar(calendar, zone) for calendar in spec.exclude_structured_calendar]
        self._intervals = [
            (duration_ns(interval.interval) // NS_PER_SECOND, duration_ns(interval.phase) // NS_PER_SECOND)
            for interval in spec.interval
        ]
        start_s = timestamp_ns(spec.start_time) // NS_PER_SECOND
        self._before_start_s = start_s - 1 if spec.HasField("start_time") else None
        self._end_ns = timestamp_ns(spec.end_time) if spec.HasField("end_time") else None
        self._jitter_ns = min(max(0, duration_ns(spec.jitter)), DURATION_MAX_NS)
        self._seed = seed

    def next(self, after_ns: int) -> Occurrence | None:
        """The first time whose nominal one is later than `after_ns`; None when none comes."""
        after_s = after_ns // NS_PER_SECOND
        if self._before_start_s is not None:
            after_s = max(after_s, self._before_start_s)
        for _ in range(_EXCLUSIONS_MAX):
            nominal_s = self._next_of_all(after_s)
            if nominal_s is None:
                return None
            if nominal_s >= _LAST_S:
                return None
            nominal_ns = nominal_s * NS_PER_SECOND
            if self._end_ns is not None and nominal_ns > self._end_ns:
                return None
            excluded = [calendar for calendar in self._excluded if calendar.matches(nominal_s)]
            if not excluded:
                return Occurrence(nominal_ns, later(nominal_ns, self._shift_ns(nominal_s)))
            after_s = max(calendar.passed(nominal_s) for calendar in excluded)
        return None

    def _next_of_all(self, after_s: int) -> int | None:
        found = [after_s + interval - (after_s - phase) % interval for interval, phase in self._intervals]
        for calendar in self._calendars:
            at = calendar.next(after_s)
            if at is not None:
                found.append(at)
        return min(found, default=None)

    def _shift_ns(self, nominal_s: int) -> int:
        """Never so far that it reaches the next nominal time."""
        if not self._jitter_ns:
            return 0
        following = self._next_of_all(nominal_s)
        room_ns = self._jitter_ns
        if following is not None:
            room_ns = min(room_ns, (following - nominal_s) * NS_PER_SECOND)
        return shift_ns(self._seed, nominal_s, room_ns)

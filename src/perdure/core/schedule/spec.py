"""A specification in its one canonical form, and the times that it stands for.

What a user wrote as calendars in words or as cron strings is kept in its structured form; that is what
DescribeSchedule shows, as Temporal's server does, and what times are computed from. All times are whole seconds; only
jitter is finer.

How long the search for a time takes is bounded: it passes over a whole excluded day in one step, and has a `Budget`
of steps. When that is spent, what is known is that no time comes up to some day, and the search goes on from there when
that day has come.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from temporalio.api.schedule.v1 import IntervalSpec, ScheduleSpec

from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.times import LONG_MAX, NS_PER_SECOND, duration_ns, later, timestamp_ns
from perdure.core.schedule import fields, text
from perdure.core.schedule.calendars import Calendar, Zone, change
from perdure.core.schedule.civil import SECONDS_PER_DAY
from perdure.core.schedule.fields import BadSpec
from perdure.core.schedule.jitter import shift_ns

FindZone = Callable[[str, bytes], Zone]
"""A time zone's name and its own data (TZif, or none) -> the zone. Raises BadSpec."""

_COMMENT_LENGTH_MAX = 200
_LAST_S = LONG_MAX // NS_PER_SECOND
"""In 2262: no store holds a later time, so none follows."""
PARTS_MAX = 200
"""Calendars, cron strings and intervals of one specification, with those that exclude: each is asked for each time."""
_ZONE_BYTES_MAX = 64 << 10
"""The largest of the machine's tables has 4 KB."""


def canonical(spec: ScheduleSpec, find_zone: FindZone) -> ScheduleSpec:
    """The same times in structured form. Raises BadSpec."""
    parts = (spec.calendar, spec.cron_string, spec.structured_calendar, spec.interval)
    count = sum(map(len, (*parts, spec.exclude_calendar, spec.exclude_structured_calendar)))
    if count > PARTS_MAX:
        raise BadSpec(f"{count} calendars, cron strings and intervals are more than {PARTS_MAX}")
    if len(spec.timezone_data) > _ZONE_BYTES_MAX:
        raise BadSpec("malformed time zone information")
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


class Budget:
    """How much work may still be done; about a microsecond for each unit."""

    __slots__ = ("left",)

    def __init__(self, left: int = 10_000) -> None:
        self.left = left

    @property
    def is_spent(self) -> bool:
        return self.left <= 0


class Unfinished(Exception):
    """The budget is spent: no time comes later than asked for and up to `after_ns`; what follows that is not known."""

    def __init__(self, after_ns: int) -> None:
        super().__init__(after_ns)
        self.after_ns = after_ns


class _Upcoming:
    """A calendar with the time that it was last asked for: many questions in a row have the same answer."""

    __slots__ = ("_after", "_calendar", "_following")

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._after = 0
        self._following: int | None = 0

    def next(self, after_s: int, budget: Budget) -> int | None:
        following = self._following
        if self._after <= after_s and (following is None or after_s < following):
            return following
        budget.left -= _CALENDAR_UNITS
        self._after = after_s
        self._following = following = self._calendar.next(after_s)
        budget.left -= _CHANGE_UNITS * self._calendar.changes_met
        return following


_CALENDAR_UNITS = 20
_CHANGE_UNITS = 20
"""Of each change of the clocks that a search has met: it was looked for to the second."""
_DAY_UNITS = 10
"""Of looking at a calendar, or an interval, of which all seconds of a day are wanted."""
_DAY = (1 << SECONDS_PER_DAY) - 1
"""Every second of a day, as bits."""


class Times:
    """The times of a canonical specification. `seed` makes the jitter the schedule's own (`jitter.shift_ns`)."""

    def __init__(self, spec: ScheduleSpec, find_zone: FindZone, seed: bytes) -> None:
        self._zone = zone = find_zone(spec.timezone_name, spec.timezone_data)
        calendars = [Calendar(calendar, zone) for calendar in spec.structured_calendar]
        excluded = [Calendar(calendar, zone) for calendar in spec.exclude_structured_calendar]
        self._calendars = [calendar for calendar in calendars if not calendar.is_empty]
        self._excluded = [calendar for calendar in excluded if not calendar.is_empty]
        self._upcoming = [_Upcoming(calendar) for calendar in self._calendars]
        self._intervals = [
            (duration_ns(interval.interval) // NS_PER_SECOND, duration_ns(interval.phase) // NS_PER_SECOND)
            for interval in spec.interval
        ]
        start_s = timestamp_ns(spec.start_time) // NS_PER_SECOND
        self._before_start_s = start_s - 1 if spec.HasField("start_time") else None
        self._end_ns = timestamp_ns(spec.end_time) if spec.HasField("end_time") else None
        self._jitter_ns = min(max(0, duration_ns(spec.jitter)), DURATION_MAX_NS)
        self._seed = seed
        self._question_units = 5 + (len(self._calendars) + len(self._intervals)) // 4
        self._masked_day, self._mask = -1, 0
        """What is excluded of the local day that was last asked for, a bit for each second."""

    def next(self, after_ns: int, budget: Budget | None = None) -> Occurrence | None:
        """The first time whose nominal one is later than `after_ns`; None when none comes.

        Raises Unfinished when the budget (None: one of its own) is spent before that is known. At least one
        day is passed over, whatever is left of it.
        """
        budget = budget or Budget()
        after_s = after_ns // NS_PER_SECOND
        if self._before_start_s is not None:
            after_s = max(after_s, self._before_start_s)
        while True:
            nominal_s = self._next_of_all(after_s, budget)
            if nominal_s is None or self._is_over(nominal_s):
                return None
            if self._excluded:
                found = self._not_excluded(nominal_s, budget)
                if found is None:
                    after_s = self._day_end(nominal_s) - 1
                    if budget.is_spent:
                        raise Unfinished(after_s * NS_PER_SECOND)
                    continue
                nominal_s = found
                if self._is_over(nominal_s):
                    return None
            nominal_ns = nominal_s * NS_PER_SECOND
            return Occurrence(nominal_ns, later(nominal_ns, self._shift_ns(nominal_s, budget)))

    def _is_over(self, nominal_s: int) -> bool:
        return nominal_s >= _LAST_S or (self._end_ns is not None and nominal_s * NS_PER_SECOND > self._end_ns)

    def _next_of_all(self, after_s: int, budget: Budget) -> int | None:
        budget.left -= self._question_units
        found = [after_s + interval - (after_s - phase) % interval for interval, phase in self._intervals]
        for calendar in self._upcoming:
            at = calendar.next(after_s, budget)
            if at is not None:
                found.append(at)
        return min(found, default=None)

    def _shift_ns(self, nominal_s: int, budget: Budget) -> int:
        """Never so far that it reaches the next nominal time."""
        if not self._jitter_ns:
            return 0
        following = self._next_of_all(nominal_s, budget)
        room_ns = self._jitter_ns
        if following is not None:
            room_ns = min(room_ns, (following - nominal_s) * NS_PER_SECOND)
        return shift_ns(self._seed, nominal_s, room_ns)

    # --- what is excluded -----------------------------------------------------------------------

    def _not_excluded(self, nominal_s: int, budget: Budget) -> int | None:
        """A nominal time, or the first one behind it on the same local day, that is not excluded."""
        offset = self._zone(nominal_s)
        day, second = divmod(nominal_s + offset, SECONDS_PER_DAY)
        excluded = self._excluded_on(day, budget)
        if excluded == _DAY:
            return None
        if not excluded >> second & 1:
            return nominal_s
        budget.left -= _DAY_UNITS * (1 + len(self._calendars) + len(self._intervals))
        rest = (self._included_on(day, offset) & ~excluded) >> second
        rest &= (1 << self._day_end(nominal_s) - nominal_s) - 1
        return nominal_s + (rest & -rest).bit_length() - 1 if rest else None

    def _day_end(self, instant_s: int) -> int:
        """Where the local day of an instant ends, or the clocks change in it."""
        offset = self._zone(instant_s)
        end = instant_s + SECONDS_PER_DAY - (instant_s + offset) % SECONDS_PER_DAY
        return end if self._zone(end - 1) == offset else change(self._zone, instant_s, end - 1)

    def _excluded_on(self, day: int, budget: Budget) -> int:
        if day != self._masked_day:
            mask = 0
            for calendar in self._excluded:
                budget.left -= 2
                if calendar.has(day):
                    budget.left -= _DAY_UNITS
                    mask |= calendar.seconds
                    if mask == _DAY:
                        break
            self._masked_day, self._mask = day, mask
        return self._mask

    def _included_on(self, day: int, offset: int) -> int:
        """Every second of a local day that is a nominal time, as bits, if local time were `offset` ahead all day."""
        mask = 0
        for calendar in self._calendars:
            if calendar.has(day):
                mask |= calendar.seconds
        for interval, phase in self._intervals:
            first = (phase + offset - day * SECONDS_PER_DAY) % interval
            if first < SECONDS_PER_DAY:
                mask |= _every(interval) << first
        return mask


@lru_cache(maxsize=64)
def _every(interval: int) -> int:
    """The first bit, and one in `interval` behind it, of at least a day."""
    bits, length = 1, interval
    while length < SECONDS_PER_DAY:
        bits |= bits << length
        length *= 2
    return bits

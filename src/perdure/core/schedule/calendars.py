"""When a calendar matches, on the clock of a time zone.

A `Zone` answers one question: how many seconds is local time ahead of UTC at this instant? That suffices. Between two
changes of that offset local time runs as UTC does, so the next match is found by arithmetic on local dates, stretch
by stretch: a local time that a change of the clocks skips never comes, one that it repeats comes twice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import product

from temporalio.api.schedule.v1 import StructuredCalendarSpec

from perdure.core.schedule import fields
from perdure.core.schedule.civil import SECONDS_PER_DAY, date_of, day_number, day_of_week, days_in_month

Zone = Callable[[int], int]
"""Seconds since the epoch -> seconds that local time is ahead of UTC."""

_REACH_S = 2 * SECONDS_PER_DAY
"""More than two offsets can ever differ by: farther than this from a match no change of the clocks can move it."""


def utc(instant_s: int) -> int:
    """The zone that needs no tables."""
    return 0


class Calendar:
    """A `StructuredCalendarSpec` made ready for questions."""

    __slots__ = ("_days", "_months", "_seconds", "_weekdays", "_years", "_zone", "changes_met", "is_empty")

    def __init__(self, spec: StructuredCalendarSpec, zone: Zone) -> None:
        self._zone = zone
        self.changes_met = 0
        """How many changes of its zone's clocks the last search has met: what it costs grows with them."""
        hours = fields.numbers(fields.HOUR, spec.hour)
        minutes = fields.numbers(fields.MINUTE, spec.minute)
        seconds = fields.numbers(fields.SECOND, spec.second)
        self._seconds = _SecondsOfDay(hours, minutes, seconds)
        self._weekdays = frozenset(fields.numbers(fields.DAY_OF_WEEK, spec.day_of_week))
        self._days = fields.numbers(fields.DAY_OF_MONTH, spec.day_of_month)
        self._months = fields.numbers(fields.MONTH, spec.month)
        self._years = fields.numbers(fields.YEAR, spec.year)
        self.is_empty = self._seconds.first is None or not (
            self._weekdays and self._days and self._months and self._years
        )
        """A field without a number: it never matches."""

    @property
    def seconds(self) -> int:
        """Of a day that it has, the seconds: bit 0 is midnight."""
        return self._seconds.mask()

    def next(self, after_s: int) -> int | None:
        """The first match later than `after_s`, in seconds since the epoch; None when there is none up to 2100."""
        if self.is_empty:
            return None
        zone = self._zone
        self.changes_met = 0
        start = after_s + 1
        while True:
            offset = zone(start)
            local = self._next_local(start + offset)
            if local is None:
                return None
            found = local - offset
            horizon = min(found, start + _REACH_S)
            if zone(horizon) != offset:
                self.changes_met += 1
                start = change(zone, start, horizon)
            elif found == horizon:
                return found
            else:  # nothing until two days before the match, whatever the clocks do
                start = max(horizon, found - _REACH_S)

    def has(self, day: int) -> bool:
        """Whether it matches anything on this local day."""
        year, month, day_of_month = date_of(day)
        return (
            day_of_week(day) in self._weekdays
            and day_of_month in self._days
            and month in self._months
            and year in self._years
        )

    def _next_local(self, local: int) -> int | None:
        """The first match at or after a local time, as if the clocks never changed."""
        day, second = divmod(local, SECONDS_PER_DAY)
        if self.has(day):
            rest = self._seconds.at_or_after(second)
            if rest is not None:
                return day * SECONDS_PER_DAY + rest
        next_day = self._next_day(day + 1)
        first = self._seconds.first
        return None if next_day is None or first is None else next_day * SECONDS_PER_DAY + first

    def _next_day(self, day: int) -> int | None:
        """The first day of the calendar at or after this one."""
        first_year, first_month, first_day = date_of(day)
        years = self._years[bisect_left(self._years, first_year) :]
        for year, month in product(years, self._months):
            if (year, month) < (first_year, first_month):
                continue
            length = days_in_month(year, month)
            from_day = first_day if (year, month) == (first_year, first_month) else 1
            for day_of_month in self._days[bisect_left(self._days, from_day) :]:
                if day_of_month > length:
                    break
                number = day_number(year, month, day_of_month)
                if day_of_week(number) in self._weekdays:
                    return number
        return None


class _SecondsOfDay:
    """The times of a day at which a calendar matches: three short tuples, and all 86,400 only as the bits of a number.

    A field with no number matches nothing, and then there is no `first` time.
    """

    __slots__ = ("_hours", "_mask", "_minutes", "_seconds", "first")

    def __init__(self, hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> None:
        self._hours = hours
        self._minutes = minutes
        self._seconds = seconds
        self.first = hours[0] * 3600 + minutes[0] * 60 + seconds[0] if hours and minutes and seconds else None
        self._mask = -1

    def mask(self) -> int:
        """Every second of a day as a bit, 1 for those that match."""
        if self._mask < 0:
            self._mask = 1
            for unit_s, numbers in ((1, self._seconds), (60, self._minutes), (3600, self._hours)):
                unit, self._mask = self._mask, 0
                for number in numbers:
                    self._mask |= unit << number * unit_s
        return self._mask

    def at_or_after(self, second: int) -> int | None:
        """The first of them at or after a second of the day; None: not on this day any more."""
        if self.first is None:
            return None
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        hour, rest = divmod(second, 3600)
        minute, second = divmod(rest, 60)
        at_hour = bisect_left(hours, hour)
        if at_hour == len(hours):
            return None
        if hours[at_hour] != hour:
            return hours[at_hour] * 3600 + minutes[0] * 60 + seconds[0]
        at_minute = bisect_left(minutes, minute)
        if at_minute < len(minutes) and minutes[at_minute] == minute:
            at_second = bisect_left(seconds, second)
            if at_second < len(seconds):
                return hour * 3600 + minute * 60 + seconds[at_second]
            at_minute += 1
        if at_minute < len(minutes):
            return hour * 3600 + minutes[at_minute] * 60 + seconds[0]
        if at_hour + 1 < len(hours):
            return hours[at_hour + 1] * 3600 + minutes[0] * 60 + seconds[0]
        return None


def change(zone: Zone, start: int, end: int) -> int:
    """The first instant after `start` at which the offset is another one; it is another one at `end`."""
    offset = zone(start)
    while end - start > 1:
        middle = (start + end) // 2
        if zone(middle) == offset:
            start = middle
        else:
            end = middle
    return end

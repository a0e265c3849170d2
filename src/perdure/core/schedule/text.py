"""Cron strings and calendars in words, turned into the structured form that everything else is computed from.

    0 12 * * MON-FRI                      minute hour day-of-month month day-of-week
    0 12 1 1 * 2030                       ... year
    30 0 12 1 1 * 2030                    second ...
    @hourly @daily @weekly @monthly @yearly (also @midnight, @annually)
    @every 90m      @every 12h/20m        an interval, and its phase

Before it may stand `CRON_TZ=Europe/Berlin` or `TZ=...`, behind it a `# comment`.
"""

from __future__ import annotations

import re

from temporalio.api.schedule.v1 import CalendarSpec, IntervalSpec, ScheduleSpec, StructuredCalendarSpec

from perdure.api.times import LONG_MAX, duration
from perdure.core.schedule import fields
from perdure.core.schedule.fields import BadSpec, Field

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIVE = (fields.MINUTE, fields.HOUR, fields.DAY_OF_MONTH, fields.MONTH, fields.DAY_OF_WEEK)
_ORDERS: dict[int, tuple[Field, ...]] = {
    5: _FIVE,
    6: (*_FIVE, fields.YEAR),
    7: (fields.SECOND, *_FIVE, fields.YEAR),
}
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_DURATION_LENGTH_MAX = 100
"""A longer text says nothing that 64 bits of nanoseconds hold."""
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)")


def calendar(spec: CalendarSpec) -> StructuredCalendarSpec:
    """Raises BadSpec with every fault there is."""
    texts = {field: getattr(spec, field.attribute) for field in fields.FIELDS}
    return _structured(texts, spec.comment)


def cron(text: str, into: ScheduleSpec) -> str | None:
    """Add a cron string to a specification; returns the time zone that it names, or "". Raises BadSpec.

    None: it is an interval, to which a time zone means nothing.
    """
    if len(text) > fields.TEXT_LENGTH_MAX:
        raise BadSpec(f"CronString is longer than {fields.TEXT_LENGTH_MAX} characters")
    text, _, comment = text.partition("#")
    text, comment, zone = text.strip(), comment.strip(), ""
    if text.startswith(("TZ=", "CRON_TZ=")):
        prefix, blank, text = text.partition(" ")
        if not blank:
            raise BadSpec("CronString has time zone but missing fields")
        zone, text = prefix.partition("=")[2], text.strip()
    if text.startswith("@every"):
        into.interval.append(_every(text))
        return None
    words = _NICKNAMES.get(text, text).split()
    order = _ORDERS.get(len(words))
    if order is None:
        raise BadSpec("CronString does not have 5-7 fields")
    into.structured_calendar.append(_structured(dict(zip(order, words, strict=True)), comment))
    return zone


def _structured(texts: dict[Field, str], comment: str) -> StructuredCalendarSpec:
    found = StructuredCalendarSpec(comment=comment)
    faults: list[str] = []
    for field in fields.FIELDS:
        try:
            getattr(found, field.attribute).extend(fields.parse(field, texts.get(field, "")))
        except BadSpec as fault:
            faults.append(str(fault))
    if faults:
        raise BadSpec(", ".join(faults))
    return found


def _every(text: str) -> IntervalSpec:
    words = text.split()
    if len(words) != 2 or words[0] != "@every":
        raise BadSpec("CronString does not have interval after @every")
    interval, slash, phase = words[1].partition("/")
    spec = IntervalSpec(interval=duration(duration_of(interval)))
    if slash:
        spec.phase.CopyFrom(duration(duration_of(phase)))
    return spec


def duration_of(text: str) -> int:
    """Nanoseconds of `1h30m`, `90s`, `2d`, in the notation of Go; at most what 64 bits hold. Raises BadSpec."""
    if len(text) > _DURATION_LENGTH_MAX:
        raise BadSpec(f'time: invalid duration "{text[:_DURATION_LENGTH_MAX]}..."')
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total, at = 0.0, 0
    while at < len(rest):
        term = _TERM.match(rest, at)
        if term is None:
            raise BadSpec(f'time: invalid duration "{text}"')
        number, unit = term.groups()
        if not unit:
            raise BadSpec(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS_NS:
            raise BadSpec(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _UNITS_NS[unit] if "." in number else int(number) * _UNITS_NS[unit]
        at = term.end()
    if not at or total > LONG_MAX:
        raise BadSpec(f'time: invalid duration "{text}"')
    return -round(total) if negative else round(total)

"""The seven fields of a calendar, and the notation in which people write them.

A field is a list of ranges, each with a step. In a `CalendarSpec` and in a cron string it is text (`*`, `5`, `MON-
FRI`, `10-50/20`, several of them with commas); in a `StructuredCalendarSpec` it is numbers. Bounds, names and wording
are those of Temporal's server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.schedule.v1 import Range


class BadSpec(Exception):
    """A specification that cannot be understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a calendar. `minimum` and `maximum` are what a number may be; `default` is text for "not said"."""

    name: str
    attribute: str
    minimum: int
    maximum: int
    default: str
    names: tuple[str, ...] = ()
    """Of the numbers from `minimum` on."""


_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_NAME_LENGTH_MIN = 3
_SUNDAY_AGAIN = 7

YEAR_MIN, YEAR_MAX = 2000, 2100
RANGES_MAX = 128
"""In one field: no field has more numbers."""
TEXT_LENGTH_MAX = 4096
"""Of a field in words, and of a cron string: room for every number of every field."""

SECOND = Field("Second", "second", 0, 59, "0")
MINUTE = Field("Minute", "minute", 0, 59, "0")
HOUR = Field("Hour", "hour", 0, 23, "0")
DAY_OF_WEEK = Field("DayOfWeek", "day_of_week", 0, 6, "*", _DAYS)
DAY_OF_MONTH = Field("DayOfMonth", "day_of_month", 1, 31, "*")
MONTH = Field("Month", "month", 1, 12, "*", _MONTHS)
YEAR = Field("Year", "year", YEAR_MIN, YEAR_MAX, "*")

FIELDS = (SECOND, MINUTE, HOUR, DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR)
"""In the order in which faults are reported."""


def parse(field: Field, text: str) -> list[Range]:
    """The ranges that a text stands for; none for a year that is not restricted. Raises BadSpec.

    Sunday may be written 7 as well as 0.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise BadSpec(f"{field.name} is longer than {TEXT_LENGTH_MAX} characters")
    text = text or field.default
    if field is YEAR and text == "*":
        return []
    ranges: list[Range] = []
    for part in text.split(","):
        ranges += _part(field, part)
    return ranges


def _part(field: Field, part: str) -> list[Range]:
    highest = _SUNDAY_AGAIN if field is DAY_OF_WEEK else field.maximum
    limits = f"[{field.minimum}-{highest}]"
    span, slash, step_text = part.partition("/")
    step = 1
    if slash:
        step = _step(field, step_text)
    if span == "*":
        return _ranges(field, field.minimum, highest, step)
    start_text, dash, end_text = span.partition("-")
    start = _number(field, start_text)
    if not dash:
        if start is None or not field.minimum <= start <= highest:
            raise BadSpec(f"{field.name} is not in range {limits}")
        end = highest if slash else start
    else:
        if start is None or not field.minimum <= start <= highest:
            raise BadSpec(f"{field.name} Start is not in range {limits}")
        found = _number(field, end_text)
        if found is None or not start <= found <= highest:
            raise BadSpec(f"{field.name} End is before Start or not in range {limits}")
        end = found
    return _ranges(field, start, end, step)


def _step(field: Field, text: str) -> int:
    if not text:
        raise BadSpec(f"{field.name} missing step value")
    step = _integer(text)
    if step is None or step < 1:
        raise BadSpec(f"{field.name} has invalid Step")
    return step


def _ranges(field: Field, start: int, end: int, step: int) -> list[Range]:
    """Of days of the week up to 7, Sunday comes first, as 0."""
    ranges: list[Range] = []
    if field is DAY_OF_WEEK and end == _SUNDAY_AGAIN:
        if (end - start) % step == 0 and (start, step) != (0, 1):
            ranges.append(Range(start=0, end=0, step=1))
        end -= 1
    if start <= end:
        ranges.append(Range(start=start, end=end, step=step))
    return ranges


def _number(field: Field, text: str) -> int | None:
    """A number, or the name of a month or day of which at least three letters are given."""
    if len(text) >= _NAME_LENGTH_MIN and field.names:
        lowered = text.lower()
        for number, name in enumerate(field.names, field.minimum):
            if name.startswith(lowered):
                return number
    return _integer(text)


def _integer(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def check(field: Field, ranges: Sequence[Range]) -> None:
    """Raises BadSpec for ranges in numbers that are out of bounds."""
    limits = f"[{field.minimum}-{field.maximum}]"
    if len(ranges) > RANGES_MAX:
        raise BadSpec(f"{field.name} has more than {RANGES_MAX} ranges")
    for given in ranges:
        if not field.minimum <= given.start <= field.maximum:
            raise BadSpec(f"{field.name} Start is not in range {limits}")
        if given.end and not given.start <= given.end <= field.maximum:
            raise BadSpec(f"{field.name} End is before Start or not in range {limits}")
        if given.step < 0:
            raise BadSpec(f"{field.name} has invalid Step")


def fill(ranges: Iterable[Range]) -> None:
    """Write the defaults of `end` (the start) and `step` (1) into ranges that `check` has passed."""
    for given in ranges:
        given.end = max(given.start, given.end)
        given.step = given.step or 1


def numbers(field: Field, ranges: Sequence[Range]) -> tuple[int, ...]:
    """What the ranges stand for, ascending; of a year that is not restricted, all."""
    if field is YEAR and not ranges:
        return tuple(range(YEAR_MIN, YEAR_MAX + 1))
    found: set[int] = set()
    for given in ranges:
        found.update(range(given.start, max(given.start, given.end) + 1, given.step or 1))
    return tuple(sorted(found))

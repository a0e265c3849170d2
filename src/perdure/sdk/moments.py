"""Times and lengths of time as users are given them: datetimes in UTC and timedeltas, to the microsecond.

The wire and all that is inside count nanoseconds. A name of the version before that gave those (`started_at_ns`) is a
property that says the new one (`started_at`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from perdure.sdk.deprecated import deprecated

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def moment_of(ns: int) -> datetime:
    """The UTC time that is so many nanoseconds after 1970 began."""
    return EPOCH + timedelta(microseconds=ns // 1000)


def length_of(ns: int) -> timedelta | None:
    """A time-out that is given in nanoseconds; None for 0, which means that there is none."""
    return timedelta(microseconds=ns // 1000) if ns else None


def ns_of(value: datetime | timedelta) -> int:
    """The nanoseconds of a length, or of a time since 1970 began."""
    return (value - EPOCH if isinstance(value, datetime) else value) // _MICROSECOND * 1000


def former_ns(old: str, new: str, *, none: int | None = None) -> property:
    """A property of the version before, in nanoseconds.

    Args:
        old: its name, which ends in `_ns`.
        new: the property that there is now: a datetime, a timedelta, a sequence of them, or None.
        none: what stands for None.
    """

    def read(self: Any) -> Any:
        deprecated(old, new)
        value = getattr(self, new)
        if value is None:
            return none
        if isinstance(value, (datetime, timedelta)):
            return ns_of(value)
        return [ns_of(each) for each in cast("Sequence[datetime]", value)]

    setattr(read, "__deprecated__", new)
    return property(read)

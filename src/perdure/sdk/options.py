"""What may be said about an activity call, and how durations are written.

Everywhere a user may write a duration it is one of four things: a number of seconds, a
`timedelta`, or a string such as "30s", "1h30m" or "2 days"; a century at most, as on the server.
Inside the SDK it is an integer of nanoseconds, parsed once, where the user wrote it: a typing error
fails at import time and not in a workflow that has been running for a month.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration as DurationMessage
from temporalio.api.common.v1 import RetryPolicy

from perdure.api.bounds import COEFFICIENT_MAX, DURATION_MAX_NS, DURATION_MAX_S
from perdure.api.times import LONG_MAX
from perdure.sdk.deprecated import deprecated
from perdure.sdk.option_names import lists_options
from perdure.sdk.policies import Cancellation, cancellation_of
from perdure.sdk.texts import check_text

Duration = str | float | int | timedelta
"""Seconds as a number, a timedelta, or text: "500ms", "30s", "1h30m", "2 days"."""

SECOND_NS = 1_000_000_000
YEARS = range(1678, 2262)
"""Those of which a store can hold every instant: 64 bits of nanoseconds reach from 1677 to 2262."""
_ATTEMPTS_MAX = (1 << 31) - 1
DEFAULT_START_TO_CLOSE_NS = 600 * SECOND_NS
"""Of an activity that names neither start_to_close_timeout nor schedule_to_close_timeout: ten minutes."""

JITTER_HEADER = "perdure-retry-jitter"
"""Carries `Retry.jitter` with a call (`sdk/worker/jitter.py` says why)."""

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "sec": SECOND_NS,
    "second": SECOND_NS,
    "m": 60 * SECOND_NS,
    "min": 60 * SECOND_NS,
    "minute": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
    "hour": 3600 * SECOND_NS,
    "d": 86400 * SECOND_NS,
    "day": 86400 * SECOND_NS,
    "w": 7 * 86400 * SECOND_NS,
    "week": 7 * 86400 * SECOND_NS,
}
_TEXT_LENGTH_MAX = 100
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*(?:,|and\b)?", re.IGNORECASE)


def parse_duration(value: Duration, what: str = "duration") -> int:
    """Nanoseconds of a duration as users write them.

    Args:
        value: seconds (int or float), a timedelta, or text such as "1h30m".
        what: how the error names the argument.

    Raises:
        TypeError: it is none of these.
        ValueError: negative, not finite, longer than a century, or text that is not a duration.
    """
    if isinstance(value, str):
        ns = _parse_text(value, what)
    elif isinstance(value, timedelta):
        ns = (value.days * 86400 + value.seconds) * SECOND_NS + value.microseconds * 1000
    elif isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{what} must be seconds, a timedelta or text such as '30s', not {type(value).__name__}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{what} must be finite, not {value}")
    else:  # not multiplied before it is known to be small: a float of 1e300 seconds has no nanoseconds
        ns = round(value * SECOND_NS) if abs(value) <= DURATION_MAX_S else -1 if value < 0 else DURATION_MAX_NS + 1
    if ns < 0:
        raise ValueError(f"{what} must not be negative: {shown(value)}")
    return _bounded(ns, value, what)


def sum_of_durations(what: str, first: Duration, **more: float) -> int:
    """Nanoseconds of a duration and of so many days, hours, minutes, seconds. Raises TypeError, ValueError."""
    ns = parse_duration(first, what)
    if not any(more.values()):
        return ns
    try:
        rest = timedelta(**more)
    except (OverflowError, ValueError) as error:  # Python's words name neither argument nor bound
        raise ValueError(f"{what} must be finite and at most 100 years (36500 days), not {more}") from error
    return _bounded(ns + parse_duration(rest, what), rest, what)


def _bounded(ns: int, value: object, what: str) -> int:
    if ns > DURATION_MAX_NS:
        raise ValueError(
            f"{what} must be at most 100 years (36500 days), not {shown(value)}; a limit that is never to be reached "
            "is left out"
        )
    return ns


def shown(value: object) -> str:
    """A value in an error text: an integer may have a million digits, and Python refuses to write them."""
    return f"a number of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >> 64 else repr(value)


def _parse_text(text: str, what: str) -> int:
    if len(text) > _TEXT_LENGTH_MAX:
        raise ValueError(f"{what} is no duration: a text of {len(text)} characters")
    total, position = 0.0, 0
    exact = 0
    while position < len(text.rstrip()):
        part = _PART.match(text, position)
        unit = part and _unit_ns(part.group(2))
        if part is None or not unit:
            raise ValueError(f"{what} {text!r} is not a duration; write it as '30s', '1h30m', '500ms' or '2 days'")
        number = part.group(1)
        if "." in number:
            total += float(number) * unit
        else:
            exact += int(number) * unit
        position = part.end()
    if position == 0:
        raise ValueError(f"{what} is empty; write it as '30s', '1h30m', '500ms' or '2 days'")
    return exact + round(total)


def _unit_ns(unit: str) -> int | None:
    unit = unit.lower()
    found = _UNITS_NS.get(unit)
    if found is None and unit.endswith("s"):
        found = _UNITS_NS.get(unit[:-1]) if len(unit) > 3 else None
    return found


def optional_duration(value: Duration | None, what: str) -> int | None:
    """As `parse_duration`, None for None."""
    return None if value is None else parse_duration(value, what)


def count(value: int, what: str, least: int = 0, most: int = LONG_MAX) -> int:
    """A whole number within bounds.

    Raises:
        TypeError: it is no int.
        ValueError: it is less or more; names both.
    """
    if type(value) is not int:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{what} must be from {least} to {most}, not {shown(value)}")
    return value


def in_utc(at: datetime, what: str) -> datetime:
    """An aware datetime in UTC. Raises ValueError when it does not say its zone, or the calendar ends before UTC's."""
    if at.tzinfo is None:
        raise ValueError(f"{what} must say its time zone, as datetime(..., tzinfo=UTC) does")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{what} is at the very end of the calendar, and beyond it in UTC: {at!r}") from error


def positive_duration(value: Duration | None, what: str) -> int | None:
    """As `optional_duration`, but a time-out of nothing is refused."""
    ns = optional_duration(value, what)
    if ns == 0:
        raise ValueError(f"{what} must be longer than nothing; leave it out to have none")
    return ns


def duration_message(ns: int) -> DurationMessage:
    """The wire's Duration of a number of nanoseconds."""
    return DurationMessage(seconds=ns // SECOND_NS, nanos=ns % SECOND_NS)


def duration_ns(message: DurationMessage) -> int:
    """Nanoseconds of the wire's Duration."""
    return message.seconds * SECOND_NS + message.nanos


@lists_options
@dataclass(frozen=True)
class Retry:
    """When a failed activity is tried again: after initial_interval * backoff_coefficient ** (attempt - 1).

    Args:
        initial_interval: the first back-off.
        backoff_coefficient: at least 1.
        maximum_interval: no back-off is longer; None: 100 times the initial one.
        maximum_attempts: 0 is without end, 1 is no retry.
        non_retryable_error_types: error type names, or exception classes, that are never retried.
        jitter: 0 to 1, the part of each back-off that is random; 0 as Temporal has it.

    Raises:
        ValueError, TypeError: at once, naming the argument.
    """

    initial_interval: Duration = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: Duration | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: Sequence[str | type[BaseException]] = ()
    jitter: float = 0.0
    _message: RetryPolicy = field(init=False, repr=False, compare=False)
    """The wire's form; shared, never to be changed."""

    def __post_init__(self) -> None:
        initial = positive_duration(self.initial_interval, "Retry.initial_interval")
        maximum = positive_duration(self.maximum_interval, "Retry.maximum_interval")
        if not 1 <= self.backoff_coefficient <= COEFFICIENT_MAX:
            raise ValueError(
                f"Retry.backoff_coefficient must be at least 1 and at most {COEFFICIENT_MAX:g}, "
                f"not {shown(self.backoff_coefficient)}"
            )
        if initial and maximum and maximum < initial:
            raise ValueError("Retry.maximum_interval must not be shorter than Retry.initial_interval")
        if type(self.maximum_attempts) is not int or self.maximum_attempts < 0:
            raise ValueError(f"Retry.maximum_attempts must be 0 (no limit) or more, not {self.maximum_attempts!r}")
        count(self.maximum_attempts, "Retry.maximum_attempts", 0, _ATTEMPTS_MAX)
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Retry.jitter must be between 0 and 1, not {self.jitter}")
        if isinstance(self.non_retryable_error_types, str):
            raise TypeError("Retry.non_retryable_error_types must be a sequence of names or exception classes")
        names = tuple(t if isinstance(t, str) else t.__name__ for t in self.non_retryable_error_types)
        for name in names:
            check_text(name, "Retry.non_retryable_error_types")
        object.__setattr__(self, "non_retryable_error_types", names)
        policy = RetryPolicy(
            initial_interval=duration_message(initial or SECOND_NS),
            backoff_coefficient=self.backoff_coefficient,
            maximum_attempts=self.maximum_attempts,
            non_retryable_error_types=names,
        )
        if maximum is not None:
            policy.maximum_interval.CopyFrom(duration_message(maximum))
        object.__setattr__(self, "_message", policy)

    if not TYPE_CHECKING:

        @property
        def message(self) -> RetryPolicy:
            """The wire's form, as it was known in the version before."""
            deprecated("Retry.message", "temporalio.api.common.v1.RetryPolicy(...)")
            return self._message

    def __reduce__(self) -> tuple[type[Retry], tuple[Any, ...]]:
        return Retry, (
            self.initial_interval,
            self.backoff_coefficient,
            self.maximum_interval,
            self.maximum_attempts,
            self.non_retryable_error_types,
            self.jitter,
        )


@dataclass(frozen=True, slots=True)
class ActivityOptions:
    """How one activity is called. All times are nanoseconds; None: not set."""

    start_to_close_ns: int | None = None
    schedule_to_close_ns: int | None = None
    schedule_to_start_ns: int | None = None
    heartbeat_ns: int | None = None
    retry: Retry | None = None
    """None: the server's default (from 1 s, doubling, to 100 s, without end)."""
    task_queue: str | None = None
    """None: the workflow's own."""
    cancellation: Cancellation = Cancellation.TRY
    """What the workflow does when it cancels the call; see `Cancellation`."""
    local_retry_threshold_ns: int | None = None
    """Of a local call: a longer back-off becomes a durable timer. None: a minute."""
    summary: str | None = None
    """One line for people; shown in the history."""

    def __post_init__(self) -> None:
        check_text(self.task_queue, "task_queue")
        check_text(self.summary, "summary")
        if self.start_to_close_ns is None and self.schedule_to_close_ns is None:
            object.__setattr__(self, "start_to_close_ns", DEFAULT_START_TO_CLOSE_NS)


def activity_options(
    base: ActivityOptions | None = None,
    *,
    start_to_close_timeout: Duration | None = None,
    schedule_to_close_timeout: Duration | None = None,
    schedule_to_start_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    retry: Retry | None = None,
    task_queue: str | None = None,
    cancellation: Cancellation | str | None = None,
    local_retry_threshold: Duration | None = None,
    summary: str | None = None,
) -> ActivityOptions:
    """Options as users write them, over those of `base`; what is None keeps the base's value."""
    base = base or ActivityOptions(schedule_to_close_ns=None if schedule_to_close_timeout is None else 1)
    return ActivityOptions(
        start_to_close_ns=_over(start_to_close_timeout, base.start_to_close_ns, "start_to_close_timeout"),
        schedule_to_close_ns=_over(schedule_to_close_timeout, base.schedule_to_close_ns, "schedule_to_close_timeout"),
        schedule_to_start_ns=_over(schedule_to_start_timeout, base.schedule_to_start_ns, "schedule_to_start_timeout"),
        heartbeat_ns=_over(heartbeat_timeout, base.heartbeat_ns, "heartbeat_timeout"),
        retry=base.retry if retry is None else checked_retry(retry),
        task_queue=task_queue or base.task_queue,
        cancellation=base.cancellation if cancellation is None else cancellation_of(cancellation),
        local_retry_threshold_ns=(
            base.local_retry_threshold_ns
            if local_retry_threshold is None
            else parse_duration(local_retry_threshold, "local_retry_threshold")
        ),
        summary=base.summary if summary is None else summary,
    )


def checked_retry(value: Any) -> Retry:
    """The argument `retry` as users write it. Raises TypeError, which shows how."""
    if isinstance(value, Retry):
        return value
    shown = f"Retry(maximum_attempts={value})" if type(value) is int and value >= 0 else "Retry(...)"
    raise TypeError(f"retry must be a Retry, not {type(value).__name__}: write retry={shown}")


def _over(value: Duration | None, base_ns: int | None, what: str) -> int | None:
    return base_ns if value is None else positive_duration(value, what)

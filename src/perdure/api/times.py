"""Times and durations of the wire as integers of nanoseconds.

Everything inside perdure counts nanoseconds since the epoch (or nanoseconds of duration) in plain
integers: exact, ordered, and free to copy. The protobuf messages are made and read here alone, and whatever is
read fits a signed 64-bit integer, because that is what a store's column holds: times end on 2262-04-11.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000

LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1
_SECONDS = range(-(LONG_MAX // NS_PER_SECOND) + 1, LONG_MAX // NS_PER_SECOND)
"""Beyond these a number of seconds has no 64-bit number of nanoseconds."""


def timestamp(ns: int) -> Timestamp:
    """Nanoseconds since the epoch as the wire's timestamp."""
    seconds, nanos = divmod(ns, NS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def timestamp_ns(message: Timestamp) -> int:
    """The wire's timestamp as nanoseconds since the epoch; 0 when it is not set.

    One that no store holds: the nearest.
    """
    seconds = message.seconds
    if seconds in _SECONDS:
        return seconds * NS_PER_SECOND + message.nanos
    return LONG_MAX if seconds > 0 else LONG_MIN


def set_timestamp(message: Timestamp, ns: int) -> None:
    """Write nanoseconds since the epoch into a message in place: half the price of making one and copying it."""
    message.seconds, message.nanos = divmod(ns, NS_PER_SECOND)


def set_duration(message: Duration, ns: int) -> None:
    """Write nanoseconds into a message in place; 0 is written too, so that the field is present."""
    message.seconds, message.nanos = divmod(ns, NS_PER_SECOND)


def duration(ns: int) -> Duration:
    """Nanoseconds as the wire's duration."""
    seconds, nanos = divmod(ns, NS_PER_SECOND)
    return Duration(seconds=seconds, nanos=nanos)


def duration_ns(message: Duration) -> int:
    """The wire's duration in nanoseconds; 0 when it is not set (Temporal: no limit, or the default).

    One that no store holds: the nearest.
    """
    seconds = message.seconds
    if not seconds:  # most are not set
        return message.nanos
    if seconds in _SECONDS:
        return seconds * NS_PER_SECOND + message.nanos
    return LONG_MAX if seconds > 0 else LONG_MIN


def later(at_ns: int, length_ns: int) -> int:
    """The instant so much later, or the last that a store holds."""
    return min(at_ns + length_ns, LONG_MAX)

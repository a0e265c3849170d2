"""Time zones by name, from the tables of the machine.

The law of schedules asks a zone one thing, how far local time is ahead of UTC (`core.schedule.calendars.Zone`); the
tables behind the answer are files, so they are read here. A schedule may also bring its own, in the format of those
files (RFC 8536).
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perdure.core.schedule.calendars import Zone, utc
from perdure.core.schedule.fields import BadSpec


@lru_cache(maxsize=256)
def find_zone(name: str, data: bytes = b"") -> Zone:
    """The zone of this name (none: UTC), or the one that `data` describes. Raises BadSpec."""
    if data:
        try:
            return _zone(ZoneInfo.from_file(io.BytesIO(data), name or "zone of the schedule"))
        except (ValueError, EOFError, IndexError) as error:
            raise BadSpec("malformed time zone information") from error
    if name in ("", "UTC"):
        return utc
    try:
        return _zone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSpec(f"unknown time zone {name}") from error


def _zone(table: tzinfo) -> Zone:
    fromtimestamp = datetime.fromtimestamp

    def offset(instant_s: int) -> int:
        ahead = fromtimestamp(instant_s, UTC).astimezone(table).utcoffset()
        return 0 if ahead is None else ahead.days * 86_400 + ahead.seconds

    return offset

"""Time zones by name, from the tables of the machine.

The law of schedules asks a zone one thing, how far local time is ahead of UTC (`core.schedule.calendars.Zone`); the
tables behind the answer are files, so they are read here. A schedule may also bring its own, in the format of those
files (RFC 8536).
"""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perdure.core.schedule.calendars import Zone, utc
from perdure.core.schedule.fields import BadSpec

CHANGES_MAX = 400
"""Of the clocks, that a table of a schedule's own may list. The longest of the tables that the world uses has 243."""
_HEADER = struct.Struct(">4sc15x6I")
_DAY_S = 86_400


@lru_cache(maxsize=256)
def find_zone(name: str, data: bytes = b"") -> Zone:
    """The zone of this name (none: UTC), or the one that `data` describes. Raises BadSpec."""
    if data:
        try:
            _check_table(data)
            zone = _zone(ZoneInfo.from_file(io.BytesIO(data), name or "zone of the schedule"))
            for month in range(12):  # the rule for all later years is read when it is first asked
                zone(int(datetime(2098, month + 1, 1, tzinfo=UTC).timestamp()))
        except Exception as error:  # zoneinfo meets what it does not expect by index, by struct and by assert
            raise BadSpec("malformed time zone information") from error
        return zone
    if name in ("", "UTC"):
        return utc
    try:
        return _zone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSpec(f"unknown time zone {name}") from error


def _check_table(data: bytes) -> None:
    """What `ZoneInfo` takes from a table without a look (RFC 8536, section 3.1). Raises ValueError, struct.error.

    An offset of a day or more breaks whoever asks for it, years later; a table of thousands of changes makes each
    search go through them one by one.
    """
    begin, wide = 0, 4
    for _ in range(2):
        magic, version, is_ut, is_std, leaps, changes, kinds, characters = _HEADER.unpack_from(data, begin)
        if magic != b"TZif" or changes > CHANGES_MAX:
            raise ValueError(f"no table, or one of {changes} changes, more than {CHANGES_MAX}")
        at = begin + _HEADER.size + changes * (wide + 1)
        for kind in range(kinds):
            [offset] = struct.unpack_from(">i", data, at + 6 * kind)
            if not -_DAY_S < offset < _DAY_S:
                raise ValueError(f"an offset of {offset} s is a day or more")
        if version < b"2":
            return
        begin = at + 6 * kinds + characters + leaps * (wide + 4) + is_std + is_ut
        wide = 8


def _zone(table: tzinfo) -> Zone:
    fromtimestamp = datetime.fromtimestamp

    def offset(instant_s: int) -> int:
        ahead = fromtimestamp(instant_s, UTC).astimezone(table).utcoffset()
        return 0 if ahead is None else ahead.days * 86_400 + ahead.seconds

    return offset

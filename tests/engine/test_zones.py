"""Time zones that schedules bring along: what is malformed is refused when it comes, not when it is asked."""

from __future__ import annotations

import struct
import time
from importlib import resources
from pathlib import Path
from zoneinfo import TZPATH, available_timezones

import pytest

from perdure.core.schedule.fields import BadSpec
from perdure.engine.node.zones import CHANGES_MAX, find_zone


def table(offsets: list[int], changes: list[int], footer: bytes = b"", version: bytes = b"2") -> bytes:
    """A TZif file (RFC 8536) whose clocks go through the offsets in turn."""

    def header(count: int) -> bytes:
        return b"TZif" + version + b"\0" * 15 + struct.pack(">6I", 0, 0, 0, count, len(offsets), 4)

    kinds = b"".join(struct.pack(">iBB", offset, 0, 0) for offset in offsets) + b"AAA\0"
    turns = bytes(number % len(offsets) for number in range(len(changes)))
    if version < b"2":
        return header(len(changes)) + struct.pack(f">{len(changes)}i", *changes) + turns + kinds
    second = header(len(changes)) + struct.pack(f">{len(changes)}q", *changes) + turns + kinds
    return header(0) + kinds + second + b"\n" + footer + b"\n"


SOUND = table([0, 3600], [1_000_000_000, 1_100_000_000], b"AAA-1")


def test_a_sound_table_is_taken() -> None:
    assert find_zone("own", SOUND)(1_150_000_000) == 3600


@pytest.mark.parametrize("length", range(0, len(SOUND) - 8, 3))
def test_a_table_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(BadSpec, match="malformed" if length else "unknown time zone"):
        find_zone("own", SOUND[:length])


@pytest.mark.parametrize("offset", [86_400, 90_000, -86_400, 200_000, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("version", [b"\0", b"2"])
def test_an_offset_of_a_day_is_refused_although_it_comes_later(offset: int, version: bytes) -> None:
    with pytest.raises(BadSpec, match="malformed"):
        find_zone("own", table([0, offset], [2_000_000_000], version=version))


@pytest.mark.parametrize("footer", [b"AAA24", b"AAA-24", b"AAA99999", b"AAA0BBB24,M3.2.0,M11.1.0", b"?"])
def test_a_rule_that_cannot_be_carried_out_is_refused(footer: bytes) -> None:
    with pytest.raises(BadSpec, match="malformed"):
        find_zone("own", table([0], [], footer))


def test_clocks_that_change_all_the_time_are_refused() -> None:
    now = int(time.time())
    with pytest.raises(BadSpec, match="malformed"):
        find_zone("own", table([0, 3600], [now + 57_600 * number for number in range(CHANGES_MAX + 1)]))


def test_every_table_of_the_world_is_taken() -> None:
    taken = 0
    for name in sorted(available_timezones()):
        for place in [*map(Path, TZPATH)]:
            if (place / name).is_file():
                assert find_zone(name, (place / name).read_bytes())(1_700_000_000) is not None
                taken += 1
                break
    if not taken:  # a machine without tables of its own: the package's
        data = resources.files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes()
        assert find_zone("Europe/Berlin", data)(1_700_000_000) == 3600
        taken = 1
    assert taken

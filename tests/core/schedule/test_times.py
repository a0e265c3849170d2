"""The laws of matching times, and the hours at which clocks change."""

from __future__ import annotations

import time
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as some
from temporalio.api.schedule.v1 import CalendarSpec, ScheduleSpec

from perdure.core.schedule import jitter, text
from perdure.core.schedule.calendars import Calendar
from perdure.core.schedule.civil import date_of, day_number, day_of_week
from perdure.core.schedule.fields import BadSpec
from perdure.core.schedule.spec import PARTS_MAX, Budget, Times, Unfinished, canonical
from perdure.core.schedule.text import duration_of
from perdure.engine.node.zones import find_zone

SECOND = 1_000_000_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo")
SEED = b"a namespace and a schedule"
DAY_NS = 86_400 * SECOND

fields = some.sampled_from(("*", "0", "*/7", "1-3", "5", "2,4-6", "*/2"))
days = some.sampled_from(("*", "1-3", "31", "*/10"))
months = some.sampled_from(("*", "3-4", "10,11", "*/2"))
crons = some.builds("{} {} {} {} {}".format, fields, fields, days, months, some.sampled_from(("*", "0", "1-5", "*/2")))
instants = some.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: int(at.timestamp()))


def times(spec: dict[str, object]) -> Times:
    return Times(canonical(ParseDict(spec, ScheduleSpec()), find_zone), find_zone, SEED)


def local(spec: dict[str, object], start: str, count: int) -> list[str]:
    """The next so many, as their zone's clocks show them."""
    zone = ZoneInfo(str(spec["timezoneName"]))
    found, at_ns, all_times = [], int(datetime.fromisoformat(start).timestamp()) * SECOND, times(spec)
    for _ in range(count):
        following = all_times.next(at_ns)
        assert following is not None
        at_ns = following.at_ns
        found.append(datetime.fromtimestamp(at_ns // SECOND, zone).strftime("%d %H:%M%z"))
    return found


@given(cron=crons, zone=some.sampled_from(ZONES), start=instants)
def test_the_next_time_is_the_first_minute_that_matches(cron: str, zone: str, start: int) -> None:
    spec: dict[str, object] = {"cronString": [cron], "timezoneName": zone}
    following = times(spec).next(start * SECOND)
    first = by_looking(cron, ZoneInfo(zone), start, minutes=3 * 1440)
    if first is not None:
        assert following is not None and following.at_ns // SECOND == first
    else:
        assert following is None or following.at_ns // SECOND > start + 3 * 86_400


def by_looking(cron: str, zone: ZoneInfo, start: int, minutes: int) -> int | None:
    """Ask every minute, by its local time."""
    allowed = [expand(text, *bounds) for text, bounds in zip(cron.split(), BOUNDS, strict=True)]
    at = start - start % 60 + 60
    for _ in range(minutes):
        shown = datetime.fromtimestamp(at, zone)
        parts = (shown.minute, shown.hour, shown.day, shown.month, shown.isoweekday() % 7)
        if shown.second == 0 and all(part in values for part, values in zip(parts, allowed, strict=True)):
            return at
        at += 60
    return None


BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def expand(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        start, _, end = span.partition("-")
        first, last = (low, high) if span == "*" else (int(start), int(end or start))
        found.update(range(first, last + 1, int(step or 1)))
    return found


@given(
    cron=crons,
    zone=some.sampled_from(ZONES),
    start=instants,
    jitter_s=some.sampled_from((0, 1, 90, 86_400)),
    every=some.integers(1, 100_000),
)
def test_times_ascend_and_jitter_stays_before_the_next_one(
    cron: str, zone: str, start: int, jitter_s: int, every: int
) -> None:
    spec: dict[str, object] = {
        "cronString": [cron],
        "interval": [{"interval": f"{every}s"}],
        "timezoneName": zone,
        "jitter": f"{jitter_s}s",
    }
    some_times, at_ns = times(spec), start * SECOND
    previous = None
    for _ in range(20):
        following = some_times.next(at_ns)
        assert following is not None
        assert following.nominal_ns > at_ns
        assert following.nominal_ns <= following.at_ns <= following.nominal_ns + jitter_s * SECOND
        assert previous is None or previous.at_ns < following.nominal_ns
        assert some_times.next(at_ns) == following, "the same question has the same answer"
        previous, at_ns = following, following.nominal_ns


@given(some.dates(date(1583, 1, 1), date(2200, 12, 31)))
def test_days_are_counted_as_the_calendar_does(day: date) -> None:
    number = day_number(day.year, day.month, day.day)
    assert number == (day - date(1970, 1, 1)).days
    assert date_of(number) == (day.year, day.month, day.day)
    assert day_of_week(number) == day.isoweekday() % 7


def test_an_hour_that_the_clocks_skip_has_no_actions() -> None:
    berlin: dict[str, object] = {"cronString": ["30 2 * * *"], "timezoneName": "Europe/Berlin"}
    assert local(berlin, "2026-03-27T22:00:00+00:00", 3) == ["28 02:30+0100", "30 02:30+0200", "31 02:30+0200"]


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("America/New_York", "2026-11-01T04:30:00+00:00", ["01 01:30-0400", "01 01:30-0500", "02 01:30-0500"]),
        ("Europe/London", "2026-10-24T23:00:00+00:00", ["25 01:30+0100", "25 01:30+0000", "26 01:30+0000"]),
    ],
)
def test_an_hour_that_they_repeat_has_its_actions_twice(zone: str, start: str, expected: list[str]) -> None:
    assert local({"cronString": ["30 1 * * *"], "timezoneName": zone}, start, 3) == expected


def test_clocks_may_change_by_half_an_hour() -> None:
    island: dict[str, object] = {"cronString": ["*/20 1-2 * * *"], "timezoneName": "Australia/Lord_Howe"}
    assert local(island, "2026-10-03T14:30:00+00:00", 5) == [
        *("04 01:20+1030", "04 01:40+1030", "04 02:40+1100", "05 01:00+1100", "05 01:20+1100"),
    ]
    assert local(island, "2026-04-04T14:00:00+00:00", 4) == [
        *("05 01:20+1100", "05 01:40+1100", "05 01:40+1030", "05 02:00+1030"),
    ]


def test_a_day_that_a_country_left_out_has_no_actions() -> None:
    samoa: dict[str, object] = {"cronString": ["@daily"], "timezoneName": "Pacific/Apia"}
    assert local(samoa, "2011-12-28T12:00:00+00:00", 3) == ["29 00:00-1000", "31 00:00+1400", "01 00:00+1400"]


def test_midnight_may_be_missing() -> None:
    cairo: dict[str, object] = {"cronString": ["@daily"], "timezoneName": "Africa/Cairo"}
    assert local(cairo, "2026-04-22T00:00:00+00:00", 3) == ["23 00:00+0200", "25 00:00+0300", "26 00:00+0300"]


def test_a_zone_may_come_with_the_schedule() -> None:
    data = next(Path(root, "Asia/Tokyo") for root in zoneinfo.TZPATH if Path(root, "Asia/Tokyo").exists()).read_bytes()
    spec = ScheduleSpec(cron_string=["@daily"], timezone_name="Asia/Tokyo", timezone_data=data)
    found = Times(canonical(spec, find_zone), find_zone, SEED).next(0)
    assert found is not None and datetime.fromtimestamp(found.at_ns // SECOND, UTC).hour == 15


def test_monday_to_sunday_in_numbers_is_the_whole_week() -> None:
    week = times({"cronString": ["0 0 * * 1-7"]})
    at_ns, days = 0, set()
    for _ in range(7):
        following = week.next(at_ns)
        assert following is not None
        at_ns = following.at_ns
        days.add(day_of_week(at_ns // SECOND // 86_400))
    assert days == set(range(7))


def test_what_excludes_everything_comes_to_an_end() -> None:
    never = times({"interval": [{"interval": "1s"}], "excludeCalendar": [{"hour": "*", "minute": "*", "second": "*"}]})
    start_ns, days = int(datetime(2026, 1, 1).timestamp()) * SECOND, 0
    at_ns = start_ns
    for _ in range(5):
        with pytest.raises(Unfinished) as search:
            never.next(at_ns)
        assert search.value.after_ns > at_ns + 100 * DAY_NS, "it goes on where it ended"
        at_ns = search.value.after_ns
        days = (at_ns - start_ns) // DAY_NS
    assert days > 500


def test_a_whole_year_can_be_left_out_minute_by_minute() -> None:
    excluded = {"hour": "*", "minute": "*", "second": "*", "year": "2027"}
    spec: dict[str, object] = {"interval": [{"interval": "60s"}], "excludeCalendar": [excluded]}
    following = times(spec).next(int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()) * SECOND)
    assert following is not None and following.at_ns // SECOND == datetime(2028, 1, 1, tzinfo=UTC).timestamp()


seconds = some.sampled_from(("*", "0", "0-58", "*/2", "1-59/2", "30-59", "7"))
excluding = some.fixed_dictionaries(
    {"second": seconds, "minute": seconds, "hour": some.sampled_from(("*", "0", "0-22", "*/2", "1-23/2"))}
)


@given(
    excluded=some.lists(excluding, max_size=4),
    zone=some.sampled_from(ZONES),
    start=instants,
    every=some.sampled_from((1, 2, 7, 60, 90, 3600)),
    cron=some.sampled_from(("", "* * * * *", "*/7 1-3 * * *", "0 0 * * *")),
)
def test_the_next_time_is_the_first_that_is_not_excluded(
    excluded: list[dict[str, str]], zone: str, start: int, every: int, cron: str
) -> None:
    plain: dict[str, object] = {"interval": [{"interval": f"{every}s"}], "timezoneName": zone}
    if cron:
        plain["cronString"] = [cron]
    candidates, at_ns = times(plain), start * SECOND
    masks = [Calendar(text.calendar(ParseDict(one, CalendarSpec())), find_zone(zone)) for one in excluded]
    expected = None
    for _ in range(3_000):
        following = candidates.next(at_ns)
        assert following is not None
        at_ns = following.nominal_ns
        if not any(mask.next(at_ns // SECOND - 1) == at_ns // SECOND for mask in masks):
            expected = at_ns
            break
    found_ns = next_or_passed(times({**plain, "excludeCalendar": excluded}), start * SECOND)
    assert found_ns == expected or (expected is None and found_ns > at_ns)


def next_or_passed(some_times: Times, after_ns: int) -> int:
    """The next time, or up to where there is none."""
    try:
        found = some_times.next(after_ns)
    except Unfinished as search:
        return search.after_ns
    assert found is not None
    return found.nominal_ns


ALWAYS = {"hour": "*", "minute": "*", "second": "*"}
HOSTILE: dict[str, dict[str, object]] = {
    "everything is excluded": {"excludeCalendar": [ALWAYS] * 199},
    "all but a second an hour is": {
        "excludeCalendar": [
            {"hour": "*", "minute": "*", "second": "0-58"},
            {"hour": "*", "minute": "0-58", "second": "*"},
        ]
    },
    "even and odd seconds are": {"excludeCalendar": [{**ALWAYS, "second": s} for s in ("*/2", "1-59/2")] * 99},
    "dates that never come": {"cronString": ["0 0 31 2 *"] * 199},
    "leap days that are Sundays": {"cronString": [f"{n % 60} {n % 24} 29 2 {n % 7}" for n in range(199)]},
    "no day of the week": {"structuredCalendar": [{"second": [{}], "minute": [{}], "hour": [{}]}] * 199},
    "many intervals": {
        "interval": [{"interval": f"{n + 2}s"} for n in range(100)],
        "excludeCalendar": [ALWAYS] * 100,
    },
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_no_search_takes_long(name: str, zone: str) -> None:
    """A thousand times, or ten searches without one: others wait on the same event loop for each of them."""
    spec = {"interval": [{"interval": "1s"}], "timezoneName": zone, **HOSTILE[name]}
    if "interval" in HOSTILE[name] or "excludeCalendar" not in HOSTILE[name]:
        spec["interval"] = HOSTILE[name].get("interval", [])
    hostile, at_ns, longest_s = times(spec), int(datetime(2026, 1, 1).timestamp()) * SECOND, 0.0
    for _ in range(20):
        budget, begin = Budget(), time.process_time()
        while not budget.is_spent:
            try:
                following = hostile.next(at_ns, budget)
            except Unfinished as search:
                at_ns = search.after_ns
                break
            if following is None:
                break
            at_ns = following.nominal_ns
        longest_s = max(longest_s, time.process_time() - begin)
    assert longest_s < 0.5  # about 0.01 on a quiet machine; by the second it took a minute


def test_a_specification_has_so_many_parts_and_no_more() -> None:
    times({"cronString": ["* * * * *"] * PARTS_MAX})
    with pytest.raises(BadSpec, match="201 calendars, cron strings and intervals are more than 200"):
        times({"cronString": ["* * * * *"] * (PARTS_MAX - 100), "excludeCalendar": [{}] * 101})
    with pytest.raises(BadSpec, match="more than 128 ranges"):
        times({"structuredCalendar": [{"minute": [{"start": 1}] * 129}]})
    with pytest.raises(BadSpec, match="longer than 4096 characters"):
        times({"cronString": ["0," * 2048 + "0 0 * * *"]})
    with pytest.raises(BadSpec, match="longer than 4096 characters"):
        times({"calendar": [{"minute": "0," * 2048 + "0"}]})
    with pytest.raises(BadSpec, match="malformed time zone"):
        canonical(ScheduleSpec(timezone_data=b"TZif" * 20_000), find_zone)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h30m", 5400), ("2d", 172_800), ("1.5s", 1.5), ("-3s", -3), ("0", 0), ("100ms", 0.1), ("+1m", 60)],
)
def test_durations_in_words(text: str, expected: float) -> None:
    assert duration_of(text) == timedelta(seconds=expected) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize("text", ["", "h", "1", "1x", "1h30", ".", "1..2s"])
def test_a_duration_that_is_none(text: str) -> None:
    with pytest.raises(BadSpec, match="time: "):
        duration_of(text)


def test_the_fingerprint_needs_more_than_24_bytes() -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        jitter.fingerprint(b"x" * 24)

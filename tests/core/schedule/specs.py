"""Specifications that are put to the real server, and the stretches of time that it is asked about."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

CRONS = """0 12 13 * 5|0 12 13 * FRI,SUN|0 0 * jan-mar *|0 0 * january *|0 0 * janu *|0 0 * JAN/2 *|0 0 * * 7
0 0 * * 5-7|0 0 * * 0-7|0 0 * * sun-sat|0 0 * * sat-sun|0 0 ? * ?|5/10 * * * *|5-20/5 * * * *
*/15,3 * * * *|1,2,3 * * * *|0 0 1 1 * 2030|0 0 0 1 1 * 2030|30 0 0 1 1 * *|*/61 * * * *|5/0 * * * *
*/0 * * * *|5-3 * * * *|0 0 L * *|0 0 31 2 *|@hourly|@yearly|@annually|@monthly|@weekly|@midnight|@Daily
@reboot|@every 90|@every 90s|@every 1d|@every 1w|@every 2d3h|@every 1.5h|@every 1500ms|@every 1h/10
@every 1h/2h|@every 1h/10m|@every -1h|@every|@every 1h # comment|@daily # c2|0 0 * * * # a # b
  0   0 * * *  |0 0 * * *#x|TZ=UTC 0 0 * * *|CRON_TZ=UTC @daily|CRON_TZ=UTC @every 1h|CRON_TZ=UTC
1,,2 * * * *|, * * * *|01 * * * *|0x1 * * * *|-1 * * * *|+1 * * * *|1- * * * *|*-5 * * * *|1/ * * * *
* * * * * *|60 * * * * * *|* * * * MON#1|* * * * tues|* * * * tuesday|* * * ja *|0 0 32 * *|0 24 * * *
0 0 0 * *|0 0 * 0 *|0 0 * 13 *|0 0 * * 8|0 0 1 1 * 1999|0 0 1 1 * 2100|0 0 1 1 * 2101
0-59 0-23 1-31 1-12 0-6|# nothing|1-5,3-8 * * * *|8,1,4 * * * *|1;2 * * * *|1 -2 * * *
*/7 */5 */3 */2 */2|* * * * 1/2|* * * * * 2026/2|* * * * * 2026-2030/2|0 0 * * */7|0 0 * * 0/7
0 0 * * 2-7|0 0 * * 1-7/2|0 0 * * 6/2|0 0 * * 3/4|CRON_TZ=Nowhere/Land 0 12 * * *|0 0 29 2 *"""

CALENDARS: list[Spec] = [
    *({}, {"second": "*"}, {"minute": "*"}, {"hour": "*/2"}, {"hour": "1-5"}, {"hour": "5-1"}, {"hour": "25"}),
    *({"dayOfWeek": "MON"}, {"dayOfWeek": "7"}, {"dayOfWeek": "6-7"}, {"dayOfWeek": "fri-sun"}, {"hour": "x"}),
    *({"month": "feb,mar"}, {"year": "2030"}, {"year": "2030-2032"}, {"year": "30"}, {"year": "*/4"}, {"hour": "?"}),
    *({"hour": " 1 , 2 "}, {"hour": ""}, {"dayOfMonth": "31", "month": "2"}, {"hour": "3-5,4-6/2"}),
    *({"comment": "hello", "hour": "1"}, {"comment": "x" * 201}),
]
STRUCTURED: list[Spec] = [
    *({}, {"hour": [{"start": 3}]}, {"hour": [{"start": 3, "end": 9, "step": 100}]}, {"hour": [{"start": 25}]}),
    *({"hour": [{"start": 3}, {"start": 1}]}, {"dayOfWeek": [{"start": 0, "end": 7}]}, {"month": [{}]}),
    *({"hour": [{"start": -1}]}, {"hour": [{"start": 3, "end": 2}]}, {"hour": [{"start": 5, "end": 30}]}),
    *({"hour": [{"start": 5, "end": 7, "step": -1}]}, {"dayOfMonth": [{"start": 0}]}, {"year": [{"start": 2101}]}),
    *({"month": [{"start": 3}], "dayOfMonth": [{"start": 30, "end": 31}]}, {"comment": "x" * 300}),
]
OTHERS: list[Spec] = [
    {},
    {"interval": [{"interval": "0s"}]},
    {"interval": [{"interval": "0.5s"}]},
    {"interval": [{}]},
    {"interval": [{"interval": "10s", "phase": "11s"}]},
    {"interval": [{"interval": "10s", "phase": "-1s"}]},
    {"interval": [{"interval": "10s"}], "timezoneName": "Mars/Base"},
    {"timezoneData": "Zm9v"},
    {"interval": [{"interval": "60s"}], "jitter": "-1s"},
    {"cronString": ["CRON_TZ=Europe/Berlin 0 12 * * *", "TZ=Asia/Tokyo 0 12 * * *"]},
    {"cronString": ["CRON_TZ=Europe/Berlin 0 12 * * *"], "timezoneName": "UTC"},
    {"cronString": ["CRON_TZ=Europe/Berlin 0 12 * * *", "CRON_TZ=Europe/Berlin 0 13 * * *", "0 14 * * *"]},
    {"cronString": ["@every 1h/20m", "@daily"], "calendar": [{"hour": "3"}], "structuredCalendar": [{}]},
    {"startTime": "2030-01-01T00:00:00Z", "endTime": "2029-01-01T00:00:00Z", "cronString": ["@daily"]},
    {"interval": [{"interval": "3600s"}], "excludeCalendar": [{"hour": "*"}]},
    {"interval": [{"interval": "3600s"}], "excludeCalendar": [{"hour": "3-22"}]},
    {"interval": [{"interval": "86400s"}], "excludeCalendar": [{"hour": "*", "minute": "*", "year": "2027-2090"}]},
    {
        "interval": [{"interval": "60s"}],
        "excludeCalendar": [{"hour": "*", "minute": "*", "second": "*", "dayOfWeek": "MON-FRI"}],
        "timezoneName": "America/New_York",
    },
]
WEST = ("America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Chicago")
"""Where the real server is right about hours that the clocks skip or repeat: one hour, not at midnight."""
STEADY = ("", "UTC", "Asia/Tokyo", "Asia/Kolkata", "America/Phoenix")

ORDINARY = (("2026-01-15T00:00:00Z", "2026-02-10T00:00:00Z"), ("2028-02-27T00:00:00Z", "2029-03-02T00:00:00Z"))
CHANGES = (
    ("2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z"),
    ("2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z"),
)
"""Around the days on which clocks change."""


def specs() -> Iterator[tuple[Spec, tuple[tuple[str, str], ...]]]:
    """Each with its windows (start, end)."""
    for cron in CRONS.replace("\n", "|").split("|"):
        yield {"cronString": [cron]}, ORDINARY
    for calendar in CALENDARS:
        yield {"calendar": [calendar]}, ORDINARY
    for calendar in STRUCTURED:
        yield {"structuredCalendar": [calendar]}, ORDINARY
    for spec in OTHERS:
        yield spec, ORDINARY
    dice = random.Random(1)
    for _ in range(150):
        yield _generated(dice, dice.choice(STEADY)), (*ORDINARY, *CHANGES[:1])
    for _ in range(150):
        yield _generated(dice, dice.choice(WEST)), (*ORDINARY, *CHANGES)


def _generated(dice: random.Random, zone: str) -> Spec:
    spec: Spec = {"timezoneName": zone} if zone else {}
    for _ in range(dice.choice((1, 1, 2))):
        kind = dice.random()
        if kind < 0.7:
            spec.setdefault("cronString", []).append(_cron(dice))
        elif kind < 0.85:
            seconds = dice.choice((60, 90, 3600, 7000, 86400, 100_000, 604_800))
            phase = f"{dice.randrange(seconds)}s"
            spec.setdefault("interval", []).append({"interval": f"{seconds}s", "phase": phase})
        else:
            hours, minutes = _field(dice, 0, 23), _field(dice, 0, 59)
            spec.setdefault("calendar", []).append({"hour": hours, "minute": minutes, "month": "1-4,9,nov"})
    if dice.random() < 0.3:
        excluded = {"hour": _field(dice, 0, 23), "minute": _field(dice, 0, 59), "second": "*"}
        spec["excludeCalendar"] = [{**excluded, "dayOfWeek": _field(dice, 0, 6)}]
    if dice.random() < 0.3:
        spec["jitter"] = dice.choice(("1s", "30s", "600s", "7200s"))
    if dice.random() < 0.2:
        spec["startTime"] = "2026-02-01T00:00:00.500Z"
    if dice.random() < 0.2:
        spec["endTime"] = "2028-11-03T01:00:00Z"
    return spec


def _cron(dice: random.Random) -> str:
    fields = [_field(dice, 0, 59), _field(dice, 0, 23)]
    for low, high in ((1, 31), (1, 12), (0, 6)):
        fields.append(_field(dice, low, high) if dice.random() < 0.4 else "*")
    return " ".join(fields)


def _field(dice: random.Random, low: int, high: int) -> str:
    if dice.random() < 0.3:
        return "*"
    parts: list[str] = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        start = dice.randint(low, high)
        end = dice.randint(start, high)
        forms = (f"{start}", f"{start}-{end}", f"*/{dice.randint(1, 12)}", f"{start}-{end}/{dice.randint(1, 7)}")
        parts.append(dice.choice(forms))
    return ",".join(parts)

"""What nobody should send, by kind: edges of what fits, what has broken servers before, and what looks like it fits."""

from __future__ import annotations

import math

LONG_MAX = (1 << 63) - 1

INTEGERS = (0, 1, -1, 2, 7, 1000, 1001, (1 << 31) - 1, -(1 << 31), 1 << 53, LONG_MAX, -LONG_MAX - 1, 10**11, 10**18)
FLOATS = (math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-308, -1.0, 0.0, 0.5, 1.0, 2.0, 1e18)

SECONDS = (
    *(0, 1, -1, 60, 3600, 10**9, 3_153_600_000, 3_153_600_001, 9_223_372_036, 9_223_372_037, 10**10, 10**11, 10**12),
    *(315_576_000_000, 315_576_000_001, 253_402_300_799, 253_402_300_800, -62_135_596_800, -62_135_596_801),
    *(10_413_792_000, 4_102_444_800, 1_800_000_000, LONG_MAX, -LONG_MAX - 1, 10**18),
)
"""Of durations and instants."""
NANOS = (*[0] * 20, 1, 999_999_999, 1_000_000_000, -1, -999_999_999, (1 << 31) - 1, -(1 << 31))
"""Mostly none: seconds are what it is about."""

TEXTS = (
    *("", " ", "\0", "x" * 1001, "y" * 5000, "\u202e\u0000", "\U0001f600" * 300, "%s%d{}", "../../etc"),
    *("'; DROP TABLE executions; --", "-1", "0", "9" * 400, "1e999", "NaN", "null", "[[[", "\r\n\x1b[31m"),
)

CRONS = (
    *(
        "@every 1h",
        "* * * * *",
        "0 0 31 2 *",
        "@every 0s",
        "@every -1h",
        "@every .s",
        "@every 1h30m # why",
        "@yearly/2",
    ),
    *(
        "@every 1000000h",
        "@every 2562047h",
        "@every 2562048h",
        "@every " + "9" * 400 + "s",
        "@every " + "9" * 5000 + "s",
    ),
    *("@every 1." + "9" * 5000 + "s", "@every 1h/" + "9" * 30 + "s", "@every 9" + "9" * 400 + ".5s"),
    *("*/0 * * * *", "60 * * * *", "CRON_TZ=Nowhere/At_All 0 0 * * *", "TZ=", "@daily", "a b c d e"),
    *("0 12 * * MON-FRI 2030", "0 12 * * * 99999999999999"),
)

QUERIES = (
    *("", "WorkflowId = 'w0'", "Number > 99999999999999999999", "Share < 1e999", "(" * 100, "'", "\0"),
    "ORDER BY " + ", ".join(["StartTime"] * 180),
    "StartTime < '9999-12-31T00:00:00Z' AND CloseTime IS NULL",
    *("StartTime > 9223372036854775808", "ExecutionDuration > '9' ORDER BY RunId", "HistoryLength > 1e308"),
    "Moment BETWEEN '0001-01-01T00:00:00Z' AND '2300-01-01T00:00:00Z'",
    *("ExecutionDuration = '" + "9" * 90 + "h'", "Number IN (1, -1, 1.5)", "Word STARTS_WITH 'a' OR NOT Word = 'b'"),
    *("ExecutionStatus = 'Paused' GROUP BY ExecutionStatus", "TaskQueue = 'q0'", "ScheduleId = 's0'"),
    *("Status = 'Running' AND HostName != \"h\"", "Number = 0x1F"),
)

JSONS = (
    *(b"1", b'"a"', b"[]", b"null", b'["a", "b"]', b"true", b"1.5"),
    *(b"9" * 400, b"-9223372036854775809", b"1e400", b"NaN", b"", b'"\xff"', b'"' + b"x" * 3000 + b'"'),
    *(b"[" * 1500, b"[" * 900 + b"]" * 900, b'{"a":' * 300),
    *(b'"2300-01-01T00:00:00Z"', b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:60Z"'),
)
"""The first seven are well formed."""
WELL_FORMED = JSONS[:7]

TOKENS = (
    *(b"", b"abc", b"\xff\xfe", b"\x91" * 2000, b"\xdd\xff\xff\xff\xff", b"\xc0", b"\0" * 16, b"w0", b"\x84\xa1a\x01"),
    *(b"\x93\xa1\xff\x01\x01", b"\x92\xa1a\xcf" + b"\xff" * 8, b"\x93\xcf" + b"\xff" * 8 + b"\x01\x01"),
    *(b"\x93\xcb\x7f\xf8" + b"\0" * 6 + b"\x01\x01", b"\x93\xa1a\x01\x01" + b"\x91" * 2000),
)
PARTS = (-1, 0, 1, 1 << 40, LONG_MAX, (1 << 64) - 1, "x", "", None, [], 1.5, math.nan, b"\xff\xff", ["a", "b", "c"])
"""For one place of a token that is otherwise ours."""
ZONE_TABLES = (b"TZif2" + b"\xff" * 60, b"TZif", b"TZif2" + b"\0" * 39)

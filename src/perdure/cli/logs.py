"""The log of a server: a line for each record with time and level, on standard error, and no line without end.

What one client can make a server say, it can make it say a thousand times a second. So of records that came out of the
same line of code only the first few in ten seconds are written; the next one behind them says how many were left out.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
WINDOW_S = 10.0
IN_A_WINDOW = 10
"""Records of one line of code that are written in a window."""
_PLACES_MAX = 1_000

Place = tuple[str, int, int]


class RateLimit(logging.Filter):
    """Lets the first few records of each line of code through. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[Place, tuple[float, int]] = {}
        """When the present one began, and how many records came in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`. A record that follows others that were left out says so, as `left_out`."""
        place = (record.pathname, record.lineno, record.levelno)
        now = self._clock()
        began, count = self._windows.get(place, (now, 0))
        left_out = 0
        if now - began >= WINDOW_S:
            left_out = max(0, count - IN_A_WINDOW)
            began, count = now, 0
        if place not in self._windows and len(self._windows) >= _PLACES_MAX:
            self._windows.clear()
        self._windows[place] = began, count + 1
        record.left_out = left_out
        return count < IN_A_WINDOW


class TextFormatter(logging.Formatter):
    """`2026-03-02T12:00:00.123Z WARNING perdure.engine.duties.outbox: what happened`; of one process of several
    (`process` is its number) `... WARNING [2] perdure...`."""

    def __init__(self, process: int = 0) -> None:
        super().__init__()
        self._process = f"[{process}] " if process else ""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`; a traceback follows on lines of its own."""
        line = f"{_time_of(record)} {record.levelname} {self._process}{record.name}: {_message_of(record)}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """An object for each line: time, level, logger, message, the traceback as `exception`, and the number of this
    process among several as `process`."""

    def __init__(self, process: int = 0) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        told: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message_of(record),
        }
        if self._process:
            told["process"] = self._process
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message_of(record: logging.LogRecord) -> str:
    left_out = getattr(record, "left_out", 0)
    message = record.getMessage()
    return f"{message} [{left_out} more like the one before were left out]" if left_out else message


def set_up(level: str, form: str, stream: TextIO | None = None, *, process: int = 0) -> None:
    """Write the log of this process: records from `level` on (one of LEVELS), as `form` (one of FORMATS) says.

    `process`: its number, where several write to the same place.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process) if form == "json" else TextFormatter(process))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

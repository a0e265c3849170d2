"""Where the time comes from.

Core is told the time, the engine is given a clock: a simulation hands in its own, and all timers go
through the running event loop, so that a loop with virtual time moves everything at once.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    now_ns = staticmethod(time.time_ns)

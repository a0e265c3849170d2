"""What stands in place of the world in a test: a clock that begins where it says, ids from a seed, patient polls."""

from __future__ import annotations

import random
from collections.abc import Callable

from perdure.engine.node.config import EngineConfig
from perdure.engine.node.ids import TimeOrderedIds
from perdure.testing.virtual_time import VirtualTimeLoop

SECOND_NS = 1_000_000_000
YEAR_NS = 365 * 86400 * SECOND_NS
DEFAULT_EPOCH_NS = 1_735_689_600 * SECOND_NS
"""2025-01-01 00:00 UTC: where tests begin unless they say otherwise."""

_NEVER_NS = 100 * YEAR_NS


class TestClock:
    """Wall-clock time of a test: `epoch_ns` and whatever time the loop has skipped since."""

    __test__ = False

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self._readings_left = 0
        self._enough: Callable[[], object] | None = None
        self.loop: VirtualTimeLoop | None = None
        """Set when the engine is opened on it."""

    def limit(self, readings: int, enough: Callable[[], object] | None) -> None:
        """Call `enough` when the clock was read so often from now on: every decision of the engine reads it."""
        self._readings_left = readings
        self._enough = enough

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        if self._enough is not None:
            self._readings_left -= 1
            if not self._readings_left:
                self._enough()
        return self._epoch_ns + (self.loop.now_ns if self.loop is not None else 0)


def seeded_ids(clock: TestClock, seed: int) -> Callable[[], str]:
    """The same ids for the same seed, in the same order."""
    return TimeOrderedIds(clock, random.Random(seed).getrandbits)


def patient_config() -> EngineConfig:
    """Waits last as long as it takes: skipped months must not be spent on asking again every minute."""
    return EngineConfig(
        workers_died=True,
        long_poll_ns=_NEVER_NS,
        wake_recheck_ns=_NEVER_NS,
        polled_ns=_NEVER_NS,
        history_wait_ns=_NEVER_NS,
        update_wait_ns=_NEVER_NS,
        learns_search_attributes=True,
    )

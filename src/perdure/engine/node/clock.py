"""Where the time comes from.

Core is told the time, the engine is given a clock: a simulation hands in its own, and all timers go
through the running event loop, so that a loop with virtual time moves everything at once.

A wall clock can be set. Whoever asks a `WatchedClock` for the time makes it look whether that has happened: so it is
known before the first instant of the new time is written down anywhere.

Of a fleet one machine's clock may be set, to a wrong time or back to the right one. Whose time is right is said by the
other nodes (`perdure.engine.duties.nodes`); until they have said so, and as long as they say that it is not this one's,
the time goes on here as before: it is *held*.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    now_ns = staticmethod(time.time_ns)


_SECOND_NS = 1_000_000_000
_SET_NS = 2 * _SECOND_NS
"""A difference from one look to the next that is no drift: NTP slews a clock by half a thousandth at most."""
_LOOK_NS = _SECOND_NS // 10
_GLANCE_NS = _SECOND_NS // 2
"""The wall clock alone, when it has gone forward by less since it was compared, has not been set by what matters."""
_LOOKS_MAX = 5


class Jump(NamedTuple):
    """The wall clock was set."""

    by_ns: int
    """Negative: back."""
    since_ns: int
    """The first instant of the new time."""

    @property
    def old_ns(self) -> int:
        """The same instant by the old time."""
        return self.since_ns - self.by_ns


class WatchedClock:
    """`clock`, which calls `was_set(jump)` when it has jumped against a clock that cannot be set.

    Until `start` it only tells the time. Asked on the event loop's thread alone.

    Attributes:
        held_ns: by how much the machine's clock is ahead of the time that is told.
        machine_ns: what the machine's clock says.
    """

    def __init__(self, clock: Clock, was_set: Callable[[Jump], None]) -> None:
        self.machine_ns = self._wall_ns = clock.now_ns
        self.held_ns = 0
        self._was_set = was_set
        self._steady_s: Callable[[], float] | None = None
        self._offset_ns = 0
        self._compared_ns = 0
        """Wall-clock time of the last comparison."""

    def start(self, steady_s: Callable[[], float]) -> None:
        """Watch it; `steady_s` gives seconds and is never set, such as an event loop's `time`."""
        self._steady_s = steady_s
        self._offset_ns = self._wall_ns() - round(steady_s() * _SECOND_NS)

    def accept(self) -> None:
        """The clock was set on purpose, by whoever gave it to the engine: the new time is the time."""
        if self._steady_s is not None:
            self.start(self._steady_s)

    def hold(self, by_ns: int) -> None:
        """The clock was set by so much: go on by the time before."""
        machine_ns, held_ns = self.machine_ns, self.held_ns + by_ns
        self.held_ns = held_ns
        self._wall_ns = (lambda: machine_ns() - held_ns) if held_ns else machine_ns
        self.accept()

    def follow(self) -> None:
        """The machine's time is the time."""
        self.hold(-self.held_ns)

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        wall_ns = self._wall_ns()
        if 0 <= wall_ns - self._compared_ns < _GLANCE_NS or self._steady_s is None:
            return wall_ns
        self._compared_ns = wall_ns
        offset_ns = wall_ns - int(self._steady_s() * _SECOND_NS)
        if -_SET_NS < offset_ns - self._offset_ns < _SET_NS:
            self._offset_ns = offset_ns
            return wall_ns
        return self._look_closely(self._steady_s)

    def _look_closely(self, steady_s: Callable[[], float]) -> int:
        """The process may have stood still between the two clocks: then neither was set."""
        wall_ns = offset_ns = 0
        for _ in range(_LOOKS_MAX):
            before_s = steady_s()
            wall_ns = self._wall_ns()
            offset_ns = wall_ns - int(before_s * _SECOND_NS)
            if (steady_s() - before_s) * _SECOND_NS < _LOOK_NS:
                break
        by_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(by_ns) >= _SET_NS:
            self._was_set(Jump(by_ns, wall_ns))
        return self._wall_ns()

"""Who held the event loop: one thread carries every client, so what runs long there is everybody's wait.

The loop strikes a bell every twentieth of a second. A thread listens; when the bell is late it looks what the loop is
doing at that moment: the RPC or the service whose task runs, or else the function, and what that works on.
When the loop is free again the stall is counted under that name and told in the log. Nothing of this is on the way
of a call.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from perdure.engine.node.signal import Signal

_log = logging.getLogger(__name__)

BEAT_S = 0.05
LAG_S = 0.1
"""A loop that is so late stood still."""
HANGING_S = 5.0
"""A stall is told while it lasts when it has lasted so long."""
TOLD_EVERY_S = 10.0
"""Stalls under one name are told so often; those between are counted."""
_HOME = str(Path(__file__).parents[2]) + "/"
"""Of perdure's own code."""


@dataclass(slots=True)
class Stalls:
    """What was counted under one name since the start."""

    count: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    untold: int = 0
    told_at: float = field(default=-TOLD_EVERY_S)


class LagWatch:
    """Watches the loop that `start` is called on. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.stalls: dict[str, Stalls] = {}
        """By what held the loop."""
        self._beat_at = 0.0
        self._seen: Counter[tuple[str, str]] = Counter()
        """Of the present stall: who was seen at work (name and place), and how often."""
        self._has_told_hanging = False
        self._thread: threading.Thread | None = None
        self._ends = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.noticed = threading.Event()
        """Set by the thread when it has looked at a stall."""
        self.strokes = Signal()
        """Emitted with every stroke of the bell."""

    def start(self) -> None:
        """Begin to strike and to listen."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._strike()
        self._thread = threading.Thread(target=self._listen, name="perdure-lag", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be had: stalls are counted, and not named
            _log.warning("who holds the event loop is not watched: %s", error)

    def stop(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._ends.set()

    # --- on the loop ----------------------------------------------------------------------------

    def _strike(self) -> None:
        now = self._clock()
        late_s = now - self._beat_at - BEAT_S if self._beat_at else 0.0
        if late_s > LAG_S:
            self._count(now, late_s)
        self._seen.clear()
        self._has_told_hanging = False
        self._beat_at = now
        self._timer = self._loop.call_later(BEAT_S, self._strike)
        self.strokes.emit()

    def _count(self, now: float, late_s: float) -> None:
        [((name, place), _)] = self._seen.most_common(1) or [(("unknown", "nobody looked in time"), 0)]
        stalls = self.stalls.setdefault(name, Stalls())
        stalls.count += 1
        stalls.seconds += late_s
        stalls.longest_s = max(stalls.longest_s, late_s)
        if now - stalls.told_at < TOLD_EVERY_S:
            stalls.untold += 1
            return
        others = f"; {stalls.untold} times more since this was last told" if stalls.untold else ""
        stalls.told_at, stalls.untold = now, 0
        _log.warning("the event loop stood still for %d ms: %s (%s)%s", late_s * 1000, name, place, others)

    # --- beside it ------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._ends.wait(BEAT_S):
            late_s = self._clock() - self._beat_at - BEAT_S
            if late_s < LAG_S / 2:
                continue
            frames: Any = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented, whatever its name
            frame: FrameType | None = frames.get(self._loop_thread)
            if frame is None:
                return  # the loop's thread has ended
            name, place = self._at_work(frame)
            self._seen[name, place] += 1
            self.noticed.set()
            if late_s > HANGING_S and not self._has_told_hanging:
                self._has_told_hanging = True
                _log.warning("the event loop has stood still for %d s, and does: %s (%s)", late_s, name, place)

    def _at_work(self, innermost: FrameType) -> tuple[str, str]:
        """A name for what runs, and the place in the code."""
        place = ""
        told = ""
        for frame in _outwards(innermost):
            path, function = frame.f_code.co_filename, frame.f_code.co_name
            if not path.startswith(_HOME):
                continue
            place = place or f"{path.removeprefix(_HOME)}:{frame.f_lineno} {function}"
            told = _TELLING[function](frame) if function in _TELLING else ""
            if told:
                break
        task = asyncio.current_task(self._loop)
        if not told and task is not None:
            name = task.get_name()
            told = name if not name.startswith("Task-") else getattr(task.get_coro(), "__qualname__", name)
        return told or place.partition(" ")[2] or "outside of perdure", place or innermost.f_code.co_name


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _of_rpc(frame: FrameType) -> str:
    """`Transport._start`: a request is decoded before it has a task."""
    rpc: Any = frame.f_locals.get("rpc")
    return getattr(rpc, "name", "")


def _of_commands(frame: FrameType) -> str:
    """`Mailboxes._decide`: commands of many RPCs are decided in one turn of the loop."""
    calls: Any = frame.f_locals.get("calls") or ()
    return ", ".join(sorted({type(call.command).__name__ for call in calls}))


_TELLING: dict[str, Callable[[FrameType], str]] = {"_start": _of_rpc, "_decide": _of_commands}
"""Functions that know better than their task what they work on."""

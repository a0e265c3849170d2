"""The interpreter's cycle collector, which looks less often while an engine is open.

Out of the box it looks through the youngest objects at every 700th that is made, and an engine makes
a few thousand for each workflow, all but none of them in cycles: a tenth of all its time went into
looking. At every 10,000th it finds the same, later by a moment. A program that has set the threshold
higher, or has switched the collector off, is left alone; when the last engine of the process is
closed, everything is as it was.
"""

from __future__ import annotations

import gc
import threading

YOUNGEST = 10_000
"""Objects made and not freed before the collector looks through them."""

_lock = threading.Lock()
_open_engines = 0
_before: tuple[int, int, int] | None = None
"""The thresholds that are to come back."""


def relax() -> None:
    """An engine opens."""
    global _open_engines, _before
    with _lock:
        _open_engines += 1
        youngest, *older = thresholds = gc.get_threshold()
        if _before is None and 0 < youngest < YOUNGEST:
            _before = thresholds
            gc.set_threshold(YOUNGEST, *older)


def restore() -> None:
    """An engine that has called `relax` is closed."""
    global _open_engines, _before
    with _lock:
        _open_engines -= 1
        if _open_engines == 0 and _before is not None:
            if gc.get_threshold()[0] == YOUNGEST:
                gc.set_threshold(*_before)
            _before = None

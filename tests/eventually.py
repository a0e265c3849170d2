"""Waiting for what another thread, process or server does, when there is no event of it to wait for.

A bare `while not so: pass` hangs the whole suite when the code under test stops doing it. Here the wait ends, and says
what it waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
"""Far beyond what any of it takes, even on a machine that does ten things at once."""


def eventually(look: Callable[[], T], what: str) -> T:
    """The first true thing that `look` returns. Fails when there was none in a minute, and says `what` was awaited."""
    end = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE_S:.0f} s for this in vain: {what}; the last look showed {found!r}")
        time.sleep(0.002)  # the other side has no event of this thread to wait for
    return found

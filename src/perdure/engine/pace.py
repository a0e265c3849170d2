"""Work on the event loop that takes long, done a little at a time: others have their turn in between."""

from __future__ import annotations

import asyncio
import time

SLICE_S = 0.005
"""How long others wait for a call that does much, each time."""


class Pace:
    """Of one call. `await rest()` between two of its steps, of which none takes long by itself."""

    __slots__ = ("_begin",)

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    async def rest(self) -> None:
        """Nothing, nearly always; when a slice is used up, everybody else's turn."""
        if time.perf_counter() - self._begin > SLICE_S:
            await asyncio.sleep(0)
            self._begin = time.perf_counter()

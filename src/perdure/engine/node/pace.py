"""Work on the event loop that takes long, done a little at a time: others have their turn in between."""

from __future__ import annotations

import asyncio
import time
from collections import deque

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


class Turnstile:
    """Where many who have something to do at the same moment begin one after another, each in a turn of its own."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_turning = False

    async def enter(self) -> None:
        """Wait for one's turn of the event loop, in order of arrival."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if not self._is_turning:
            self._is_turning = True
            loop.call_soon(self._turn, loop)
        await turn

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        self._is_turning = bool(self._waiting)
        if self._is_turning:
            loop.call_soon(self._turn, loop)

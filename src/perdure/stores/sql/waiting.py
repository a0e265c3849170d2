"""How long is waited for a database that is not there, and who waits for a write that nobody wants any more."""

from __future__ import annotations

import asyncio
import random

from perdure.stores.encoding import Written

_PAUSES_S = (0.05, 2.0)
"""Between two tries to connect: the first pause, and the longest one."""


class Patience:
    """Pauses between tries, doubled and by chance, until it has lasted too long."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = asyncio.get_running_loop().time() + seconds
        self._pause_s = _PAUSES_S[0]
        self._is_short = False

    @property
    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._ends_at

    def extend(self, seconds: float) -> None:
        """At least so long from now on."""
        self._ends_at = max(self._ends_at, asyncio.get_running_loop().time() + seconds)

    def shorten(self, seconds: float) -> None:
        """At most so long from now on, whatever was said before; of two that say so the first."""
        now = asyncio.get_running_loop().time()
        if not self._is_short:
            self._is_short, self._ends_at = True, min(self._ends_at, now + seconds)

    async def pause(self) -> None:
        """Let some time pass."""
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))
        self._pause_s = min(2 * self._pause_s, _PAUSES_S[1])


async def finish(writing: asyncio.Task[list[Written]]) -> list[Written]:
    """What a write gives, which is ended by nobody: who does not wait for it any more waits until it is over."""
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        if not writing.done():
            await asyncio.wait([writing])
        raise

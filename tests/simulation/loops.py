"""Several event loops under one clock: the machines of a fleet, each on its own, in one thread.

In every round each loop that has something to do takes one turn, in an order that chance draws. When none has, the
clock of all moves to the earliest timer of any. Nothing passes from one loop to another but what is handed over with
`call_soon` or `call_later`, so dropping one loop is cutting the power of one machine: the others know nothing of it.

While nothing happens anywhere, time moves in steps that grow with the silence, as if all machines were put to sleep for
a while: a month in which nodes look up every second is not a million looks. So timers may be late by two fifths of the
silence, and by nothing while there is something to do.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from perdure.testing import VirtualTimeLoop, abandon

SECOND_NS = 1_000_000_000
SILENCE_NS = 4 * SECOND_NS
"""So long the clock moves from timer to timer."""
STUCK_NS = 1_500 * 86_400 * SECOND_NS
"""No program is silent for so long."""


class Stuck(AssertionError):
    """Nothing will ever become durable again, and the program has not ended."""


class Machine(VirtualTimeLoop):
    """The loop of one machine."""

    @property
    def is_due(self) -> bool:
        """Whether a timer has run out; as asyncio itself compares."""
        return bool(self._scheduled) and self._scheduled[0].when() < self.time() + self._clock_resolution

    @property
    def waits(self) -> bool:
        """Whether any timer is set."""
        return bool(self._scheduled)


class Loops:
    """See the module's text.

    Args:
        chance: draws the order of turns.

    Attributes:
        now_ns: nanoseconds since the beginning.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._loops: list[Machine] = []
        self._frozen: dict[Machine, int] = {}
        self._doomed: list[Machine] = []
        self._stirred_ns = 0
        self.now_ns = 0

    def make(self) -> Machine:
        """Another machine."""
        loop = Machine()
        loop.advance(self.now_ns)
        self._loops.append(loop)
        return loop

    def __contains__(self, loop: Machine) -> bool:
        """Whether it still runs."""
        return loop in self._loops and loop not in self._doomed

    def drop(self, loop: Machine) -> None:
        """Cut its power at the end of its turn: what runs on it gets no last word. Safe to call on it."""
        self._doomed.append(loop)

    def freeze(self, loop: Machine, seconds: float) -> None:
        """Have it stand still from the end of its turn on, while the others and the time go on."""
        self._frozen[loop] = self.now_ns + round(seconds * SECOND_NS)

    def stir(self) -> None:
        """Something happened: time passes slowly again."""
        self._stirred_ns = self.now_ns

    def run(self, until: Callable[[], bool]) -> None:
        """Take turns until it holds. Raises Stuck."""
        while not until():
            ready = [loop for loop in self._loops if self._is_ready(loop)]
            self._chance.shuffle(ready)
            for loop in ready:
                loop.stop()
                loop.run_forever()  # one turn
                self._bury()
            if not ready:
                self._pass_time()

    def end(self) -> None:
        """Drop all."""
        self._doomed = list(self._loops)
        self._bury()

    def _is_ready(self, loop: Machine) -> bool:
        if loop in self._frozen:
            if self.now_ns < self._frozen[loop]:
                return False
            del self._frozen[loop]
            self.stir()
        return loop.is_busy() or loop.is_due

    def _bury(self) -> None:
        for loop in self._doomed:
            if loop in self._loops:
                self._loops.remove(loop)
                self._frozen.pop(loop, None)
                abandon(loop)
        self._doomed.clear()

    def _pass_time(self) -> None:
        """Move every clock to the earliest timer, or a little beyond."""
        silence_ns = self.now_ns - self._stirred_ns
        if silence_ns > STUCK_NS:
            raise Stuck(f"nothing has become durable for {silence_ns / 86_400 / SECOND_NS:.0f} days")
        now_ns = self._earliest_ns() + max(0, silence_ns - SILENCE_NS) * 2 // 5
        self.now_ns = max(now_ns, self.now_ns)
        for loop in self._loops:
            loop.advance(self.now_ns - loop.now_ns)

    def _earliest_ns(self) -> int:
        moments = list(self._frozen.values())
        for loop in self._loops:
            if loop not in self._frozen and loop.waits:
                loop.jump()
                moments.append(loop.now_ns)
        if not moments:
            raise Stuck("nobody waits for anything that can come")
        return min(moments)

"""What nodes say to one another through the store, and what becomes of it on the way.

A notice may be lost, come late, come twice, or overtake another. Whoever has lost one is told so (a *gap*) a little
later, as a channel does that notices its own loss; now and then nobody notices, and then nothing but looking up now and
then helps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure.stores.api import Hear
from tests.simulation.loops import Machine

LOST = 0.15
UNNOTICED = 0.2
"""Of those that are lost."""
TWICE = 0.1
LATE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Ear:
    machine: Machine
    channel: str
    hear: Hear


class Network:
    """See the module's text.

    Args:
        chance: draws what becomes of notices.
        is_up: whether a machine still runs.
        tell: is told what is lost.
    """

    def __init__(self, chance: random.Random, is_up: Callable[[Machine], bool], tell: Callable[[str], object]) -> None:
        self._chance = chance
        self._is_up = is_up
        self._tell = tell
        self._ears: list[_Ear] = []

    def listen(self, machine: Machine, channel: str, hear: Hear) -> None:
        """See `Store.listen`."""
        self._ears.append(_Ear(machine, channel, hear))

    def notify(self, sender: Machine, channel: str, notices: Sequence[bytes]) -> None:
        """See `Store.notify`: to all other machines."""
        self._ears = [ear for ear in self._ears if self._is_up(ear.machine)]
        for ear in self._ears:
            if ear.channel == channel and ear.machine is not sender:
                for notice in notices:
                    self._send(ear, notice)

    def _send(self, ear: _Ear, notice: bytes) -> None:
        fate = self._chance.random()
        if fate < LOST:
            self._lose(ear)
            return
        ear.machine.call_later(self._delay_s(fate < LOST + LATE), ear.hear, notice)
        if self._chance.random() < TWICE:
            ear.machine.call_later(self._delay_s(is_late=True), ear.hear, notice)

    def _lose(self, ear: _Ear) -> None:
        if self._chance.random() < UNNOTICED:
            self._tell(f"a notice on {ear.channel} is lost, and nobody notices")
            return
        self._tell(f"a notice on {ear.channel} is lost")
        ear.machine.call_later(self._delay_s(is_late=True), ear.hear, None)

    def _delay_s(self, is_late: bool) -> float:
        return self._chance.uniform(0.05, 5.0) if is_late else self._chance.uniform(0.0002, 0.01)

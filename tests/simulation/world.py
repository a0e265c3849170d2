"""The world outside the engine: services that remember, and what they were asked to do.

It outlives every crash. A service honours idempotency keys: the effect of a key happens once, and
asking again gives the same answer. How often an activity still fails depends on how often the world
was asked with that key, not on what the engine remembers of it.
"""

from __future__ import annotations

from collections import Counter

from tests.simulation.crashing import Disk
from tests.simulation.programs import Act


class World:
    """See the module's text.

    Args:
        stalls: nodes may stand still, and afterwards begin what was given to others meanwhile: nobody told them yet.
    """

    def __init__(self, disk: Disk, *, stalls: bool = False) -> None:
        self._disk = disk
        self._stalls = stalls
        self.asked: Counter[str] = Counter()
        """Executions by idempotency key."""
        self.effects: dict[str, str] = {}
        """Name of the activity by idempotency key, once its effect has happened."""
        self.drawn: dict[tuple[str, int], str] = {}
        """(run id, how manieth) -> the random value that workflow code was given."""
        self.side_effects: list[int] = []
        self.complaints: list[str] = []

    def ask(self, run_id: str, activity_id: str, key: str, act: Act, *, is_local: bool = False) -> int:
        """An execution of an activity begins; which one of its key this is, from 1."""
        if not is_local and (run_id, activity_id) not in self._disk.scheduled:
            self.complaints.append(f"{act.name} ({key}) runs before it is in durable history that it is to")
        if (run_id, activity_id) in self._disk.recorded and not self._stalls:
            self.complaints.append(f"{act.name} ({key}) runs although its completion is in durable history")
        self.asked[key] += 1
        return self.asked[key]

    def effect(self, key: str, act: Act) -> None:
        """The effect of an activity; the second time for a key it has happened already."""
        self.effects.setdefault(key, act.name)

    def draw(self, run_id: str, position: int, value: str) -> str:
        """Workflow code drew a value: at the same place of the same run it is always the same."""
        first = self.drawn.setdefault((run_id, position), value)
        if first != value:
            self.complaints.append(f"draw {position} of run {run_id} was {first} and is now {value}")
        return value

    def side_effect(self) -> int:
        """Something that differs every time it is looked at."""
        self.side_effects.append(len(self.side_effects) + 1)
        return self.side_effects[-1]


class Stage:
    """Where activities and workflows find the world that they are in."""

    world: World


stage = Stage()

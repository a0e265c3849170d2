"""What befalls a fleet, and when: all of it drawn from a seed, or named on the command line.

Commits are counted over all nodes, in the order in which stores are asked for them. A fault is named by its kind and
the number of the commit at which it happens, to the node that makes that commit:

    before   the power is cut, and nothing of the commit reached the disk
    after    the power is cut; the commit is durable, and nobody was told
    drain    the node is told to stop, as by a deploy, when the commit is durable
    stall    the node stands still before it writes, for longer than anybody waits for a sign of life
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CRASHES = ("before", "after")
KINDS = (*CRASHES, "drain", "stall")


@dataclass(slots=True, frozen=True)
class CrashPoint:
    """This happens at the commit of that number, from 1."""

    boundary: int
    kind: str

    def __str__(self) -> str:
        return f"--crash {self.kind}:{self.boundary}"

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        """From "before:N" and the like. Raises ValueError."""
        kind, _, boundary = text.partition(":")
        if kind not in KINDS:
            raise ValueError(f"{text!r} is none of {', '.join(f'{known}:N' for known in KINDS)}")
        return cls(int(boundary), kind)


def crash_points(boundaries: int, kinds: Sequence[str] = CRASHES) -> Iterator[CrashPoint]:
    """Every commit, in every way."""
    for boundary in range(1, boundaries + 1):
        for kind in kinds:
            yield CrashPoint(boundary, kind)


class Fate:
    """Counts the commits of a fleet, and says what happens at each.

    Args:
        seed: of the program.
        points: what is to happen.

    Attributes:
        boundaries: commits up to now.
        struck: faults up to now.
    """

    def __init__(self, seed: int, nodes: int, points: Sequence[CrashPoint]) -> None:
        self._points = {point.boundary: point.kind for point in points}
        self._seed = f"fate {seed} {nodes}"
        self._chance = random.Random(self._seed)
        self.boundaries = 0
        self.struck = 0

    def at_next_commit(self) -> str | None:
        """The kind of fault that happens at this commit."""
        self.boundaries += 1
        kind = self._points.get(self.boundaries)
        if kind is not None:
            self.struck += 1
            # By the faults up to here: what comes later changes nothing of what came before.
            self._seed += f" {CrashPoint(self.boundaries, kind)}"
            self._chance = random.Random(self._seed)
        return kind

    def stall_s(self) -> float:
        """How long a node stands still."""
        return self._chance.uniform(5.0, 90.0)

    def away_s(self, others: int) -> float | None:
        """After how long a stopped node is back; None: never, which nobody is asked for who is alone."""
        if others and self._chance.random() < 0.4:
            return None
        return self._chance.choice((2.0, self._chance.uniform(0.01, 1.0), self._chance.uniform(5.0, 60.0)))

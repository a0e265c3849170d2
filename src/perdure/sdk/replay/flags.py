"""Changes of what this SDK makes of the same history, and which of them a run is told.

A mended mistake may lead old histories elsewhere: code that was not told of a cancellation went on, and its history
says so. Such a change has a number here. A run uses it from the first workflow task on in which it makes a
difference; the completion of that task says so in `sdk_metadata.lang_used_flags`, as Temporal's SDKs do. In replay
the history decides (`Run.uses`): where it does not name the number, the run is told what it was told then.

Numbers are never given twice, and none is removed while histories from before may be replayed.
"""

from __future__ import annotations

from enum import IntEnum


class Flag(IntEnum):
    """A change, by its number in history."""

    CANCELLATION_KEPT = 1
    """A cancellation that what the code waited for did not say is raised at the next wait; of several that are raised
    at once the outermost is meant; a shield holds a scope's back from tasks below it, too; and a group of nothing but
    cancelled children is a cancellation. Before, such a cancellation was forgotten."""
    MESSAGES_CHECKED = 2
    """Null, or bytes, for an argument that cannot be either does not fit the handler of a signal or an update. Before,
    the handler was given it."""


class Flags:
    """The changes that one run uses."""

    __slots__ = ("known", "new")

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.new: list[int] = []
        """Those that the completion of the task at hand is to name."""


def take_new(flags: Flags) -> list[int]:
    """What the completion of the task at hand has to name."""
    new, flags.new = flags.new, []
    return new

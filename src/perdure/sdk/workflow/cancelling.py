"""Who cancels a task of an `async def` workflow, and how far that has come."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Canceller(Protocol):
    """Who cancels tasks, and respects shields: the run's cancellation, or a scope's."""

    @property
    def is_run(self) -> bool:
        """Whether it is the run's."""
        ...

    def stops_at(self, task: asyncio.Task[Any]) -> bool:
        """Whether a shield holds it back from the task."""
        ...

    def is_over_for(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task need not be told any more."""
        ...


class Cancelling:
    """One `cancel()` of a task, while it is passed on to what the task awaits, and to what that awaits.

    Attributes:
        message: what asyncio's error is to say.
        canceller: who cancels; None for code, as asyncio.timeout and TaskGroup.
        by_code: not the run's cancellation.
        kept: it has come to something that is waited for until it has ended, or to a shield.
    """

    __slots__ = ("by_code", "canceller", "kept", "message")

    def __init__(self, message: Any, canceller: Canceller | None) -> None:
        self.message = message
        self.canceller = canceller
        self.by_code = canceller is None or not canceller.is_run
        self.kept = False

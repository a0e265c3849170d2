"""What does much, a step in each turn of the event loop: decided, joined for the store, and let go of at the end."""

from __future__ import annotations

import asyncio

from perdure.core.commit import Commit
from perdure.core.steps import Result, Steps

_FREED = 1_000
"""Events that are let go of in one turn: the interpreter frees one in a third of a microsecond."""


async def in_turns(steps: Steps[Result]) -> Result:
    """All steps, and between two of them everybody else."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await asyncio.sleep(0)


async def let_go(commit: Commit) -> None:
    """Forget the events of a commit that nobody looks at any more, and of those behind it."""
    link: Commit | None = commit
    while link is not None:
        events = link.events
        while events:
            del events[-_FREED:]
            await asyncio.sleep(0)
        link = link.next_run

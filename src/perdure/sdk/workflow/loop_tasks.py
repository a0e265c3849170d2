"""asyncio's tasks and futures on a workflow's loop: their order is repeatable, and no cancellation is used up.

asyncio cancels a task by cancelling what it awaits, and takes for granted that this then ends cancelled. An activity
whose cancellation is waited for ends as it likes: well, perhaps. Then the task is given the result, and has to be told
at its next wait. So a task that is cancelled while it awaits such a thing *owes*: it looks how what it awaits ends, and
is cancelled again behind it, unless that has told it.

A task that awaits another passes a cancellation on to it. They are told once: the inner one, where it waits next; the
outer one only when the inner has ended without having been told.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, cast

from perdure.sdk.replay.completion import is_cancellation
from perdure.sdk.replay.flags import Flag
from perdure.sdk.workflow.cancelling import Cancelling
from perdure.sdk.workflow.handles import Handle, operation_of

T = TypeVar("T")


class LoopFuture(asyncio.Future[T]):
    """A future whose place in a set is the same in replay."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class Owed:
    """What a task owes: cancellations that it is to be told of, unless what it awaits does so.

    Attributes:
        awaited: what the task awaits.
        before: how many requests to cancel it the task knew before.
        kept: the cancellations, in the order of their coming.
    """

    __slots__ = ("awaited", "before", "kept")

    def __init__(self, awaited: asyncio.Future[Any], before: int) -> None:
        self.awaited = awaited
        self.before = before
        self.kept: list[Cancelling] = []

    def to_tell(self, task: LoopTask[Any]) -> Cancelling | None:
        """The one to be told, the run's before all others; None when whoever asked has taken it back."""
        standing = [one for one in self.kept if one.canceller is None or not one.canceller.is_over_for(task)]
        return next((one for one in standing if not one.by_code), standing[-1] if standing else None)


class LoopTask(asyncio.Task[T]):
    """A task whose place in a set is the same in replay: asyncio.wait and TaskGroup keep theirs in sets."""

    __slots__ = ("number", "owed", "owes")

    def __init__(self, coro: Any, *, number: int, **options: Any) -> None:
        self.number = number
        self.owes = False
        """A cancellation was passed on to what it awaits, and nobody has been told of it yet."""
        self.owed: Owed | None = None
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any = None) -> bool:
        """Also called by what awaits this task, when that is cancelled."""
        if self.done():
            return False
        loop: Any = self.get_loop()
        outer: Cancelling | None = loop.cancelling
        if loop.holds_back(self):
            if outer is not None:
                outer.kept = self.owes = True
            return True
        before = self.cancelling()
        self.owes = False
        mine = loop.cancelling = Cancelling(msg, loop.canceller)
        try:
            taken = super().cancel(msg)
        finally:
            loop.cancelling = outer
        if mine.kept:
            self._owe(mine, before)
            if outer is not None:
                outer.kept = True
        return taken

    def _owe(self, cancelling: Cancelling, before: int) -> None:
        self.owes = True
        awaited: asyncio.Future[Any] = cast(Any, self)._fut_waiter
        owed = self.owed
        if owed is None or owed.awaited is not awaited:
            owed = self.owed = Owed(awaited, before)
            awaited.add_done_callback(self._settle)
        if owed.kept and owed.kept[-1].canceller is cancelling.canceller:
            owed.kept.pop()  # the same, asked once more: anyio does so until it is heard
        owed.kept.append(cancelling)

    def _settle(self, awaited: asyncio.Future[Any]) -> None:
        """What it awaited has ended, and the task has run on with that."""
        owed = self.owed
        if owed is None or owed.awaited is not awaited:
            return
        self.owed = None
        if not self.owes:
            return
        loop: Any = self.get_loop()
        cancelling = owed.to_tell(self)
        if (
            cancelling is None
            or self.cancelling() <= owed.before
            or _tells(awaited)
            or not loop.machine.uses(Flag.CANCELLATION_KEPT)
        ):
            self.owes = False
        elif not self.done():
            loop.cancel_again(self, cancelling)


def _tells(awaited: asyncio.Future[Any]) -> bool:
    """Whether the end of what a task awaited has told it that it is cancelled."""
    if isinstance(awaited, Handle):
        operation = operation_of(awaited)
        error = operation.error
        return error is not None and is_cancellation(error) and not operation.given_up
    if awaited.cancelled():
        return True
    error = awaited.exception()
    if error is not None and (isinstance(error, asyncio.CancelledError) or is_cancellation(error)):
        return True
    return isinstance(awaited, LoopTask) and not awaited.owes

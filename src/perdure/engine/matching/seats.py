"""Seats: how tasks come to a worker in the same process.

A worker far away asks for each task, and waits. One that is here takes a number of seats instead.
A task that is durable is put before a seat by a plain call: no future, no coroutine and no request
for each. To matching a seat is a poll like any other, one that asks again by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from temporalio.api.history.v1 import HistoryEvent

from perdure.core.names import QueueName
from perdure.core.started import StartedTask, StartedWorkflowTask
from perdure.engine.matching.matching import Matching
from perdure.engine.matching.volatile_task import VolatileTask

TakeEarly = Callable[["Seat", StartedWorkflowTask, Sequence[HistoryEvent], Callable[[], Awaitable[bool]]], bool]
"""Takes a workflow task that is not durable yet. Given the seat, the task, the events of its commit, and what makes it
durable and says whether it is. False: it cannot be taken so."""


class Seat:
    """Takes one task at a time: `take(seat, task)` is called, and `free` asks for the next one."""

    __slots__ = ("_is_free", "_is_left", "_matching", "_take", "_take_early", "poller")

    def __init__(
        self,
        matching: Matching,
        queue: QueueName,
        identity: str,
        worker: str,
        take: Callable[[Seat, StartedTask | VolatileTask], None],
        take_early: TakeEarly | None = None,
    ) -> None:
        self._matching = matching
        self._take = take
        self._take_early = take_early
        self._is_free = False
        self._is_left = False
        self.poller = matching.seat(queue, identity, worker, self)

    def free(self) -> None:
        """There is room for a task."""
        if not self._is_left:
            self._is_free = True
            if not self._matching.sit(self.poller):
                self._is_free = False

    def leave(self) -> None:
        """No task any more; one that is on its way goes to another poller."""
        self._is_left = True
        self._is_free = False

    def done(self) -> bool:
        """Whether it cannot take a task now."""
        return not self._is_free

    def put_early(
        self, task: StartedWorkflowTask, events: Sequence[HistoryEvent], durable: Callable[[], Awaitable[bool]]
    ) -> bool:
        """A task before it is durable, as `TakeEarly` says. False: nothing was done."""
        if not self._is_free or self._take_early is None:
            return False
        self._is_free = False
        if self._take_early(self, task, events, durable):
            return True
        self._is_free = True
        return False

    def set_result(self, task: StartedTask | VolatileTask | None, /) -> None:
        """A task; None: the queue was forgotten, or the worker has ended."""
        self._is_free = False
        if task is None:
            self.free()
        else:
            self._take(self, task)

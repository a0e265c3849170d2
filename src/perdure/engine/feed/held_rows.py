"""Rows of queues that are polled at this node, which are its own workers' for a moment.

Nearly all are taken in that moment, and then no other node need ever know of them: neither that they were there nor
that they are gone. What is left when the moment is over is told as soon as workers of another node wait for something
to do, and after a while in any case: then it stands in line with what they have.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from perdure.core.names import QueueName, Task, TaskRef

OWN_TURN_S = 0.05
"""What the workers of the node that wrote a row have for taking it."""
IN_LINE_S = 1.0
"""How long a row is left to a node that has enough to do, while the others have enough too."""
_TOGETHER_S = 0.01
"""So much sooner is a row looked at with another one whose moment is over."""

_Place = tuple[str, int]
"""Run and scheduled event."""


class HeldRows:
    """See the module's text.

    Args:
        is_served: whether this node has workers for a queue.
        is_wanted: whether workers of another node wait for a row of it, as far as is known.

    Attributes:
        on_left: called with rows that the others are to know of now.
    """

    def __init__(self, is_served: Callable[[QueueName], bool], is_wanted: Callable[[QueueName], bool]) -> None:
        self._is_served = is_served
        self._is_wanted = is_wanted
        self.on_left: Callable[[list[Task]], None] = _ignore
        self._held: dict[_Place, Task] = {}
        """Those that are nobody's but this node's yet."""
        self._own: deque[tuple[float, _Place, Task]] = deque()
        """When the moment of each is over (loop time), the oldest first; of some that are gone too."""
        self._over: deque[tuple[float, _Place, Task]] = deque()
        """Those whose moment is over, and when each is told in any case."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def stop(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def added(self, tasks: Sequence[Task]) -> list[Task]:
        """This node has written rows; returns those that nobody here will take: the others are to know of them now."""
        others: list[Task] = []
        ends_at = asyncio.get_running_loop().time() + OWN_TURN_S
        for task in tasks:
            if self._is_served(task.queue):
                place = task.key.run_id, task.scheduled_event_id
                self._held[place] = task
                self._own.append((ends_at, place, task))
            else:
                others.append(task)
        if self._timer is None:
            self._arm()
        return others

    def gone(self, run_id: str, rows: Iterable[TaskRef]) -> list[int]:
        """This node has taken rows away; returns the scheduled events of those that others may know of."""
        held = self._held
        return [row.scheduled_event_id for row in rows if held.pop((run_id, row.scheduled_event_id), None) is None]

    def take_all(self) -> list[Task]:
        """All that are held, and are not any more: this node ends."""
        held, self._held = self._held, {}
        return list(held.values())

    def wanted(self, queue: QueueName) -> None:
        """Workers of another node wait for a row of this queue."""
        self._tell([(place, task) for _, place, task in self._over if task.queue == queue])

    def _arm(self) -> None:
        times = [rows[0][0] for rows in (self._own, self._over) if rows]
        if times:
            self._timer = asyncio.get_running_loop().call_at(min(times), self._look)

    def _look(self) -> None:
        self._timer = None
        horizon = asyncio.get_running_loop().time() + _TOGETHER_S
        left: list[tuple[_Place, Task]] = []
        while self._over and (self._over[0][0] <= horizon or not self._holds(*self._over[0][1:])):
            left.append(self._over.popleft()[1:])
        while self._own and (self._own[0][0] <= horizon or not self._holds(*self._own[0][1:])):
            at, place, task = self._own.popleft()
            if not self._holds(place, task):
                continue
            if self._is_wanted(task.queue):
                left.append((place, task))
            else:
                self._over.append((at + IN_LINE_S - OWN_TURN_S, place, task))
        self._tell(left)
        self._arm()

    def _holds(self, place: _Place, task: Task) -> bool:
        return self._held.get(place) is task

    def _tell(self, rows: Iterable[tuple[_Place, Task]]) -> None:
        left: list[Task] = []
        for place, task in rows:
            if self._holds(place, task):
                del self._held[place]
                left.append(task)
        if left:
            self.on_left(left)


def _ignore(rows: list[Task]) -> None:
    """There is nobody to tell."""

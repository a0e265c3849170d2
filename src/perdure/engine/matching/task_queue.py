"""One task queue, as far as it is in memory: who waits for work, and what waits for somebody.

Who waits is a poll (its caller waits for an answer) or a seat (a worker in this process, which asks again by itself).
What waits is rows of the store (`backlog`), volatile tasks, and orphans: tasks that are started and reached nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from perdure.api.presence import presence_of
from perdure.core.names import QueueName, Task
from perdure.core.started import StartedTask
from perdure.engine.matching.backlog import Backlog
from perdure.engine.matching.volatile_task import VolatileTask

NEAR_IN_HAND = 8
"""So many activities has a worker in this process in hand before those of other processes are asked first: while it
has few, to run one here is the cheapest, and beyond that the others share the work."""
_POLLERS_MAX = 1_000
"""Identities remembered of a queue."""


class Landing(Protocol):
    """What a poll's answer is put into: a future, or the seat of a worker in this process."""

    def done(self) -> bool: ...

    def set_result(self, result: StartedTask | VolatileTask | None, /) -> None: ...


class Waiting:
    """A poll or a seat that waits. `future` gets the started task, or None when the wait is over."""

    __slots__ = ("expires_at", "future", "home", "identity", "queue", "since", "worker")

    def __init__(
        self,
        queue: TaskQueue,
        identity: str,
        worker: str,
        future: Landing,
        since: float,
        wait_s: float,
        home: str = "",
    ) -> None:
        self.queue = queue
        self.identity = identity
        self.home = home
        """This node, if the worker is in its process and dies with it; else what `perdure.core.context.Poller` says."""
        self.worker = worker
        """The worker's instance key, or "": what its shutdown is told by."""
        self.future = future
        self.since = since
        """Loop time at which it was sent; 0: a seat, which never ceases to ask."""
        self.expires_at = since + wait_s

    def end(self) -> None:
        """The wait is over, if it is not already."""
        if not self.future.done():
            self.future.set_result(None)


class Poll(Waiting):
    """One whose caller waits for a future."""

    __slots__ = ("answer",)

    def __init__(
        self, queue: TaskQueue, identity: str, worker: str, future: asyncio.Future[Any], since: float, wait_s: float
    ) -> None:
        super().__init__(queue, identity, worker, future, since, wait_s, presence_of(worker))
        self.answer: asyncio.Future[StartedTask | VolatileTask | None] = future


class TaskQueue:
    """One queue that is polled, or was lately. Pollers wait oldest first."""

    __slots__ = (
        "backlog", "hunger", "is_fed", "is_in_trouble", "is_paused", "name", "orphans", "polled_at", "pollers", "ripe",
        "seat_count", "seats", "timer", "told", "turn", "volatile", "waiting",
    )  # fmt: skip

    def __init__(self, name: QueueName, rows_max: int) -> None:
        self.name = name
        self.waiting: deque[Poll] = deque()
        self.seats: list[Waiting] = []
        """Free ones of workers in this process: they are served first, and wait without end."""
        self.seat_count = 0
        """How many seats there are in all, of an activity queue."""
        self.backlog = Backlog(rows_max)
        self.orphans: deque[StartedTask] = deque()
        """Started tasks whose poller was gone when they were to be delivered."""
        self.volatile: deque[VolatileTask] = deque()
        """What is no row, and nobody took yet."""
        self.polled_at = 0.0
        """Loop time of the last poll's arrival or end."""
        self.pollers: dict[str, float] = {}
        """Loop time of the last poll of each identity."""
        self.timer: asyncio.TimerHandle | None = None
        self.told: dict[tuple[str, int], Task] = {}
        """Rows that another node has told of, and this one has not begun to try: by run and scheduled event."""
        self.ripe: deque[Task] = deque()
        """Those that it may try now; some are told of no more."""
        self.turn: asyncio.TimerHandle | None = None
        """Until this node may look for rows that others take first."""
        self.is_fed = False
        """The other nodes take it that nobody waits here for what they have."""
        self.hunger: asyncio.TimerHandle | None = None
        """Until they are told that somebody does after all."""
        self.is_paused = False
        """The store failed a moment ago: do not ask it in a tight loop."""
        self.is_in_trouble = False
        """The last read failed; why was logged, once for the whole outage."""

    def note(self, identity: str, now: float) -> None:
        """Somebody of that name asks for a task."""
        self.polled_at = self.pollers[identity] = now
        if len(self.pollers) > _POLLERS_MAX:
            del self.pollers[next(iter(self.pollers))]

    def next_poller(self, attempt: int = 1) -> Waiting | None:
        """A seat, or the oldest one whose caller is still there.

        Every second attempt goes the other way round: a worker here that does not know a type, or has an older version
        of its code, would get the task again and again, and the one that can do it never.
        """
        seats, waiting = self.seats, self.waiting
        if waiting and (self.seat_count - len(seats) >= NEAR_IN_HAND or not attempt % 2):
            while waiting:
                poller = waiting.popleft()
                if not poller.future.done():
                    return poller
        while seats:
            seat = seats.pop()
            if not seat.future.done():
                return seat
        while waiting:
            poller = waiting.popleft()
            if not poller.future.done():
                return poller
        return None

    @property
    def has_work(self) -> bool:
        """Whether anything waits for a poller, or may in the store."""
        return bool(self.volatile or self.orphans or self.backlog or self.ripe or not self.backlog.complete)

    def has_poller(self) -> bool:
        """Whether anybody waits; forgets those who left."""
        seats, waiting = self.seats, self.waiting
        while seats and seats[-1].future.done():
            seats.pop()
        while waiting and waiting[0].future.done():
            waiting.popleft()
        return bool(seats or waiting)

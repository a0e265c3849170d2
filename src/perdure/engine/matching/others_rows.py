"""Rows that other nodes have written to queues which are polled here.

They are told of, each with its run and event, so nobody reads a queue to find them; and so is that one was started. A
row is for the workers of the node that wrote it first, and is told of when these have left it
(`perdure.engine.feed.held_rows`). What is still there when it is this node's turn is `ripe`: it is taken as soon as
there is nothing of its own for a worker that waits. For a while, that is: then it stands in line with the others, so
that a node with too much to do is helped by those that are never idle either. Where nobody waits, the others are told
that there is enough to do here, and tell of no more until somebody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from perdure.core.names import QueueName, Task
from perdure.engine.feed.news import News
from perdure.engine.matching.task_queue import TaskQueue

_IN_LINE_S = 1.0
"""How long rows are left to the node that wrote them by one that has enough of its own."""

_HUNGRY_S = 0.1
"""After so long with nothing to do, workers that had enough are said to wait for what other nodes have."""


class OthersRows:
    """See the module's text. `match(queue)` is called when there may be something for whoever waits.

    Attributes:
        stocked: queues of which rows are known here, or were a moment ago.
    """

    def __init__(self, queues: Mapping[QueueName, TaskQueue], match: Callable[[TaskQueue], None]) -> None:
        self._queues = queues
        self._match = match
        self.turn: Callable[[QueueName, News], float] = at_once
        """In how many seconds this node may take a row that another one has told of."""
        self.on_fed: Callable[[QueueName], None] = ignore
        """Told of a queue of which rows were told that nobody here waits for."""
        self.on_hungry: Callable[[QueueName], None] = ignore
        """Told of one of which others took it that there is enough to do here, when there is not any more."""
        self.stocked: set[TaskQueue] = set()

    def hear(self, news: News) -> None:
        """A commit of another node."""
        if news.taken:
            self._forget(news)
        for task in news.rows:
            queue = self._queues.get(task.queue)
            if queue is not None:
                self.stocked.add(queue)
                queue.told[task.key.run_id, task.scheduled_event_id] = task
                asyncio.get_running_loop().call_later(self.turn(task.queue, news), self._ripen, queue, task)

    def fed(self, polled: Collection[QueueName]) -> list[QueueName]:
        """The queues, of those that are polled here, of which there is enough to do; who polls another is told of."""
        for name in self._queues.keys() - set(polled):
            self._queues[name].is_fed = True
        return [name for name in polled if self._queues[name].is_fed]

    def await_hunger(self, queue: TaskQueue) -> None:
        """Somebody waits, and the others think that nobody does: they are told, if he waits on."""
        queue.hunger = asyncio.get_running_loop().call_later(_HUNGRY_S, self._grow_hungry, queue)

    def _grow_hungry(self, queue: TaskQueue) -> None:
        queue.hunger = None
        if queue.has_poller() and not queue.has_work:
            queue.is_fed = False
            self.on_hungry(queue.name)

    def _ripen(self, queue: TaskQueue, task: Task) -> None:
        if _is_told(queue, task):
            queue.ripe.append(task)
            asyncio.get_running_loop().call_later(_IN_LINE_S, self._put_in_line, queue, task)
            self._match(queue)
            if not queue.is_fed and not queue.has_poller():
                queue.is_fed = True
                self.on_fed(queue.name)

    def _put_in_line(self, queue: TaskQueue, task: Task) -> None:
        if queue.ripe and queue.ripe[0] is task:
            queue.ripe.popleft()
        if claim(queue, task):
            self._match(queue)

    def _forget(self, news: News) -> None:
        """Rows are gone: what is known of them here would be tried in vain."""
        for queue in list(self.stocked):
            for scheduled_event_id in news.taken:
                queue.told.pop((news.key.run_id, scheduled_event_id), None)
                queue.backlog.gone(news.key.run_id, scheduled_event_id)
            if not queue.backlog and not queue.told and not queue.backlog.is_reading:
                self.stocked.discard(queue)


def claim(queue: TaskQueue, task: Task) -> bool:
    """A row of another node is one of the backlog here; False: nobody tells of it any more."""
    if not _is_told(queue, task):
        return False
    del queue.told[task.key.run_id, task.scheduled_event_id]
    queue.backlog.added(task)
    return True


def _is_told(queue: TaskQueue, task: Task) -> bool:
    return queue.told.get((task.key.run_id, task.scheduled_event_id)) is task


def at_once(name: QueueName, news: News) -> float:
    """There is no other node."""
    return 0.0


def none_elsewhere() -> Collection[QueueName]:
    """There is no other node."""
    return ()


def ignore(told: object) -> None:
    """Nobody wants to know."""


def nowhere(queue: QueueName) -> bool:
    """There is no other node."""
    return False

"""Rows that other nodes have written to queues which are polled here.

They are told of, each with its run and event, so nobody reads a queue to find them; and so is that one was started. A
row is for the workers of the node that wrote it first. What is still there when it is this node's turn is `ripe`: it is
taken as soon as there is nothing of its own for a worker that waits. For a while, that is: then it stands in line with
the others, so that a node with too much to do is helped by those that are never idle either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from perdure.core.names import QueueName, Task
from perdure.engine.feed.news import News
from perdure.engine.matching.task_queue import TaskQueue

_IN_LINE_S = 1.0
"""How long rows are left to the node that wrote them by one that has enough of its own."""


class OthersRows:
    """See the module's text. `match(queue)` is called when there may be something for whoever waits.

    Attributes:
        stocked: queues of which rows are known here, or were a moment ago.
    """

    def __init__(self, queues: Mapping[QueueName, TaskQueue], match: Callable[[TaskQueue], None]) -> None:
        self._queues = queues
        self._match = match
        self.stocked: set[TaskQueue] = set()

    def hear(self, news: News, turn: Callable[[QueueName, News], float]) -> None:
        """A commit of another node; `turn` says in how many seconds this one may take a row of it."""
        if news.taken:
            self._forget(news)
        for task in news.rows:
            queue = self._queues.get(task.queue)
            if queue is not None:
                self.stocked.add(queue)
                queue.told[task.key.run_id, task.scheduled_event_id] = task
                asyncio.get_running_loop().call_later(turn(task.queue, news), self._ripen, queue, task)

    def _ripen(self, queue: TaskQueue, task: Task) -> None:
        if _is_told(queue, task):
            queue.ripe.append(task)
            asyncio.get_running_loop().call_later(_IN_LINE_S, self._put_in_line, queue, task)
            self._match(queue)

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


def nowhere(queue: QueueName) -> bool:
    """There is no other node."""
    return False

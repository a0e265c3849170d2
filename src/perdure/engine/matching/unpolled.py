"""Says in the log that tasks wait on a queue which nobody polls: a worker was forgotten, or a name has a slip in it.

A row that nobody waits for is noted under its queue, and looked at some seconds later, by its queue alone: a crowd of
rows costs one look. What is said of a queue is said once, and again only if it was polled in between. In a fleet it is
said by one node, the one that has the queue's name among its duties, whichever node wrote the row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

from perdure.api.digest import duration_words
from perdure.api.errors import Rejected
from perdure.core.execution import Execution
from perdure.core.names import QueueName, Task, TaskKind
from perdure.engine.matching.matching import Matching
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.signal import Signal
from perdure.stores.api import BEGINNING, Store, StoreError

_log = logging.getLogger(__name__)

Found = TypeVar("Found")

QUEUES_MAX = 1_000
"""Queues that are noted or told of at a time; of more nothing is said."""
_ROWS = 20
"""Looked at in one queue: those of runs that have ended stay until somebody polls."""
_BUSY_TIMES = 12
"""A queue that is polled at another node has so many times as long, for every row of it is news here."""
_LOOKS_APART_MAX_S = 300.0
"""Between two looks at a queue that was polled lately: its workers may be busy, or may have died."""


class Read(Protocol):
    """`Engine.read`."""

    def __call__(
        self, namespace: str, workflow_id: str, run_id: str | None, look: Callable[[Execution | None], Found], /
    ) -> Awaitable[Found]: ...


IsMine = Callable[[QueueName], bool]
"""Whether it is this node that says it of a queue."""


class Unpolled:
    """See the module's text. `looks` is emitted for every look at a queue."""

    def __init__(self, store: Store, config: EngineConfig, matching: Matching, read: Read, is_mine: IsMine) -> None:
        self._store = store
        self._is_mine = is_mine
        self._matching = matching
        self._read = read
        self._wait_s = config.unpolled_ns / 1e9
        self._serves_itself = config.workers_died
        self._first: asyncio.TimerHandle | None = None
        self._noted: dict[QueueName, asyncio.TimerHandle] = {}
        self._told: dict[QueueName, None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_open = False
        self.looks = Signal()
        matching.on_unpolled = self.note

    async def start(self) -> None:
        """From now on it is said. What waits from before is looked at some seconds later, as what comes."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        if self._wait_s:
            self._first = self._loop.call_later(self._wait_s, self._spawn, self._look_everywhere)

    async def stop(self) -> None:
        """Say nothing more."""
        self._is_open = False
        for timer in (self._first, *self._noted.values()):
            if timer is not None:
                timer.cancel()
        self._noted.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def take_over(self) -> None:
        """Another node has gone, and perhaps had noted some."""
        if self._is_open and self._wait_s:
            self._spawn(self._look_everywhere)

    def note(self, queue: QueueName) -> None:
        """A row was written that nobody waits for."""
        if queue in self._told and (self._matching.pollers(queue) or queue in self._matching.queues_elsewhere()):
            del self._told[queue]
        if queue not in self._noted and queue not in self._told:
            self._note(queue)

    def _note(self, queue: QueueName) -> None:
        has_room = len(self._noted) + len(self._told) < QUEUES_MAX
        if self._is_open and self._wait_s and has_room and self._is_mine(queue):
            is_busy = queue in self._matching.queues_elsewhere()
            self._look_in(queue, self._wait_s * (_BUSY_TIMES if is_busy else 1))

    def _look_in(self, queue: QueueName, wait_s: float) -> None:
        self._noted[queue] = self._loop.call_later(wait_s, self._spawn, partial(self._look, queue, wait_s))

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_everywhere(self) -> None:
        try:
            queues = await self._store.queues()
        except StoreError as error:  # who needs the store for more than a hint says so louder
            _log.debug("the task queues cannot be looked at: %s", error)
            return
        for queue in queues:
            if self._is_mine(queue) and queue not in self._noted and queue not in self._told:
                self._look_in(queue, 0)

    async def _look(self, queue: QueueName, wait_s: float) -> None:
        try:
            waits = await self._oldest(queue)
        except (StoreError, Rejected) as error:
            _log.debug("task queue %r cannot be looked at: %s", queue.name, error)
            waits = None
        self._noted.pop(queue, None)
        if waits is not None and (self._matching.pollers(queue) or queue in self._matching.queues_elsewhere()):
            self._look_in(queue, min(2 * wait_s or self._wait_s, _LOOKS_APART_MAX_S))
        elif waits is not None:
            self._told[queue] = None
            self._warn(queue, waits, wait_s or self._wait_s)
        self.looks.emit()

    async def _oldest(self, queue: QueueName) -> str | None:
        """What has waited there longest; None: nothing."""
        for row in await self._store.tasks(queue, BEGINNING, _ROWS):
            waits = await self._waiting(row.task)
            if waits is not None:
                return waits
        return None

    async def _waiting(self, task: Task) -> str | None:
        """Whose task it is, in words; None: nobody's any more, or one that goes to another queue by itself."""

        def look(execution: Execution | None) -> str | None:
            if execution is None or not execution.is_open or execution.facts.sticky_queue == task.queue.name:
                return None
            of = f"workflow {execution.workflow_type} {task.key.workflow_id!r} (run {task.key.run_id})"
            if task.queue.kind == TaskKind.WORKFLOW:
                return f"a workflow task of {of}"
            activity = execution.activities.get(task.scheduled_event_id)
            return None if activity is None else f"activity {activity.activity_type} of {of}"

        return await self._read(task.key.namespace, task.key.workflow_id, task.key.run_id, look)

    def _warn(self, queue: QueueName, waits: str, wait_s: float) -> None:
        polled = self._matching.polled(queue.namespace, queue.kind)
        others = f"there are workers for {', '.join(map(repr, polled))}" if polled else "there are no workers at all"
        hint = (
            "this engine serves one queue: leave `task_queue=` out, or open an engine for that queue too"
            if self._serves_itself and polled
            else "start a worker for it, or correct the name"
        )
        _log.warning(
            "nobody polls the task queue %r: %s has waited there for %s; %s (%s)",
            queue.name, waits, duration_words(round(wait_s * 1e9)), hint, others,
        )  # fmt: skip

"""Brings pollers and tasks together, per task queue.

When a decision owes a worker a task and a poller waits for one, it is set aside (`assign`): the task is scheduled
and started in one commit and goes out when that is durable. When nobody waits the task becomes a row of
the store, and whoever polls next gets it by a StartTask command. A poll whose caller went away must
not swallow a task: it goes to the next poller, after a look whether it is still owed.

Work waits in one of two kinds. A *row* is in the store: a hint, which outlives this process and is started by a
command. A *volatile task* (`VolatileTask`) is in memory alone: it is handed over as it is, and gone with whoever wants
its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import Command, StartTask
from perdure.core.commit import Commit
from perdure.core.context import Poller
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.core.started import StartedTask
from perdure.engine.feed.news import News
from perdure.engine.matching.held import is_held
from perdure.engine.matching.others_rows import OthersRows, claim, ignore, none_elsewhere, nowhere
from perdure.engine.matching.task_queue import Landing, Poll, TaskQueue, Waiting
from perdure.engine.matching.volatile_task import VolatileTask
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.submission import Read, Submit
from perdure.stores.api import Store, StoreError

_log = logging.getLogger(__name__)

_QUEUES_BEFORE_SWEEP = 256
POLLER_KNOWN_S = 300.0
"""A poller is told of for so long after its last poll, as by Temporal's server."""
_COUNTED_S = 60.0
"""A worker that has room polls at least so often: a long poll takes less."""
_ENDED_WORKERS_MAX = 10_000
_IDLE_POLL_S = 1.0
"""A poll that waited so long for its task was one too many."""


class Matching:
    """See the module's text."""

    def __init__(self, store: Store, config: EngineConfig, metrics: Metrics, submit: Submit) -> None:
        self._store = store
        self._config = config
        self._metrics = metrics
        self._submit = submit
        self._queues: dict[QueueName, TaskQueue] = {}
        self._sweep_at = _QUEUES_BEFORE_SWEEP
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._longest_s = config.long_poll_ns / 1e9
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Workers that have shut down, the latest last: a poll of theirs that was on its way finds nothing."""
        self._near: dict[QueueName, dict[str, str]] = {}
        """Workers in this process by the queue that they serve: instance key and identity. They never cease to ask."""
        self.home = ""
        """The id of this node, in whose process seats are; empty: there is no other."""
        self.on_unpolled: Callable[[QueueName], None] = ignore
        """Told of the queue of a row that nobody waits for."""
        self.on_polled: Callable[[QueueName], None] = ignore
        """Told of a queue that is polled for the first time."""
        self.polled_elsewhere: Callable[[QueueName], bool] = nowhere
        """Whether a queue is polled at another node."""
        self.others = OthersRows(self._queues, self._match)
        self.queues_elsewhere: Callable[[], Collection[QueueName]] = none_elsewhere
        """The queues that were polled at another node in the last five minutes."""
        self.polls = Signal()
        """Emitted for every poll that begins to wait."""
        self.takes = Signal()
        """Emitted for every row that goes to a poller."""
        self.pages = Signal()
        """Emitted for every page of rows that was read, well or not."""

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Accept polls."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    async def stop(self) -> None:
        """Answer whoever waits with nothing, and refuse new polls."""
        self._is_open = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for queue in self._queues.values():
            self._send_away(queue)

    def _send_away(self, queue: TaskQueue) -> None:
        for timer in (queue.timer, queue.turn, queue.hunger):
            if timer is not None:
                timer.cancel()
        queue.timer = queue.turn = queue.hunger = None
        while (poller := queue.next_poller()) is not None:
            poller.future.set_result(None)

    def drop(self, name: QueueName) -> None:
        """A sticky queue's worker is gone for good: forget the queue; what is on it falls back by its time-out."""
        queue = self._queues.pop(name, None)
        if queue is not None:
            self.others.stocked.discard(queue)
            self._send_away(queue)

    # --- polls ----------------------------------------------------------------------------------

    def poll(self, name: QueueName, identity: str, wait_s: float | None = None, worker: str = "") -> Poll:
        """Wait for a task of a queue, at most `wait_s`, by default and at most `long_poll_ns`.

        Raises Rejected UNAVAILABLE when the engine stops, RESOURCE_EXHAUSTED when too many poll.
        """
        if not self._is_open:
            raise Rejected(StatusCode.UNAVAILABLE, "The engine is stopped or stopping: connect again and poll again.")
        queue = self._queues.get(name)
        if queue is None:
            queue = self._open(name)
            self.on_polled(name)
        if len(queue.waiting) >= self._config.pollers_per_queue_max:
            self._make_room(queue)
        future: asyncio.Future[Any] = self._loop.create_future()
        longest_s = self._longest_s
        wait_s = longest_s if wait_s is None else min(wait_s, longest_s)
        poller = Poll(queue, identity, worker, future, self._loop.time(), wait_s)
        if wait_s < longest_s:  # it ends before those that came earlier: no use of their timer
            hurry = self._loop.call_later(wait_s, poller.end)
            future.add_done_callback(lambda _: hurry.cancel())
        if (name.namespace, worker) in self._ended:
            future.set_result(None)
        else:
            self._join(poller)
            self.polls.emit()
        return poller

    def seat(self, name: QueueName, identity: str, worker: str, landing: Landing) -> Waiting:
        """A poll that asks again by itself: for `sit`, before its first task and after each."""
        queue = self._queues.get(name) or self._open(name)
        if (name.namespace, worker) not in self._ended:
            if name not in self._near:
                self.on_polled(name)
            self._near.setdefault(name, {})[worker] = identity
        queue.seat_count += name.kind == TaskKind.ACTIVITY
        return Waiting(queue, identity, worker, landing, 0.0, 0.0, self.home)

    def sit(self, seat: Waiting) -> bool:
        """A seat waits for its next task. False: its worker or this engine has ended."""
        queue = seat.queue
        name = queue.name
        if not self._is_open or (self._ended and (name.namespace, seat.worker) in self._ended):
            return False
        if self._queues.get(name) is not queue:
            queue = seat.queue = self._queues.get(name) or self._open(name)
        queue.seats.append(seat)
        if queue.has_work or queue.is_fed:
            self._match(queue)
        return True

    def _join(self, poller: Poll) -> None:
        queue = poller.queue
        queue.note(poller.identity, poller.since)
        queue.waiting.append(poller)
        if queue.timer is None:
            queue.timer = self._loop.call_at(poller.since + self._longest_s, self._expire, queue)
        self._match(queue)

    def end_worker(self, namespace: str, worker: str) -> None:
        """A worker shuts down: its polls end now, with nothing, and those that are still on their way as well."""
        if not worker:
            return
        self._ended[namespace, worker] = None
        if len(self._ended) > _ENDED_WORKERS_MAX:
            self._ended.popitem(last=False)
        for name, workers in list(self._near.items()):
            identity = workers.pop(worker, None) if name.namespace == namespace else None
            if identity is None:
                continue
            if name in self._queues:
                self._queues[name].note(identity, self._loop.time())  # until now it did not cease to ask
            if not workers:
                del self._near[name]
        for poller in list(self.waiting_polls()):
            if poller.worker == worker and poller.queue.name.namespace == namespace:
                poller.end()

    def waiting_polls(self) -> Iterator[Waiting]:
        """Everybody who waits now, queue by queue."""
        for queue in self._queues.values():
            for poller in (*queue.seats, *queue.waiting):
                if not poller.future.done():
                    yield poller

    def pollers(self, name: QueueName) -> dict[str, int]:
        """Who polled a queue in the last five minutes, or polls it now: identity, and nanoseconds since."""
        now = self._loop.time()
        seen = dict.fromkeys(self._near.get(name, {}).values(), now)
        queue = self._queues.get(name)
        if queue is not None:
            known = ((identity, at) for identity, at in queue.pollers.items() if now - at <= POLLER_KNOWN_S)
            seen = {**dict(known), **seen}
            seen.update((poller.identity, now) for poller in queue.waiting if not poller.future.done())
        return {identity: round((now - at) * 1e9) for identity, at in seen.items()}

    def polled(self, namespace: str, kind: TaskKind) -> list[str]:
        """Names of the queues of a namespace that somebody polls, or did in the last five minutes, in order."""
        polled = {one for one in {*self._near, *self._queues} if self.pollers(one)}.union(self.queues_elsewhere())
        return sorted(one.name for one in polled if (one.namespace, one.kind) == (namespace, kind))

    def count_workers(self) -> int:
        """How many have polled here in the last minute, by their identities; workers of this process too."""
        horizon = self._loop.time() - _COUNTED_S
        seen = {identity for workers in self._near.values() for identity in workers.values()}
        for queue in self._queues.values():
            seen.update(identity for identity, at in queue.pollers.items() if at >= horizon)
        return len(seen)

    def scaling(self, poller: Waiting) -> int:
        """How many more polls than now this poll's worker had better keep open: 1, 0 or -1."""
        queue = poller.queue
        if queue.backlog or queue.orphans:
            return 1
        return -1 if self._loop.time() - poller.since >= _IDLE_POLL_S else 0

    def abandon(self, poller: Poll) -> None:
        """The caller is gone. What was delivered to it but not taken goes to another."""
        future = poller.answer
        if future.cancelled() or not future.cancel():
            task = None if future.cancelled() else future.result()
            if task is not None:
                self.give_back(poller, task)

    def give_back(self, poller: Poller, task: StartedTask | VolatileTask) -> None:
        """A task could not be delivered: keep it for the next poller of that queue."""
        assert isinstance(poller, Waiting)
        if isinstance(task, VolatileTask):
            self.offer(poller.queue.name, task)
            return
        self._metrics.orphans += 1
        queue = poller.queue
        if len(queue.orphans) < self._config.orphans_per_queue_max:
            queue.orphans.append(task)
            self._match(queue)

    def is_polled(self, name: QueueName) -> bool:
        """Whether somebody waits on a queue, or did within `polled_ns`."""
        queue, is_near = self._queues.get(name), name in self._near
        if queue is None or is_near:
            return is_near
        return queue.has_poller() or self._loop.time() - queue.polled_at < self._config.polled_ns / 1e9

    def is_served(self, name: QueueName) -> bool:
        """Whether the workers of this node will take the rows of a queue: it is polled, and this node does not stop."""
        return self._is_open and self.is_polled(name)

    def is_crowded(self, tasks: int) -> bool:
        """Whether on some queue that is polled at this node so many rows wait for somebody, as far as is known here."""
        return any(len(queue.backlog) >= tasks and self.is_polled(name) for name, queue in self._queues.items())

    def polled_now(self) -> list[QueueName]:
        """The queues that are polled at this node, as `is_polled` says."""
        return [name for name in self._queues if self.is_polled(name)]

    def _open(self, name: QueueName) -> TaskQueue:
        if len(self._queues) >= self._sweep_at:
            self._sweep()
        queue = self._queues[name] = TaskQueue(name, self._config.backlog_rows_max)
        return queue

    def _sweep(self) -> None:
        """Forget queues that nobody polls: sticky ones come and go with their workers."""
        for name, queue in list(self._queues.items()):
            if not self.is_polled(name) and not queue.orphans and not queue.volatile and queue.backlog.is_idle:
                self._send_away(queue)
                self.others.stocked.discard(queue)
                del self._queues[name]
        self._sweep_at = max(_QUEUES_BEFORE_SWEEP, 2 * len(self._queues))

    def _make_room(self, queue: TaskQueue) -> None:
        queue.waiting = deque(poller for poller in queue.waiting if not poller.future.done())
        if len(queue.waiting) >= self._config.pollers_per_queue_max:
            raise Rejected(
                StatusCode.RESOURCE_EXHAUSTED,
                f"Too many polls wait on task queue {queue.name.name!r}: run fewer pollers per worker.",
            )

    def _expire(self, queue: TaskQueue) -> None:
        queue.timer = None
        now = queue.polled_at = self._loop.time()
        waiting, over = queue.waiting, deque[Poll]()
        while waiting and (waiting[0].future.done() or waiting[0].expires_at <= now):
            over.append(waiting.popleft())
        if waiting:
            queue.timer = self._loop.call_at(waiting[0].expires_at, self._expire, queue)
        for poller in over:
            poller.end()

    # --- sync match -----------------------------------------------------------------------------

    def assign(self, tasks: Iterable[Task]) -> list[Waiting | None]:
        """Set a poller aside for each of these tasks, None where nobody waits. They get the tasks, or are released."""
        pollers: list[Waiting | None] = []
        for task in tasks:
            queue = self._queues.get(task.queue)
            poller = None if queue is None else queue.next_poller(task.stamp)
            if poller is not None:
                if poller.since:  # no seat
                    poller.queue.polled_at = self._loop.time()
                self._metrics.sync_matches += 1
            pollers.append(poller)
        return pollers

    def release(self, pollers: Iterable[Waiting | None]) -> None:
        """Pollers that got nothing after all: back to the head of their queue."""
        for poller in pollers:
            if poller is not None:
                self._wait_on(poller)

    def _wait_on(self, poller: Waiting) -> None:
        queue = poller.queue
        if poller.future.done():
            return
        if not self._is_open or self._queues.get(queue.name) is not queue:
            poller.future.set_result(None)
            return
        if not isinstance(poller, Poll):
            queue.seats.append(poller)
        else:
            queue.waiting.appendleft(poller)
            if queue.timer is None:
                queue.timer = self._loop.call_at(poller.expires_at, self._expire, queue)
        # Not at once: a StartTask that is being decided may hold this very poller.
        self._loop.call_soon(self._match, queue)

    def deliver(self, commit: Commit) -> None:
        """Durable: the tasks of a commit, and of the runs that it starts, go out to who was set aside for them."""
        link: Commit | None = commit
        while link is not None:
            for dispatch in link.dispatches:
                poller = dispatch.poller
                assert isinstance(poller, Waiting)
                if poller.future.done():
                    self.give_back(poller, dispatch.task)
                else:
                    if poller.since:
                        poller.queue.polled_at = self._loop.time()
                    poller.future.set_result(dispatch.task)
            link = link.next_run

    # --- rows -----------------------------------------------------------------------------------

    def hear(self, news: News) -> None:
        """Rows are in the store. A queue that nobody polls reads them when somebody does."""
        if news.commit is None:
            self._hear_of_others(news)
            return
        for task in news.commit.add_tasks:
            queue = self._queues.get(task.queue)
            if queue is None:
                self.on_unpolled(task.queue)
                continue
            queue.backlog.added(task)
            self.others.stocked.add(queue)
            if queue.seats or queue.waiting:
                self._match(queue)
            elif task.queue not in self._near:
                self.on_unpolled(task.queue)

    def _hear_of_others(self, news: News) -> None:
        """What another node starts is not tried here; what it leaves is, when it is this node's turn."""
        self.others.hear(news)
        for name in news.queues:
            queue = self._queues.get(name)
            if queue is not None and not news.rows:
                self._refresh_in(queue, self.others.turn(name, news))
            if name not in self._near and (queue is None or not queue.has_poller()):
                self.on_unpolled(name)

    def gap(self) -> None:
        """There may be rows in the store that nobody told of."""
        for queue in list(self._queues.values()):
            self._refresh(queue)

    def _match(self, queue: TaskQueue) -> None:
        """Give what is there to whoever waits."""
        while not queue.is_paused and queue.has_poller():
            if queue.volatile:
                self._hand_over(queue, queue.volatile.popleft())
            elif queue.orphans:
                self._revive(queue, queue.orphans.popleft())
            elif queue.backlog:
                self._start_row(queue, queue.backlog.take())
                self._read_on(queue)
            elif queue.ripe:
                claim(queue, queue.ripe.popleft())
            else:
                self._read_on(queue)
                if queue.is_fed and queue.hunger is None:
                    self.others.await_hunger(queue)
                return

    def _read_on(self, queue: TaskQueue) -> None:
        if queue.backlog.wants_page and self._is_open:
            queue.backlog.is_reading = True
            self.others.stocked.add(queue)
            self._spawn(self._read(queue))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, queue: TaskQueue) -> None:
        """Read the next page of a queue's rows."""
        backlog = queue.backlog
        limit = self._config.backlog_page
        try:
            page = await self._store.tasks(queue.name, backlog.cursor, limit)
        except StoreError as error:
            self._metrics.store_errors += 1
            if not queue.is_in_trouble:
                _log.warning("the rows of task queue %r cannot be read, trying again: %s", queue.name.name, error)
            queue.is_in_trouble = True
            self._pause(queue)
        else:
            queue.is_in_trouble = False
            backlog.read(page, is_last=len(page) < limit)
        finally:
            backlog.is_reading = False
            self.pages.emit()
        self._match(queue)

    def _refresh_in(self, queue: TaskQueue, wait_s: float) -> None:
        """Look at its rows when it is this node's turn: what another node takes is not there any more then."""
        if not wait_s:
            self._refresh(queue)
        elif queue.turn is None:
            queue.turn = self._loop.call_later(wait_s, self._refresh, queue)

    def _refresh(self, queue: TaskQueue) -> None:
        if queue.turn is not None:
            queue.turn.cancel()
            queue.turn = None
        queue.backlog.refresh()
        self._match(queue)

    def _pause(self, queue: TaskQueue) -> None:
        if not queue.is_paused:
            queue.is_paused = True
            self._loop.call_later(self._config.store_retry_ns / 1e9, self._resume, queue)

    def _resume(self, queue: TaskQueue) -> None:
        queue.is_paused = False
        self._match(queue)

    def _start_row(self, queue: TaskQueue, task: Task) -> None:
        poller = queue.next_poller(task.stamp)
        assert poller is not None, "asked only when somebody waits"
        self._metrics.row_starts += 1
        self.takes.emit()
        try:
            reply = self._ask(task.key, StartTask(task, poller))
        except Rejected as error:
            self._row_refused(queue, task, poller, error)
        else:
            reply.add_done_callback(partial(self._row_started, queue, task, poller))

    def _row_started(self, queue: TaskQueue, task: Task, poller: Waiting, reply: asyncio.Future[Any]) -> None:
        error = reply.exception()
        if error is None:
            queue.backlog.finished(task)
            self._wait_on(poller)  # without effect, unless a fault kept the task from it
        else:
            self._row_refused(queue, task, poller, error)

    def _row_refused(self, queue: TaskQueue, task: Task, poller: Waiting, error: BaseException) -> None:
        if isinstance(error, Rejected) and error.code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
            queue.backlog.put_back(task)
            self._pause(queue)
        else:
            self._metrics.stale_rows += 1
            queue.backlog.finished(task)
        self._wait_on(poller)

    # --- volatile tasks -------------------------------------------------------------------------

    def offer(self, name: QueueName, task: VolatileTask) -> None:
        """Give it to whoever polls, or will."""
        if task.is_wanted:
            queue = self._queues.get(name) or self._open(name)
            queue.volatile.append(task)
            self._match(queue)

    def take_volatile(self, name: QueueName) -> list[VolatileTask]:
        """Take back all that waits for somebody who polls a queue; nothing, if somebody does."""
        queue = self._queues.get(name)
        if queue is None or not queue.volatile or self.is_polled(name):
            return []
        tasks, queue.volatile = list(queue.volatile), deque()
        return tasks

    def withdraw(self, name: QueueName, task: VolatileTask) -> bool:
        """Take it back. False: a worker has it."""
        queue = self._queues.get(name)
        if queue is None or task not in queue.volatile:
            return False
        queue.volatile.remove(task)
        return True

    @staticmethod
    def _hand_over(queue: TaskQueue, task: VolatileTask) -> None:
        if task.is_wanted:
            poller = queue.next_poller()
            assert poller is not None, "asked only when somebody waits"
            poller.future.set_result(task)

    # --- orphans --------------------------------------------------------------------------------

    def _revive(self, queue: TaskQueue, task: StartedTask) -> None:
        """Give an orphan to the next poller, unless its time-out was faster."""
        poller = queue.next_poller()
        assert poller is not None, "asked only when somebody waits"
        try:
            reply = self._ask(task.key, Read(partial(is_held, task)))
        except Rejected:
            self._wait_on(poller)
        else:
            reply.add_done_callback(partial(self._revived, task, poller))

    def _revived(self, task: StartedTask, poller: Waiting, reply: asyncio.Future[Any]) -> None:
        if reply.exception() is not None or not reply.result():
            self._wait_on(poller)  # lost to its time-out, as if a worker had taken it and died
        elif poller.future.done():
            self.give_back(poller, task)
        else:
            poller.future.set_result(task)

    def _ask(self, key: ExecutionKey, command: Command | Read) -> asyncio.Future[Any]:
        return self._submit(key.namespace, key.workflow_id, key.run_id, command)

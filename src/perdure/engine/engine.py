"""The composition root: puts the services together, starts and stops them in order.

    Engine(store, clock, ids, config)
      mailboxes --decide--> committer --durable--> feed: whoever listens, see `_subscribe`; then replies
      matching: pollers and backlog        waker: deadlines        recovery: once, at start
      record waker: deadlines of things that are no executions      schedules: what is to be started when
      batches: one thing done to many
      outbox: what workflows send one another                      queries: questions, never stored
      workers: their heartbeats                                   unpolled: queues without any
      histories: events for tasks and readers                      namespaces

Everything runs on the event loop that `start` is called on; nothing here blocks it, and nothing
assumes that this is the only engine on the store unless the configuration says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import Command
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey, QueueName, Task
from perdure.core.started import StartedTask
from perdure.engine.deciding.histories import Histories
from perdure.engine.deciding.mailboxes import Mailboxes
from perdure.engine.duties.duties import Duties
from perdure.engine.duties.outbox import Outbox
from perdure.engine.duties.pruner import Pruner
from perdure.engine.duties.record_waker import RecordWaker, tell_of_deadlines
from perdure.engine.duties.recovery import Recovery
from perdure.engine.duties.wakeups import Waker
from perdure.engine.feed.alarms import Alarms
from perdure.engine.feed.feed import Feed, Topic
from perdure.engine.feed.held_rows import HeldRows
from perdure.engine.feed.relay import Relay
from perdure.engine.feed.updates import Updates
from perdure.engine.feed.watchers import Watchers
from perdure.engine.matching.elsewhere import Elsewhere
from perdure.engine.matching.matching import Matching
from perdure.engine.matching.queries import Queries
from perdure.engine.matching.task_queue import Poll
from perdure.engine.matching.unpolled import Unpolled
from perdure.engine.matching.volatile_task import VolatileTask
from perdure.engine.matching.workers import Workers
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.clock import Clock, Jump, SystemClock, WatchedClock
from perdure.engine.node.config import EngineConfig, NodeConfig
from perdure.engine.node.faults import as_rejected
from perdure.engine.node.ids import TimeOrderedIds
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.wire import LETTER, Wire
from perdure.engine.records.batches import Batches
from perdure.engine.records.front import Front
from perdure.engine.records.records import Records
from perdure.engine.records.requests import Requests
from perdure.engine.records.schedules import Schedules
from perdure.engine.submission import Age, InTransaction, Read
from perdure.stores.api import BEGINNING, Found, Page, ReadsBusy, ReadTooLong, Store, StoreError
from perdure.stores.copying import refuse_unfinished
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import ALL, Query

Result = TypeVar("Result")


class Engine:
    """See the module's text. `ids` makes a fresh UUIDv7 per call."""

    living_workers: Callable[[], frozenset[str]] | None = None
    """Workers that outlive this engine, in other processes (`api.presence`): asked once, at the start. None: nobody can
    tell who is alive, and only a configuration that says so takes workers for dead."""

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        ids: Callable[[], str] | None = None,
        config: EngineConfig | None = None,
    ) -> None:
        self.config = _config_on(store, config or EngineConfig())
        self.clock: Clock = clock or SystemClock()
        self._watched = WatchedClock(self.clock, self._clock_was_set)
        self.new_id = ids or TimeOrderedIds(self.clock)
        self.store = store
        self._metrics = Metrics()
        self.feed = Feed(self.config.limits.state_bytes // 2)
        self.matching = Matching(store, self.config, self._metrics, self.submit)
        self.namespaces = Namespaces(store, self.new_id, self.config)
        self.mailboxes = Mailboxes(
            store,
            self._watched,
            self.new_id,
            self.config,
            self._metrics,
            self.matching,
            self.feed,
            self.namespaces.attribute_type,
        )
        self.updates = Updates(self.config)
        self._alarms = Alarms(self.config.limits)
        self.workers = Workers(self.clock, self.config)
        self.queries = Queries(self.submit, self.matching, self.feed, self.new_id, self.config)
        is_node = self.config.node is not None
        self.wire = Wire(store, self._watched, self.new_id(), self._metrics, self.feed.gap) if is_node else None
        self.duties = duties = Duties(store, self._watched, self.wire, self.config, self._metrics)
        self.unpolled = Unpolled(store, self.config, self.matching, self.read, self._looks_after)
        self.recovery = Recovery(store, self.config, self._metrics, duties, self.submit)
        self.waker = Waker(store, self._watched, self.config, self._metrics, duties, self.submit)
        self.waker.is_crowded, self.waker.taken = self.matching.is_crowded, self.matching.takes
        self.watchers = Watchers(self.config, self.feed)
        self.histories = Histories(store, self.config, self._metrics, self.mailboxes)
        self.outbox = Outbox(store, self.config, self._metrics, duties, self.namespaces, self.submit)
        self.record_waker = RecordWaker(store, self._watched, self.config, self._metrics, duties)
        self.records = Records(store, self.config, self._metrics, self.record_waker.written)
        self.front = Front()
        self.schedules = Schedules(
            store,
            self._watched,
            self.config,
            duties,
            self.records,
            self.namespaces,
            self.histories,
            self.record_waker,
            self.submit,
            self.read,
            self.front,
        )
        self.batches = Batches(
            store, self._watched, self.config, self.records, self.namespaces, self.new_id, self.record_waker, self.front
        )
        self.requests = Requests(store, self._watched, self.records, self.namespaces, self.record_waker, self.submit)
        kinds = self.record_waker.kinds
        self.pruner = Pruner(
            store, self._watched, self.config, self._metrics, duties, self.namespaces, self.submit, self.delete, kinds
        )
        self._is_started = False
        self._subscribe()
        self._elsewhere: Elsewhere | None = None
        self._relay: Relay | None = None
        if self.wire is not None:
            self._listen_to_others(self.wire)

    def _subscribe(self) -> None:
        """Who listens to what; what comes first here hears it first."""
        feed = self.feed
        feed.subscribe(self.matching, Topic.ROWS)
        feed.subscribe(self.waker, Topic.DEADLINES)
        feed.waker = self.waker
        feed.subscribe(self.outbox, Topic.MESSAGES)
        feed.subscribe(self.updates, Topic.UPDATES)
        feed.subscribe(self.schedules, Topic.ENDS)
        feed.subscribe(self._alarms, Topic.GROWTH)
        for listener in (self.watchers, self.queries, self.record_waker, self.namespaces):
            feed.subscribe(listener)

    def _listen_to_others(self, wire: Wire) -> None:
        """What is told to the other nodes, and heard of them."""
        elsewhere = self._elsewhere = Elsewhere(wire, self.matching, self.queries, self.config, self._metrics)
        rows = HeldRows(self.matching.is_served, elsewhere.is_wanted)
        elsewhere.on_wanted = rows.wanted
        relay = self._relay = Relay(
            self.feed,
            wire,
            self._watched,
            rows,
            self.mailboxes.overtaken,
            self.mailboxes.missed,
        )
        self.feed.subscribe(relay, Topic.EVERY)
        self.namespaces.on_change = partial(wire.tell, "namespaces", b"")
        wire.on("namespaces", lambda node, body: self.namespaces.gap())
        self.record_waker.register(LETTER, wire.drop_letter, wire.drop_letter)
        tell_of_deadlines(wire, self.record_waker)
        self.matching.home = wire.node
        self.mailboxes.contention.listen(wire)
        self.duties.count(self.matching.count_workers)
        self.duties.follow(self._clock_is_right)
        self.duties.subscribe(self.feed.gap)  # a node that is gone may have taken news with it
        self.duties.subscribe(self.unpolled.take_over)

    def _looks_after(self, queue: QueueName) -> bool:
        return self.duties.partitions.hold(queue.namespace, queue.name)

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, recover, and serve. Raises StoreError; then nothing is left running."""
        await self.store.open()
        self._watched.start(asyncio.get_running_loop().time)
        try:
            await self._start_answering()
            if self.config.has_duties:
                await self._take_up_duties()
        except BaseException:
            await self._shut(self.mailboxes.abort, self.duties.hand_over)
            raise
        self._is_started = True

    async def _start_answering(self) -> None:
        """What requests need."""
        await refuse_unfinished(self.store)
        await self.duties.check()
        if self.wire is not None:
            await self.wire.start()  # first: what others do from now on is told, and what they did before is read
        if self.config.has_duties:
            await self.namespaces.start()
        else:
            await self.namespaces.refresh()
        await self.mailboxes.start()
        await self.records.start()
        if self.living_workers is not None:
            await self.recovery.take_back(living=self.living_workers())
        elif self.config.workers_died and self.config.node is not None:
            if self.duties.is_alone:  # else the others have taken it back, or do
                await self.recovery.take_back_from_the_gone()
        elif self.config.workers_died:
            await self.recovery.take_back()
        await self.watchers.start()
        self.updates.start()
        await self.matching.start()
        if self._elsewhere is not None:
            self._elsewhere.start()

    async def _take_up_duties(self) -> None:
        """What is done although nobody asks for it."""
        await self.duties.start()
        await self.unpolled.start()
        await self.outbox.start()
        await self.waker.start()
        await self.schedules.start()
        await self.requests.start()
        await self.record_waker.start()
        await self.pruner.start()

    async def stop(self) -> None:
        """Answer pollers and watchers with nothing, finish what was submitted, close the store. Idempotent."""
        self._say_that_it_ends()
        await self._shut(self._finish, self.duties.hand_over)

    async def _finish(self) -> None:
        """What was submitted is answered, and the others are told of it."""
        await self.mailboxes.stop()
        if self.wire is not None and self._relay is not None:
            self._relay.flush()
            await self.wire.flush()

    async def send_away(self) -> None:
        """Answer pollers and watchers with nothing, and refuse new ones; all else goes on. The first half of a stop."""
        self._say_that_it_ends()
        await self._send_away()

    def _say_that_it_ends(self) -> None:
        self.duties.drain()
        if self._elsewhere is not None:
            self._elsewhere.leave()

    async def _send_away(self) -> None:
        await self.matching.stop()
        await self.watchers.stop()
        self.queries.stop()
        self.updates.stop()

    async def abort(self) -> None:
        """Stop without finishing anything, as a crash would, but release the store."""
        await self._shut(self.mailboxes.abort, self.duties.stop)

    async def _shut(
        self, stop_mailboxes: Callable[[], Awaitable[None]], stop_duties: Callable[[], Awaitable[None]]
    ) -> None:
        self._is_started = False
        await self._send_away()
        await self.recovery.stop()
        await self.unpolled.stop()
        await self.pruner.stop()
        await self.record_waker.stop()
        await self.schedules.stop()
        await self.waker.stop()
        await self.outbox.stop()
        await self.records.stop()
        await stop_mailboxes()
        await self.namespaces.stop()
        if self._elsewhere is not None:
            self._elsewhere.stop()
        if self._relay is not None:
            self._relay.stop()
        await stop_duties()  # last: what it committed until now is for the others to find
        if self.wire is not None:
            await self.wire.stop()
        await self.store.close()

    @property
    def is_started(self) -> bool:
        return self._is_started

    @property
    def is_ready(self) -> bool:
        """Whether it is of use to whoever may as well ask another node: it is started, and reaches its store."""
        return self._is_started and self.duties.is_heard

    def clock_moved(self) -> None:
        """The clock was set forward by whoever gave it to this engine: look for what is due."""
        self._watched.accept()
        self.waker.clock_moved()
        self.record_waker.clock_moved()

    def _clock_was_set(self, jump: Jump) -> None:
        """Somebody has set the clock of the machine."""
        self._metrics.clock_jumps += 1
        if not self.duties.is_alone:  # the other nodes say whose time is right
            self._watched.hold(jump.by_ns)
            return
        self.waker.clock_was_set(jump)
        self.record_waker.clock_was_set(jump)

    def _clock_is_right(self) -> None:
        """The machine's clock was set, as most others were: what was far may be due."""
        self.waker.clock_moved()
        self.record_waker.clock_moved()

    def metrics(self) -> Metrics:
        """What was counted up to now; the same object every time."""
        self.mailboxes.measure()
        return self._metrics

    # --- commands -------------------------------------------------------------------------------

    def submit(
        self, namespace: str, workflow_id: str, run_id: str | None, command: Command | Read
    ) -> asyncio.Future[Any]:
        """Decide a command on a run (None or empty: the current one); the future holds its reply once durable.

        The future fails with `Rejected`; so does this call, RESOURCE_EXHAUSTED or UNAVAILABLE, when
        the command cannot even be queued.
        """
        return self.mailboxes.submit(namespace, workflow_id, run_id, command)

    def submit_in_transaction(
        self, namespace: str, workflow_id: str, run_id: str | None, command: Command, work: Callable[[Any], bool]
    ) -> asyncio.Future[bool]:
        """As `submit`, but `work` first writes in the transaction of the commit; both are kept, or neither.

        The future holds True, or False when `work` said that nothing is to be kept. Raises Rejected UNIMPLEMENTED.
        """
        if self.store.transactional is None:
            raise Rejected(
                StatusCode.UNIMPLEMENTED,
                "This store cannot take rows of yours into its transactions: transactional activities need an embedded "
                "engine on SQLite or PostgreSQL, Engine('sqlite:///...') or Engine('postgresql://...').",
            )
        return self.mailboxes.submit(namespace, workflow_id, run_id, InTransaction(command, work))

    def read(
        self,
        namespace: str,
        workflow_id: str,
        run_id: str | None,
        look: Callable[[Execution | None], Result],
        age: Age = Age.NOW,
    ) -> asyncio.Future[Result]:
        """What `look` says of the durable state of a run, after all that was submitted before."""
        return self.mailboxes.submit(namespace, workflow_id, run_id, Read(look, age))

    # --- polls ----------------------------------------------------------------------------------

    async def poll(
        self, queue: QueueName, identity: str, wait_s: float | None = None, worker: str = ""
    ) -> tuple[StartedTask | VolatileTask, Poll] | None:
        """Wait for a task; None when none came in `wait_s` (None: `long_poll_ns`), or `worker` shuts down.

        Whoever cannot hand the task on gives it back with `matching.give_back(waiting, task)`.
        A cancelled poll takes no task with it. Raises Rejected UNAVAILABLE, RESOURCE_EXHAUSTED.
        """
        waiting = self.matching.poll(queue, identity, wait_s, worker)
        try:
            task = await waiting.answer
        except asyncio.CancelledError:
            self.matching.abandon(waiting)
            raise
        return None if task is None else (task, waiting)

    # --- reads of the store ---------------------------------------------------------------------

    async def find_executions(
        self, namespace: str, query: Query, after: Cursor | None = None, limit: int = 100
    ) -> Page[Found]:
        """See `Store.find_executions`. Raises Rejected UNAVAILABLE."""
        return await self._stored(self.store.find_executions(namespace, query, after, limit))

    async def count_executions(self, namespace: str, query: Query = ALL) -> dict[int, int]:
        """How many of them have each WorkflowExecutionStatus. Raises Rejected UNAVAILABLE."""
        return await self._stored(self.store.count_executions(namespace, query))

    async def delete(self, keys: Sequence[ExecutionKey]) -> int:
        """Take closed executions out of store and memory. Returns how many there were. Raises Rejected UNAVAILABLE."""
        number = await self._stored(self.store.delete_executions(keys))
        for key in keys:
            self.mailboxes.forget(key)
        return number

    async def backlog(self, queue: QueueName) -> tuple[int, Task | None]:
        """How many tasks of a queue wait as rows, and the oldest of them. Raises Rejected UNAVAILABLE."""
        count = await self._stored(self.store.count_tasks(queue))
        oldest = await self._stored(self.store.tasks(queue, BEGINNING, 1)) if count else ()
        return count, oldest[0].task if oldest else None

    async def _stored(self, reading: Awaitable[Result]) -> Result:
        try:
            return await reading
        except StoreError as error:
            if not isinstance(error, (ReadTooLong, ReadsBusy)):
                self._metrics.store_errors += 1
            raise as_rejected(error) from error


def _config_on(store: Store, config: EngineConfig) -> EngineConfig:
    """On a store that is shared by its nature an engine is a node, whether it was said or not."""
    return replace(config, node=NodeConfig()) if store.is_shared and config.node is None else config

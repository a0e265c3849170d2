"""Delivers what workflows send one another: start a child, signal, cancel, and the word of how it went.

A message is a row of its sender's commit. Once that is durable the engine hands it on in memory: it is
submitted to its target's mailbox, and where the sender waits for the outcome, that is submitted to the
sender's. The commit that settles the matter takes the row away; a delivery that settled nothing, because it
came twice or too late, has its row removed here. A target that cannot take it now is asked again, more and more
slowly; a message that only meets faults of the engine is parked: it stays in the store, for the next start. What
was not delivered when the engine died, or did not fit into memory, is read from the store. Deliveries are
idempotent (`perdure.core.message`), so this may repeat itself as often as it likes.

In a fleet a message is delivered by the node that committed it. The node that has the duty for its target delivers what
that one cannot: when a node has gone it reads all messages of its share, and now and then those that were there
a while ago as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from functools import partial
from typing import Any

from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core import commands
from perdure.core.message import CancelExternal, CloseChild, Message, Origin, SignalExternal, StartChild
from perdure.core.replies import Started
from perdure.engine.duties.duties import Duties
from perdure.engine.feed.news import News
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.submission import Submit
from perdure.stores.api import BEGINNING, Position, Store, StoreError

_log = logging.getLogger(__name__)

_PASSING = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)
"""The target may take it later."""


_TOO_EARLY = Rejected(StatusCode.UNAVAILABLE, "The child is still to be started.")


class _Trouble:
    """What a message that was not delivered at once has met."""

    __slots__ = ("faults", "pause_s")

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self.faults = 0


class Outbox:
    """See the module's text. `settled` is emitted for every message that need not be delivered any more."""

    def __init__(
        self,
        store: Store,
        config: EngineConfig,
        metrics: Metrics,
        duties: Duties,
        namespaces: Namespaces,
        submit: Submit,
    ) -> None:
        self._store = store
        self._max = config.outbox_messages_max
        self._page = config.outbox_page
        self._store_retry_s = config.store_retry_ns / 1e9
        self._retry_s = config.outbox_retry_ns / 1e9
        self._retry_max_s = config.outbox_retry_max_ns / 1e9
        self._faults_max = config.outbox_faults_max
        self._metrics = metrics
        self._duties = duties
        self._namespaces = namespaces
        self._submit = submit
        self._open: dict[str, Message] = {}
        """On their way."""
        self._troubled: dict[str, _Trouble] = {}
        """Those that were not delivered at once."""
        self._parked: set[str] = set()
        self._damaged: set[Position] = set()
        """Positions of rows that cannot be read."""
        self._overflowed = False
        """Some are in the store alone."""
        self._removals: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self.settled = Signal()
        duties.subscribe(self.gap)

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Deliver what an engine before this one left. Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        await self._read()
        if self._duties.look_every_s is not None:
            self._spawn(self._sweep(self._duties.look_every_s))

    async def stop(self) -> None:
        """Leave the rest to the store."""
        self._is_open = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._open.clear()

    # --- in -------------------------------------------------------------------------------------

    def hear(self, news: News) -> None:
        """Messages may go out, and some need not any more. Those of another node's commits that node delivers."""
        commit = news.commit
        if commit is None:
            return
        for message_id in commit.remove_messages:
            self._settle(message_id)
        for message in commit.messages:
            if len(self._open) < self._max and not self._overflowed:
                self._deliver(message)
            else:
                self._overflowed = True

    def gap(self) -> None:
        """There may be messages that nobody delivers: look at the store."""
        if self._is_open:
            self._spawn(self._read_again())

    def _settle(self, message_id: str) -> None:
        if self._open.pop(message_id, None) is None:
            return
        self._troubled.pop(message_id, None)
        self.settled.emit()
        if self._overflowed and self._is_open and len(self._open) <= self._max // 2:
            self._overflowed = False
            self._spawn(self._read_again())

    async def _read(self, among: Container[Position] | None = None) -> set[Position]:
        """Take messages from the store, oldest first, while there is room; with `among`, those that stand there alone.

        Returns where messages were found that this node does not deliver yet. Raises StoreError.
        """
        position, others = BEGINNING, set[Position]()
        while True:
            page = await self._store.pending_messages(position, self._page, self._duties.partitions)
            for row in page:
                message = row.message
                if message is None:
                    self._note_damage(row.position)
                    continue
                if message.id in self._open or message.id in self._parked:
                    continue
                if len(self._open) + len(others) >= self._max:
                    self._overflowed = True
                    return others
                if among is None or row.position in among:
                    self._deliver(message)
                else:
                    others.add(row.position)
            if len(page) < self._page:
                return others
            position = page[-1].position

    async def _sweep(self, every_s: float) -> None:
        """What was there a while ago, and is there still, is delivered by nobody, or is in trouble elsewhere too."""
        others: set[Position] = set()
        while True:
            await asyncio.sleep(every_s)
            try:
                others = await self._read(others)
            except StoreError as error:
                self._metrics.store_errors += 1
                _log.warning("messages between workflows cannot be looked for: %s", error)

    def _note_damage(self, position: Position) -> None:
        """A message that cannot be read is left in the store, and holds up no other."""
        if position not in self._damaged:
            self._damaged.add(position)
            self._metrics.parked_messages += 1
            _log.error("a message between workflows (row %d) is damaged and cannot be delivered", position.number)

    async def _read_again(self) -> None:
        while True:
            try:
                await self._read()
                return
            except StoreError as error:
                self._metrics.store_errors += 1
                _log.warning("messages between workflows cannot be read, trying again: %s", error)
            await asyncio.sleep(self._store_retry_s)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- out ------------------------------------------------------------------------------------

    def _deliver(self, message: Message) -> None:
        self._open[message.id] = message
        try:
            self._namespaces.get(message.namespace)
        except Rejected:
            self._refused(message, enums.EXTERNAL_NAMESPACE_NOT_FOUND)
            return
        body = message.body
        if isinstance(body, (SignalExternal, CancelExternal)) and _is_self(message, body.sender):
            self._refused(message, enums.EXTERNAL_NOT_FOUND)
            return
        command = _command(message)
        self._try(message, message.namespace, message.workflow_id, message.run_id, command, self._delivered)

    def _deliver_again(self, message: Message) -> None:
        if self._is_open and message.id in self._open:
            self._deliver(message)

    def _try(
        self,
        message: Message,
        namespace: str,
        workflow_id: str,
        run_id: str,
        command: commands.Command,
        done: Callable[[Message, Any, Rejected | None], None],
    ) -> None:
        """Submit now, and again as long as the engine or the store says "later"."""
        if not self._is_open or message.id not in self._open:
            return
        again = partial(self._try, message, namespace, workflow_id, run_id, command, done)
        try:
            reply = self._submit(namespace, workflow_id, run_id, command)
        except Rejected as error:
            self._try_later(message, again, error)
            return
        reply.add_done_callback(partial(self._answered, message, again, done))

    def _answered(
        self,
        message: Message,
        again: Callable[[], None],
        done: Callable[[Message, Any, Rejected | None], None],
        reply: asyncio.Future[Any],
    ) -> None:
        error = reply.exception()
        if error is None:
            done(message, reply.result(), None)
        elif not isinstance(error, Rejected) or error.code in (*_PASSING, StatusCode.INTERNAL):
            self._try_later(message, again, error)
        else:
            done(message, None, error)

    def _try_later(self, message: Message, again: Callable[[], None], error: BaseException) -> None:
        """The target is busy or away; or there is a fault, which is told of and tried so often and no more."""
        self._metrics.message_retries += 1
        trouble = self._troubled.setdefault(message.id, _Trouble(self._retry_s))
        pause_s = trouble.pause_s
        trouble.pause_s = min(2 * pause_s, self._retry_max_s)
        if not isinstance(error, Rejected) or error.code not in _PASSING:
            trouble.faults += 1
            text = "%s from %r to workflow %r cannot be delivered (fault %d): %s"
            what, sender = type(message.body).__name__, message.id
            if trouble.faults >= self._faults_max:
                _log.error(text + "; left to the next start", what, sender, message.workflow_id, trouble.faults, error)
                self._park(message)
                return
            _log.warning(text, what, sender, message.workflow_id, trouble.faults, error)
        self._loop.call_later(pause_s, again)

    def _park(self, message: Message) -> None:
        self._metrics.parked_messages += 1
        self._parked.add(message.id)
        self._settle(message.id)

    def _delivered(self, message: Message, reply: Any, refusal: Rejected | None) -> None:
        """The target has decided; the sender is told, if it waits."""
        body = message.body
        if isinstance(body, StartChild):
            if refusal is None:
                started: Started = reply
                resolution = commands.ResolveChildStart(body.parent.event_id, message.id, started.first_run_id)
                self._tell(message, body.parent, resolution)
            else:
                self._refused(message, enums.CHILD_ALREADY_EXISTS)
        elif isinstance(body, (SignalExternal, CancelExternal)):
            if refusal is None:
                self._tell(message, body.sender, _arrived(message.id, body))
            else:
                self._refused(message, enums.EXTERNAL_NOT_FOUND)
        else:
            self._forget(message)

    def _refused(self, message: Message, cause: int) -> None:
        body = message.body
        if isinstance(body, StartChild):
            resolution = commands.ResolveChildStart(body.parent.event_id, message.id, "", cause)
            self._tell(message, body.parent, resolution)
        elif isinstance(body, (SignalExternal, CancelExternal)):
            self._tell(message, body.sender, _arrived(message.id, body, cause))
        else:
            self._forget(message)

    def _tell(self, message: Message, sender: Origin, resolution: commands.Command) -> None:
        self._try(message, sender.namespace, sender.workflow_id, sender.run_id, resolution, self._told)

    def _told(self, message: Message, reply: Any, refusal: Rejected | None) -> None:
        if reply is False:  # the child that it is for is still to be started, by a message that another node delivers
            self._try_later(message, partial(self._deliver_again, message), _TOO_EARLY)
            return
        self._forget(message)

    # --- removal --------------------------------------------------------------------------------

    def _forget(self, message: Message) -> None:
        """A message is done with; unless a commit took the row away, it is removed here."""
        if message.id not in self._open:
            return
        self._settle(message.id)
        self._removals.append(message.id)
        if len(self._removals) == 1 and self._is_open:
            self._spawn(self._remove())

    async def _remove(self) -> None:
        """All that gathered, in one transaction. A row that stays is delivered again at the next start."""
        while self._removals:
            removals, self._removals = self._removals, []
            try:
                await self._store.remove_messages(removals)
            except StoreError as error:
                self._metrics.store_errors += 1
                _log.warning("%d delivered messages stay in the store until the next start: %s", len(removals), error)


def _arrived(message_id: str, body: SignalExternal | CancelExternal, cause: int = 0) -> commands.ResolveExternal:
    return commands.ResolveExternal(body.sender.event_id, message_id, cause, body.child_only)


def _is_self(message: Message, sender: Origin) -> bool:
    """A workflow cannot signal or cancel itself this way, as in Temporal."""
    return (message.namespace, message.workflow_id) == (sender.namespace, sender.workflow_id)


def _command(message: Message) -> commands.Command:
    body = message.body
    if isinstance(body, StartChild):
        request = StartWorkflowExecutionRequest.FromString(body.request)
        return commands.StartWorkflow(request, body.parent, body.root_workflow_id, body.root_run_id)
    if isinstance(body, SignalExternal):
        signal = SignalWorkflowExecutionRequest.FromString(body.request)
        return commands.Signal(signal, body.sender, body.child_only)
    if isinstance(body, CancelExternal):
        cancel = RequestCancelWorkflowExecutionRequest.FromString(body.request)
        return commands.RequestCancel(cancel, body.sender, body.child_only)
    if isinstance(body, CloseChild):
        return commands.CloseChild(body, message.id)
    return commands.ChildClosed(body, message.id)

"""The wire between the engines on one store: what one tells the others, or one of them, at once and durable nowhere.

It is made of the store's notices, which may be lost, late, doubled and out of order. So a node numbers its own, and
its record says with every beat how far it has come (`perdure.engine.duties.nodes`): whoever finds that one is missing
has a *gap*, and looks for itself. So it does when another node is gone, which may have died before it told of its last
deed. What is told is a hint, or is asked again by whoever waits for an answer. A fleet that has nothing to tell sends
nothing.

A notice is small. What is longer and meant for one node is written to the store, as a record, and the notice says
where: the node that it is for reads it and takes it away. What is longer and meant for all is a gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from perdure.engine.node.clock import Clock
from perdure.engine.node.faults import Faults
from perdure.engine.node.gatherer import Gatherer
from perdure.engine.node.metrics import Metrics
from perdure.stores.api import Outcome, Record, RecordChange, Store, StoreError

_log = logging.getLogger(__name__)

CHANNEL = "wire"
NOTICE_BYTES_MAX = 5_900
"""Of one notice: PostgreSQL carries 8,000 characters, and bytes may have to be written as base64."""
LETTER = "letter"
"""The kind of the records in which long messages travel."""
LETTER_KEPT_NS = 120_000_000_000
"""A letter that nobody took in this time is for a node that is gone."""
_TOGETHER_MAX = 500
_WAITING_MAX = 20_000
"""Messages that wait for a store which does not serve; what comes on top of them is lost, and that is told."""
_NODES_MAX = 1_000
_FLUSH_S = 2.0
_OVERHEAD = 16
"""Bytes, at most, that a message adds to a notice beside its own text and those of its names."""

Hear = Callable[[str, bytes], None]
"""Given the node that tells it, and what it tells."""


class _Message(msgspec.Struct, array_like=True):
    to: str
    """The node that it is for; empty: all."""
    kind: str
    body: bytes
    is_letter: bool = False
    """`body` is the name of the record that holds it."""


class _Notice(msgspec.Struct, array_like=True):
    node: str
    number: int
    """The first of a node is 1."""
    messages: list[_Message]


class Wire(Gatherer[_Message]):
    """See the module's text. `gap()` is called whenever something may have been missed.

    Attributes:
        node: the id of this node, another one with every start.
        told: the number of its last notice that has gone out, or was lost on the way.
    """

    def __init__(self, store: Store, clock: Clock, node: str, metrics: Metrics, gap: Callable[[], None]) -> None:
        super().__init__(_TOGETHER_MAX)
        self._store = store
        self._now_ns = clock.now_ns
        self.node = node
        self.told = 0
        self._metrics = metrics
        self._gap = gap
        self._hearers: dict[str, Hear] = {}
        self._heard: dict[str, int] = {}
        """The number of the last notice of each other node."""
        self._due: dict[str, int] | None = None
        """What each had told a beat ago: it must have arrived by now. None: nothing was compared yet."""
        self._number = 0
        self._letters = 0
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_in_trouble = False
        self._faults = Faults(_log)

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Hear the others from now on, and be heard. Raises StoreError."""
        await self._store.listen(CHANNEL, self._hear)
        await super().start()

    async def stop(self) -> None:
        """Tell nothing more. What was not sent yet is lost, and the others find that out when this node is gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await super().stop()

    def on(self, kind: str, hear: Hear) -> None:
        """Have it called with the messages of this kind, those that are for this node."""
        self._hearers[kind] = hear

    def hears(self, node: str) -> bool:
        """Whether another node was heard of, and not of its end."""
        return node in self._heard or (self._due is not None and node in self._due)

    @property
    def is_alone(self) -> bool:
        """Whether no other node was seen or heard of: what is told now is told to nobody."""
        return self._due is not None and not self._due and not self._heard

    def compare(self, told: Mapping[str, int]) -> None:
        """What the other nodes have told by now, as their records say: once a beat, of all that live.

        What a record says may be on its way yet. So what is missing is missed when it is still not there a beat later.
        What was told before this node first compared is in what it reads when it starts.
        """
        heard, due = self._heard, self._due
        if due is None:
            due = dict.fromkeys(told, 0)
            heard.update((node, max(number, heard.get(node, 0))) for node, number in told.items())
        for node in due.keys() - told.keys():
            heard.pop(node, None)
        behind = [node for node, number in due.items() if node in told and number > heard.get(node, 0)]
        heard.update((node, due[node]) for node in behind)
        self._due = dict(told)
        if behind:
            self._miss()

    def _miss(self) -> None:
        self._metrics.notice_gaps += 1
        self._gap()

    # --- telling --------------------------------------------------------------------------------

    def tell(self, kind: str, body: bytes, to: str = "") -> None:
        """Tell all other nodes, or one of them. Returns at once; see the module's text for what may become of it."""
        if self._waiting < _WAITING_MAX:
            self._waiting += 1
            self.add(_Message(to, kind, body))
        else:
            self._number += 1  # one that nobody will ever hear

    def lose(self) -> None:
        """There was something to tell, and nobody to hear it: a node that comes meanwhile finds that it is missing."""
        self._number += 1
        self.told = self._number

    async def tell_now(self, kind: str, body: bytes) -> None:
        """As `tell` to all; when it returns the notice has gone out, or is lost."""
        self._waiting += 1
        await self._work([_Message("", kind, body)])

    async def flush(self) -> None:
        """Wait until all that was told has gone out or is lost, for a moment: before this node stops.

        One that never joined the others (a command's engine) has no record by which they would miss it.
        """
        try:
            async with asyncio.timeout(_FLUSH_S):
                while self._waiting and self._task is not None:
                    await self.batches.reached(self.batches.count + 1)
        except TimeoutError:
            _log.warning("the other nodes were not told all that happened here: the store takes too long")

    async def _work(self, batch: list[_Message]) -> None:
        notices: list[bytes] = []
        try:
            for some in self._packed(batch if _all_short(batch) else [await self._shortened(one) for one in batch]):
                self._number += 1
                notices.append(_encode(_Notice(self.node, self._number, some)))
            if notices:
                await self._store.notify(CHANNEL, notices)
                self._metrics.notices_sent += len(notices)
            self._is_in_trouble = False
        except StoreError as error:  # the numbers are used up: the others will know that something is missing
            self._metrics.store_errors += 1
            self._number += 1
            if not self._is_in_trouble:  # not every second of an outage
                self._is_in_trouble = True
                _log.warning("the other nodes cannot be told what happens here, trying on: %s", error)
        finally:
            self._waiting -= len(batch)
            self.told = self._number

    async def _shortened(self, message: _Message) -> _Message:
        """The message, or where it is to be read. Raises StoreError."""
        if _size(message) <= NOTICE_BYTES_MAX or not message.to:
            return message
        self._letters += 1
        name = f"{self.node}/{self._letters}"
        change = RecordChange(LETTER, "", name, 0, message.body, self._now_ns() + LETTER_KEPT_NS)
        [outcome] = await self._store.put_records([change])
        if isinstance(outcome, StoreError):
            raise outcome
        return _Message(message.to, message.kind, name.encode(), True)

    def _packed(self, messages: list[_Message]) -> list[list[_Message]]:
        """As many in each as a notice holds. What none can hold is left out, and a number with it."""
        packed: list[list[_Message]] = []
        room = 0
        for message in messages:
            size = _size(message)
            if size > NOTICE_BYTES_MAX:
                self._number += 1
                continue
            if size > room:
                packed.append([])
                room = NOTICE_BYTES_MAX - len(self.node) - _OVERHEAD
            packed[-1].append(message)
            room -= size
        return packed

    # --- hearing --------------------------------------------------------------------------------

    def _hear(self, data: bytes | None) -> None:
        """A notice of the store."""
        if data is None:
            self._miss()
            return
        try:
            notice = _decode(data)
        except msgspec.MsgspecError as error:  # of a node that knows more than this one
            self._faults.tell(error, "a notice of another node cannot be read")
            self._gap()
            return
        if notice.node == self.node:  # some stores tell everybody
            return
        before = self._heard.get(notice.node, notice.number - 1 if self._due is None else 0)
        self._heard[notice.node] = max(before, notice.number)
        if len(self._heard) > _NODES_MAX:
            del self._heard[next(iter(self._heard))]
        for message in notice.messages:
            if message.to in ("", self.node):
                self._take(notice.node, message)
        if notice.number > before + 1:
            self._miss()

    def _take(self, node: str, message: _Message) -> None:
        hear = self._hearers.get(message.kind)
        if hear is None:
            return
        if message.is_letter:
            task = asyncio.get_running_loop().create_task(self._open_letter(node, message, hear))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        try:
            hear(node, message.body)
        except Exception as error:  # the wire serves everybody: it must outlive a bug in one hearer
            self._faults.tell(error, "what another node tells of %r cannot be heard", message.kind)

    async def _open_letter(self, node: str, message: _Message, hear: Hear) -> None:
        try:
            letter = await self._store.record(LETTER, "", message.body.decode())
            if letter is None:  # it came twice
                return
            hear(node, letter.data)
            await self.drop_letter(letter)
        except StoreError as error:
            _log.warning("what another node tells of %r cannot be read: %s", message.kind, error)
        except Exception as error:
            self._faults.tell(error, "what another node tells of %r cannot be heard", message.kind)

    async def drop_letter(self, letter: Record, reason: str = "") -> None:
        """The letter was read, or is for a node that is gone: take it away. Raises StoreError."""
        [outcome] = await self._store.put_records([letter.change(None)])
        if outcome is not Outcome.APPLIED:
            _log.debug("letter %r was taken away by somebody else", letter.name)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Notice).decode


def _size(message: _Message) -> int:
    return len(message.body) + len(message.to and message.to.encode()) + len(message.kind) + _OVERHEAD


def _all_short(messages: list[_Message]) -> bool:
    """Nearly always."""
    return all(len(message.body) < NOTICE_BYTES_MAX // 2 for message in messages)

"""Several nodes that decide on one run at the same time: whoever loses again and again is let through.

Compare-and-set says who was faster. A node whose clients keep it busy with a run commits, and decides at once on what
it has just committed; another one has to read that first, and may be too slow for ever: a worker that polls there could
never complete a workflow task of a run that is signalled here all the time. So a node that has lost three races in a
row asks the others for room. They let what comes for this workflow id gather, until they hear of a commit of another
node or a moment is over, and then decide it together.

Of nodes that ask each other, the one that has lost more often goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from perdure.engine.deciding.mailbox import Mailbox
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.wire import Wire

_ASKS_AFTER = 3
"""Races lost in a row. One alone tells nothing: a guess may be wrong, or a state old."""
_ROOM_S = 0.05
"""How long a node waits that was asked for room: a notice, a read and a commit should take less."""


class _Ask(msgspec.Struct, array_like=True):
    """A node asks for room."""

    namespace: str
    workflow_id: str
    lost: int
    """Races in a row."""


class _Room:
    """A workflow id that is left to another node for a moment."""

    __slots__ = ("mailbox", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.mailbox: Mailbox | None = None
        """The one that waits meanwhile."""


class Contention:
    """See the module's text. `go_on(mailbox)` is called with one that has waited long enough.

    Attributes:
        rooms: what is left to other nodes now, by namespace and workflow id; nearly always empty.
    """

    def __init__(
        self, go_on: Callable[[Mailbox], None], find: Callable[[tuple[str, str]], Mailbox | None], metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._go_on = go_on
        self._find = find
        self._wire: Wire | None = None
        self.rooms: dict[tuple[str, str], _Room] = {}

    def listen(self, wire: Wire) -> None:
        """There are other nodes."""
        self._wire = wire
        wire.on("room", self._hear)

    def stop(self) -> None:
        """Wait for nobody."""
        for room in self.rooms.values():
            room.timer.cancel()
        self.rooms.clear()

    def lost(self, mailbox: Mailbox) -> None:
        """This node has lost a race for this workflow id."""
        if self._wire is not None and mailbox.conflicts >= _ASKS_AFTER:
            self._metrics.room_asked += 1
            self._wire.tell("room", _encode(_Ask(mailbox.namespace, mailbox.workflow_id, mailbox.conflicts)))

    def keeps(self, mailbox: Mailbox) -> bool:
        """Whether it has to wait: then `go_on` is called with it."""
        room = self.rooms.get((mailbox.namespace, mailbox.workflow_id))
        if room is None:
            return False
        room.mailbox = mailbox
        return True

    def release(self, namespace: str, workflow_id: str) -> None:
        """Another node has committed; or the moment is over."""
        room = self.rooms.pop((namespace, workflow_id), None)
        if room is not None:
            room.timer.cancel()
            if room.mailbox is not None:
                self._go_on(room.mailbox)

    def _hear(self, node: str, body: bytes) -> None:
        asked = _decode(body)
        place = (asked.namespace, asked.workflow_id)
        mailbox = self._find(place)
        assert self._wire is not None, "heard over it"
        if mailbox is not None and (mailbox.conflicts, self._wire.node) > (max(asked.lost, _ASKS_AFTER), node):
            return  # that one waits for this node
        before = self.rooms.get(place)
        if before is not None:
            before.timer.cancel()
        room = _Room(asyncio.get_running_loop().call_later(_ROOM_S, self.release, *place))
        room.mailbox = None if before is None else before.mailbox
        self.rooms[place] = room


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Ask).decode

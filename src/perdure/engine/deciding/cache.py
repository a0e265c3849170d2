"""Executions at rest that stay in memory, bounded by one setting.

A mailbox is put on a shelf whenever it comes to rest, and stays there while it is busy: one that is met busy when room
is made is only taken off the shelf, and comes back. There are three shelves, oldest first: closed runs are evicted
before those that sleep (waiting for a timer or a signal), and these before those that some worker has, or will have,
something to do for. Evicting loses nothing but a read of the store.
Of closed runs a few are kept, for whoever waits for a result asks at once: what lives long costs the
interpreter's cycle collector time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from perdure.engine.deciding.mailbox import Mailbox
from perdure.engine.node.metrics import Metrics

_BASE_BYTES = 6144
"""Mailbox, execution, its dictionaries and facts, and their places in ours: measured."""
_ACTIVITY_BYTES = 1024
_EVENT_BYTES = 900
"""An event's objects in Python and C, beside what is in it: measured."""
_SLACK_BYTES = 1024
"""So much may a run grow or shrink before it is weighed again."""
_CONTENT_FACTOR = 2
"""Bytes in memory for a byte of a serialised event: measured."""


class RestingCache:
    """See the module's text. `evicted` is called with every mailbox that is put out."""

    def __init__(self, bytes_max: int, closed_max: int, metrics: Metrics, evicted: Callable[[Mailbox], None]) -> None:
        self._bytes_max = bytes_max
        self._closed_max = closed_max
        self._metrics = metrics
        self._evicted = evicted
        self._bytes = 0
        self._closed: OrderedDict[Mailbox, None] = OrderedDict()
        self._sleeping: OrderedDict[Mailbox, None] = OrderedDict()
        self._waiting: OrderedDict[Mailbox, None] = OrderedDict()

    def put(self, mailbox: Mailbox) -> None:
        """The mailbox rests; it must hold a state. May evict others, or itself if it is larger than all there is."""
        execution = mailbox.execution
        assert execution is not None, "only what holds a state is worth keeping"
        facts = execution.facts
        if execution.closed_at_ns is not None:
            shelf = self._closed
        elif execution.activities or execution.workflow_task is not None or facts.transient_task is not None:
            shelf = self._waiting
        else:
            shelf = self._sleeping
        grown = facts.state_bytes + execution.history_bytes
        if mailbox.shelf is shelf and -_SLACK_BYTES < grown - mailbox.weighed_bytes < _SLACK_BYTES:
            shelf.move_to_end(mailbox)
            return
        mailbox.weighed_bytes = grown
        size = (
            _BASE_BYTES
            + facts.state_bytes
            + _ACTIVITY_BYTES * len(execution.activities)
            + _EVENT_BYTES * len(mailbox.tail)
            + _CONTENT_FACTOR * (execution.history_bytes - mailbox.tail_base_bytes)
        )
        if mailbox.shelf is shelf:
            shelf.move_to_end(mailbox)
            self._bytes += size - mailbox.cached_bytes
        else:
            self.take(mailbox)
            shelf[mailbox] = None
            mailbox.shelf = shelf
            self._bytes += size
        mailbox.cached_bytes = size
        if shelf is self._closed and len(shelf) > self._closed_max:
            self._put_out(shelf)
        if self._bytes > self._bytes_max:
            self._evict()

    def take(self, mailbox: Mailbox) -> None:
        """Off its shelf, if it is on one."""
        shelf = mailbox.shelf
        if shelf is not None:
            del shelf[mailbox]
            mailbox.shelf = None
            self._bytes -= mailbox.cached_bytes

    def _evict(self) -> None:
        while self._bytes > self._bytes_max and (shelf := self._closed or self._sleeping or self._waiting):
            self._put_out(shelf)

    def _put_out(self, shelf: OrderedDict[Mailbox, None]) -> None:
        oldest = next(iter(shelf))
        self.take(oldest)
        if not oldest.busy:
            self._metrics.evictions += 1
            self._evicted(oldest)

    def measure(self) -> None:
        """Write the present totals into the metrics."""
        self._metrics.cached = len(self._closed) + len(self._sleeping) + len(self._waiting)
        self._metrics.cached_bytes = self._bytes

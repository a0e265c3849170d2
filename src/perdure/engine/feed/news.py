"""What is told of a commit, once it is durable: small, and the same whichever node committed.

News say that something is there to be seen, not what: whoever needs more reads it. Only why an update was rejected is
nowhere to be read, so that is told. News may come late, twice, or in another order than the commits, and whoever hears
them must be right all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from temporalio.api.update.v1 import Outcome

from perdure.core.commit import Commit
from perdure.core.names import ExecutionKey, QueueName, Task


class News(msgspec.Struct, eq=False):
    """One commit of one run; of a commit that starts other runs there are several."""

    key: ExecutionKey
    version: int
    """That the run has now."""
    first_event_id: int
    """Of the events that are new; `next_event_id` when there are none."""
    next_event_id: int
    is_closed: bool
    wake_at_ns: int | None
    """When the run is to be woken; None: never."""
    queues: Sequence[QueueName] = ()
    """Those that have a row more, perhaps repeated."""
    rows: Sequence[Task] = ()
    """Of another node's commit, those rows; nothing if it did not say more than their queues."""
    taken: Sequence[int] = ()
    """Of another node's commit, the scheduled events whose rows are gone: that node has started these tasks."""
    has_messages: bool = False
    """Messages to other runs were added, or need not be delivered any more."""
    updates: Sequence[str] = ()
    """Ids of the updates that have come further."""
    rejected: Sequence[tuple[str, Outcome]] = ()
    """Of another node's commit, the updates that were rejected, with why: that is told, and stored nowhere."""
    commit: Commit | None = None
    """The commit itself, to be looked at while the news are heard; None: another node's."""
    origin: str = ""
    """The node that made it; empty: this one."""

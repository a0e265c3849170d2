"""Tells the other nodes of what becomes durable here, and this node's feed of what becomes durable there."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from temporalio.api.update.v1 import Outcome

from perdure.core.names import ExecutionKey, QueueName, Task
from perdure.engine.feed.feed import Feed
from perdure.engine.feed.news import News
from perdure.engine.node.wire import Wire

KIND = "news"
_ROWS_MAX = 100
"""Of one commit; of more the queues alone are told."""
REJECTION_BYTES_MAX = 2_000
"""Of why an update was rejected; what is longer loses its stack trace, its causes and its details."""
HEADLINE_MAX = 150
"""Characters of each text that is left then."""


class _Told(msgspec.Struct, array_like=True):
    """`News` as other nodes are told them."""

    key: ExecutionKey
    version: int
    first_event_id: int
    next_event_id: int
    is_closed: bool
    wake_at_ns: int | None
    queues: list[QueueName]
    has_messages: bool
    updates: list[str]
    rejected: list[tuple[str, bytes]] = []
    rows: list[tuple[int, int, int]] = []
    """Which of `queues`, scheduled event and attempt."""
    taken: list[int] = []


class Relay:
    """A listener of the feed, to every commit.

    `overtaken(key, version)` is called with each of another node, first, and `missed()` when some may have been lost.
    """

    def __init__(
        self, feed: Feed, wire: Wire, overtaken: Callable[[ExecutionKey, int], None], missed: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._wire = wire
        self._overtaken = overtaken
        self._missed = missed
        wire.on(KIND, self._told)

    def hear(self, news: News) -> None:
        """A commit of this node; another node tells of its own."""
        commit = news.commit
        if commit is not None and self._wire.is_alone:
            self._wire.lose()
        elif commit is not None:
            rows = commit.add_tasks if len(commit.add_tasks) <= _ROWS_MAX else ()
            queues = list(dict.fromkeys(news.queues))
            told = _Told(
                news.key,
                news.version,
                news.first_event_id,
                news.next_event_id,
                news.is_closed,
                news.wake_at_ns,
                queues,
                news.has_messages,
                list(news.updates),
                [
                    (update.update_id, _short(update.outcome))
                    for update in commit.updates
                    if update.is_rejection and update.outcome is not None
                ],
                [(queues.index(row.queue), row.scheduled_event_id, row.stamp) for row in rows],
                [row.scheduled_event_id for row in commit.remove_tasks],
            )
            self._wire.tell(KIND, _encode(told))

    def gap(self) -> None:
        """What was missed was another node's."""
        self._missed()

    def _told(self, node: str, body: bytes) -> None:
        told = _decode(body)
        self._overtaken(told.key, told.version)
        self._feed.hear(
            News(
                told.key,
                told.version,
                told.first_event_id,
                told.next_event_id,
                told.is_closed,
                told.wake_at_ns,
                told.queues,
                [Task(told.queues[place], told.key, event_id, stamp) for place, event_id, stamp in told.rows],
                told.taken,
                told.has_messages,
                told.updates,
                [(update_id, Outcome.FromString(outcome)) for update_id, outcome in told.rejected],
                origin=node,
            )
        )


def _short(outcome: Outcome) -> bytes:
    """Why an update was rejected, in as many bytes as a notice has to spare: the headline at least."""
    if outcome.ByteSize() > REJECTION_BYTES_MAX:
        whole, outcome = outcome.failure, Outcome()
        headline = outcome.failure
        headline.message, headline.source = whole.message[:HEADLINE_MAX], whole.source[:HEADLINE_MAX]
        said, info = whole.application_failure_info, headline.application_failure_info
        info.type, info.non_retryable = said.type[:HEADLINE_MAX], said.non_retryable
    return outcome.SerializeToString()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Told).decode

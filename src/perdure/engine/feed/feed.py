"""The feed: whatever became durable is told here, once, to everybody who wants to know.

    committed here --publish--> |      | --> matching     rows
                                | feed | --> waker        deadlines
    committed by another node,  |      | --> outbox       messages
    heard of      ------hear--> |      | --> updates      updates
    news were lost -------gap-> |      | --> alarms       runs that have grown
                                           > long polls, queries, schedules: the runs that they follow

A listener has two methods. `hear(news)` tells it of one commit: News name what is new, and carry the commit itself if
this node made it. `gap()` tells it that it may have missed some: whatever it waits for may have happened, so it looks
at the store. One that does right on `gap` and treats news as hints is right on one node and on many, and need not know
on how many it is.

To listen to commits of some kinds, `subscribe` with the kinds; to listen to the commits of a few runs alone, subscribe
to nothing, and `follow` each of them. Both methods are called on the event loop and must return soon:
what takes long is done in a task of the listener's own. What a listener raises is logged, and the others hear the news
all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Protocol

from perdure.api.times import LONG_MAX
from perdure.core.commit import Commit
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey, QueueName
from perdure.engine.feed.news import News
from perdure.engine.node.faults import Faults

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """See the module's text."""

    def hear(self, news: News) -> None:
        """A commit is durable."""
        ...

    def gap(self) -> None:
        """There may have been news that nobody told of."""
        ...


class Topic(IntFlag):
    """What a commit brings that somebody may want to hear of."""

    NONE = 0
    ROWS = 1
    """Task rows; of another node's commit, also that some are gone."""
    DEADLINES = 2
    """A time at which the run is to be woken, earlier than what the waker knows of (`Feed.waker`)."""
    MESSAGES = 4
    """Messages to other runs, more of them or less."""
    UPDATES = 8
    """Updates that have come further."""
    ENDS = 16
    """The run has closed."""
    GROWTH = 32
    """So many events more that somebody should look at its limits, or a large state."""
    EVERY = 64
    """Whatever it brings."""


_ROWS, _DEADLINES, _MESSAGES, _UPDATES, _ENDS, _GROWTH, _EVERY = (int(topic) for topic in Topic)
"""An IntFlag is slow to compute with."""


_GROWTH_EVENTS = 64


class Waker(Protocol):
    """The listener that looks after deadlines: later ones than its next look are no news."""

    next_ns: int


class _Asleep:
    next_ns = LONG_MAX


class Said(Protocol):
    """What another node says of a commit: News, or what they are made of."""

    @property
    def key(self) -> ExecutionKey: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def wake_at_ns(self) -> int | None: ...
    @property
    def queues(self) -> Sequence[QueueName]: ...
    @property
    def taken(self) -> Sequence[int]: ...
    @property
    def updates(self) -> Sequence[str]: ...


class Feed:
    """See the module's text.

    Nearly every commit brings nothing that anybody waits for. So what it brings is found out first, and News are made
    of it when there is somebody to tell.

    Args:
        large_state_bytes: a snapshot that is larger is told of with every commit (`Topic.GROWTH`).
    """

    def __init__(self, large_state_bytes: int = LONG_MAX) -> None:
        self.waker: Waker = _Asleep()
        self.on_follow: Callable[[str, bool], None] = _ignore
        """Told of each run that is followed, and whether for its end alone."""
        self._large = large_state_bytes
        self._listeners: list[tuple[int, Listener]] = []
        self._routes: list[Sequence[Listener]] = [()] * _EVERY
        """Who is told, by what a commit brings."""
        self._followers: dict[str, list[Listener]] = {}
        """By run id."""
        self._enders: dict[str, list[Listener]] = {}
        """The same, of those who wait for its end alone."""
        self._faults = Faults(_log)

    # --- who listens ----------------------------------------------------------------------------

    def subscribe(self, listener: Listener, topics: Topic = Topic.NONE) -> None:
        """Tell it of every commit that brings one of these, in the order of subscriptions, and of gaps."""
        self._listeners.append((int(topics), listener))
        self._routes = [
            [heard for wanted, heard in self._listeners if wanted & (topics | _EVERY)] for topics in range(_EVERY)
        ]

    def follow(self, run_id: str, listener: Listener, ends_only: bool = False) -> None:
        """Tell it of every commit of this run, or of the one that closes it, until `unfollow`."""
        followers = self._enders if ends_only else self._followers
        followers[run_id] = [*followers.get(run_id, ()), listener]
        self.on_follow(run_id, ends_only)

    def is_followed(self, run_id: str) -> bool:
        """Whether anybody here follows a run, or waits for its end."""
        return run_id in self._enders or run_id in self._followers

    def unfollow(self, run_id: str, listener: Listener, ends_only: bool = False) -> None:
        """A follower has heard enough of this run, which it must have followed."""
        followers = self._enders if ends_only else self._followers
        left = list(followers[run_id])
        left.remove(listener)
        if left:
            followers[run_id] = left  # not changed in place: it may be being told of something
        else:
            del followers[run_id]

    # --- what is told ---------------------------------------------------------------------------

    def publish(self, commit: Commit) -> None:
        """A commit is durable, made so by this node, with the runs that start behind it."""
        link: Commit | None = commit
        while link is not None:
            execution = link.execution
            assert execution is not None, "a commit that was stored has a state"
            wake_at_ns = link.wake_at_ns
            topics = _DEADLINES if wake_at_ns is not None and wake_at_ns < self.waker.next_ns else 0
            if not link.is_plain:
                if link.add_tasks:
                    topics |= _ROWS
                if link.messages or link.remove_messages:
                    topics |= _MESSAGES
                if link.updates:
                    topics |= _UPDATES
            if execution.closed_at_ns is not None:
                topics |= _ENDS
            if execution.next_event_id % _GROWTH_EVENTS < len(link.events) or execution.facts.state_bytes > self._large:
                topics |= _GROWTH
            if self._routes[topics] or link.key.run_id in self._followers or topics & _ENDS:
                self._tell(_news_of(link, execution), topics)
            link = link.next_run

    def is_wanted(self, said: Said) -> bool:
        """Whether anybody wants to hear of a commit of another node."""
        return self._brings(said) != 0 or said.key.run_id in self._followers

    def hear(self, news: News) -> None:
        """A commit is durable, made so by another node, which also delivers its messages."""
        self._tell(news, self._brings(news))

    def _brings(self, said: Said) -> int:
        wake_at_ns = said.wake_at_ns
        topics = _DEADLINES if wake_at_ns is not None and wake_at_ns < self.waker.next_ns else 0
        if said.queues or said.taken:
            topics |= _ROWS
        if said.updates:
            topics |= _UPDATES
        if said.is_closed:
            topics |= _ENDS
        return topics

    def _tell(self, news: News, topics: int) -> None:
        listeners, run_id = self._routes[topics], news.key.run_id
        followers = self._followers.get(run_id, ())
        enders = self._enders.get(run_id, ()) if topics & _ENDS else ()
        for listener in (*listeners, *followers, *enders) if followers or enders else listeners:
            try:
                listener.hear(news)
            except Exception as error:  # what it missed is found by its next look; the others are not to blame
                name = type(listener).__name__
                self._faults.tell(error, "%s could not hear of a commit of workflow %r", name, news.key.workflow_id)

    def gap(self) -> None:
        """News may have been lost: everybody is to look again."""
        for _, listener in self._listeners:
            try:
                listener.gap()
            except Exception as error:
                self._faults.tell(error, "%s could not look again after a gap", type(listener).__name__)


def _ignore(run_id: str, ends_only: bool) -> None:
    """Nobody wants to know."""


def _news_of(link: Commit, execution: Execution) -> News:
    next_event_id = execution.next_event_id
    return News(
        link.key,
        execution.version,
        next_event_id - len(link.events),
        next_event_id,
        execution.closed_at_ns is not None,
        link.wake_at_ns,
        [task.queue for task in link.add_tasks],
        (),
        (),
        bool(link.messages or link.remove_messages),
        [update.update_id for update in link.updates],
        (),
        link,
    )

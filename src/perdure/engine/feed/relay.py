"""Tells the other nodes of what becomes durable here, and this node's feed of what becomes durable there.

Every commit is told, for the others may remember the run as it was before; but hardly one is waited for. So what
somebody elsewhere may be waiting for is told at once: rows that nobody here takes, an end, an update, a deadline that
is near, whatever befalls a run that is followed there, or that other nodes write to as well. The rest is told a moment
later, and then of each run in one word, however often it has gone on meanwhile. Which of the two it is, is a hint as
all that is told: one that is wrong costs that moment and nothing else (ADR 0027).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec
from temporalio.api.update.v1 import Outcome

from perdure.core.commit import Commit
from perdure.core.names import ExecutionKey, QueueName, Task
from perdure.engine.feed.feed import Feed
from perdure.engine.feed.held_rows import HeldRows
from perdure.engine.feed.news import News
from perdure.engine.node.clock import Clock
from perdure.engine.node.wire import Wire

KIND = "news"
FOLLOWS = "follows"
LATER_S = 0.1
"""The moment in which what nobody is known to wait for may stay untold."""
_NEAR_NS = 1_000_000_000
"""A deadline that is nearer than this is told at once: who has it to keep may be another node."""
_CONTESTED_S = 1.0
"""How long a run counts as one that several nodes write to, after one of them was heard of that wrote to it."""
_FOLLOWED_S = 90.0
"""How long somebody follows a run after he has said so, at most: no wait is longer, and the next one is said again."""
RUNS_MAX = 20_000
"""Of which is remembered who writes to them, or follows them; of one that is forgotten more is told at once."""
_FOLLOWS_TOGETHER = 100
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
    """0: nothing has become of the run, rows of it are left."""
    first_event_id: int
    next_event_id: int
    is_closed: bool
    wake_at_ns: int | None
    queues: Sequence[QueueName] = ()
    rows: Sequence[tuple[int, int, int]] = ()
    """Which of `queues`, scheduled event and attempt."""
    taken: Sequence[int] = ()
    updates: Sequence[str] = ()
    rejected: Sequence[tuple[str, bytes]] = ()


class _Follows(msgspec.Struct, array_like=True):
    """Runs that somebody at a node waits for, by their ids."""

    ends: list[str]
    """For their ends alone."""
    events: list[str]


class Relay:
    """A listener of the feed, to every commit. See the module's text.

    Args:
        rows: those that this node's own workers take first.
        overtaken: called with each run and version that another node tells of, first.
        missed: called when some may have been lost.
    """

    def __init__(
        self,
        feed: Feed,
        wire: Wire,
        clock: Clock,
        rows: HeldRows,
        overtaken: Callable[[ExecutionKey, int], None],
        missed: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._wire = wire
        self._now_ns = clock.now_ns
        self._overtaken = overtaken
        self._missed = missed
        self._rows = rows
        rows.on_left = self._tell_of_rows
        self._runs: dict[str, float] = {}
        """Runs that this node has written to, and until when (loop time) others are taken to do so as well; 0: none."""
        self._ends: dict[str, float] = {}
        """Runs of which another node waits for the end, and until when at most (loop time)."""
        self._events: dict[str, float] = {}
        """The same, for whatever befalls them."""
        self._later: dict[str, _Told] = {}
        """What is still to be told, by run."""
        self._follows: list[str] = []
        """Runs of which it is still to be told that somebody here waits for their ends."""
        self._timer: asyncio.TimerHandle | None = None
        wire.on(KIND, self._told)
        wire.on(FOLLOWS, self._hear_follows)
        feed.on_follow = self.followed

    def flush(self) -> None:
        """Tell what is left to be told: this node ends in order."""
        self._tell_what_is_left()
        self._tell_of_rows(self._rows.take_all())

    def stop(self) -> None:
        """Tell nothing more."""
        self._rows.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- telling --------------------------------------------------------------------------------

    def hear(self, news: News) -> None:
        """A commit of this node; another node tells of its own."""
        commit = news.commit
        if commit is None:
            return
        if self._wire.is_alone:
            self._wire.lose()
            return
        run_id = news.key.run_id
        told = self._later.pop(run_id, None)
        first_event_id = news.first_event_id if told is None else told.first_event_id
        told = _Told(news.key, news.version, first_event_id, news.next_event_id, news.is_closed, news.wake_at_ns)
        if self._is_awaited(run_id, news) | (not commit.is_plain and self._brings_more(told, commit, news)):
            self._wire.tell(KIND, _encode(told))
        else:
            self._later[run_id] = told
            if self._timer is None:
                self._wait()

    def _is_awaited(self, run_id: str, news: News) -> bool:
        """Whether another node may wait for it, or write to the run as well."""
        runs, now = self._runs, asyncio.get_running_loop().time()
        contested_until = runs.get(run_id)
        is_awaited = news.first_event_id > 1 if contested_until is None else contested_until > now
        if news.is_closed:
            runs.pop(run_id, None)
            is_known = self._ends.pop(run_id, 0.0) > now
            is_awaited |= is_known or not self._feed.is_followed(run_id)  # who waits here is the one who waits, mostly
        elif contested_until is None:
            remember(runs, run_id, 0.0)
        if self._events and self._events.get(run_id, 0.0) > now:
            return True
        wake_at_ns = news.wake_at_ns
        return is_awaited or (wake_at_ns is not None and wake_at_ns - self._now_ns() < _NEAR_NS)

    def _brings_more(self, told: _Told, commit: Commit, news: News) -> bool:
        """Put what else a commit brings into what is told; whether there is something that somebody may wait for."""
        rows = self._rows.added(commit.add_tasks) if commit.add_tasks else ()
        if rows:
            _put_rows(told, rows)
        if commit.remove_tasks:
            told.taken = self._rows.gone(news.key.run_id, commit.remove_tasks)
        if commit.updates:
            told.updates = list(news.updates)
            told.rejected = [
                (update.update_id, _short(update.outcome))
                for update in commit.updates
                if update.is_rejection and update.outcome is not None
            ]
        return bool(rows or told.taken or told.updates)

    def _tell_of_rows(self, left: Iterable[Task]) -> None:
        """Rows that nobody here has taken in time."""
        by_run: dict[ExecutionKey, list[Task]] = {}
        for task in left:
            by_run.setdefault(task.key, []).append(task)
        for key, rows in by_run.items():
            told = _Told(key, 0, 0, 0, False, None)
            _put_rows(told, rows)
            self._wire.tell(KIND, _encode(told))

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LATER_S, self._tell_what_is_left)

    def _tell_what_is_left(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        later, self._later = self._later, {}
        for told in later.values():
            self._wire.tell(KIND, _encode(told))
        follows, self._follows = self._follows, []
        for start in range(0, len(follows), _FOLLOWS_TOGETHER):
            self._wire.tell(FOLLOWS, _encode(_Follows(follows[start : start + _FOLLOWS_TOGETHER], [])))

    # --- who waits for what ---------------------------------------------------------------------

    def followed(self, run_id: str, ends_only: bool) -> None:
        """Somebody here follows a run from now on."""
        if self._wire.is_alone:
            return
        if ends_only and run_id in self._runs:  # this node writes to it, and who knows whether another one ever will
            self._follows.append(run_id)
            if self._timer is None:
                self._wait()
        else:
            self._wire.tell(FOLLOWS, _encode(_Follows([run_id], []) if ends_only else _Follows([], [run_id])))

    def _hear_follows(self, node: str, body: bytes) -> None:
        """Another node waits for some runs: what is still to be told of them is told."""
        follows = _decode_follows(body)
        until = asyncio.get_running_loop().time() + _FOLLOWED_S
        for runs, followed in ((follows.ends, self._ends), (follows.events, self._events)):
            for run_id in runs:
                remember(followed, run_id, until)
                self._tell_now(run_id)

    def _tell_now(self, run_id: str) -> None:
        told = self._later.pop(run_id, None)
        if told is not None:
            self._wire.tell(KIND, _encode(told))

    # --- hearing --------------------------------------------------------------------------------

    def gap(self) -> None:
        """What was missed was another node's."""
        self._missed()

    def _told(self, node: str, body: bytes) -> None:
        """Hardly anybody wants to know: that is found out before News are made of it."""
        told = _decode(body)
        key = told.key
        if told.version:
            self._overtaken(key, told.version)
            self._note_writer(key.run_id, told)
        if not self._feed.is_wanted(told):
            return
        self._feed.hear(
            News(
                key,
                told.version,
                told.first_event_id,
                told.next_event_id,
                told.is_closed,
                told.wake_at_ns,
                told.queues,
                [Task(told.queues[place], key, event_id, stamp) for place, event_id, stamp in told.rows],
                told.taken,
                False,  # messages of another node's commit are delivered by that one
                told.updates,
                [(update_id, Outcome.FromString(outcome)) for update_id, outcome in told.rejected],
                origin=node,
            )
        )

    def _note_writer(self, run_id: str, told: _Told) -> None:
        """Another node has written to a run."""
        if run_id in self._runs:
            self._tell_now(run_id)
            if told.is_closed:
                del self._runs[run_id]
            else:
                self._runs[run_id] = asyncio.get_running_loop().time() + _CONTESTED_S
        if told.is_closed:
            self._ends.pop(run_id, None)
            self._events.pop(run_id, None)


def remember(runs: dict[str, float], run_id: str, until: float) -> None:
    """The newest last; the oldest is forgotten for it where there are too many."""
    runs.pop(run_id, None)
    runs[run_id] = until
    if len(runs) > RUNS_MAX:
        del runs[next(iter(runs))]


def _put_rows(told: _Told, rows: Sequence[Task]) -> None:
    queues = list(dict.fromkeys(row.queue for row in rows))
    told.queues = queues
    if len(rows) <= _ROWS_MAX:
        told.rows = [(queues.index(row.queue), row.scheduled_event_id, row.stamp) for row in rows]


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
_decode_follows = msgspec.msgpack.Decoder(_Follows).decode

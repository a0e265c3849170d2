"""The rows of one task queue that wait for a poller, as far as they are in memory.

The store holds every row; memory holds the oldest few thousand of a queue that is polled. A queue
is `complete` when no row of it is in the store alone. Rows are hints, so a row that is read twice or
was started meanwhile costs a refused command and nothing else. Where several nodes serve a queue each has read what all
of them will start: so a row that another one tells that it has started is `gone`.

There are two lanes: the first workflow tasks of runs, which somebody has just asked for, and all other rows, of runs
that went on or woke. Pollers take from them in turn. So whoever starts a run while a hundred thousand wake waits for
one of those and not for all; and a crowd of starts does not hold up the runs that are under way. Each lane has room of
its own: when one overflows into the store, what comes for the other is still remembered here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from perdure.core.names import Task, TaskKind
from perdure.stores.api import BEGINNING, QueuedTask

RowId = tuple[str, int, int]


_GONE_MAX = 64
"""Rows of a lane that are kept although they are gone, at most, beside as many as there are."""
_FIRST_EVENT_ID_MAX = 3
"""A run's first workflow task is scheduled by its second event, or by the third if it was started with a signal."""


def row_id(task: Task) -> RowId:
    """Run, scheduled event and attempt: what tells rows of one queue apart."""
    return task.key.run_id, task.scheduled_event_id, task.stamp


class _Lane:
    """Rows of one sort."""

    __slots__ = ("here", "overflowed", "rows")

    def __init__(self) -> None:
        self.rows: deque[Task] = deque()
        """The oldest first, and among them some that are gone."""
        self.here: dict[tuple[str, int], int] = {}
        """Those that are not: run and scheduled event, and the attempt."""
        self.overflowed = False
        """Some are in the store for want of room here: those that come stand behind them."""

    def take(self) -> Task:
        """The oldest that is not gone. Raises IndexError when there is none."""
        while True:
            task = self.rows.popleft()
            if self.here.get((task.key.run_id, task.scheduled_event_id)) == task.stamp:
                del self.here[task.key.run_id, task.scheduled_event_id]
                return task

    def tidy(self) -> None:
        """Let go of those that are gone, when they are many."""
        if len(self.rows) > 2 * len(self.here) + _GONE_MAX:
            here = self.here
            self.rows = deque(t for t in self.rows if here.get((t.key.run_id, t.scheduled_event_id)) == t.stamp)


class Backlog:
    """See the module's text.

    Args:
        rows_max: room of each lane.
    """

    __slots__ = (
        "_first", "_is_dirty", "_is_stale", "_others", "_rows_max", "_taken", "_turn", "complete", "cursor",
        "is_reading",
    )  # fmt: skip

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._first = _Lane()
        self._others = _Lane()
        self._turn = self._first
        """Whose turn it is, if there is something in both."""
        self._taken: set[RowId] = set()
        """Rows that are here or on their way to a poller."""
        self.complete = False
        self.cursor = BEGINNING
        """Position in the store up to which rows were read."""
        self.is_reading = False
        self._is_dirty = False
        """What is being read ends before rows that were added meanwhile."""
        self._is_stale = False
        """There may be rows anywhere before what is being read."""

    def __len__(self) -> int:
        return len(self._first.here) + len(self._others.here)

    @property
    def is_idle(self) -> bool:
        """Nothing is here, on its way, or being read."""
        return not self._taken and not self.is_reading

    @property
    def wants_page(self) -> bool:
        """Whether the next page of the store is to be read: a lane is empty that may have rows there, and there is
        room."""
        if self.complete or self.is_reading:
            return False
        first, others = len(self._first.here), len(self._others.here)
        return not (first and others) and first + others < self._rows_max

    def _lane_of(self, task: Task) -> _Lane:
        is_first = task.scheduled_event_id <= _FIRST_EVENT_ID_MAX and task.queue.kind is TaskKind.WORKFLOW
        return self._first if is_first else self._others

    def added(self, task: Task) -> None:
        """A commit put this row into the store."""
        lane = self._lane_of(task)
        if not lane.overflowed and len(lane.here) < self._rows_max:
            self._put(lane, task)
        else:
            lane.overflowed = True
            self.complete = False
            self._is_dirty = self.is_reading

    def read(self, page: Sequence[QueuedTask], is_last: bool) -> None:
        """A page of the store from `cursor` on."""
        for row in page:
            self._put(self._lane_of(row.task), row.task)
        if page:
            self.cursor = page[-1].position
        self.complete = is_last and not self._is_dirty
        if self.complete:
            self._first.overflowed = self._others.overflowed = False
        self._is_dirty = False
        if self._is_stale:
            self._is_stale = False
            self._begin_again()

    def _put(self, lane: _Lane, task: Task) -> None:
        row = row_id(task)
        if row not in self._taken:
            older = lane.here.get(row[:2])
            if older is not None:  # an attempt that is over
                self._taken.discard((*row[:2], older))
            self._taken.add(row)
            lane.here[row[:2]] = task.stamp
            lane.rows.append(task)

    def take(self) -> Task:
        """The oldest row of the lane whose turn it is; it stays known until `finished` or `put_back`.

        Raises IndexError when there is none.
        """
        lane = self._turn
        other = self._others if lane is self._first else self._first
        if not lane.here:
            lane, other = other, lane
        self._turn = other
        return lane.take()

    def put_back(self, task: Task) -> None:
        """A row could not be started now."""
        lane = self._lane_of(task)
        if (task.key.run_id, task.scheduled_event_id) in lane.here:  # of a later attempt
            self.finished(task)
            return
        lane.here[task.key.run_id, task.scheduled_event_id] = task.stamp
        lane.rows.appendleft(task)

    def gone(self, run_id: str, scheduled_event_id: int) -> None:
        """Another node has started it."""
        row = (run_id, scheduled_event_id)
        for lane in (self._first, self._others):
            stamp = lane.here.pop(row, None)
            if stamp is not None:
                self._taken.discard((*row, stamp))
                lane.tidy()

    def finished(self, task: Task) -> None:
        """A row was started, or is not owed any more."""
        self._taken.discard(row_id(task))

    def refresh(self) -> None:
        """There may be rows that nobody told of: read the store again from the beginning."""
        if self.is_reading:
            self._is_stale = True
        else:
            self._begin_again()

    def _begin_again(self) -> None:
        self.complete = False
        self.cursor = BEGINNING

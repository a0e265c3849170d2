"""The rows of one task queue that wait for a poller, as far as they are in memory.

The store holds every row; memory holds the oldest few thousand of a queue that is polled. A queue
is `complete` when no row of it is in the store alone. Rows are hints, so a row that is read twice or
was started meanwhile costs a refused command and nothing else. Where several nodes serve a queue each has read what all
of them will start: so a row that another one tells that it has started is `gone`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from perdure.core.names import Task
from perdure.stores.api import BEGINNING, QueuedTask

RowId = tuple[str, int, int]


_GONE_MAX = 64
"""Rows that are kept although they are gone, at most, beside as many as there are."""


def row_id(task: Task) -> RowId:
    """Run, scheduled event and attempt: what tells rows of one queue apart."""
    return task.key.run_id, task.scheduled_event_id, task.stamp


class Backlog:
    """See the module's text."""

    __slots__ = (
        "_here", "_is_dirty", "_is_stale", "_rows", "_rows_max", "_taken", "complete", "cursor", "is_reading",
    )  # fmt: skip

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._rows: deque[Task] = deque()
        """The oldest first, and among them some that are gone."""
        self._here: dict[tuple[str, int], int] = {}
        """Those that are not: run and scheduled event, and the attempt."""
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
        return len(self._here)

    @property
    def is_idle(self) -> bool:
        """Nothing is here, on its way, or being read."""
        return not self._taken and not self.is_reading

    def added(self, task: Task) -> None:
        """A commit put this row into the store."""
        if self.is_reading or self.complete:
            if len(self._here) < self._rows_max:
                self._put(task)
            else:
                self.complete = False
                self._is_dirty = True

    def read(self, page: Sequence[QueuedTask], is_last: bool) -> None:
        """A page of the store from `cursor` on."""
        for row in page:
            self._put(row.task)
        if page:
            self.cursor = page[-1].position
        self.complete = is_last and not self._is_dirty
        self._is_dirty = False
        if self._is_stale:
            self._is_stale = False
            self._begin_again()

    def _put(self, task: Task) -> None:
        row = row_id(task)
        if row not in self._taken:
            older = self._here.get(row[:2])
            if older is not None:  # an attempt that is over
                self._taken.discard((*row[:2], older))
            self._taken.add(row)
            self._here[row[:2]] = task.stamp
            self._rows.append(task)

    def take(self) -> Task:
        """The oldest row; it stays known until `finished` or `put_back`. Raises IndexError when there is none."""
        while True:
            task = self._rows.popleft()
            if self._here.get((task.key.run_id, task.scheduled_event_id)) == task.stamp:
                del self._here[task.key.run_id, task.scheduled_event_id]
                return task

    def put_back(self, task: Task) -> None:
        """A row could not be started now."""
        if (task.key.run_id, task.scheduled_event_id) in self._here:  # of a later attempt
            self.finished(task)
            return
        self._here[task.key.run_id, task.scheduled_event_id] = task.stamp
        self._rows.appendleft(task)

    def gone(self, run_id: str, scheduled_event_id: int) -> None:
        """Another node has started it."""
        row = (run_id, scheduled_event_id)
        stamp = self._here.pop(row, None)
        if stamp is not None:
            self._taken.discard((*row, stamp))
            if len(self._rows) > 2 * len(self._here) + _GONE_MAX:
                here = self._here
                self._rows = deque(t for t in self._rows if here.get((t.key.run_id, t.scheduled_event_id)) == t.stamp)

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

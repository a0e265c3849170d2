"""The rows of one task queue that wait for a poller, as far as they are in memory.

The store holds every row; memory holds the oldest few thousand of a queue that is polled. A queue
is `complete` when no row of it is in the store alone. Rows are hints, so a row that is read twice or
was started meanwhile costs a refused command and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from perdure.core.names import Task
from perdure.stores.api import BEGINNING, QueuedTask

RowId = tuple[str, int, int]


def row_id(task: Task) -> RowId:
    """Run, scheduled event and attempt: what tells rows of one queue apart."""
    return task.key.run_id, task.scheduled_event_id, task.stamp


class Backlog:
    """See the module's text."""

    __slots__ = ("_is_dirty", "_is_stale", "_rows_max", "_taken", "complete", "cursor", "is_reading", "rows")

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self.rows: deque[Task] = deque()
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

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_idle(self) -> bool:
        """Nothing is here, on its way, or being read."""
        return not self._taken and not self.is_reading

    def added(self, task: Task) -> None:
        """A commit put this row into the store."""
        if self.is_reading or self.complete:
            if len(self.rows) < self._rows_max:
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
            self._taken.add(row)
            self.rows.append(task)

    def take(self) -> Task:
        """The oldest row; it stays known until `finished` or `put_back`. Raises IndexError when there is none."""
        return self.rows.popleft()

    def put_back(self, task: Task) -> None:
        """A row could not be started now."""
        self.rows.appendleft(task)

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

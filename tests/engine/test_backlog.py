"""Rows of a task queue in memory: two lanes that take turns, each with room of its own, and the store behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.engine.matching.backlog import Backlog
from perdure.stores.api import Position, QueuedTask

ROWS_MAX, PAGE = 5, 3


def row(run: str, event_id: int, kind: TaskKind = TaskKind.WORKFLOW) -> Task:
    return Task(QueueName("default", "orders", kind), ExecutionKey("default", run, run), event_id)


def first(number: int) -> Task:
    return row(f"new-{number}", 2)


def woken(number: int) -> Task:
    return row(f"woken-{number}", 7)


class Queue:
    """A backlog and the rows of its store."""

    def __init__(self) -> None:
        self.backlog = Backlog(ROWS_MAX)
        self.stored: dict[int, Task] = {}
        self.held_most = 0
        self._last = 0

    def add(self, *tasks: Task) -> None:
        for task in tasks:
            self._last += 1
            self.stored[self._last] = task
            self.backlog.added(task)
            self.held_most = max(self.held_most, len(self.backlog))

    def page(self) -> Sequence[QueuedTask]:
        after = self.backlog.cursor
        rows = [QueuedTask(Position(0, number), task) for number, task in sorted(self.stored.items())]
        return [one for one in rows if one.position > after][:PAGE]

    def take(self) -> Task | None:
        """What a poller gets, as matching does it; None: nothing is there, here or in the store."""
        backlog = self.backlog
        for _ in range(1_000):
            if backlog:
                task = backlog.take()
                self._read()
                break
            if not backlog.wants_page:
                return None
            self._read()
        else:
            raise AssertionError("it reads for ever")
        backlog.finished(task)
        for number, one in list(self.stored.items()):
            if one == task:
                del self.stored[number]
        return task

    def _read(self) -> None:
        if self.backlog.wants_page:
            page = self.page()
            self.backlog.read(page, is_last=len(page) < PAGE)
            self.held_most = max(self.held_most, len(self.backlog))

    def take_all(self) -> list[Task]:
        taken: list[Task] = []
        while (task := self.take()) is not None:
            taken.append(task)
        return taken


def test_a_run_that_is_started_waits_for_one_of_those_that_woke_however_many_they_are() -> None:
    for woke in (1, ROWS_MAX, 100 * ROWS_MAX):
        queue = Queue()
        assert queue.take() is None
        queue.add(*map(woken, range(woke)))
        queue.add(first(0))
        assert first(0) in (queue.take(), queue.take())
        assert len(queue.take_all()) == woke - 1


def test_a_run_that_goes_on_waits_for_one_of_those_that_were_started_however_many_they_are() -> None:
    queue = Queue()
    queue.add(*map(first, range(100 * ROWS_MAX)))
    queue.add(woken(0))
    assert woken(0) in (queue.take(), queue.take())


def test_after_a_restart_what_is_started_waits_for_none_that_was_there_before() -> None:
    queue = Queue()
    queue.add(*map(woken, range(100)))
    queue.backlog = Backlog(ROWS_MAX)
    assert queue.take() == woken(0)
    queue.add(first(0))
    assert first(0) in (queue.take(), queue.take())


def test_when_there_is_something_of_both_they_take_turns() -> None:
    queue = Queue()
    queue.add(*map(woken, range(4)), *map(first, range(4)))
    sorts = [task.scheduled_event_id for task in queue.take_all()]
    assert sorts == [2, 7] * 4


def test_each_lane_keeps_its_order_when_it_overflows() -> None:
    queue = Queue()
    for number in range(10 * ROWS_MAX):
        queue.add(woken(number), first(number))
    taken = queue.take_all()
    assert [task for task in taken if task.scheduled_event_id == 7] == [woken(n) for n in range(10 * ROWS_MAX)]
    assert [task for task in taken if task.scheduled_event_id == 2] == [first(n) for n in range(10 * ROWS_MAX)]


def test_activities_are_all_of_one_lane() -> None:
    queue = Queue()
    rows = [row(f"run-{number}", event_id, TaskKind.ACTIVITY) for number in range(3) for event_id in (2, 9)]
    queue.add(*rows)
    assert queue.take_all() == rows


def test_rows_that_another_node_has_started_are_gone_from_either_lane() -> None:
    queue = Queue()
    queue.add(*map(woken, range(3)), *map(first, range(2)))
    for task in (woken(1), first(0)):
        queue.backlog.gone(task.key.run_id, task.scheduled_event_id)
    queue.stored = {number: task for number, task in queue.stored.items() if task not in (woken(1), first(0))}
    assert set(queue.take_all()) == {woken(0), woken(2), first(1)}


@given(st.lists(st.sampled_from(["first", "woken", "take", "refresh"]), max_size=120))
def test_no_row_is_lost_none_is_doubled_and_memory_is_bounded(steps: list[str]) -> None:
    queue, taken = Queue(), deque[Task]()
    added = 0
    for step in steps:
        if step == "take":
            task = queue.take()
            if task is not None:
                taken.append(task)
        elif step == "refresh":
            queue.backlog.refresh()
        else:
            added += 1
            queue.add((first if step == "first" else woken)(added))
    taken.extend(queue.take_all())
    assert len(taken) == len(set(taken)) == added
    assert not queue.stored
    assert queue.held_most <= 2 * ROWS_MAX + PAGE
    assert queue.backlog.is_idle

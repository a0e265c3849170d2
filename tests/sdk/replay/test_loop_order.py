"""What asyncio keeps in sets comes out in the same order in every replay."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.sdk.workflow.workflow import start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import x


def replayed_often(definition: Any, history: History) -> list[list[str]]:
    """What replays at other addresses ask for, without repetitions."""
    outcomes: list[list[str]] = []
    ballast: list[Any] = []
    for number in range(30):
        ballast.extend(bytearray(8 * number) for _ in range(number))
        texts_now = texts(history.cold().commands)
        if texts_now not in outcomes:
            outcomes.append(texts_now)
    return outcomes


def test_a_task_group_that_is_aborted_cancels_in_the_same_order_each_time() -> None:
    @workflow
    async def grouped() -> None:
        async def work(number: int) -> None:
            await start(x, number)

        async with asyncio.TaskGroup() as group:
            for number in range(9):
                group.create_task(work(number))

    history = History(grouped).task()
    history.apply(history.cold().commands).failed("5").task()
    (only,) = replayed_often(grouped, history)
    assert len([line for line in only if line.startswith("cancel")]) == 8


def test_what_asyncio_wait_returns_comes_in_the_same_order_each_time() -> None:
    @workflow
    async def waits() -> None:
        handles = [start(x, number) for number in range(20)]
        done, _ = await asyncio.wait(handles)
        for handle in done:
            start(x, handle.result())
        futures = {asyncio.get_running_loop().create_future() for _ in range(20)}
        tasks = {asyncio.create_task(asyncio.sleep(0)): number for number in range(20)}
        done_tasks, _ = await asyncio.wait(tasks)
        for task in done_tasks:
            start(x, tasks[task])
        assert len(futures) == 20
        await asyncio.sleep(60)

    history = History(waits).task()
    history.apply(history.cold().commands)
    for number in range(20):
        history.completed(str(number + 1), number)
    history.task()
    (only,) = replayed_often(waits, history)
    assert len(only) == 41


def test_as_completed_starts_coroutines_in_their_order() -> None:
    @workflow
    async def races() -> list[Any]:
        async def work(number: int) -> Any:
            return await start(x, number)

        return [await first for first in asyncio.as_completed([work(number) for number in range(9)])]

    history = History(races).task()
    (only,) = replayed_often(races, history)
    assert only == [f"schedule x({number}) as {number + 1}" for number in range(9)]
    history.apply(history.cold().commands)
    for number in (4, 2, 9, 1, 3, 8, 5, 7, 6):
        history.completed(str(number), number)
    (only,) = replayed_often(races, history.task())
    assert only == ["complete [4,2,9,1,3,8,5,7,6]"]


def test_a_task_has_the_same_name_each_time() -> None:
    @workflow
    async def names() -> list[str]:
        async def name() -> str:
            task = asyncio.current_task()
            return "" if task is None else task.get_name()

        return [await name(), await asyncio.create_task(name()), await asyncio.create_task(name(), name="mine")]

    (only,) = replayed_often(names, History(names).task())
    assert only == ['complete ["Task-1","Task-2","mine"]']


def test_tasks_of_different_runs_have_different_hashes() -> None:
    """asyncio keeps the tasks of all loops of a process in one set, and like hashes make it search."""
    found: list[set[int]] = []

    @workflow
    async def begins() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(1)) for _ in range(100)]
        found.append({hash(task) for task in tasks})

    for run_id in ("run-1", "run-2", "another run"):
        History(begins, run_id=run_id).task().cold()
    assert [len(numbers) for numbers in found] == [100] * 3
    assert len(set.union(*found)) == 300

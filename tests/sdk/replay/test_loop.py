"""asyncio in workflow code: its own tools work, on workflow time, and give the same again in replay."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import warnings
import weakref
from typing import Any

import pytest

from perdure.sdk.errors import ActivityError, ApplicationError, EngineError
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import x


def test_gather_gives_results_in_order_whatever_came_first() -> None:
    @workflow
    async def gathers() -> list[Any]:
        return list(await asyncio.gather(start(x, 1), start(x, 2), start(x, 3)))

    history = History(gathers).task().done().scheduled("x").scheduled("x").scheduled("x")
    history.completed("3", "c").completed("1", "a").task().done().completed("2", "b").task()
    assert texts(history.cold().commands) == ['complete ["a","b","c"]']


def test_gather_raises_the_first_failure() -> None:
    @workflow
    async def gathers() -> str:
        try:
            await asyncio.gather(start(x, 1), start(x, 2))
        except ActivityError as error:
            return str(error.cause)
        return "no"

    history = History(gathers).task().done().scheduled("x").scheduled("x").failed("2", ApplicationError("two")).task()
    assert texts(history.cold().commands) == ['complete "two"']


def test_sleep_is_a_durable_timer_and_sleep_zero_only_gives_way() -> None:
    order: list[str] = []

    @workflow
    async def sleeps() -> None:
        async def other() -> None:
            order.append("other")

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        order.append("main")
        await asyncio.sleep(1.5)
        await task

    assert texts(History(sleeps).task().cold().commands) == ["timer 1 for 1.5s"]
    assert order == ["other", "main"]


@pytest.mark.parametrize("seconds", [0.001, 1, 1.1, 30, 86400.123456, 2_592_000])
def test_durations_come_out_as_they_were_written(seconds: float) -> None:
    @workflow
    async def sleeps() -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + seconds, print)
        async with asyncio.timeout(seconds):
            await asyncio.sleep(seconds)

    commands = History(sleeps).task().cold().commands
    timeouts = [c.start_timer_command_attributes.start_to_fire_timeout for c in commands]
    assert [t.seconds * 10**9 + t.nanos for t in timeouts] == [round(seconds * 10**6) * 1000] * 3


def test_loop_time_is_workflow_time() -> None:
    times: list[float] = []

    @workflow
    async def asks() -> None:
        times.append(asyncio.get_running_loop().time())
        times.append(workflow.time())
        await start(x)

    history = History(asks).task()
    history.cold()
    assert times[0] == times[1] == history.events[2].event_time.seconds


def test_timeout_cancels_the_activity_and_its_own_timer_when_not_needed() -> None:
    @workflow
    async def limited() -> list[str]:
        seen: list[str] = []
        try:
            async with asyncio.timeout(60):
                await start(x)
        except TimeoutError:
            seen.append("late")
        async with asyncio.timeout(60):
            seen.append(await start(x))
        return seen

    history = History(limited).task()
    first = history.cold()
    assert texts(first.commands) == ["timer 1 for 60s", "schedule x() as 1"]
    history.apply(first.commands).fired("1").task()
    second = history.cold()
    assert texts(second.commands) == ["cancel activity of event 6", "timer 2 for 60s", "schedule x() as 2"]
    history.apply(second.commands).completed("2", "in time").task()
    third = history.cold()
    assert texts(third.commands) == ["cancel timer 2", 'complete ["late","in time"]']


def test_wait_for_and_shield() -> None:
    @workflow
    async def waits() -> list[Any]:
        handle = start(x)
        try:
            await asyncio.wait_for(asyncio.shield(handle), 10)
        except TimeoutError:
            return [handle.done(), await handle]
        return []

    history = History(waits).task().done().scheduled("x").timer().fired("1").task()
    assert texts(history.cold().commands) == []
    history.done().completed("1", "later").task()
    assert texts(history.cold().commands) == ['complete [false,"later"]']


def test_tasks_events_queues_locks_and_semaphores() -> None:
    @workflow
    async def busy() -> list[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        finished = asyncio.Event()
        lock = asyncio.Lock()
        gate = asyncio.Semaphore(2)
        inside: list[int] = []

        async def produce(number: int) -> None:
            async with gate:
                inside.append(number)
                value = await start(x, number)
            async with lock:
                await queue.put(value)

        async def consume() -> list[Any]:
            got = [await queue.get() for _ in range(3)]
            finished.set()
            return got

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(produce(number))
            consumer = group.create_task(consume())
        await finished.wait()
        return [inside, consumer.result()]

    history = History(busy).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule x(0) as 1", "schedule x(1) as 2"]
    history.apply(first.commands).completed("2", "b").task()
    second = history.cold()
    assert texts(second.commands) == ["schedule x(2) as 3"]
    history.apply(second.commands).completed("3", "c").completed("1", "a").task()
    assert texts(history.cold().commands) == ['complete [[0,1,2],["b","c","a"]]']


def test_a_failure_in_a_task_group_fails_the_run() -> None:
    @workflow
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(60))

    async def fails() -> None:
        await start(x)

    history = History(grouped).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule x() as 1", "timer 1 for 60s"]
    history.apply(first.commands).failed("1", ApplicationError("declined")).task()
    assert texts(history.cold().commands) == [
        "cancel timer 1",
        "fail unhandled errors in a TaskGroup (1 sub-exception): [ActivityError: activity x failed: declined] "
        "<- activity task failed <- declined",
    ]


def test_a_bug_in_a_task_group_fails_the_task() -> None:
    @workflow
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())

    async def fails() -> None:
        raise KeyError("x")

    outcome = History(grouped).task().cold()
    assert isinstance(outcome.error, ExceptionGroup)
    assert outcome.commands == []


def test_a_cancelled_run_raises_asyncios_cancelled_error_and_cleans_up() -> None:
    @workflow
    async def cleans_up() -> str:
        try:
            await asyncio.gather(start(x, 1), start(x, 2))
        except asyncio.CancelledError:
            await start(x, "undo")
            raise
        return "no"

    history = History(cleans_up).task().done().scheduled("x").scheduled("x").cancel_requested("enough").task()
    first = history.cold()
    assert texts(first.commands) == [
        "cancel activity of event 5",
        "cancel activity of event 6",
        'schedule x("undo") as 3',
    ]
    history.apply(first.commands).completed("3").task()
    last = history.cold()
    assert texts(last.commands) == ["cancel workflow"]
    assert last.finished


def test_a_cancellation_before_the_first_task_is_raised_at_the_first_wait() -> None:
    @workflow
    async def begins() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await start(x)

    history = History(begins).cancel_requested().task()
    assert texts(history.cold().commands) == ["schedule x() as 1"]


def test_a_result_that_came_with_the_cancellation_is_not_lost() -> None:
    @workflow
    async def both() -> list[Any]:
        value = await start(x)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return [value, "cancelled"]
        return []

    history = History(both).task().done().scheduled("x").completed("1", 7).cancel_requested().task()
    assert texts(history.cold().commands) == ['complete [7,"cancelled"]']


def test_waiting_for_cancellation_to_complete() -> None:
    @workflow
    async def waits() -> str:
        return await start(x.options(cancellation="wait"))

    history = History(waits).task().done().scheduled("x").cancel_requested().task()
    assert texts(history.cold().commands) == ["cancel activity of event 5"]
    history.done().cancel_asked("1").cancelled("1").task()
    assert texts(history.cold().commands) == ["cancel workflow"]


def test_an_activity_that_completes_in_spite_of_its_cancellation_gives_its_result() -> None:
    @workflow
    async def waits() -> str:
        return await start(x.options(cancellation="wait"))

    history = History(waits).task().done().scheduled("x").cancel_requested().task()
    history.done().cancel_asked("1").completed("1", "done all the same").task()
    assert texts(history.cold().commands) == ['complete "done all the same"']


def test_cancelling_a_task_cancels_what_it_waits_for() -> None:
    @workflow
    async def cancels() -> list[bool]:
        async def work() -> None:
            await start(x)

        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return [task.cancelled()]

    history = History(cancels).task()
    first = history.cold()
    assert texts(first.commands) == ["timer 1 for 1s", "schedule x() as 1"]
    history.apply(first.commands).fired("1").task()
    assert texts(history.cold().commands) == ["cancel activity of event 6", "complete [true]"]


def test_wait_condition() -> None:
    @workflow
    async def waits() -> list[bool]:
        state: list[int] = []

        async def work() -> None:
            state.append(await start(x))

        task = asyncio.create_task(work())
        late = await workflow.wait_condition(lambda: bool(state), timeout="1m")
        seen = await workflow.wait_condition(lambda: bool(state), timeout="1m")
        at_once = await workflow.wait_condition(lambda: state == [5])
        await task
        return [late, seen, at_once]

    history = History(waits).task()
    first = history.cold()
    assert texts(first.commands) == ["timer 1 for 60s", "schedule x() as 1"]
    history.apply(first.commands).fired("1").task()
    second = history.cold()
    assert texts(second.commands) == ["timer 2 for 60s"]
    history.apply(second.commands).completed("1", 5).task()
    assert texts(history.cold().commands) == ["cancel timer 2", "complete [false,true,true]"]


def test_wait_condition_without_a_time_out_and_with_one_that_raises() -> None:
    @workflow
    async def waits() -> str:
        handle = start(x)
        await workflow.wait_condition(handle.done)
        other = start(x)
        try:
            await workflow.wait_condition(lambda: other.done() and [][0])
        except IndexError:
            return "raised"
        return "no"

    history = History(waits).task()
    first = history.cold()
    history.apply(first.commands).completed("1").task()
    second = history.cold()
    assert texts(second.commands) == ["schedule x() as 2"]
    history.apply(second.commands).completed("2").task()
    assert texts(history.cold().commands) == ['complete "raised"']


def test_call_and_wait_say_what_to_write_in_an_async_workflow() -> None:
    for misuse, instead in (
        (lambda: call(x), "await start(...)"),
        (lambda: workflow.wait_condition(lambda: True), "await workflow.wait_condition(...)"),
        (lambda: workflow.wait_all(start(x)), "await asyncio.gather(...)"),
        (lambda: workflow.wait_any(start(x)), "FIRST_COMPLETED"),
    ):

        @workflow
        async def misuses() -> None:
            misuse()  # noqa: B023 - run within the loop

        outcome = History(misuses).task().cold()
        assert isinstance(outcome.error, EngineError)
        assert instead in str(outcome.error)


def test_wait_condition_gives_a_def_workflow_its_answer_at_once() -> None:
    @workflow
    def waits() -> list[bool]:
        return [workflow.wait_condition(lambda: True), workflow.wait_condition(lambda: False, timeout=60)]

    history = History(waits)
    commands = history.task().cold().commands
    assert texts(commands) == ["timer 1 for 60s"]
    history.apply(commands).fired("1").task()
    assert texts(history.cold().commands) == ["complete [true,false]"]


def test_context_variables_belong_to_tasks() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @workflow
    async def sets() -> list[str]:
        async def child() -> str:
            seen = variable.get()
            variable.set("child")
            await asyncio.sleep(0)
            return seen + "/" + variable.get()

        variable.set("main")
        return [await asyncio.create_task(child()), variable.get()]

    assert texts(History(sets).task().cold().commands) == ['complete ["main/child","main"]']
    assert variable.get() == "unset"


def test_it_runs_inside_another_loop_too() -> None:
    @workflow
    async def nested() -> str:
        return f"{await start(x)} {asyncio.current_task() is not None}"

    async def outer() -> list[str]:
        history = History(nested).task().done().scheduled("x").completed("1", "y").task()
        task = asyncio.current_task()
        outcome = history.cold()
        assert asyncio.get_running_loop() is not None
        assert asyncio.current_task() is task
        return texts(outcome.commands)

    assert asyncio.run(outer()) == ['complete "y True"']


def test_callbacks_of_handles_and_futures_run() -> None:
    seen: list[Any] = []

    @workflow
    async def listens() -> None:
        handle = start(x)
        handle.add_done_callback(lambda h: seen.append(h.result()))
        await handle
        await asyncio.sleep(0)

    history = History(listens).task().done().scheduled("x").completed("1", 9).task()
    history.cold()
    assert seen == [9]


def test_a_handle_in_a_def_workflow_takes_no_callbacks() -> None:
    @workflow
    def listens() -> None:
        handle = start(x)
        handle.add_done_callback(print)
        handle.result()

    history = History(listens).task().done().scheduled("x").completed("1", 9).task()
    outcome = history.cold()
    assert isinstance(outcome.error, EngineError)
    assert "result()" in str(outcome.error)


def test_a_handle_asked_too_early_in_an_async_workflow() -> None:
    @workflow
    async def asks() -> str:
        handle = start(x)
        try:
            handle.result()
        except asyncio.InvalidStateError:
            return "not yet"
        return "?"

    assert texts(History(asks).task().cold().commands) == ["schedule x() as 1", 'complete "not yet"']


def test_closing_frees_all_tasks_and_runs_their_clean_up_alone() -> None:
    class Thing:
        pass

    said: list[str] = []
    references: list[Any] = []

    @workflow
    async def holds() -> None:
        async def child() -> None:
            thing = Thing()
            references.append(weakref.ref(thing))
            try:
                async with asyncio.timeout(60):
                    await asyncio.sleep(30)
                said.append("unreached")
            finally:
                said.append("child")

        thing = Thing()
        references.append(weakref.ref(thing))
        tasks = [asyncio.create_task(child()) for _ in range(3)]
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            said.append("not cancelled")
        finally:
            said.append("main")
            await start(x)
            said.append("unreached")

    history = History(holds).task()
    machine = history.machine()
    machine.process(history.since())
    machine.close()
    assert sorted(said) == ["child", "child", "child", "main"]
    gc.collect()
    assert [r() for r in references] == [None] * 4


def test_code_that_swallows_everything_is_dropped_all_the_same() -> None:
    @workflow
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except BaseException:  # swallowing everything is what is tested
                pass

    history = History(stubborn).task()
    machine = history.machine()
    machine.process(history.since())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine.close()
    del machine
    gc.collect()


def test_many_short_tasks_do_not_pile_up() -> None:
    @workflow
    async def busy() -> int:
        async def nothing() -> int:
            return 1

        return sum([await asyncio.create_task(nothing()) for _ in range(1000)])

    history = History(busy).task()
    machine = history.machine()
    machine.process(history.since())
    assert len(machine.fiber._tasks) < 40  # pyright: ignore
    machine.close()

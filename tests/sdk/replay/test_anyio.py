"""anyio on a workflow's loop: its groups, scopes, streams and locks work on workflow time, and the same in replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_process
import anyio.to_thread
import pytest

from perdure import start_child
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.workflow.workflow import start, workflow
from tests.sdk.replay.given import SECOND_NS, History, texts
from tests.sdk.replay.pieces import a, version_of, x
from tests.sdk.replay.played import Played, kid, waited_for
from tests.sdk.replay.test_loop_order import replayed_often


def to_its_end(code: AnyWorkflow) -> str:
    """Timers fire one by one, in the order of their times, until the run is complete: what it says then."""
    history = History(code)
    due: dict[str, float] = {}
    for _ in range(50):
        history.task()
        outcome = history.cold()
        assert outcome.error is None, outcome.error
        said = texts(outcome.commands)
        if outcome.finished:
            return said[-1]
        history.apply(outcome.commands)
        now_s = history.now_ns / 10**9
        for line in said:
            words = line.split()
            if words[0] == "timer":
                due[words[1]] = now_s + float(words[3].removesuffix("s"))
            elif words[:2] == ["cancel", "timer"]:
                del due[words[2]]
        first = min(due, key=lambda timer_id: due[timer_id])
        history.now_ns = max(history.now_ns, round(due.pop(first) * 10**9))
        history.fired(first)
    raise AssertionError("it goes on for ever")


@version_of("anyio")
async def groups() -> list[int]:
    ended: list[int] = []

    async def work(seconds: int) -> None:
        await anyio.sleep(seconds)
        ended.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (3, 1, 2):
            group.start_soon(work, seconds)
    return ended


@version_of("anyio")
async def deadlines() -> list[Any]:
    with anyio.move_on_after(5) as scope:
        await anyio.sleep(100)
    try:
        with anyio.fail_after(5):
            await anyio.sleep_forever()
    except TimeoutError:
        return [scope.cancelled_caught, "late"]
    return ["never"]


@version_of("anyio")
async def primitives() -> list[Any]:
    done: list[Any] = []
    both, lock, limiter, event = anyio.Semaphore(2), anyio.Lock(), anyio.CapacityLimiter(2), anyio.Event()
    condition = anyio.Condition()

    async def work(number: int) -> None:
        async with both, lock:
            await anyio.sleep(number)
        async with limiter, condition:
            done.append(number)
            condition.notify_all()
        event.set()

    async with anyio.create_task_group() as group:
        for number in (1, 2, 3):
            group.start_soon(work, number)
        await event.wait()
        async with condition:
            while len(done) < 3:
                await condition.wait()
    await anyio.lowlevel.checkpoint()
    return [*done, anyio.current_time() > 0]


@version_of("anyio")
async def streams() -> list[Any]:
    send, receive = anyio.create_memory_object_stream[int](1)
    got: list[Any] = []

    async def produce() -> None:
        async with send:
            for number in range(4):
                await send.send(number)

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        async with receive:
            async for number in receive:
                got.append(number)
    return got


@version_of("anyio")
async def starts() -> list[Any]:
    async def service(*, task_status: anyio.abc.TaskStatus[str]) -> None:
        await anyio.sleep(1)
        task_status.started("ready")
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        ready = await group.start(service)
        group.cancel_scope.cancel()
    return [ready]


@version_of("anyio")
async def fails() -> str:
    async def bad() -> None:
        raise ValueError("bad")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(bad)
            group.start_soon(anyio.sleep, 10)
    except BaseExceptionGroup as error:
        return repr(error.exceptions)
    return "no"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (groups, "complete [1,2,3]"),
        (deadlines, 'complete [true,"late"]'),
        (primitives, "complete [1,2,3,true]"),
        (streams, "complete [0,1,2,3]"),
        (starts, 'complete ["ready"]'),
        (fails, "complete \"(ValueError('bad'),)\""),
    ],
    ids=["groups", "deadlines", "primitives", "streams", "start", "a failure"],
)
def test_it_works_on_workflow_time_and_the_same_in_replay(code: AnyWorkflow, said: str) -> None:
    assert to_its_end(code) == said


def test_scopes_in_a_cancelled_scope_are_cancelled_in_the_same_order_each_time() -> None:
    @version_of("anyio")
    async def code() -> None:
        async def work(number: int) -> None:
            with anyio.move_on_after(50):
                await start(x, number)

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(work, number)
            await workflow.wait_signal("stop")
            group.cancel_scope.cancel()

    history = History(code).task()
    history.apply(history.cold().commands).signaled("stop").task()
    [commands] = replayed_often(code, history)
    asked = [line for line in commands if line.startswith("cancel activity")]
    assert asked == sorted(asked, key=lambda line: int(line.split()[-1]))
    assert len(asked) == 12


@pytest.mark.parametrize("kind", ["activity", "child"])
def test_a_call_that_is_waited_for_hands_over_its_result_within_a_cancelled_scope(kind: str) -> None:
    """anyio cancels whatever waits in a cancelled scope again and again: that must not hold the thread meanwhile."""
    heard: list[str] = []

    @version_of("anyio")
    async def code() -> None:
        heard.clear()
        with anyio.move_on_after(5) as scope:
            heard.append(await start(waited_for) if kind == "activity" else await start_child(kid, id="kid"))
            await anyio.sleep(50)
            heard.append("never")
        heard.append(f"caught {scope.cancelled_caught}")
        await anyio.sleep(1)

    run = Played(code, heard)
    run.task()
    if kind == "child":
        run.history.child_started("kid")
    run.history.now_ns += 5 * SECOND_NS
    run.history.fired("1")
    assert len(run.task()) == 1
    _ = (
        run.history.completed("1", "value")
        if kind == "activity"
        else run.history.child_closed("kid", "completed", "value")
    )
    assert run.task() == ["timer 3 for 1s"], "the timer of 50 s was begun and cancelled within the task"
    assert heard == ["value", "caught True"]


@pytest.mark.parametrize("kind", ["activity", "child"])
def test_one_that_ends_cancelled_with_the_scope_says_nothing_else(kind: str) -> None:
    heard: list[str] = []

    @version_of("anyio")
    async def code() -> None:
        heard.clear()
        with anyio.move_on_after(5) as scope:
            _ = await start(waited_for) if kind == "activity" else await start_child(kid, id="kid")
        heard.append(f"caught {scope.cancelled_caught}")

    run = Played(code, heard)
    run.task()
    if kind == "child":
        run.history.child_started("kid")
    run.history.now_ns += 5 * SECOND_NS
    run.history.fired("1")
    run.task()
    _ = run.history.cancelled("1") if kind == "activity" else run.history.child_closed("kid", "canceled")
    assert run.task() == ["complete null"]
    assert heard == ["caught True"]


@pytest.mark.parametrize("way", ["try", "wait"])
def test_a_run_that_is_cancelled_while_a_group_works_is_cancelled_with_it(way: Any) -> None:
    @version_of("anyio")
    async def code() -> None:
        async def work() -> None:
            await start(a.options(cancellation=way))
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            group.start_soon(work)

    run = Played(code, [])
    run.task()
    run.history.cancel_requested()
    said = run.task()
    assert said[:2] == ["cancel activity of event 5", "cancel activity of event 6"]
    if way == "wait":
        run.history.completed("1").completed("2")
        said = run.task()
    assert said[-1] == "cancel workflow"


async def in_a_thread() -> Any:
    return await anyio.to_thread.run_sync(print)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "to_thread.run_sync": (lambda: anyio.to_thread.run_sync(print), "start(...)"),
    "to_process.run_sync": (lambda: anyio.to_process.run_sync(print), "an activity"),
    "run_process": (lambda: anyio.run_process(["true"]), "an activity"),
    "connect_tcp": (lambda: anyio.connect_tcp("127.0.0.1", 1), "an activity"),
    "open_file": (lambda: anyio.open_file("/etc/hostname"), "start(...)"),
    "Path.exists": (lambda: anyio.Path("/etc/hostname").exists(), "start(...)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_threads_processes_and_sockets_are_refused_at_the_users_line(name: str) -> None:
    ask, instead = REFUSED[name]

    @version_of("anyio")
    async def code() -> None:
        await ask()

    outcome = History(code).task().cold()
    assert isinstance(outcome.error, DeterminismViolation), outcome
    assert instead in str(outcome.error)
    if name != "connect_tcp":  # it asks in a task of its own, in which there is no line of the user's
        assert f"at {__file__}:" in str(outcome.error)


def test_the_scopes_of_other_loops_are_left_as_they_are() -> None:
    async def outside() -> type[Any]:
        return type(anyio.CancelScope()._child_scopes)  # pyright: ignore[reportAttributeAccessIssue]

    assert asyncio.run(outside()) is set

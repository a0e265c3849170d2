"""Each method of asyncio's AbstractEventLoop does in a workflow what replay can repeat, or says what to use instead."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.workflow.loop_surface import LoopSurface
from perdure.sdk.workflow.workflow import workflow
from tests.sdk.replay.given import SECOND_NS, History, texts

METHODS = sorted(
    name
    for name, _ in inspect.getmembers(asyncio.AbstractEventLoop, callable)
    if not name.startswith("__") and name != "_timer_handle_cancelled"
)


async def nothing() -> None:
    """A coroutine."""


def done_soon(loop: asyncio.AbstractEventLoop, ask: Callable[..., Any]) -> asyncio.Future[str]:
    future: asyncio.Future[str] = loop.create_future()
    ask(future.set_result, "called")
    return future


def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler."""


async def set_and_get(loop: asyncio.AbstractEventLoop) -> Any:
    loop.set_exception_handler(handler)
    return loop.get_exception_handler() is handler


WORKS: dict[str, Callable[[Any], Any]] = {
    "call_at": lambda loop: done_soon(loop, lambda *call: loop.call_at(loop.time(), *call)),
    "call_exception_handler": lambda loop: loop.call_exception_handler({"message": "something"}),
    "call_later": lambda loop: done_soon(loop, lambda *call: loop.call_later(0, *call)),
    "call_soon": lambda loop: done_soon(loop, loop.call_soon),
    "call_soon_threadsafe": lambda loop: done_soon(loop, loop.call_soon_threadsafe),
    "create_future": lambda loop: isinstance(loop.create_future(), asyncio.Future),
    "create_task": lambda loop: loop.create_task(nothing()),
    "default_exception_handler": lambda loop: loop.default_exception_handler({"message": "something"}),
    "get_debug": lambda loop: loop.get_debug(),
    "get_exception_handler": lambda loop: loop.get_exception_handler(),
    "get_task_factory": lambda loop: loop.get_task_factory(),
    "is_closed": lambda loop: loop.is_closed(),
    "is_running": lambda loop: loop.is_running(),
    "set_debug": lambda loop: loop.set_debug(True),
    "set_exception_handler": set_and_get,
    "set_task_factory": lambda loop: loop.set_task_factory(None),
    "shutdown_asyncgens": lambda loop: loop.shutdown_asyncgens(),
    "shutdown_default_executor": lambda loop: loop.shutdown_default_executor(),
    "time": lambda loop: loop.time(),
}
EXPECTED: dict[str, Any] = {
    "call_at": "called", "call_later": "called", "call_soon": "called", "call_soon_threadsafe": "called",
    "create_future": True, "get_debug": False, "is_closed": False, "is_running": True, "set_exception_handler": True,
    "time": 1_790_000_001.0,
}  # fmt: skip


def run(code: Callable[[Any], Any]) -> Any:
    @workflow
    async def asks() -> Any:
        value = code(asyncio.get_running_loop())
        return await value if inspect.isawaitable(value) else value

    return History(asks).task().cold()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_works_or_says_what_to_use(name: str) -> None:
    if name in WORKS:
        expected = EXPECTED.get(name)
        outcome = run(WORKS[name])
        assert outcome.error is None, outcome.error
        payloads = outcome.commands[0].complete_workflow_execution_command_attributes.result.payloads
        wanted = {None: b"", True: b"true", False: b"false", "called": b'"called"'}.get(expected, b"1790000001.0")
        assert payloads[0].data == wanted
        return
    outcome = run(lambda loop: getattr(loop, name)())
    assert isinstance(outcome.error, DeterminismViolation), f"{name} is neither done nor refused: {outcome.error!r}"
    assert name in str(outcome.error)
    assert "; use " in str(outcome.error)
    assert f"at {__file__}:" in str(outcome.error)


def test_no_method_is_left_to_the_abstract_class() -> None:
    from perdure.sdk.workflow.loop import WorkflowLoop

    left = [name for name in METHODS if getattr(WorkflowLoop, name) is getattr(asyncio.AbstractEventLoop, name)]
    assert left == []


def test_another_task_factory_is_refused() -> None:
    outcome = run(lambda loop: loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop)))
    assert isinstance(outcome.error, DeterminismViolation)
    assert "set_task_factory" in str(outcome.error)
    assert "asyncio.create_task" in str(outcome.error)


def test_a_callback_from_another_thread_is_refused_there() -> None:
    raised: list[BaseException] = []

    @workflow
    async def asks() -> None:
        loop = asyncio.get_running_loop()

        def elsewhere() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except DeterminismViolation as error:
                raised.append(error)

        with workflow.unsafe.unguarded():
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()

    assert History(asks).task().cold().finished
    assert "another thread" in str(raised[0])
    assert "signal it" in str(raised[0])


def test_what_a_library_reports_reaches_the_handler_that_was_set_and_what_is_freed_does_not() -> None:
    told: list[dict[str, Any]] = []

    async def reports(loop: asyncio.AbstractEventLoop) -> None:
        loop.set_exception_handler(lambda _, context: told.append(context))
        loop.call_exception_handler({"message": "a library's own"})
        future = loop.create_future()
        future.set_exception(ValueError("never asked for"))
        del future  # freed here, or whenever the garbage collector comes by

    assert run(reports).finished
    assert [context["message"] for context in told] == ["a library's own"]


def test_without_a_handler_it_is_logged_as_asyncio_does_once(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    async def reports() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "a library's own", "exception": ValueError("x")})
        await asyncio.sleep(1)

    history = History(reports).task()
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        history.apply(history.cold().commands).fired("1").task()
        assert history.cold().finished
    assert [record.getMessage() for record in caplog.records] == ["a library's own"]


def test_what_is_no_handler_is_refused_as_asyncio_does() -> None:
    outcome = run(lambda loop: loop.set_exception_handler("no handler"))
    assert isinstance(outcome.error, TypeError)


def test_a_sleep_without_an_end_is_no_timer() -> None:
    @workflow
    async def sleeps() -> str:
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(math.inf)
        except TimeoutError:
            return "late"
        return "never"

    history = History(sleeps).task()
    first = history.cold()
    assert texts(first.commands) == ["timer 1 for 5s"]
    history.apply(first.commands).fired("1").task()
    assert texts(history.cold().commands) == ['complete "late"']


def test_a_callback_that_has_itself_called_again_and_finds_nothing_to_do_does_not_hold_the_thread() -> None:
    looks: list[int] = []

    @workflow
    async def polls() -> str:
        loop = asyncio.get_running_loop()
        come: list[str] = []
        future: asyncio.Future[str] = loop.create_future()
        workflow.on_signal("go", come.append)

        def poll() -> None:
            looks.append(1)
            if come:
                future.set_result(come[0])
            else:
                loop.call_soon(poll)

        loop.call_soon(poll)
        return await future

    history = History(polls).task()
    machine = history.machine()
    assert machine.process(history.since()).commands == []
    assert len(looks) < 1_000
    seen = history.last
    history.done().signaled("go", "now").task()
    assert texts(machine.process(history.since(seen)).commands) == ['complete "now"']
    assert texts(history.cold().commands) == ['complete "now"']


def test_the_loop_of_handles_in_def_workflows_has_the_same_surface() -> None:
    assert [name for name in METHODS if name not in dir(LoopSurface)] == []


def test_the_time_is_never_before_a_timer_that_has_fired_was_due() -> None:
    """A library that looks at the clock in its callback, as anyio does, must not find itself early by a rounding."""
    early: list[float] = []

    @workflow
    async def sleeps() -> None:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(200)]
        for number, future in enumerate(futures):
            due_s = loop.time() + 1 + number * 0.0123456789

            def called(due_s: float = due_s, future: asyncio.Future[None] = future) -> None:
                if loop.time() < due_s:
                    early.append(due_s - loop.time())
                future.set_result(None)

            loop.call_at(due_s, called)
        await asyncio.gather(*futures)

    history = History(sleeps).task()
    machine = history.machine()
    first = machine.process(history.since())
    begun_ns, seen = history.now_ns, history.last
    history.apply(first.commands)
    for number, command in enumerate(first.commands, 1):
        timeout = command.start_timer_command_attributes.start_to_fire_timeout
        history.now_ns = begun_ns + timeout.seconds * SECOND_NS + timeout.nanos - SECOND_NS
        history.fired(str(number)).task()
        machine.process(history.since(seen))
        seen = history.last
        history.done()
    assert machine.finished
    assert early == []

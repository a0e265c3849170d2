"""Which machine is running workflow code on which thread, and which of those threads the guard watches.

A thread's number is the key, not a context variable: a greenlet and an asyncio task each have a
context of their own, but whatever runs while a machine has the thread belongs to that machine. It
is also the cheapest question there is, and the guard asks it in wrappers around `time.time`.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from perdure.sdk.errors import EngineError
from perdure.sdk.replay.run import Run

running: dict[int, Run] = {}
"""By thread number; a thread that runs no workflow code is not in it."""

guarded: set[int] = set()
"""The threads whose workflow code the guard watches right now."""


def current(what: str) -> Run:
    """The machine whose code is running on this thread.

    Raises:
        EngineError: none is; `what` is the name of what was asked for.
    """
    machine = running.get(get_ident())
    if machine is None:
        raise EngineError(
            f"{what} works inside a running workflow alone: call it from a function decorated with @workflow, and "
            "start that function with engine.run(...) or engine.start(...) instead of calling it. Not from an "
            "activity, a thread, or module level."
        )
    return machine


def restore(ident: int, outer: Run | None) -> None:
    """Give a thread back to the run that had it before, if there was one."""
    if outer is None:
        running.pop(ident, None)
    else:
        running[ident] = outer


@contextmanager
def active(run: Run) -> Generator[None]:
    """Within, code that runs on this thread is that run's."""
    ident = get_ident()
    outer = running.get(ident)
    running[ident] = run
    if run.guard and not run.unguarded:
        guarded.add(ident)
    try:
        yield
    finally:
        guarded.discard(ident)
        restore(ident, outer)


def without_guard(run: Run, work: Callable[[], Any]) -> Any:
    """Do something that the guard shall not watch."""
    lift_guard(run)
    try:
        return work()
    finally:
        lower_guard(run)


def lift_guard(run: Run) -> None:
    """Stop watching, until as many `lower_guard` have come."""
    run.unguarded += 1
    guarded.discard(get_ident())


def lower_guard(run: Run) -> None:
    """Undo one `lift_guard`."""
    run.unguarded -= 1
    if run.guard and not run.unguarded and running.get(get_ident()) is run:
        guarded.add(get_ident())


class WorkflowClosed(BaseException):
    """Thrown into workflow code that is dropped from the cache; nothing it still asks for is done."""

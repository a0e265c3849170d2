"""Which machine is running workflow code on which thread, and which of those threads the guard watches.

A thread's number is the key, not a context variable: a greenlet and an asyncio task each have a
context of their own, but whatever runs while a machine has the thread belongs to that machine. It
is also the cheapest question there is, and the guard asks it in wrappers around `time.time`.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING

from perdure.sdk.errors import EngineError

if TYPE_CHECKING:
    from perdure.sdk.replay.machine import WorkflowMachine

running: dict[int, WorkflowMachine] = {}
"""By thread number; a thread that runs no workflow code is not in it."""

guarded: set[int] = set()
"""The threads whose workflow code the guard watches right now."""


def current(what: str) -> WorkflowMachine:
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


class WorkflowClosed(BaseException):
    """Thrown into workflow code that is dropped from the cache; nothing it still asks for is done."""

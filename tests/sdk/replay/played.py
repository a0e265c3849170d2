"""A run that is played twice: on a machine that stays in memory, and at each of its tasks on a new one that replays it.

With it what a test of cancellations waits for, and how that may end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from perdure import call_child, start_child
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ApplicationError, CancelledError
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import texts
from tests.sdk.replay.letters import Letters
from tests.sdk.replay.pieces import a, version_of

waited_for = a.options(cancellation="wait")


@version_of("kid")
def kid() -> str:
    return "never run here"


class Played:
    """A run whose machine stays in memory; each task is also replayed from its first event."""

    def __init__(self, code: AnyWorkflow, heard: list[str]) -> None:
        self.history = Letters(code)
        self.machine: WorkflowMachine = self.history.machine()
        self.heard = heard
        self.outcome = TaskOutcome()
        self._seen = 0

    def task(self) -> list[str]:
        """One more workflow task: its commands. They are in history when this returns."""
        self.history.task()
        self.outcome = self.machine.process(self.history.since(self._seen))
        assert self.outcome.error is None, self.outcome.error
        heard = list(self.heard)
        again = self.history.cold()
        assert (texts(again.commands), again.error, self.heard) == (texts(self.outcome.commands), None, heard)
        self._seen = self.history.last
        self.history.answer(self.outcome)
        return texts(self.outcome.commands)


# --- what is waited for, and how it ends --------------------------------------------------------------

ENDS: Final[dict[str, dict[str, Callable[[Letters], Any]]]] = {
    "activity": {
        "well": lambda history: history.completed("1", "value"),
        "fails": lambda history: history.failed("1", ApplicationError("no")),
        "is cancelled": lambda history: history.cancelled("1"),
    },
    "child": {
        "well": lambda history: history.child_closed("kid", "completed", "value"),
        "fails": lambda history: history.child_closed("kid", "failed", ApplicationError("no")),
        "is cancelled": lambda history: history.child_closed("kid", "canceled"),
    },
}
TOLD: Final[dict[str, dict[str, list[str]]]] = {
    "activity": {
        "well": ["value", "cancelled"],
        "fails": ["ActivityError: ApplicationError", "cancelled"],
        "is cancelled": ["cancelled"],
    },
    "child": {
        "well": ["value", "cancelled"],
        "fails": ["ChildWorkflowError: ApplicationError", "cancelled"],
        "is cancelled": ["ChildWorkflowError: CancelledError"],
    },
}


def first(kind: str) -> Any:
    return call(waited_for) if kind == "activity" else call_child(kid, id="kid")


def first_handle(kind: str) -> Any:
    return start(waited_for) if kind == "activity" else start_child(kid, id="kid")


def said(error: BaseException) -> str:
    if isinstance(error, (CancelledError, asyncio.CancelledError)):
        return "cancelled"
    return f"{type(error).__name__}: {type(error.__cause__).__name__}"


async def directly(kind: str) -> Any:
    return await first_handle(kind)


async def in_a_task(kind: str) -> Any:
    return await asyncio.create_task(directly(kind))


async def in_a_task_of_a_task(kind: str) -> Any:
    return await asyncio.create_task(in_a_task(kind))


async def within_a_time_out(kind: str) -> Any:
    async with asyncio.timeout(3600):
        return await first_handle(kind)


async def within_a_scope(kind: str) -> Any:
    with workflow.scope():
        return await in_a_task(kind)


WAYS: Final[dict[str, Callable[[str], Awaitable[Any]]]] = {
    "directly": directly,
    "in a task": in_a_task,
    "in a task of a task": in_a_task_of_a_task,
    "within a time-out": within_a_time_out,
    "within a scope": within_a_scope,
}
